"""The maps of a day: patches taken away, and what the model puts back."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from hydromae.errors import InputError
from hydromae.explore.requests import MapDay
from hydromae.explore.session import Country, rounded
from hydromae.grid import GridSpec


def map_day(country: Country, asked: MapDay) -> dict[str, Any]:
    """A map of one day, with a share of its land patches hidden from the model and restored by it.

    Returns:
        dict: `rows`, `columns` of the smallest frame that holds all cells, `row` (southward) and `column` of each; `truth`,
            and `restored`, null outside the hidden patches; `hidden`, the corners of the patches [row, column]; `error`, the
            mean absolute error over the hidden cells, beside `spread`, that of the day's own mean over the visible cells.

    Raises:
        InputError: The store has no such map, or no such day.
    """
    began = time.perf_counter()
    if country.maps is None or asked.variable not in country.maps:
        have = ", ".join(map(str, country.maps.data_vars)) if country.maps is not None else "none"
        raise InputError(f"map {asked.variable[:40]!r} is not among those of the store that the model reads: {have}")
    day, _ = country.span(asked.day, asked.day)
    grid = country.model.grid or GridSpec()
    length = country.model.config.data.sequence_length
    first = max(0, min(day - length // 2, len(country.days) - length))
    part = country.cut(0, slice(first, first + length), None)
    patches = taken_patches(grid, part["cell"].values, asked.share, asked.draw)
    patch, _ = grid.patch_of(part["cell"].values)
    gone = np.isin(patch, patches)
    truth = part[asked.variable].values[day - first]
    restored = country.model.predict(without(part, asked.variable, day - first, gone))[asked.variable].values
    return {
        "variable": asked.variable,
        "units": str(part[asked.variable].attrs["units"]),
        "day": asked.day.isoformat(),
        **_frame(grid, part["cell"].values, patches),
        "truth": rounded(truth, 3),
        "restored": rounded(np.where(gone, restored[day - first], np.nan), 3),
        "error": _mean(np.abs(restored[day - first] - truth)[gone]),
        "spread": _mean(np.abs(np.nanmean(truth[~gone]) - truth)[gone]),
        "seconds": round(time.perf_counter() - began, 2),
    }


def taken_patches(grid: GridSpec, cells: Int[np.ndarray, " N"], share: float, draw: int) -> Int[np.ndarray, " P"]:
    """Flat numbers of the land patches that are hidden: a share of them, at least one and not all, drawn by number."""
    land = np.zeros(grid.shape, dtype=bool)
    land.ravel()[cells] = True
    patches = grid.land_patches(land)
    count = min(max(1, round(share * len(patches))), max(1, len(patches) - 1))
    return np.sort(np.random.default_rng(draw).permutation(patches)[:count])


def without(part: xr.Dataset, variable: str, day: int, gone: Bool[np.ndarray, " N"]) -> xr.Dataset:
    """Cells of one map become NaN on one day."""
    values = part[variable].values.copy()
    values[day, gone] = np.nan
    return part.assign({variable: part[variable].copy(data=values)})


def _frame(grid: GridSpec, cells: Int[np.ndarray, " N"], patches: Int[np.ndarray, " P"]) -> dict[str, Any]:
    """Rows count southward, from the northernmost cell; columns eastward, from the westernmost."""
    row, column = np.divmod(cells, grid.columns)
    high, wide = np.divmod(patches, grid.patch_shape[1])
    north, west = int(row.max()), int(column.min())
    corner = np.stack([north - (high + 1) * grid.patch + 1, wide * grid.patch - west], axis=-1)
    return {
        "rows": north - int(row.min()) + 1,
        "columns": int(column.max()) - west + 1,
        "patch": grid.patch,
        "row": (north - row).tolist(),
        "column": (column - west).tolist(),
        "hidden": corner.tolist(),
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 4) if len(known) else None
