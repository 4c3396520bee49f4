"""Responses for a river: observations, predictions of hidden days, and forecasts."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.evaluate.answers import SCORED_LEVELS, catchment_weather
from hydromae.explore.neighbours import input_river_count, neighbours
from hydromae.explore.requests import ForecastRequest, HideRequest, ViewRequest
from hydromae.explore.scores import FORECAST_BASELINES, GAP_BASELINES, baseline_scores, score
from hydromae.explore.session import Session, rounded
from hydromae.explore.thresholds import chances, river_thresholds
from hydromae.inference.predictor import DEFAULT_LEVELS
from hydromae.inference.scenarios import fill_gaps, forecast_input
from hydromae.inference.training_overlap import seen_in_training
from hydromae.io.names import OUTSIDE_TRAINING
from hydromae.report.plots import true_runs

RIVERS = 24
"""Minimum number of input rivers, the river itself among them: as many as in a window of training."""
SHOWN_BEFORE = 60
"""Days shown before an issue day."""


def view_response(session: Session, request: ViewRequest) -> dict[str, Any]:
    """Return observed `flow` and `rain` [mm/day] of a river, null if unobserved."""
    river_index = session.river_index(request.river)
    if request.start is None or request.end is None:
        first, last = session.last_year(river_index)
    else:
        first, last = session.day_range(request.start, request.end)
    return _hydrograph_json(session, river_index, first, last)


def _hydrograph_json(session: Session, river_index: int, first: int, last: int) -> dict[str, Any]:
    window = session.record.isel(catchment=[river_index], time=slice(first, last + 1))
    rain = catchment_weather(window, "precipitation")[:, 0]
    return {
        "river": session.names[river_index],
        "start": f"{session.days[first]:%Y-%m-%d}",
        "end": f"{session.days[last]:%Y-%m-%d}",
        "flow": rounded(session.flow[first : last + 1, river_index]),
        "rain": rounded(rain, 2),
    }


def hidden_response(session: Session, request: HideRequest) -> dict[str, Any]:
    """Predict hidden and unobserved days of a view.

    Returns:
        dict: The days as in `view_response`, including hidden observations; `mean` and `quantiles` [mm/day] of predicted
            days, null elsewhere; `hidden`, `score` over observed hidden days, `neighbours`, `inputs` (size of the input),
            `outside` (attributes outside the training range), `seen` (overlap with training, as text), `seconds`.
    """
    started = time.perf_counter()
    river_index = session.river_index(request.river)
    first, last = session.day_range(request.start, request.end)
    is_hidden = np.zeros(len(session.days), dtype=bool)
    for period in request.hide:
        is_hidden |= _is_in_range(session, *session.day_range(*period))
    is_requested = _is_in_range(session, first, last) & (is_hidden | ~np.isfinite(session.flow[:, river_index]))
    response = {**_hydrograph_json(session, river_index, first, last), "hidden": _periods(session, is_hidden)}
    if not is_requested.any():
        response |= _empty_response(last - first + 1)
        return {
            **response,
            "neighbours": neighbours(session, river_index, _is_in_range(session, first, last)),
            "seen": "",
        }
    window_days = _window_around(session, is_requested)
    window = session.select(river_index, window_days, _rivers(session))
    question = _mask_days(window, is_hidden[window_days])
    answer = session.model.predict(question, SCORED_LEVELS)
    days, truth = session.days[first : last + 1], session.flow[first : last + 1, river_index]
    is_shown, is_scored = is_requested[first : last + 1], is_hidden[first : last + 1]
    return {
        **response,
        **_distribution_json(session, river_index, answer, days, truth, is_shown, is_scored),
        "baselines": baseline_scores(GAP_BASELINES, question, days, truth, is_shown, is_scored),
        "neighbours": neighbours(session, river_index, is_hidden if is_hidden.any() else is_requested),
        "inputs": _input_size(window),
        "outside": _outside_names(answer),
        "seen": _training_overlap(session, river_index, is_hidden),
        "seconds": round(time.perf_counter() - started, 2),
    }


def _distribution_json(
    session: Session,
    river_index: int,
    answer: xr.Dataset,
    days: pd.DatetimeIndex,
    truth: Float[np.ndarray, " T"],
    is_shown: Bool[np.ndarray, " T"],
    is_scored: Bool[np.ndarray, " T"],
) -> dict[str, Any]:
    """Return mean, quantiles of `DEFAULT_LEVELS`, score and chances of the first river of an answer."""
    mean, all_quantiles = _predicted_days(answer, days)
    quantiles = all_quantiles[[SCORED_LEVELS.index(level) for level in DEFAULT_LEVELS]]
    thresholds = river_thresholds(session, river_index)
    return {
        "mean": rounded(np.where(is_shown, mean, np.nan)),
        "levels": list(DEFAULT_LEVELS),
        "quantiles": [rounded(np.where(is_shown, level_values, np.nan)) for level_values in quantiles],
        "score": score(mean, quantiles, truth, is_scored),
        "chances": chances(thresholds, SCORED_LEVELS, all_quantiles, truth, is_shown),
    }


def _empty_response(days: int) -> dict[str, Any]:
    """Return the response of a view without predictions."""
    nothing = np.full(days, np.nan)
    quantiles = np.full((len(DEFAULT_LEVELS), days), np.nan)
    return {
        "mean": rounded(nothing),
        "levels": list(DEFAULT_LEVELS),
        "quantiles": [rounded(level_values) for level_values in quantiles],
        "score": score(nothing, quantiles, nothing, np.zeros(days, dtype=bool)),
        "chances": [],
        "baselines": [],
        "inputs": {"rivers": 0, "days": 0},
        "outside": "",
        "seconds": 0.0,
    }


def _is_in_range(session: Session, first: int, last: int) -> Bool[np.ndarray, " T"]:
    """Return True on the days of a view."""
    day_index = np.arange(len(session.days))
    return (day_index >= first) & (day_index <= last)


def forecast_response(session: Session, request: ForecastRequest) -> dict[str, Any]:
    """Forecast from an issue day without later flow; later weather is used if `future_weather` is observed.

    Returns:
        dict: As `hidden_response`, with days before and after the issue day, `issue`, `ahead` and `future_weather`.
    """
    started = time.perf_counter()
    river_index = session.river_index(request.river)
    issue, _ = session.day_range(request.issue, request.issue)
    length = session.model.config.data.sequence_length
    first, last = max(0, issue - SHOWN_BEFORE), min(issue + request.days, len(session.days) - 1)
    window = session.select(river_index, slice(max(0, issue - length + 1), last + 1), _rivers(session))
    question = forecast_input(
        window, cast(pd.Timestamp, session.days[issue]), request.days, request.future_weather, length
    )
    answer = session.model.predict(question, SCORED_LEVELS)
    days_shown = slice(first, issue + request.days + 1)
    days = pd.date_range(session.days[first], periods=days_shown.stop - first)
    is_after_issue = np.arange(len(days)) > issue - first
    response = _hydrograph_json(session, river_index, first, last)
    empty_days: list[float | None] = [None] * (len(days) - len(response["flow"]))
    truth = np.array([np.nan if v is None else v for v in [*response["flow"], *empty_days]])
    return {
        **response,
        **_distribution_json(session, river_index, answer, days, truth, is_after_issue, is_after_issue),
        "baselines": baseline_scores(FORECAST_BASELINES, question, days, truth, is_after_issue, is_after_issue),
        "end": f"{days[-1]:%Y-%m-%d}",
        "flow": [*response["flow"], *empty_days],
        "rain": [*response["rain"], *empty_days],
        "issue": request.issue.isoformat(),
        "ahead": request.days,
        "future_weather": request.future_weather,
        "inputs": _input_size(window),
        "outside": _outside_names(answer),
        "seen": _training_overlap(session, river_index, _is_in_range(session, issue + 1, last)),
        "seconds": round(time.perf_counter() - started, 2),
    }


def _rivers(session: Session) -> int | None:
    """Return the number of input rivers; None is all."""
    count = input_river_count(session)
    return None if count is None else max(count, RIVERS)


def _window_around(session: Session, is_requested: Bool[np.ndarray, " T"]) -> slice:
    """Return the requested days with a margin: one window of the model if that is enough."""
    days = np.flatnonzero(is_requested)
    length, span = session.model.config.data.sequence_length, int(days[-1] - days[0]) + 1
    margin = max(length - span, length // 2)
    margin_before = 2 * margin // 3
    return slice(
        max(0, int(days[0]) - margin_before), min(len(is_requested), int(days[-1]) + 1 + margin - margin_before)
    )


def _mask_days(window: xr.Dataset, is_hidden: Bool[np.ndarray, " T"]) -> xr.Dataset:
    """Set hidden days of the first river to NaN."""
    pattern = np.zeros((window.sizes["time"], window.sizes["catchment"]), dtype=bool)
    pattern[:, 0] = is_hidden
    coords = {"time": window["time"].values, "catchment": window["catchment"].values}
    return fill_gaps(window, xr.DataArray(pattern, dims=("time", "catchment"), coords=coords))


def _predicted_days(
    answer: xr.Dataset, days: pd.DatetimeIndex
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "Q T"]]:
    """Return mean and quantiles of the first river; NaN on days without prediction."""
    first_river = answer[["riverflow", "riverflow_quantile"]].isel(catchment=0).reindex(time=days)
    return first_river["riverflow"].values, first_river["riverflow_quantile"].transpose("quantile", "time").values


def _periods(session: Session, is_hidden: Bool[np.ndarray, " T"]) -> list[list[str]]:
    return [
        [f"{session.days[low]:%Y-%m-%d}", f"{session.days[high - 1]:%Y-%m-%d}"] for low, high in true_runs(is_hidden)
    ]


def _input_size(window: xr.Dataset) -> dict[str, Any]:
    return {"rivers": window.sizes["catchment"], "days": window.sizes["time"]}


def _outside_names(answer: xr.Dataset) -> str:
    """Return the attributes of the first river outside the training range."""
    return str(answer[OUTSIDE_TRAINING].values[0]) if OUTSIDE_TRAINING in answer else ""


def _training_overlap(session: Session, river_index: int, is_requested: Bool[np.ndarray, " T"]) -> str:
    """Return the overlap of observed requested days with the training data as text."""
    measured = is_requested & np.isfinite(session.flow[:, river_index])
    return seen_in_training(session.model.config.data, [session.names[river_index]], session.days.to_numpy()[measured])
