"""Rivers with a few observed days, such as spot gaugings: the prediction for an ungauged river, scaled to these days.

Training has rivers with years of flow and rivers without any, so a model hardly uses a few days far from the others. Here
such a river is predicted without its flow, and the root of this prediction is multiplied by a factor: that of least squares
on the observed days, with a prior for 1. Near an observed day, the prediction that reads it has a weight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.inference.assemble import largest_flow
from hydromae.io.value_ranges import PROCESSING, joined_notes, span

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
    chosen = np.flatnonzero(is_sparse)
    factor = fit_factor(flow[:, chosen], _root(ungauged["riverflow"], chosen))
    weight = np.exp(-days_to_nearest(is_observed[:, chosen]) / NEAR_DAYS)
    most = largest_flow(dataset)[chosen].astype(np.float64)
    answer = answer.copy()
    for name in ("riverflow", "riverflow_quantile"):
        root, scaled = _root(answer[name], chosen), factor * _root(ungauged[name], chosen)
        mixed = np.minimum((weight * root + (1 - weight) * scaled) ** 2, most)
        values = answer[name].transpose(..., "time", "catchment").copy()
        values[..., chosen] = np.where(is_observed[:, chosen], values.values[..., chosen], mixed)
        answer[name] = values
    days = span(int(count[chosen].min()), int(count[chosen].max()))
    times = span(factor.min() ** 2, factor.max() ** 2, ".2f")
    note = f"rivers with {days} observed days, {len(chosen)} in all: flow of an ungauged river × {times}, from them"
    attrs = answer["riverflow_quantile"].attrs
    attrs[PROCESSING] = joined_notes(attrs.get(PROCESSING), note)
    return answer


def fit_factor(flow: Float[np.ndarray, "T C"], root: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Factor of the root of predicted flow by least squares on the observed days, with a prior for 1; 1 without such days.

    Args:
        flow: Observed flow, NaN on other days.
        root: Root of the predicted flow.
    """
    is_observed = np.isfinite(flow)
    total = np.cumsum(np.pad(is_observed, ((SHARED_DAYS + 1, SHARED_DAYS), (0, 0))), axis=0)
    weight = is_observed / np.maximum(total[2 * SHARED_DAYS + 1 :] - total[: -2 * SHARED_DAYS - 1], 1)
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


def _root(flow: xr.DataArray, catchments: Int[np.ndarray, " C"]) -> Float[np.ndarray, "*Q T C"]:
    """Root of the flow of some catchments."""
    values = flow.isel(catchment=catchments).transpose(..., "time", "catchment").values
    return np.sqrt(np.maximum(values.astype(np.float64), 0.0))
