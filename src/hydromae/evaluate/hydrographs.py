"""Hydrographs that a report shows beside the scores: truth and answer over the days of the period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

RANKS = (0.1, 0.5, 0.9)
DIMS = ("example", "time")
FLOW_UNITS = {"units": "mm day-1"}


@dataclass(frozen=True)
class Hydrograph:
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


def typical(nse: xr.DataArray) -> list:
    """Catchments at the 10th, 50th and 90th percentile of NSE (catchment), each once; none where nothing is scored."""
    known = nse.dropna("catchment")
    ranked = known["catchment"].values[np.argsort(known.values)]
    return list(dict.fromkeys(ranked[round(rank * (len(ranked) - 1))] for rank in RANKS if len(ranked)))


def example_table(hydrographs: Sequence[Hydrograph], days: xr.Dataset) -> xr.Dataset:
    """Hydrographs side by side as (example, time), with the truth and the precipitation of the record `days`."""
    result = xr.Dataset(coords={"time": days["time"].values})
    if not hydrographs:
        return result
    catchments = [each.nse["catchment"].item() for each in hydrographs]
    labels = {
        "question": [each.question for each in hydrographs],
        "method": [each.method for each in hydrographs],
        "catchment": catchments,
        "nse": [each.nse.item() for each in hydrographs],
    }
    result = result.assign_coords({name: ("example", values) for name, values in labels.items()})
    result["truth"] = _curves([days["riverflow"].sel(catchment=one) for one in catchments])
    result["mean"] = _curves([each.mean for each in hydrographs])
    if "precipitation" in days and "catchment" in days["precipitation"].dims:
        result["precipitation"] = _curves([days["precipitation"].sel(catchment=one) for one in catchments])
    return _with_quantiles(result, hydrographs)


def _curves(each: list[xr.DataArray]) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
    """Series of one quantity in mm/day, one example a row."""
    return DIMS, np.stack([curve.values for curve in each]).astype(np.float32), FLOW_UNITS


def _with_quantiles(table: xr.Dataset, hydrographs: Sequence[Hydrograph]) -> xr.Dataset:
    """The table with `quantile_value` (quantile, example, time), NaN where a method lacks a level."""
    given = [each.quantiles for each in hydrographs]
    levels = np.unique(np.concatenate([one["quantile"].values for one in given if one is not None] or [np.empty(0)]))
    if levels.size == 0:
        return table
    values = np.full((len(levels), len(given), table.sizes["time"]), np.nan, dtype=np.float32)
    for example, one in enumerate(given):
        if one is not None:
            values[np.searchsorted(levels, one["quantile"].values), example] = one.values
    return table.assign(quantile_value=(("quantile", *DIMS), values, FLOW_UNITS)).assign_coords(quantile=levels)
