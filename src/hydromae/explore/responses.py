"""What a page is told of a river: its days, the model's answer for hidden ones, a forecast; all through the one door."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae import metrics
from hydromae.explore.neighbours import looked_at, neighbours
from hydromae.explore.requests import Ahead, Hide, View
from hydromae.explore.session import Country, rounded
from hydromae.inference.predictor import LEVELS
from hydromae.inference.scenarios import fill_gaps, issue_question
from hydromae.inference.training_overlap import seen_in_training
from hydromae.io.names import OUTSIDE
from hydromae.report.plots import runs

RIVERS = 25
"""Rivers that an answer is computed from, at least: the river and its nearest ones."""
SHOWN_BEFORE = 60
"""Days before an issue day that are shown with a forecast."""


def view(country: Country, asked: View) -> dict[str, Any]:
    """Days of a river as they were measured: `flow` and `rain` [mm/day], null where nothing was."""
    place = country.place(asked.river)
    if asked.start is None or asked.end is None:
        first, last = country.last_year(place)
    else:
        first, last = country.span(asked.start, asked.end)
    return _days(country, place, first, last)


def _days(country: Country, place: int, first: int, last: int) -> dict[str, Any]:
    part = country.record.isel(catchment=place, time=slice(first, last + 1))
    rain = part["precipitation"].values if "precipitation" in part else np.full(last - first + 1, np.nan)
    return {
        "river": country.names[place],
        "start": f"{country.days[first]:%Y-%m-%d}",
        "end": f"{country.days[last]:%Y-%m-%d}",
        "flow": rounded(part["riverflow"].values),
        "rain": rounded(rain, 2),
    }


def hidden(country: Country, asked: Hide) -> dict[str, Any]:
    """The answer for days that are hidden from the model, and for days of the view that nobody measured.

    Returns:
        dict: The days as `view` gives them, with the truth of what was hidden; `mean` and `quantiles` [mm/day] of every
            answered day, null elsewhere; `hidden`, `score` over the hidden days that were measured, `neighbours`, `looked`
            (what the answer was computed from), `outside` (what of the river lies outside the training of the model), `seen`
            (what training may have seen of these days, in words), `seconds`.
    """
    began = time.perf_counter()
    place = country.place(asked.river)
    first, last = country.span(asked.start, asked.end)
    taken = np.zeros(len(country.days), dtype=bool)
    for stretch in asked.hide:
        taken |= _days_of(country, *country.span(*stretch))
    wanted = _days_of(country, first, last) & (taken | ~np.isfinite(country.flow[:, place]))
    told = {**_days(country, place, first, last), "hidden": _stretches(country, taken)}
    if not wanted.any():
        told |= _unanswered(last - first + 1)
        return {**told, "neighbours": neighbours(country, place, _days_of(country, first, last)), "seen": ""}
    cut = _around(country, wanted)
    part = country.cut(place, cut, _rivers(country))
    answer = country.model.predict(_without(part, taken[cut]), LEVELS)
    mean, quantiles = _laid(answer, country.days[first : last + 1])
    shown = wanted[first : last + 1]
    return {
        **told,
        "mean": rounded(np.where(shown, mean, np.nan)),
        "levels": list(LEVELS),
        "quantiles": [rounded(np.where(shown, row, np.nan)) for row in quantiles],
        "score": score(mean, quantiles, country.flow[first : last + 1, place], taken[first : last + 1]),
        "neighbours": neighbours(country, place, taken if taken.any() else wanted),
        "looked": _looked(part),
        "outside": _outside(answer),
        "seen": _seen(country, place, taken),
        "seconds": round(time.perf_counter() - began, 2),
    }


def _unanswered(days: int) -> dict[str, Any]:
    """Of a view on which nothing was asked."""
    nothing = np.full(days, np.nan)
    quantiles = np.full((len(LEVELS), days), np.nan)
    return {
        "mean": rounded(nothing),
        "levels": list(LEVELS),
        "quantiles": [rounded(row) for row in quantiles],
        "score": score(nothing, quantiles, nothing, np.zeros(days, dtype=bool)),
        "looked": {"rivers": 0, "days": 0},
        "outside": "",
        "seconds": 0.0,
    }


def _days_of(country: Country, first: int, last: int) -> Bool[np.ndarray, " T"]:
    """True on the days of a view."""
    place = np.arange(len(country.days))
    return (place >= first) & (place <= last)


def ahead(country: Country, asked: Ahead) -> dict[str, Any]:
    """A forecast from an issue day; no flow after it is used, weather after it where `future_weather` is observed.

    Returns:
        dict: Days up to the issue day and after it as `hidden` gives them (flow after it is the truth, where it was
            measured), `issue`, `weather`, and the rest as in `hidden`.
    """
    began = time.perf_counter()
    place = country.place(asked.river)
    issue, _ = country.span(asked.issue, asked.issue)
    length = country.model.config.data.sequence_length
    first, last = max(0, issue - SHOWN_BEFORE), min(issue + asked.days, len(country.days) - 1)
    part = country.cut(place, slice(max(0, issue - length + 1), last + 1), _rivers(country))
    question = issue_question(part, cast(pd.Timestamp, country.days[issue]), asked.days, asked.future_weather, length)
    answer = country.model.predict(question, LEVELS)
    shown = slice(first, issue + asked.days + 1)
    days = pd.date_range(country.days[first], periods=shown.stop - first)
    after = np.arange(len(days)) > issue - first
    told = _days(country, place, first, last)
    beyond: list[float | None] = [None] * (len(days) - len(told["flow"]))
    truth = np.array([np.nan if v is None else v for v in [*told["flow"], *beyond]])
    mean, quantiles = _laid(answer, days)
    return {
        **told,
        "end": f"{days[-1]:%Y-%m-%d}",
        "flow": [*told["flow"], *beyond],
        "rain": [*told["rain"], *beyond],
        "issue": asked.issue.isoformat(),
        "ahead": asked.days,
        "future_weather": asked.future_weather,
        "mean": rounded(np.where(after, mean, np.nan)),
        "levels": list(LEVELS),
        "quantiles": [rounded(np.where(after, row, np.nan)) for row in quantiles],
        "score": score(mean, quantiles, truth, after),
        "looked": _looked(part),
        "outside": _outside(answer),
        "seen": _seen(country, place, _days_of(country, issue + 1, last)),
        "seconds": round(time.perf_counter() - began, 2),
    }


def score(
    mean: Float[np.ndarray, " T"],
    quantiles: Float[np.ndarray, "Q T"],
    truth: Float[np.ndarray, " T"],
    taken: Bool[np.ndarray, " T"],
) -> dict[str, Any]:
    """How good an answer is on the days that were taken from the model and that were measured.

    Returns:
        dict: `days`, `nse`, `error` (mean absolute error [mm/day]), `line` (that of a straight line from the last day before
            to the first day after, or of the last day where there is none after), `inside50` and `inside90` (shares of the
            days).
    """
    days, known = taken & np.isfinite(truth), ~taken & np.isfinite(truth)
    if not days.any():
        return {"days": 0, "nse": None, "error": None, "line": None, "inside50": None, "inside90": None}
    given = xr.DataArray(truth[days], dims="time")
    told = xr.DataArray(mean[days], dims="time")
    cuts = xr.DataArray(quantiles[:, days], dims=("quantile", "time"), coords={"quantile": list(LEVELS)})
    line = np.interp(np.flatnonzero(days), np.flatnonzero(known), truth[known]) if known.any() else np.nan
    numbers = {
        "nse": metrics.nse(told, given),
        "error": abs(told - given).mean(),
        "line": abs(line - given).mean(),
        "inside50": metrics.coverage(cuts, given, 0.5),
        "inside90": metrics.coverage(cuts, given, 0.9),
    }
    return {"days": int(days.sum()), **{name: rounded(np.array([float(v)]))[0] for name, v in numbers.items()}}


def _rivers(country: Country) -> int | None:
    """How many rivers an answer is computed from; all of them where the model looks at all."""
    count = looked_at(country)
    return None if count is None else max(count, RIVERS)


def _around(country: Country, wanted: Bool[np.ndarray, " T"]) -> slice:
    """The wanted days with days before and after them: one window of the model where that is enough."""
    days = np.flatnonzero(wanted)
    length, span = country.model.config.data.sequence_length, int(days[-1] - days[0]) + 1
    room = max(length - span, length // 2)
    before = 2 * room // 3
    return slice(max(0, int(days[0]) - before), min(len(wanted), int(days[-1]) + 1 + room - before))


def _without(part: xr.Dataset, taken: Bool[np.ndarray, " T"]) -> xr.Dataset:
    """The days that are taken from the first river become NaN."""
    pattern = np.zeros((part.sizes["time"], part.sizes["catchment"]), dtype=bool)
    pattern[:, 0] = taken
    coords = {"time": part["time"].values, "catchment": part["catchment"].values}
    return fill_gaps(part, xr.DataArray(pattern, dims=("time", "catchment"), coords=coords))


def _laid(answer: xr.Dataset, days: pd.DatetimeIndex) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "Q T"]]:
    """Mean and quantiles of the first river on some days; NaN on days that the answer does not reach."""
    one = answer[["riverflow", "riverflow_quantile"]].isel(catchment=0).reindex(time=days)
    return one["riverflow"].values, one["riverflow_quantile"].transpose("quantile", "time").values


def _stretches(country: Country, taken: Bool[np.ndarray, " T"]) -> list[list[str]]:
    return [[f"{country.days[low]:%Y-%m-%d}", f"{country.days[high - 1]:%Y-%m-%d}"] for low, high in runs(taken)]


def _looked(part: xr.Dataset) -> dict[str, Any]:
    return {"rivers": part.sizes["catchment"], "days": part.sizes["time"]}


def _outside(answer: xr.Dataset) -> str:
    """Names of what lies outside the training of the model, of the first river."""
    return str(answer[OUTSIDE].values[0]) if OUTSIDE in answer else ""


def _seen(country: Country, place: int, asked: Bool[np.ndarray, " T"]) -> str:
    """What training may have seen of the flow that was measured on the asked days, in words."""
    measured = asked & np.isfinite(country.flow[:, place])
    return seen_in_training(country.model.config.data, [country.names[place]], country.days.to_numpy()[measured])
