"""Example hydrographs of an evaluation: truth and prediction on the days of the period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from hydromae.evaluate.answers import catchment_weather

NSE_QUANTILES = (0.1, 0.5, 0.9)
DIMS = ("example", "time")
FLOW_UNITS = {"units": "mm day-1"}


@dataclass(frozen=True)
class ExampleHydrograph:
    """Prediction of one method for one question and catchment.

    Attributes:
        question, method: Row of the table of scores.
        nse (DataArray ()): NSE, with the coordinate `catchment`.
        mean (DataArray (time)): Flow [mm/day]; NaN on days without a target or a prediction.
        quantiles (DataArray (quantile, time) or None): Quantiles of flow [mm/day], if the method predicts a distribution.
    """

    question: str
    method: str
    nse: xr.DataArray
    mean: xr.DataArray
    quantiles: xr.DataArray | None


def typical_catchments(nse: xr.DataArray) -> list:
    """Catchments at the 10th, 50th and 90th percentile of NSE (catchment), each once; empty without a score."""
    scored = nse.dropna("catchment")
    ranked = scored["catchment"].values[np.argsort(scored.values)]
    return list(dict.fromkeys(ranked[round(rank * (len(ranked) - 1))] for rank in NSE_QUANTILES if len(ranked)))


def example_table(hydrographs: Sequence[ExampleHydrograph], days: xr.Dataset) -> xr.Dataset:
    """Hydrographs as a dataset (example, time), with the truth and the precipitation of the record `days`."""
    result = xr.Dataset(coords={"time": days["time"].values})
    if not hydrographs:
        return result
    catchments = [hydrograph.nse["catchment"].item() for hydrograph in hydrographs]
    labels = {
        "question": [hydrograph.question for hydrograph in hydrographs],
        "method": [hydrograph.method for hydrograph in hydrographs],
        "catchment": catchments,
        "nse": [hydrograph.nse.item() for hydrograph in hydrographs],
    }
    result = result.assign_coords({name: ("example", values) for name, values in labels.items()})
    result["truth"] = _flow_series([days["riverflow"].sel(catchment=catchment) for catchment in catchments])
    result["mean"] = _flow_series([hydrograph.mean for hydrograph in hydrographs])
    rain = catchment_weather(days, "precipitation")
    if np.isfinite(rain).any():
        rain = xr.DataArray(rain, coords={"catchment": days["catchment"].values}, dims=("time", "catchment"))
        result["precipitation"] = _flow_series([rain.sel(catchment=catchment) for catchment in catchments])
    return _with_quantiles(result, hydrographs)


def _flow_series(curves: list[xr.DataArray]) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
    return DIMS, np.stack([curve.values for curve in curves]).astype(np.float32), FLOW_UNITS


def _with_quantiles(table: xr.Dataset, hydrographs: Sequence[ExampleHydrograph]) -> xr.Dataset:
    """The table with `quantile_value` (quantile, example, time); NaN for levels that a method lacks."""
    quantiles = [hydrograph.quantiles for hydrograph in hydrographs]
    levels = np.unique(
        np.concatenate([part["quantile"].values for part in quantiles if part is not None] or [np.empty(0)])
    )
    if levels.size == 0:
        return table
    values = np.full((len(levels), len(quantiles), table.sizes["time"]), np.nan, dtype=np.float32)
    for example, part in enumerate(quantiles):
        if part is not None:
            values[np.searchsorted(levels, part["quantile"].values), example] = part.values
    return table.assign(quantile_value=(("quantile", *DIMS), values, FLOW_UNITS)).assign_coords(quantile=levels)
