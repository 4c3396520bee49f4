"""Verification of issued forecasts: scores by lead against persistence and climatology, events, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.errors import InputError
from hydromae.evaluate.events import WARNING_PROBABILITY
from hydromae.evaluate.thresholds import thresholds_of_record
from hydromae.evaluate.warnings import DIMENSIONS, event_probability
from hydromae.io.names import FLOW, QUANTILE
from hydromae.metrics import crps_of_days

RETURN_PERIODS = ("1.5-year", "2-year", "5-year", "10-year", "20-year", "50-year")
PROBABILITY_EDGES = (0.0, 0.05, 0.2, WARNING_PROBABILITY, 0.5, 0.65, 0.8, 1.0)
RELIABILITY_COLUMNS = ("threshold", "level", "cases_in_class", "mean_probability", "share_of_events")
HALF_WINDOW, MIN_CLIMATE_DAYS = 15, 5 * 31
"""Days before and after a day of the year whose flow is its climatology, and the fewest values for one."""

REFERENCES = ("persistence", "climatology")


@dataclass(frozen=True)
class Verification:
    """Scores of issued forecasts.

    Attributes:
        leads: By lead: pairs of forecast and observation, CRPS [mm/day] of the forecast, of persistence and of climatology
            (medians over rivers), and the skill against both (1 is perfect, 0 that of the reference).
        intervals: By level of a quantile: share of observations that do not exceed it.
        events: By threshold and lead: cases, events, hits, false alarms, pod, far, csi and brier.
        reliability: By threshold and class of the probability: cases, mean probability, share of events.
        skilful_lead: The lead up to which the forecast is better than both references; 0 if it is not at lead 1.
        counts: Numbers of pairs that are scored, that wait for an observation after the end of a river's record, and whose
            observation is missing inside it; and of issue days.
    """

    leads: pd.DataFrame
    intervals: pd.DataFrame
    events: pd.DataFrame
    reliability: pd.DataFrame
    skilful_lead: int
    counts: dict[str, int]

    def conclusion(self) -> str:
        """A sentence about the lead up to which the forecast has skill."""
        unscored = [name for name in REFERENCES if not np.isfinite(self.leads[f"skill_{name}"].to_numpy()).any()]
        if unscored:
            return f"The lead up to which the forecast has skill is not known: {' and '.join(unscored)} could not be scored."
        if not self.skilful_lead:
            return "The forecast is not better than persistence and climatology on day 1."
        return f"The forecast is better than persistence and climatology up to day {self.skilful_lead}."

    def table(self) -> pd.DataFrame:
        """All scores as one table: score, threshold, lead, level and value."""
        parts = [
            self.leads.melt("lead", var_name="score"),
            self.intervals.melt("level", var_name="score"),
            self.events.melt(["threshold", "lead"], var_name="score"),
            self.reliability.melt(["threshold", "level"], var_name="score"),
        ]
        joined = pd.concat([part for part in parts if len(part)], ignore_index=True)
        return joined.loc[:, ["score", "threshold", "lead", "level", "value"]]


def verify(issued: Sequence[xr.Dataset], record: xr.Dataset) -> Verification:
    """Score issued forecasts with the flow of a record.

    Thresholds and climatology are computed from the flow of the record up to the first issue day. Skill against a reference
    is computed over the pairs that both have, for each river, and its median over rivers is reported.

    Args:
        issued: Forecasts in mm/day, each with one issue day (`inference.issued`).
        record: A canonical record with flow up to and after the issue days.

    Raises:
        InputError: The record has none of the rivers, or no forecast has an observation yet.
    """
    parts = [one[[FLOW, QUANTILE]].drop_vars("valid_time", errors="ignore") for one in issued]
    forecast = xr.concat(parts, "issue_time", join="outer", data_vars="minimal", coords="minimal", compat="override")
    rivers = forecast.indexes["catchment"].intersection(record.indexes["catchment"])
    if not len(rivers):
        raise InputError("verify: the record has no river of the issued forecasts; name the record they were made from")
    forecast, record = forecast.sel(catchment=rivers), record.sel(catchment=rivers)
    valid = (forecast["issue_time"] + forecast["lead"] * np.timedelta64(1, "D")).transpose("issue_time", "lead")
    forecast = forecast.assign_coords(valid_time=valid)
    flow = record[FLOW].transpose("time", "catchment")
    truth = flow.reindex(time=np.unique(valid.values)).sel(time=valid).drop_vars("time").transpose(*DIMENSIONS)
    is_issued = forecast[FLOW].transpose(*DIMENSIONS).notnull().values
    is_scored = is_issued & np.isfinite(truth.values)
    if not is_scored.any():
        raise InputError("verify: no forecast has an observation yet; run it again when the record has newer flow")
    past = record.sel(time=slice(None, forecast["issue_time"].values.min()))
    if not past.sizes["time"]:
        raise InputError("verify: the record begins after the first issue day; give one with flow before it")
    leads = _lead_scores(forecast, truth, flow, past)
    events, reliability = _event_scores(forecast, truth, past)
    is_late = valid.values[..., None] > _last_days(flow)
    counts = {
        "scored": int(is_scored.sum()),
        "waiting": int((is_issued & ~is_scored & is_late).sum()),
        "missing": int((is_issued & ~is_scored & ~is_late).sum()),
        "issue_days": forecast.sizes["issue_time"],
    }
    return Verification(leads, _interval_scores(forecast, truth), events, reliability, _skilful_lead(leads), counts)


def _last_days(flow: xr.DataArray) -> np.ndarray:
    """Last day with flow of each river; the first day of the record without one."""
    has_flow = np.isfinite(flow.values)
    last = np.where(has_flow.any(axis=0), len(has_flow) - 1 - has_flow[::-1].argmax(axis=0), 0)
    return flow["time"].values[last]


def _lead_scores(forecast: xr.Dataset, truth: xr.DataArray, flow: xr.DataArray, past: xr.Dataset) -> pd.DataFrame:
    """Return scores by lead."""
    quantile = forecast[QUANTILE].transpose("quantile", *DIMENSIONS)
    crps = crps_of_days(quantile, truth).transpose(*DIMENSIONS).values
    issues = pd.DatetimeIndex(forecast["issue_time"].values)
    filled = pd.DataFrame(flow.values, index=flow.indexes["time"]).ffill()
    last_flow = filled.reindex(issues, method="ffill").to_numpy()
    references = {
        "persistence": np.abs(last_flow[:, None, :] - truth.values),
        "climatology": crps_of_days(_climatology(past, forecast, quantile["quantile"]), truth)
        .transpose(*DIMENSIONS)
        .values,
    }
    columns = {
        "lead": forecast["lead"].values,
        "pairs": np.isfinite(crps).sum(axis=(0, 2)),
        "crps": _over_rivers(_mean_by_river(crps, np.isfinite(crps))),
    }
    for name, reference in references.items():
        both = np.isfinite(crps) & np.isfinite(reference)
        mine, theirs = _mean_by_river(crps, both), _mean_by_river(reference, both)
        columns[f"crps_{name}"] = _over_rivers(theirs)
        with np.errstate(invalid="ignore", divide="ignore"):
            columns[f"skill_{name}"] = _over_rivers(np.where(theirs > 0, 1 - mine / theirs, np.nan))
    return pd.DataFrame(columns)


def _mean_by_river(values: Float[np.ndarray, "I L C"], use: Bool[np.ndarray, "I L C"]) -> Float[np.ndarray, "L C"]:
    """Mean over issue days; NaN for a river without a value."""
    count = use.sum(axis=0)
    total = np.where(use, np.nan_to_num(values), 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _over_rivers(values: Float[np.ndarray, "L C"]) -> Float[np.ndarray, " L"]:
    """Median over rivers; NaN without any."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


def _climatology(past: xr.Dataset, forecast: xr.Dataset, levels: xr.DataArray) -> xr.DataArray:
    """Quantiles of the flow of the days of the year around each valid day (quantile, issue_time, lead, catchment)."""
    day_of_year = forecast["valid_time"].dt.dayofyear
    flow, days = past[FLOW].transpose("time", "catchment").values, past["time"].dt.dayofyear.values
    shape = (levels.size, *day_of_year.shape, flow.shape[1])
    values = np.full(shape, np.nan)
    for day in np.unique(day_of_year.values):
        distance = np.abs(days - day)
        near = flow[np.minimum(distance, 366 - distance) <= HALF_WINDOW]
        enough = np.isfinite(near).sum(axis=0) >= MIN_CLIMATE_DAYS
        if enough.any():
            by_level = np.full((levels.size, flow.shape[1]), np.nan)
            by_level[:, enough] = np.nanquantile(near[:, enough].astype(np.float64), levels.values, axis=0)
            values[:, day_of_year.values == day] = by_level[:, None]
    coords = {"quantile": levels.values, **{name: forecast[name] for name in DIMENSIONS}}
    return xr.DataArray(values, dims=("quantile", *DIMENSIONS), coords=coords)


def _interval_scores(forecast: xr.Dataset, truth: xr.DataArray) -> pd.DataFrame:
    """Return the share of observations that do not exceed each quantile."""
    quantile = forecast[QUANTILE].transpose("quantile", *DIMENSIONS)
    known = np.isfinite(truth.values) & np.isfinite(quantile.values).all(axis=0)
    below = (truth.values <= quantile.values)[:, known].mean(axis=1)
    return pd.DataFrame({"level": quantile["quantile"].values, "share_below": below})


def _event_scores(forecast: xr.Dataset, truth: xr.DataArray, past: xr.Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return events by threshold and lead, and reliability by threshold, of all rivers together."""
    events, classes = [], []
    for threshold in thresholds_of_record(past, RETURN_PERIODS):
        probability = event_probability(forecast, threshold).values
        known = np.isfinite(probability) & np.isfinite(truth.values)
        happened = truth.values > threshold.flow
        for index, lead in enumerate(forecast["lead"].values):
            use = known[:, index]
            row = _event_row(probability[:, index][use], happened[:, index][use])
            events.append({"threshold": threshold.name, "lead": int(lead), **row})
        classes += _reliability_rows(threshold.name, probability[known], happened[known])
    return pd.DataFrame(events), pd.DataFrame(classes, columns=list(RELIABILITY_COLUMNS))


def _event_row(probability: Float[np.ndarray, " N"], happened: Bool[np.ndarray, " N"]) -> dict[str, float]:
    """Return number and scores of warnings; NaN where a score has no case."""
    warned = probability >= WARNING_PROBABILITY
    events, hits, false_alarms = happened.sum(), (happened & warned).sum(), (~happened & warned).sum()
    ratios = {
        "pod": (hits, events),
        "far": (false_alarms, hits + false_alarms),
        "csi": (hits, events + false_alarms),
        "brier": (np.square(probability - happened).sum(), len(happened)),
    }
    counts = {"cases": len(happened), "events": events, "hits": hits, "false_alarms": false_alarms}
    scores = {name: above / below if below else np.nan for name, (above, below) in ratios.items()}
    return {name: float(value) for name, value in (counts | scores).items()}


def _reliability_rows(
    name: str, probability: Float[np.ndarray, " N"], happened: Bool[np.ndarray, " N"]
) -> list[dict[str, float | str]]:
    """Return cases, mean probability and share of events of each class of the probability with cases."""
    index = np.clip(np.searchsorted(PROBABILITY_EDGES, probability, side="right") - 1, 0, len(PROBABILITY_EDGES) - 2)
    return [
        {
            "threshold": name,
            "level": PROBABILITY_EDGES[one],
            "cases_in_class": float((index == one).sum()),
            "mean_probability": float(probability[index == one].mean()),
            "share_of_events": float(happened[index == one].mean()),
        }
        for one in np.unique(index)
    ]


def _skilful_lead(leads: pd.DataFrame) -> int:
    """Return the last lead up to which the skill against both references is above zero."""
    is_skilful = (leads[[f"skill_{name}" for name in REFERENCES]].to_numpy() > 0).all(axis=1)
    last = len(leads) if is_skilful.all() else int(np.argmin(is_skilful))
    return int(leads["lead"].to_numpy()[last - 1]) if last else 0
