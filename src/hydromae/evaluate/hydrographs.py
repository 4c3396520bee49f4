"""Hydrographs that a report shows beside the scores: truth and answer over the days of the period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

NSE_QUANTILES = (0.1, 0.5, 0.9)
DIMS = ("example", "time")
FLOW_UNITS = {"units": "mm day-1"}


@dataclass(frozen=True)
class ExampleHydrograph:
    """The answer of one method to one row of the table of scores, for one catchment.

    Attributes:
        question, method: Row of the table of scores, and who answered.
        nse (DataArray ()): Its score, with the coordinate `catchment`.
        mean (DataArray (time)): Flow [mm/day]; NaN on days that were not asked for or not answered.
        quantiles (DataArray (quantile, time) or None): Quantiles of flow [mm/day], where the method gives a distribution.
    """

    question: str
    method: str
    nse: xr.DataArray
    mean: xr.DataArray
    quantiles: xr.DataArray | None


def typical_catchments(nse: xr.DataArray) -> list:
    """Catchments at the 10th, 50th and 90th percentile of NSE (catchment), each once; none where nothing is scored."""
    scored = nse.dropna("catchment")
    ranked = scored["catchment"].values[np.argsort(scored.values)]
    return list(dict.fromkeys(ranked[round(rank * (len(ranked) - 1))] for rank in NSE_QUANTILES if len(ranked)))


def example_table(hydrographs: Sequence[ExampleHydrograph], days: xr.Dataset) -> xr.Dataset:
    """Hydrographs side by side as (example, time), with the truth and the precipitation of the record `days`."""
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
    result["truth"] = _flow_series([days["riverflow"].sel(catchment=one) for one in catchments])
    result["mean"] = _flow_series([hydrograph.mean for hydrograph in hydrographs])
    if "precipitation" in days and "catchment" in days["precipitation"].dims:
        result["precipitation"] = _flow_series([days["precipitation"].sel(catchment=one) for one in catchments])
    return _with_quantiles(result, hydrographs)


def _flow_series(curves: list[xr.DataArray]) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
    """Series of one quantity in mm/day, one example a row."""
    return DIMS, np.stack([curve.values for curve in curves]).astype(np.float32), FLOW_UNITS


def _with_quantiles(table: xr.Dataset, hydrographs: Sequence[ExampleHydrograph]) -> xr.Dataset:
    """The table with `quantile_value` (quantile, example, time), NaN where a method lacks a level."""
    quantiles = [hydrograph.quantiles for hydrograph in hydrographs]
    levels = np.unique(
        np.concatenate([one["quantile"].values for one in quantiles if one is not None] or [np.empty(0)])
    )
    if levels.size == 0:
        return table
    values = np.full((len(levels), len(quantiles), table.sizes["time"]), np.nan, dtype=np.float32)
    for example, one in enumerate(quantiles):
        if one is not None:
            values[np.searchsorted(levels, one["quantile"].values), example] = one.values
    return table.assign(quantile_value=(("quantile", *DIMS), values, FLOW_UNITS)).assign_coords(quantile=levels)
