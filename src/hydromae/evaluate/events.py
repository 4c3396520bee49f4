"""Floods and droughts, read off the answers: was it warned of, and with what probability.

A flood is a day with flow above the river's 2-year flood, a drought a month with less flow than four in five years have in
that month; both are drawn from training days. A river has a flood in two years, so counts are kept for each river and are
scored together (`scores_of`): a median over rivers of a score of one event says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.evaluate.answers import river_flow
from hydromae.evaluate.flow_deciles import DECILES

KINDS = ("flood", "drought")
COUNTS = ("cases", "events", "hits", "false_alarms", "brier")
"""Days (months) that count, those with an event, warnings that came true and that did not, sum of squared errors of P."""
WARNING_PROBABILITY = 0.35
"""Probability from which a method warns: half of what a good F1 score is, where F1 (and with it CSI) is greatest (Lipton,
Elkan and Naryanaswamy 2014, ECML PKDD, theorem 1). Fixed beforehand, the same for all."""
DROUGHT_QUANTILE = 0.2
MIN_DAYS_OF_YEAR, MIN_DAYS_OF_MONTH, MIN_YEARS = 330, 25, 10
MIN_TARGET_SHARE = 1 / 3
"""Share of a month's days that must have been asked for."""


@dataclass(frozen=True)
class Thresholds:
    """What is much and little on each river; NaN for rivers with fewer than ten years in the training record.

    Attributes:
        flood (Float[C]): Median of the annual maxima (water years from October) [mm/day]: what is exceeded in every other
            year.
        drought (Float[12, C]): 20th percentile of the mean flow of each calendar month [mm/day].
        deciles (Float[9, C]): Of the flow of all days [mm/day].
    """

    flood: Float[np.ndarray, " C"]
    drought: Float[np.ndarray, "12 C"]
    deciles: Float[np.ndarray, "9 C"]

    @classmethod
    def fit(cls, training: xr.Dataset, catchments: np.ndarray) -> Thresholds:
        """Of these catchments, from the training record, which may lack some."""
        position = pd.Index(training["catchment"].values).get_indexer(pd.Index(catchments))
        flow = np.where(position >= 0, river_flow(training)[:, position], np.nan)
        has_flow = np.isfinite(flow)
        month = _month_number(pd.DatetimeIndex(training["time"].values))
        year = (month + 3) // 12
        first = _period_starts(year)
        largest = np.maximum.reduceat(np.where(has_flow, flow, -np.inf), first, axis=0)
        largest = np.where(np.add.reduceat(has_flow, first, axis=0) >= MIN_DAYS_OF_YEAR, largest, np.nan)
        first = _period_starts(month)
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
    """Quantiles of rivers that have enough values; NaN for the others."""
    result = np.full((*np.shape(level), values.shape[1]), np.nan)
    enough = np.isfinite(values).sum(axis=0) >= least
    if enough.any():
        result[..., enough] = np.nanquantile(values[:, enough], level, axis=0)
    return result


def _month_number(time: pd.DatetimeIndex) -> Int[np.ndarray, " T"]:
    """Months since the year 0."""
    return np.asarray(time.year) * 12 + np.asarray(time.month) - 1


def _period_starts(period: Int[np.ndarray, " T"]) -> Int[np.ndarray, " P"]:
    """Where each period begins."""
    return np.flatnonzero(np.diff(period, prepend=-1))


def exceedance(
    levels: Float[np.ndarray, " Q"], quantiles: Float[np.ndarray, "Q ..."], above: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Probability of flow above a value, from quantiles in ascending order.

    Between quantiles linear, from nothing at no flow; beyond the highest it falls exponentially, as it does over the last
    two.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        position = (quantiles <= above).sum(axis=0)
        values = np.concatenate([np.zeros_like(quantiles[:1]), quantiles])
        shares = np.concatenate([[0.0], levels])
        low, high = position, np.minimum(position + 1, len(levels))
        first, second = (np.take_along_axis(values, index[None], axis=0)[0] for index in (low, high))
        within = np.where(second > first, (above - first) / (second - first), 0.0)
        inside = 1 - shares[low] - (shares[high] - shares[low]) * np.clip(within, 0.0, 1.0)
        scale = (quantiles[-1] - quantiles[-2]) / np.log((1 - levels[-2]) / (1 - levels[-1]))
        beyond = (1 - levels[-1]) * np.exp(-np.maximum(above - quantiles[-1], 0) / np.maximum(scale, 1e-9))
        probability = np.where(position == len(levels), beyond, inside)
    return np.where(np.isfinite(quantiles).all(axis=0) & np.isfinite(above), probability, np.nan)


def event_counts(
    time: pd.DatetimeIndex,
    truth: Float[np.ndarray, "T C"],
    target: Bool[np.ndarray, "T C"],
    mean: Float[np.ndarray, "T C"],
    levels: Float[np.ndarray, " Q"] | None,
    quantiles: Float[np.ndarray, "Q T C"] | None,
    thresholds: Thresholds,
) -> dict[str, Float[np.ndarray, " C"]]:
    """For each river and kind of event the `COUNTS`, named such as `flood_hits`.

    A method without a distribution says yes or no by its mean. A month is that of the completed record: observed days, and
    answers on those that were asked for; the quantiles of its mean are the means of its days' quantiles, as if all its
    days erred together.
    """
    answered = target & np.isfinite(mean) & np.isfinite(truth)
    flows = [mean] if quantiles is None else list(quantiles)
    flood = np.broadcast_to(thresholds.flood, truth.shape)
    result = _kind_counts(
        "flood", truth > flood, _probability_above(levels, flows, flood), answered & np.isfinite(flood)
    )
    month = _month_number(time)
    first = _period_starts(month)
    has_targets = np.add.reduceat(answered, first, axis=0) >= MIN_TARGET_SHARE * _days(first, len(month))
    known = np.where(target, answered, np.isfinite(truth))
    is_complete = np.add.reduceat(known, first, axis=0) >= MIN_DAYS_OF_MONTH
    sums = [_monthly(np.where(target, part, truth), known, first) for part in (truth, *flows)]
    drought_flow = thresholds.drought[month[first] % 12]
    probability = 1 - _probability_above(levels, sums[1:], drought_flow)
    return result | _kind_counts(
        "drought", sums[0] < drought_flow, probability, has_targets & is_complete & np.isfinite(drought_flow)
    )


def _probability_above(levels: np.ndarray | None, flows: list[np.ndarray], above: np.ndarray) -> np.ndarray:
    """Probability of more than a value: of a distribution, or yes and no."""
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


def _days(first: Int[np.ndarray, " M"], total: int) -> Int[np.ndarray, "M 1"]:
    return np.diff(first, append=total)[:, None]


def _monthly(values: np.ndarray, known: np.ndarray, first: np.ndarray) -> Float[np.ndarray, "M C"]:
    total = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    return total / np.maximum(np.add.reduceat(known.astype(np.float64), first, axis=0), 1.0)


def event_scores(counts: dict[str, float], kind: str) -> dict[str, float]:
    """CSI, POD, FAR and Brier score (as in `metrics`) of the events of all rivers together, and their number."""
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
