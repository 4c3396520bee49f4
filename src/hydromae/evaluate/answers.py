"""Functions of all baselines: flow and weather of a dataset, the logarithm of flow, and the dataset with predictions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batching.shared_arrays import series_name
from hydromae.io.origin import origin_of

LOG_OFFSET = 0.01
DONOR_CANDIDATES = 40
"""Catchments among which the donors of a day are chosen."""
SCORED_LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Levels of the quantiles of every scored distribution: the precision of CRPS depends on their number."""


def with_predictions(dataset: xr.Dataset, flow: Float[np.ndarray, "T C"]) -> xr.Dataset:
    """The dataset with every NaN of `riverflow` replaced by `flow` [mm/day] (NaN: no prediction), and `riverflow_origin`."""
    input_flow = dataset["riverflow"].transpose("time", "catchment")
    observed = np.isfinite(input_flow.values)
    values = np.where(observed, input_flow.values, flow.astype(input_flow.dtype))
    return dataset.assign(riverflow=input_flow.copy(data=values), riverflow_origin=origin_of(observed))


def river_flow(dataset: xr.Dataset) -> Float[np.ndarray, "T C"]:
    """`riverflow` [mm/day] in double precision."""
    return dataset["riverflow"].transpose("time", "catchment").values.astype(np.float64)


def catchment_weather(record: xr.Dataset, variable: str) -> Float[np.ndarray, "T C"]:
    """Series of a weather variable at the catchments, in double precision; NaN if the record has none.

    In a record with maps of the variable it has another name (`variables.SERIES_BESIDE_MAPS`).
    """
    name = series_name(record, variable)
    if name in record and set(record[name].dims) == {"time", "catchment"}:
        return record[name].transpose("time", "catchment").values.astype(np.float64)
    return np.full((record.sizes["time"], record.sizes["catchment"]), np.nan)


def log_flow(flow: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """ln(flow + 0.01) of flow [mm/day]; NaN where flow is NaN."""
    return np.log(np.maximum(flow, 0.0) + LOG_OFFSET)


def flow_of_log(logs: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """Inverse of `log_flow`: flow [mm/day], not negative."""
    return np.maximum(np.exp(logs) - LOG_OFFSET, 0.0)


def first_available(available: Bool[np.ndarray, "T K"], count: int) -> Bool[np.ndarray, "T K"]:
    """True for the first `count` available columns of each row."""
    return available & (np.cumsum(available, axis=1) <= count)
