"""Regrid maps of HadUK-Grid and CHESS (1 km) to the land cells of a British grid.

CHESS: UKCEH, Robinson et al. 2017, doi:10.5194/hess-21-1189-2017, Open Government Licence; its format follows the
documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Int

from hydromae.datasets import haduk
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.conventions import open_netcdf
from hydromae.io.names import EVAPORATION
from hydromae.io.quantities import to_canonical_units
from hydromae.io.timestamps import check_daily_step
from hydromae.io.value_ranges import check_ranges

CHESS = {
    "precip": "precipitation",
    "tas": "temperature",
    **dict.fromkeys(EVAPORATION, "potential_evaporation"),
}
"""Names in the files -> variables; the first of a variable is the best."""
MIN_OBSERVED_SHARE = 0.5
"""Minimum observed share of the finer cells of a cell."""


def is_chess(names: set[str]) -> bool:
    """Return whether a NetCDF file with these names is CHESS."""
    return bool(names & CHESS.keys()) and {"y", "x"} <= names


def regrid_haduk(path: str | Path, target_grid: TargetGrid) -> xr.Dataset:
    """Read a daily HadUK file: unchanged on its own grid, means of finer cells, or the coarser cell that contains a centre.

    Raises:
        InputError: Another file, other units, or a mask on another grid.
    """
    own = haduk.grid_of_file(path)
    if own.same_cells_as(target_grid.grid):
        return haduk.read_haduk(path, target_grid.land, target_grid.threshold)
    raw = open_netcdf(path)
    name, field = haduk.data_variable(raw, path)
    check_daily_step(haduk.stored_step(raw, path), path)
    values = convert_column(field, name, haduk.AXES, path)
    east, north = (values[axis].values.astype(float) for axis in reversed(haduk.AXES[1:]))
    if own.cell_size < target_grid.grid.cell_size:
        on_cells = _means(values, _containing_cell(target_grid.grid, east, north), target_grid.grid)
    else:
        columns, rows = np.arange(target_grid.grid.columns), np.arange(target_grid.grid.rows) * target_grid.grid.columns
        source_cell = _containing_cell(
            own, target_grid.grid.cell_position(columns)[0], target_grid.grid.cell_position(rows)[1]
        ).ravel()
        flat = values.values.reshape(values.sizes["time"], -1)[:, source_cell]
        on_cells = xr.DataArray(np.where(source_cell < 0, np.nan, flat), {"time": values["time"]}, ("time", "cell"))
    return cells_to_record({name: on_cells}, target_grid, path)


def read_chess(path: str | Path, target_grid: TargetGrid | None = None, variable: str | None = None) -> xr.Dataset:
    """Read a CHESS file `(time, y, x)`, or one variable: means of the 1 km cells with centres in each cell of the grid.

    Raises:
        InputError: Another file, or units that are missing.
    """
    target_grid, raw = target_grid or TargetGrid(), open_netcdf(path)
    cell = _containing_cell(target_grid.grid, raw["x"].values, raw["y"].values)
    on_cells = {}
    for name, column in columns_of_file(raw, CHESS, path, variable).items():
        on_cells[name] = _means(convert_column(raw[column], name, ("time", "y", "x"), path), cell, target_grid.grid)
    return cells_to_record(on_cells, target_grid, path)


def columns_of_file(
    raw: xr.Dataset, variables: Mapping[str, str], path: str | Path, variable: str | None = None
) -> dict[str, str]:
    """Return the variables of a file, each with its best column.

    Args:
        variables: Columns and their variables, the best column of a variable first.
        path: For messages.
        variable: The only requested variable; None is all.

    Raises:
        InputError: The file has none of them.
    """
    columns_by_variable: dict[str, str] = {}
    for column, name in variables.items():
        if column in raw.data_vars and variable in (None, name):
            columns_by_variable.setdefault(name, column)
    if not columns_by_variable:
        available = ", ".join(map(str, raw.data_vars)) or "nothing"
        raise InputError(f"{path}: has {available}; a file has some of {', '.join(variables)}")
    return columns_by_variable


def convert_column(values: xr.DataArray, name: str, dims: tuple[str, ...], path: str | Path) -> xr.DataArray:
    """Return a variable in canonical units with its dimensions in this order; refuse other dimensions."""
    if set(values.dims) != set(dims) or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {values.name} is {values.dtype} {values.dims}; needs numbers {dims}")
    if not values.sizes["time"] or not np.issubdtype(values["time"].dtype, np.datetime64):
        raise InputError(f"{path}: time is {values['time'].dtype}[{values.sizes['time']}]; needs at least one date")
    converted = to_canonical_units(values.transpose(*dims), name, str(path))
    return check_ranges(converted.to_dataset(name=name), str(path))[name]


def _containing_cell(grid: GridSpec, east: np.ndarray, north: np.ndarray) -> Int[np.ndarray, "Y X"]:
    """Return the flat number of the cell that contains each finer centre, −1 outside."""
    column = np.floor((east - grid.easting) / grid.cell_size + 0.5).astype(np.int64)
    row = np.floor((north - grid.northing) / grid.cell_size + 0.5).astype(np.int64)
    inside = ((row >= 0) & (row < grid.rows))[:, None] & ((column >= 0) & (column < grid.columns))[None]
    return np.where(inside, row[:, None] * grid.columns + column[None], -1)


def _means(values: xr.DataArray, cell: Int[np.ndarray, "Y X"], grid: GridSpec) -> xr.DataArray:
    """Return the mean of the finer cells in each cell, NaN if fewer than half of them are observed."""
    flat, size = cell.ravel(), grid.rows * grid.columns
    is_inside = flat >= 0
    cell_count = np.bincount(flat[is_inside], minlength=size)
    out = np.full((values.sizes["time"], size), np.nan, np.float32)
    for day in range(values.sizes["time"]):
        fine = values.isel(time=day).values.ravel()
        is_observed = is_inside & np.isfinite(fine)
        count = np.bincount(flat[is_observed], minlength=size)
        total = np.bincount(flat[is_observed], weights=fine[is_observed].astype(np.float64), minlength=size)
        has_enough = (count > 0) & (count >= MIN_OBSERVED_SHARE * cell_count)
        out[day, has_enough] = total[has_enough] / count[has_enough]
    return xr.DataArray(out, {"time": values["time"]}, ("time", "cell"))


def cells_to_record(on_cells: Mapping[str, xr.DataArray], target_grid: TargetGrid, path: str | Path) -> xr.Dataset:
    """Return a record of variables on all cells (time, cell), restricted to the land cells."""
    cell = target_grid.cells(next(iter(on_cells.values())).values[0], path)
    records = [
        target_grid.record(values.isel(cell=cell).rename(name), cell, f"{name.replace('_', ' ')}, regridded", path)
        for name, values in on_cells.items()
    ]
    return records[0] if len(records) == 1 else xr.merge(records, "override", "outer", combine_attrs="override")
