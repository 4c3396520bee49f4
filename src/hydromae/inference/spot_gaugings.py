"""Rivers with a few observed days, such as spot gaugings: the prediction for an ungauged river, scaled to these days.

Training has rivers with years of flow and rivers without any, so a model hardly uses a few days far from the others. Here
such a river is predicted without its flow, and the root of this prediction is multiplied by a factor: that of least squares
on the observed days, with a prior for 1. Near an observed day, the prediction that reads it has a weight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.inference.assemble import largest_flow
from hydromae.io.value_ranges import PROCESSING, joined_notes

MAX_DAYS, MAX_SHARE = 30, 1 / 12
"""Most observed days of such a river, and their largest share of the days of the record."""
PRIOR_DAYS = 4.0
"""Days with the mean flow of the prediction that count for a factor of 1."""
SHARED_DAYS = 15
"""Observed days that are at most so far apart share a weight, because their errors are alike."""
NEAR_DAYS = 5.0
"""The weight of the prediction that reads the observed days is exp(-days to the nearest of them / `NEAR_DAYS`)."""
FACTOR_BOUNDS = (0.1, 10.0)
"""Limits of the factor of flow."""

PredictRecord = Callable[[xr.Dataset, list[float]], xr.Dataset]


def adjust_to_spot_gaugings(dataset: xr.Dataset, levels: list[float], predict: PredictRecord) -> xr.Dataset:
    """Predict a record; scale rivers with a few observed days.

    Args:
        dataset: A canonical record.
        levels: Levels of the quantiles.
        predict: Predicts every NaN of a record, with quantiles of these levels.
    """
    answer = predict(dataset, levels)
    if "riverflow" not in dataset:
        return answer
    flow = dataset["riverflow"].transpose("time", "catchment").values.astype(np.float64)
    is_observed = np.isfinite(flow)
    count = is_observed.sum(axis=0)
    is_sparse = (count > 0) & (count <= min(MAX_DAYS, MAX_SHARE * len(flow)))
    if not is_sparse.any():
        return answer
    unread = np.where(is_sparse, np.nan, flow).astype(dataset["riverflow"].dtype)
    ungauged = predict(dataset.assign(riverflow=(("time", "catchment"), unread, dataset["riverflow"].attrs)), levels)
    factor = fit_factor(flow, flow_of(ungauged))
    weight = np.exp(-days_to_nearest(is_observed) / NEAR_DAYS)
    is_changed = is_sparse & ~is_observed
    most = largest_flow(dataset).astype(np.float64)
    answer = answer.copy()
    for name in ("riverflow", "riverflow_quantile"):
        own = answer[name].transpose(..., "time", "catchment")
        root, scaled = (np.sqrt(np.maximum(one.values.astype(np.float64), 0)) for one in (own, _like(own, ungauged)))
        mixed = np.minimum((weight * root + (1 - weight) * factor * scaled) ** 2, most)
        answer[name] = own.copy(data=np.where(is_changed, mixed, own.values).astype(own.dtype))
    low, high = (float(end) ** 2 for end in (factor[is_sparse].min(), factor[is_sparse].max()))
    fewest, most_days = count[is_sparse].min(), count[is_sparse].max()
    note = (
        f"flow of {is_sparse.sum()} rivers with {fewest} to {most_days} observed days is that of ungauged rivers × "
        f"{low:.2f} to {high:.2f}, from these days"
    )
    attrs = answer["riverflow_quantile"].attrs
    attrs[PROCESSING] = joined_notes(attrs.get(PROCESSING), note)
    return answer


def fit_factor(flow: Float[np.ndarray, "T C"], predicted: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Factor of the root of predicted flow by least squares on the observed days, with a prior for 1; 1 without such days."""
    is_observed = np.isfinite(flow)
    total = np.cumsum(np.pad(is_observed, ((SHARED_DAYS + 1, SHARED_DAYS), (0, 0))), axis=0)
    weight = is_observed / np.maximum(total[2 * SHARED_DAYS + 1 :] - total[: -2 * SHARED_DAYS - 1], 1)
    root = np.sqrt(np.maximum(predicted, 0.0))
    observed = np.sqrt(np.maximum(np.nan_to_num(flow), 0.0))
    prior = PRIOR_DAYS * root.mean(axis=0) ** 2 + 1e-9
    factor = ((weight * observed * root).sum(axis=0) + prior) / ((weight * root**2).sum(axis=0) + prior)
    return factor.clip(*np.sqrt(FACTOR_BOUNDS))


def days_to_nearest(is_observed: Bool[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """Days to the nearest observed day of a river; infinite without any."""
    day = np.arange(len(is_observed), dtype=np.float64)[:, None]
    before = np.maximum.accumulate(np.where(is_observed, day, -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(is_observed, day, np.inf)[::-1], axis=0)[::-1]
    return np.minimum(day - before, after - day)


def flow_of(answer: xr.Dataset) -> Float[np.ndarray, "T C"]:
    """Predicted flow [mm/day]."""
    return answer["riverflow"].transpose("time", "catchment").values.astype(np.float64)


def _like(own: xr.DataArray, other: xr.Dataset) -> xr.DataArray:
    """The same variable of another answer, with the same order of dimensions."""
    return other[str(own.name)].transpose(*own.dims)
