"""Rivers outside the training area: predictions in gaps, adjusted by what the model misses in the river's own record.

Observed days of such a river are hidden and predicted (pseudo-gaps). Where interpolation in time is closer to them than the
model, it gets a weight in the mean; the widths of the intervals follow from the errors, as in split conformal prediction
(Lei et al. 2018, JASA 113, 1094). A river without any flow has no such errors: its intervals are widened by a constant.
Nothing changes for rivers inside the training area.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.inference.assemble import largest_flow
from hydromae.io.value_ranges import PROCESSING, joined_notes

GAP_DAYS = 10
"""Length of a pseudo-gap [days]; a run of observed days of 12 days or fewer keeps its first and last day."""
EVERY = 4
"""One of this many possible pseudo-gaps is hidden."""
MAX_GAP_DAYS = 30
"""Longest gap in which a prediction is adjusted [days]."""
MOST = 0.5
"""Share of rivers outside the training area above which all rivers of a record are adjusted."""
MIN_DAYS = 30
"""Fewest hidden days of a river that are used."""
PRIOR_DAYS = 5.0
"""Days with the variance of the river's flow that count for the model alone."""
POOLED_SHARE = 0.2
"""Share of the factor of all adjusted rivers in the factor of one river, in the logarithm."""
FACTOR_BOUNDS = (0.1, 10.0)
UNGAUGED_FACTOR = 2.3
"""Factor of the distances of quantiles from the median of rivers without flow; with it, 90 % intervals hold 90 % of the days
of 19 French rivers in 2012 to 2014, all flow hidden."""
CHECK_LEVELS = (0.05, 0.5, 0.95)
LOG_OFFSET = 0.01
"""Added to flow before the logarithm [mm/day]."""


@dataclass(frozen=True)
class OwnRecordAdjustment:
    """Adjustment of each river; 1 and 1 leave a prediction as it is.

    Attributes:
        weight (Float[C]): Weight of the model in the mean; the rest is interpolation in time.
        factor (Float[C]): Factor of the distances of quantiles from the median, in the root of flow.
    """

    weight: Float[np.ndarray, " C"]
    factor: Float[np.ndarray, " C"]


def adjust_to_own_record(
    dataset: xr.Dataset,
    levels: list[float],
    is_outside: Bool[np.ndarray, " C"],
    predict: Callable[[xr.Dataset, list[float]], xr.Dataset],
) -> xr.Dataset:
    """Predict a record; adjust rivers outside the training area.

    In gaps of up to `MAX_GAP_DAYS` days, means and intervals are adjusted; where a river has no flow in the record, intervals
    are widened.

    Args:
        dataset: A canonical record.
        levels: Levels of the quantiles of the answer.
        is_outside: Rivers outside the training area; where most are, all are treated as outside.
        predict: Predicts every NaN of a record, with quantiles of these levels.
    """
    if not is_outside.any():
        return predict(dataset, levels)
    if is_outside.mean() > MOST:
        is_outside = np.ones_like(is_outside)
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    has_flow = "riverflow" in dataset
    flow = dataset["riverflow"].transpose("time", "catchment").values if has_flow else np.full(shape, np.nan)
    hidden = pseudo_gaps(np.isfinite(flow)) & is_outside
    is_ungauged = is_outside & ~np.isfinite(flow).any(axis=0)
    is_checked = bool((hidden.sum(axis=0) >= MIN_DAYS).any())
    if not is_checked and not is_ungauged.any():
        return predict(dataset, levels)
    answer = _widened(predict(dataset, sorted({*levels, *CHECK_LEVELS})), is_ungauged)
    if not is_checked:
        return answer.sel(quantile=levels)
    masked = np.where(hidden, np.nan, flow)
    check = predict(dataset.assign(riverflow=(("time", "catchment"), masked)), list(CHECK_LEVELS))
    adjustment = fit_adjustment(flow, hidden, masked, *_flow_and_quantiles(check))
    return _adjusted(answer, flow, adjustment).sel(quantile=levels)


def pseudo_gaps(observed: Bool[np.ndarray, "T C"]) -> Bool[np.ndarray, "T C"]:
    """Observed days that are hidden: those inside every fourth segment of `GAP_DAYS` + 2 observed days of a river."""
    day = np.arange(len(observed))[:, None]
    before = np.maximum.accumulate(np.where(observed, -1, day), axis=0)
    after = np.minimum.accumulate(np.where(observed, len(observed), day)[::-1], axis=0)[::-1]
    offset, length = day - before - 1, after - before - 1
    segment_days = GAP_DAYS + 2
    within, begin = offset % segment_days, offset - offset % segment_days
    last = np.minimum(segment_days, length - begin) - 1
    number = np.cumsum(observed & (within == 0), axis=0) + np.arange(observed.shape[1])
    return observed & (number % EVERY == 0) & (within >= 1) & (within < last)


def interpolate_log(
    flow: Float[np.ndarray, "T C"],
) -> tuple[Float[np.ndarray, "T C"], Int[np.ndarray, "T C"]]:
    """Flow interpolated in the logarithm between observed days (NaN at the ends), and the number of days between them."""
    observed, total = np.isfinite(flow), len(flow)
    day = np.arange(total)[:, None]
    before = np.maximum.accumulate(np.where(observed, day, -1), axis=0)
    after = np.minimum.accumulate(np.where(observed, day, total)[::-1], axis=0)[::-1]
    inside = (before >= 0) & (after < total)
    log = np.log(np.maximum(np.where(observed, flow, 0.0), 0.0) + LOG_OFFSET)
    first = np.take_along_axis(log, before.clip(min=0), axis=0)
    second = np.take_along_axis(log, after.clip(max=total - 1), axis=0)
    share = (day - before) / np.maximum(after - before, 1)
    values = np.maximum(np.exp(first + share * (second - first)) - LOG_OFFSET, 0.0)
    return np.where(inside, values, np.nan), after - before - 1


def fit_adjustment(
    flow: Float[np.ndarray, "T C"],
    hidden: Bool[np.ndarray, "T C"],
    masked: Float[np.ndarray, "T C"],
    mean: Float[np.ndarray, "T C"],
    quantiles: Float[np.ndarray, "3 T C"],
) -> OwnRecordAdjustment:
    """Weights by least squares on the hidden days, and factors for which 90 % intervals hold 90 % of them.

    Args:
        flow, masked: Observed flow, without and with the pseudo-gaps [mm/day].
        hidden: The pseudo-gaps.
        mean, quantiles: Predictions of the masked record, with `CHECK_LEVELS`.
    """
    interpolated, gap = interpolate_log(masked)
    used = hidden & np.isfinite(interpolated) & (gap <= MAX_GAP_DAYS)
    used &= used.sum(axis=0) >= MIN_DAYS
    truth, model, simple = (np.where(used, values, np.nan) for values in (flow, mean, interpolated))
    is_used, count = used.any(axis=0), np.maximum(used.sum(axis=0), 1)
    centred = np.where(used, truth - np.nansum(truth, axis=0) / count, 0.0)
    prior = PRIOR_DAYS * (centred**2).sum(axis=0) / count + 1e-9
    difference, error = np.nan_to_num(model - simple), np.nan_to_num(truth - simple)
    fitted = ((difference * error).sum(axis=0) + prior) / ((difference**2).sum(axis=0) + prior)
    weight = np.where(is_used, fitted.clip(0.0, 1.0), 1.0)
    low, median, high = np.sqrt(np.maximum(quantiles, 0.0))
    centre = np.sqrt(np.maximum(weight * quantiles[1] + (1 - weight) * interpolated, 0.0))
    distance = np.sqrt(np.maximum(flow, 0.0)) - centre
    spread = np.maximum(np.where(distance > 0, high - median, median - low), 1e-3)
    score = np.where(used, np.abs(distance) / spread, np.nan)
    if not is_used.any():
        return OwnRecordAdjustment(weight, np.ones_like(weight))
    pooled = np.nanquantile(score, 0.9)
    own = np.full(len(weight), pooled)
    own[is_used] = np.nanquantile(score[:, is_used], 0.9, axis=0)
    logs = np.log(np.clip(own, *FACTOR_BOUNDS)), np.log(np.clip(pooled, *FACTOR_BOUNDS))
    factor = np.exp((1 - POOLED_SHARE) * logs[0] + POOLED_SHARE * logs[1])
    return OwnRecordAdjustment(weight, np.where(is_used, factor, 1.0))


def _widened(answer: xr.Dataset, is_ungauged: Bool[np.ndarray, " C"]) -> xr.Dataset:
    """Widen the intervals of some rivers by `UNGAUGED_FACTOR`."""
    if not is_ungauged.any():
        return answer
    root = np.sqrt(np.maximum(_flow_and_quantiles(answer)[1], 0.0))
    median = root[answer.indexes["quantile"].get_loc(0.5)]
    wider = np.minimum(np.maximum(median + UNGAUGED_FACTOR * (root - median), 0.0) ** 2, largest_flow(answer))
    before = answer["riverflow_quantile"].transpose("quantile", "time", "catchment")
    widened = answer.assign(
        riverflow_quantile=before.copy(data=np.where(is_ungauged, wider, before).astype(before.dtype))
    )
    note = f"intervals of {is_ungauged.sum()} rivers outside the training area without flow are × {UNGAUGED_FACTOR}"
    _add_note(widened, note)
    return widened


def _add_note(answer: xr.Dataset, note: str) -> None:
    attrs = answer["riverflow_quantile"].attrs
    attrs[PROCESSING] = joined_notes(attrs.get(PROCESSING), note)


def _adjusted(answer: xr.Dataset, flow: Float[np.ndarray, "T C"], adjustment: OwnRecordAdjustment) -> xr.Dataset:
    """Apply an adjustment to the gaps of an answer."""
    interpolated, gap = interpolate_log(flow)
    in_gap = ~np.isfinite(flow) & np.isfinite(interpolated) & (gap <= MAX_GAP_DAYS)
    is_adjusted = (adjustment.weight != 1) | (adjustment.factor != 1)
    in_gap &= is_adjusted
    if not in_gap.any():
        return answer
    mean, quantiles = _flow_and_quantiles(answer)
    median = quantiles[answer.indexes["quantile"].get_loc(0.5)]
    weight = adjustment.weight
    root = np.sqrt(np.maximum(quantiles, 0.0))
    centre = np.sqrt(np.maximum(weight * median + (1 - weight) * np.nan_to_num(interpolated), 0.0))
    moved = np.maximum(centre + adjustment.factor * (root - np.sqrt(np.maximum(median, 0.0))), 0.0) ** 2
    blended = weight * mean + (1 - weight) * np.nan_to_num(interpolated)
    changed = {"riverflow": np.where(in_gap, blended, mean), "riverflow_quantile": np.where(in_gap, moved, quantiles)}
    dims = {"riverflow": ("time", "catchment"), "riverflow_quantile": ("quantile", "time", "catchment")}
    arrays = {n: (dims[n], values.astype(answer[n].dtype), answer[n].attrs) for n, values in changed.items()}
    chosen = in_gap.any(axis=0)
    note = (
        f"gaps of {chosen.sum()} rivers outside the training area are adjusted by pseudo-gaps in their records (weight of "
        f"the model {weight[chosen].min():.2f} to {weight[chosen].max():.2f}, the rest interpolation in time; intervals × "
        f"{adjustment.factor[chosen].min():.2f} to {adjustment.factor[chosen].max():.2f})"
    )
    adjusted = answer.assign(arrays)
    _add_note(adjusted, note)
    return adjusted


def _flow_and_quantiles(answer: xr.Dataset) -> tuple[Float[np.ndarray, "T C"], Float[np.ndarray, "Q T C"]]:
    mean = answer["riverflow"].transpose("time", "catchment").values.astype(np.float64)
    return mean, answer["riverflow_quantile"].transpose("quantile", "time", "catchment").values.astype(np.float64)
