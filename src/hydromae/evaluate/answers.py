"""What all baselines share: how flow is read, and how an answer is handed back, each value saying what it is."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.io.origin import origin_of

LOG_OFFSET = 0.01
DONOR_CANDIDATES = 40
"""Catchments among which the donors of a day are chosen."""
SCORED_LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Levels of the quantiles of every scored distribution: the precision of CRPS depends on their number."""


def with_predictions(dataset: xr.Dataset, flow: Float[np.ndarray, "T C"]) -> xr.Dataset:
    """The dataset with every NaN of `riverflow` replaced by `flow` [mm/day], and `riverflow_origin` beside it.

    Observed values come back as they were. A NaN of `flow` stays NaN: the method could not answer.
    """
    input_flow = dataset["riverflow"].transpose("time", "catchment")
    observed = np.isfinite(input_flow.values)
    values = np.where(observed, input_flow.values, flow.astype(input_flow.dtype))
    return dataset.assign(riverflow=input_flow.copy(data=values), riverflow_origin=origin_of(observed))


def river_flow(dataset: xr.Dataset) -> Float[np.ndarray, "T C"]:
    """`riverflow` [mm/day], days by catchments, in double precision."""
    return dataset["riverflow"].transpose("time", "catchment").values.astype(np.float64)


def log_flow(flow: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """ln(flow + 0.01) of flow in mm/day, NaN where flow is NaN."""
    return np.log(np.maximum(flow, 0.0) + LOG_OFFSET)


def flow_of_log(logs: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """Flow [mm/day] whose `log_flow` is given, never negative."""
    return np.maximum(np.exp(logs) - LOG_OFFSET, 0.0)


def first_available(available: Bool[np.ndarray, "T K"], count: int) -> Bool[np.ndarray, "T K"]:
    """The first `count` available columns of each row: True where a column is among them."""
    return available & (np.cumsum(available, axis=1) <= count)
