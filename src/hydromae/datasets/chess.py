"""Maps on grids of their own, brought to the land cells of a British grid: HadUK, and CHESS (1 km).

CHESS: UKCEH, Robinson et al. 2017, doi:10.5194/hess-21-1189-2017, Open Government Licence. What is said of its files is
from documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Int

from hydromae.datasets import haduk
from hydromae.datasets.target_grid import Onto
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.conventions import open_file
from hydromae.io.names import EVAPORATION
from hydromae.io.quantities import quantity
from hydromae.io.timestamps import refuse_step
from hydromae.io.value_ranges import in_range

CHESS = {
    "precip": "precipitation",
    "tas": "temperature",
    **dict.fromkeys(EVAPORATION, "potential_evaporation"),
}
"""Names of the files' variables, of one variable the best one first."""
LEAST_SEEN = 0.5
"""Share of a cell's finer cells that must be observed."""


def is_chess(names: set[str]) -> bool:
    """Whether a NetCDF file with these names is of CHESS."""
    return bool(names & CHESS.keys()) and {"y", "x"} <= names


def read_haduk(path: str | Path, onto: Onto) -> xr.Dataset:
    """A HadUK file of days: as it is on its own grid; means of finer cells; of coarser ones the cell that holds a centre.

    Raises:
        InputError: Another file, other units, or a mask on another grid.
    """
    own = haduk.grid_of_file(path)
    if own.lies_as(onto.grid):
        return haduk.read(path, onto.land, onto.threshold)
    raw = open_file(path)
    name, field = haduk.field(raw, path)
    refuse_step(haduk.step(raw, path), path)
    values = converted(field, name, haduk.AXES, path)
    east, north = (values[axis].values.astype(float) for axis in reversed(haduk.AXES[1:]))
    if own.cell_size < onto.grid.cell_size:
        laid = _means(values, _containing(onto.grid, east, north), onto.grid)
    else:
        columns, rows = np.arange(onto.grid.columns), np.arange(onto.grid.rows) * onto.grid.columns
        within = _containing(own, onto.grid.cell_position(columns)[0], onto.grid.cell_position(rows)[1]).ravel()
        flat = values.values.reshape(values.sizes["time"], -1)[:, within]
        laid = xr.DataArray(np.where(within < 0, np.nan, flat), {"time": values["time"]}, ("time", "cell"))
    return record_of({name: laid}, onto, path)


def read_chess(path: str | Path, onto: Onto | None = None, variable: str | None = None) -> xr.Dataset:
    """A CHESS file `(time, y, x)`, or one variable of it: means of the 1 km cells whose centres lie in each cell of the grid.

    Raises:
        InputError: Another file, or units that are missing.
    """
    onto, raw = onto or Onto(), open_file(path)
    cell = _containing(onto.grid, raw["x"].values, raw["y"].values)
    laid = {}
    for name, column in columns_in(raw, CHESS, path, variable).items():
        laid[name] = _means(converted(raw[column], name, ("time", "y", "x"), path), cell, onto.grid)
    return record_of(laid, onto, path)


def columns_in(
    raw: xr.Dataset, known: Mapping[str, str], path: str | Path, variable: str | None = None
) -> dict[str, str]:
    """Variables that a file holds, each with its column there.

    Args:
        known: Columns and their variables, of one variable the best column first.
        path: For the message.
        variable: The only one that is asked for.

    Raises:
        InputError: None of them.
    """
    found: dict[str, str] = {}
    for column, name in known.items():
        if column in raw.data_vars and variable in (None, name):
            found.setdefault(name, column)
    if not found:
        held = ", ".join(map(str, raw.data_vars)) or "nothing"
        raise InputError(f"{path}: holds {held}; one file has some of {', '.join(known)}")
    return found


def converted(values: xr.DataArray, name: str, dims: tuple[str, ...], path: str | Path) -> xr.DataArray:
    """Values of a variable in canonical units, its dimensions in this order; other shapes are refused."""
    if set(values.dims) != set(dims) or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {values.name} is {values.dtype} {values.dims}; needs numbers {dims}")
    if not values.sizes["time"] or not np.issubdtype(values["time"].dtype, np.datetime64):
        raise InputError(f"{path}: time is {values['time'].dtype}[{values.sizes['time']}]; needs at least one date")
    held = quantity(values.transpose(*dims), name, str(path))
    return in_range(held.to_dataset(name=name), str(path))[name]


def _containing(grid: GridSpec, east: np.ndarray, north: np.ndarray) -> Int[np.ndarray, "Y X"]:
    """Flat number of the cell that holds each finer centre, −1 outside."""
    column = np.floor((east - grid.easting) / grid.cell_size + 0.5).astype(np.int64)
    row = np.floor((north - grid.northing) / grid.cell_size + 0.5).astype(np.int64)
    inside = ((row >= 0) & (row < grid.rows))[:, None] & ((column >= 0) & (column < grid.columns))[None]
    return np.where(inside, row[:, None] * grid.columns + column[None], -1)


def _means(values: xr.DataArray, cell: Int[np.ndarray, "Y X"], grid: GridSpec) -> xr.DataArray:
    """Mean of the finer cells in each cell, NaN where fewer than half of them are observed; a day at a time."""
    flat, size = cell.ravel(), grid.rows * grid.columns
    used = flat >= 0
    whole = np.bincount(flat[used], minlength=size)
    out = np.full((values.sizes["time"], size), np.nan, np.float32)
    for day in range(values.sizes["time"]):
        fine = values.isel(time=day).values.ravel()
        seen = used & np.isfinite(fine)
        count = np.bincount(flat[seen], minlength=size)
        total = np.bincount(flat[seen], weights=fine[seen].astype(np.float64), minlength=size)
        enough = (count > 0) & (count >= LEAST_SEEN * whole)
        out[day, enough] = total[enough] / count[enough]
    return xr.DataArray(out, {"time": values["time"]}, ("time", "cell"))


def record_of(laid: Mapping[str, xr.DataArray], onto: Onto, path: str | Path) -> xr.Dataset:
    """What lies on all cells (time, cell) of the grid, by variable, on those that are kept: those of the first one."""
    cell = onto.cells(next(iter(laid.values())).values[0], path)
    records = [
        onto.record(values.isel(cell=cell).rename(name), cell, f"{name.replace('_', ' ')}, regridded", path)
        for name, values in laid.items()
    ]
    return records[0] if len(records) == 1 else xr.merge(records, "override", "outer", combine_attrs="override")
