"""Events in predictions: warnings of floods and droughts, and their probabilities.

A flood is a day with flow above the 2-year flood of the river; a drought is a month with mean flow below the 20th percentile
of that calendar month. Both thresholds are computed from training days. Events of one river are few, so the counts of all
rivers are scored together (`event_scores`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.evaluate.answers import river_flow
from hydromae.evaluate.flow_deciles import DECILES
from hydromae.evaluate.thresholds import MIN_DAYS_OF_YEAR, MIN_YEARS, annual_maxima, month_number, period_starts
from hydromae.inference.distribution import exceedance

KINDS = ("flood", "drought")
COUNTS = ("cases", "events", "hits", "false_alarms", "brier")
"""Days or months, those with an event, correct warnings, false alarms, and the sum of squared errors of the probability."""
WARNING_PROBABILITY = 0.35
"""Probability from which a method warns, fixed for all methods: F1, and with it CSI, is largest if it is half of the F1 score
(Lipton, Elkan and Naryanaswamy 2014, ECML PKDD, theorem 1); 0.35 is that of an F1 score of 0.7."""
DROUGHT_QUANTILE = 0.2
MIN_DAYS_OF_MONTH = 25
MIN_TARGET_SHARE = 1 / 3
"""Smallest share of target days in a month that counts."""


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of each river; NaN for rivers with fewer than ten years in the training record.

    Attributes:
        flood (Float[C]): 2-year flood: median of the annual maxima of water years from October [mm/day].
        drought (Float[12, C]): 20th percentile of the mean flow of each calendar month [mm/day].
        deciles (Float[9, C]): Deciles of the flow of all days [mm/day].
    """

    flood: Float[np.ndarray, " C"]
    drought: Float[np.ndarray, "12 C"]
    deciles: Float[np.ndarray, "9 C"]

    @classmethod
    def fit(cls, training: xr.Dataset, catchments: np.ndarray) -> Thresholds:
        """Thresholds of these catchments from the training record; NaN for those that it lacks."""
        position = pd.Index(training["catchment"].values).get_indexer(pd.Index(catchments))
        flow = np.where(position >= 0, river_flow(training)[:, position], np.nan)
        has_flow = np.isfinite(flow)
        time = pd.DatetimeIndex(training["time"].values)
        month, largest = month_number(time), annual_maxima(time, flow)
        first = period_starts(month)
        means = np.where(
            np.add.reduceat(has_flow, first, axis=0) >= MIN_DAYS_OF_MONTH, _monthly(flow, has_flow, first), np.nan
        )
        drought_flow = [
            _quantile(means[month[first] % 12 == calendar_month], DROUGHT_QUANTILE) for calendar_month in range(12)
        ]
        deciles = _quantile(flow, np.arange(1, DECILES) / DECILES, MIN_YEARS * MIN_DAYS_OF_YEAR)
        return cls(_quantile(largest, 0.5), np.stack(drought_flow), deciles)


def _quantile(
    values: Float[np.ndarray, "N C"], level: float | Float[np.ndarray, " S"], least: int = MIN_YEARS
) -> Float[np.ndarray, "*S C"]:
    """Quantiles of the columns with at least `least` values; NaN for the others."""
    result = np.full((*np.shape(level), values.shape[1]), np.nan)
    enough = np.isfinite(values).sum(axis=0) >= least
    if enough.any():
        result[..., enough] = np.nanquantile(values[:, enough], level, axis=0)
    return result


def event_counts(
    time: pd.DatetimeIndex,
    truth: Float[np.ndarray, "T C"],
    target: Bool[np.ndarray, "T C"],
    mean: Float[np.ndarray, "T C"],
    levels: Float[np.ndarray, " Q"] | None,
    quantiles: Float[np.ndarray, "Q T C"] | None,
    thresholds: Thresholds,
) -> dict[str, Float[np.ndarray, " C"]]:
    """`COUNTS` of each river and kind of event, such as `flood_hits`.

    A method without a distribution warns by its mean. The flow of a month is that of observed days and of predictions on
    target days. The quantiles of its mean are the means of the quantiles of its days (fully correlated errors).
    """
    answered = target & np.isfinite(mean) & np.isfinite(truth)
    flows = [mean] if quantiles is None else list(quantiles)
    flood = np.broadcast_to(thresholds.flood, truth.shape)
    result = _kind_counts(
        "flood", truth > flood, _probability_above(levels, flows, flood), answered & np.isfinite(flood)
    )
    month = month_number(time)
    first = period_starts(month)
    has_targets = np.add.reduceat(answered, first, axis=0) >= MIN_TARGET_SHARE * _days_in_months(first, len(month))
    known = np.where(target, answered, np.isfinite(truth))
    is_complete = np.add.reduceat(known, first, axis=0) >= MIN_DAYS_OF_MONTH
    sums = [_monthly(np.where(target, part, truth), known, first) for part in (truth, *flows)]
    drought_flow = thresholds.drought[month[first] % 12]
    probability = 1 - _probability_above(levels, sums[1:], drought_flow)
    return result | _kind_counts(
        "drought", sums[0] < drought_flow, probability, has_targets & is_complete & np.isfinite(drought_flow)
    )


def _probability_above(levels: np.ndarray | None, flows: list[np.ndarray], above: np.ndarray) -> np.ndarray:
    """Probability of flow above a value, from quantiles; 0 or 1 without them."""
    if levels is None:
        return (flows[0] > above).astype(np.float64)
    return exceedance(levels, np.stack(flows), above)


def _kind_counts(kind: str, is_event: np.ndarray, probability: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    counts = counts & np.isfinite(probability)
    is_warned = probability >= WARNING_PROBABILITY
    parts = (
        counts,
        counts & is_event,
        counts & is_event & is_warned,
        counts & ~is_event & is_warned,
        np.where(counts, np.square(np.nan_to_num(probability) - is_event), 0.0),
    )
    return {f"{kind}_{name}": part.sum(axis=0).astype(np.float64) for name, part in zip(COUNTS, parts, strict=True)}


def _days_in_months(first: Int[np.ndarray, " M"], total: int) -> Int[np.ndarray, "M 1"]:
    return np.diff(first, append=total)[:, None]


def _monthly(values: np.ndarray, known: np.ndarray, first: np.ndarray) -> Float[np.ndarray, "M C"]:
    total = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    return total / np.maximum(np.add.reduceat(known.astype(np.float64), first, axis=0), 1.0)


def event_scores(counts: dict[str, float], kind: str) -> dict[str, float]:
    """Number, CSI, POD, FAR and Brier score (`metrics`) of the events of all rivers together."""
    cases, events, hits, false_alarms, brier = (counts[f"{kind}_{name}"] for name in COUNTS)
    ratios = {
        "csi": (hits, events + false_alarms),
        "pod": (hits, events),
        "far": (false_alarms, hits + false_alarms),
        "brier": (brier, cases),
    }
    return {f"{kind}_events": events} | {
        f"{kind}_{name}": above / below if below else np.nan for name, (above, below) in ratios.items()
    }
