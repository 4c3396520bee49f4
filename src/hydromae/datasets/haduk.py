"""HadUK-Grid: maps of rain and temperature of the United Kingdom, daily or monthly, at 1, 5, 12, … km.

Source: Met Office, Hollis et al. 2019, doi:10.1002/gdj3.78, Open Government Licence.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.datasets.land import grid_of_axes
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.conventions import open_netcdf
from hydromae.io.quantities import to_canonical_units
from hydromae.io.timestamps import check_daily_step, dataset_step

VARIABLE_NAMES = {"rainfall": "precipitation", "tas": "temperature"}
STEP_IN_NAME = re.compile(r"(?:^|_)((?:day|mon|seas|ann)(?:-\d+y)?)(?=_|$)", re.ASCII)
"""The step in the name of a file: `rainfall_hadukgrid_uk_5km_mon_202301-202312`."""
AXES = ("time", "projection_y_coordinate", "projection_x_coordinate")


def grid_of_file(path: str | Path) -> GridSpec:
    """Return the grid of a HadUK file from its projection coordinates."""
    with open_netcdf(path) as raw:
        return _grid(_data_variable(raw, path)[1], path)


def read_haduk(path: str | Path, land: xr.DataArray | None = None, threshold: float = 0.05) -> xr.Dataset:
    """Read the maps of one file on land cells.

    Args:
        path: HadUK NetCDF with `rainfall` [mm] or `tas` [°C] `(time, projection_y_coordinate, projection_x_coordinate)`.
            Daily maps get a daily axis (noon becomes the date); monthly rain is divided by the days of the month.
        land (DataArray (row, column), optional): Share of land (`read_land_fraction`) on the same grid; default the cells
            that the first map observes.
        threshold: Minimum share of land of a cell.

    Returns:
        Dataset: `precipitation` [mm/day] or `temperature` [°C] `(time, cell)`, float32, with the coordinates of
            `land.cell_coordinates`.

    Raises:
        InputError: Another file, other dimensions, other units, or a mask on another grid.
    """
    raw = open_netcdf(path)
    name, values = data_variable(raw, path)
    target_grid = TargetGrid(_grid(values, path), land, threshold)
    flat = values.stack(cell=AXES[1:], create_index=False)
    cell = target_grid.cells(flat.isel(time=0).values, path)
    flat = to_canonical_units(flat.isel(cell=cell).drop_vars(AXES[1:], errors="ignore"), name, str(path))
    content = stored_step(raw, path)
    monthly = content.startswith("monthly")
    check_daily_step(None if monthly else content, path)
    if monthly and name == "precipitation":
        flat = flat / flat["time"].dt.days_in_month
    return target_grid.record(flat.rename(name), cell, f"{raw.attrs.get('source', 'HadUK-Grid')} {name}", path, monthly)


def stored_step(raw: xr.Dataset, path: str | Path) -> str:
    """Return "" for daily maps, else the step (`monthly values`), from times, attributes, bounds and name.

    Raises:
        InputError: No dates, or an unknown step of a single map.
    """
    _refuse_no_dates(raw, path)
    name_match = STEP_IN_NAME.search(Path(path).stem)
    present = dataset_step(raw, "" if name_match is None else name_match.group(1))
    if present is None:
        raise InputError(
            f"{path}: does not state whether its one map is of a day, a month or a year; add the attribute frequency "
            "(day), or download daily maps"
        )
    return present


def read_days(path: str | Path) -> xr.Dataset:
    """Read daily maps; refuse other steps."""
    with open_netcdf(path, whole=False) as raw:
        _data_variable(raw, path)
        check_daily_step(stored_step(raw, path), path)
    return read_haduk(path)


def data_variable(raw: xr.Dataset, path: str | Path) -> tuple[str, xr.DataArray]:
    """Return the variable of an opened file and its values (time, northward, eastward).

    Raises:
        InputError: No dates, or no map of HadUK.
    """
    _refuse_no_dates(raw, path)
    return _data_variable(raw, path)


def _refuse_no_dates(raw: xr.Dataset, path: str | Path) -> None:
    if "time" in raw.dims and not (raw.sizes["time"] and np.issubdtype(raw["time"].dtype, np.datetime64)):
        raise InputError(f"{path}: time is {raw['time'].dtype}[{raw.sizes['time']}]; a HadUK map has at least one date")


def _data_variable(raw: xr.Dataset, path: str | Path) -> tuple[str, xr.DataArray]:
    present = [name for name in VARIABLE_NAMES if name in raw.data_vars]
    if not present:
        content = ", ".join(map(str, raw.data_vars)) or "nothing"
        raise InputError(f"{path}: no rainfall or tas in it (it holds {content}); give a HadUK-Grid file")
    values = raw[present[0]]
    if set(values.dims) != set(AXES):
        raise InputError(f"{path}: {present[0]} has dimensions {values.dims}; a HadUK map has {AXES}")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {present[0]} is of type {values.dtype}; a HadUK map holds numbers")
    return VARIABLE_NAMES[present[0]], values.transpose(*AXES)


def _grid(values: xr.DataArray, path: str | Path) -> GridSpec:
    for axis in AXES[1:]:
        if axis not in values.coords or values[axis].dtype.kind not in "iuf":
            raise InputError(f"{path}: {axis} holds no numbers; a HadUK map has the positions of its cells there")
    north, east = (values[axis].values.astype(float) for axis in AXES[1:])
    return grid_of_axes(east, north, str(path))
