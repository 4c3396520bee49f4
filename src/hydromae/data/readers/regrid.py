"""Maps on grids of their own, brought to the land cells of a British grid: HadUK, CHESS (1 km), ERA5-Land (0.1 degrees).

CHESS: UKCEH, Robinson et al. 2017, doi:10.5194/hess-21-1189-2017, Open Government Licence. ERA5-Land: Muñoz-Sabater et al.
2021, doi:10.5194/essd-13-4349-2021, Copernicus licence. What is said of their files is from documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Int
from pyproj import Transformer

from hydromae.data.readers import haduk, units
from hydromae.data.readers.onto import Onto
from hydromae.data.readers.record import observed_only, open_file
from hydromae.errors import InputError
from hydromae.grid import GridSpec

CHESS = {
    "precip": "precipitation",
    "tas": "temperature",
    "pet": "potential_evaporation",
    "peti": "potential_evaporation",
}
ERA5_LAND = {"tp": "precipitation", "t2m": "temperature", "pev": "potential_evaporation", "swvl1": "soil_moisture"}
"""Names of the files' variables; of ERA5-Land's four layers of soil the first, to 7 cm, is taken."""
ACCUMULATED = ("tp", "pev")
"""What ERA5-Land sums up from midnight to each hour."""
LEAST_SEEN = 0.5
"""Share of a cell's finer cells that must be observed."""


def is_chess(names: set[str]) -> bool:
    """Whether a NetCDF file with these names is of CHESS."""
    return bool(names & CHESS.keys()) and {"y", "x"} <= names


def is_era5_land(names: set[str]) -> bool:
    """Whether a NetCDF file with these names is of ERA5-Land."""
    return bool(names & ERA5_LAND.keys()) and {"latitude", "longitude"} <= names


def read_haduk(path: str | Path, onto: Onto) -> xr.Dataset:
    """A HadUK file of days: as it is on its own grid; means of finer cells; of coarser ones the cell that holds a centre.

    Raises
    ------
    InputError
        Another file, other units, or a mask on another grid.
    """
    own = haduk.grid_of_file(path)
    if own.lies_as(onto.grid):
        return haduk.read(path, onto.land, onto.threshold)
    name, field = haduk.field(open_file(path), path)
    values = _converted(field, name, haduk.AXES, path)
    east, north = (values[axis].values.astype(float) for axis in reversed(haduk.AXES[1:]))
    if own.cell_size < onto.grid.cell_size:
        laid = _means(values, _containing(onto.grid, east, north), onto.grid)
    else:
        columns, rows = np.arange(onto.grid.columns), np.arange(onto.grid.rows) * onto.grid.columns
        within = _containing(own, onto.grid.cell_position(columns)[0], onto.grid.cell_position(rows)[1]).ravel()
        flat = values.values.reshape(values.sizes["time"], -1)[:, within]
        laid = xr.DataArray(np.where(within < 0, np.nan, flat), {"time": values["time"]}, ("time", "cell"))
    return _record(laid, name, onto, path)


def read_chess(path: str | Path, onto: Onto | None = None) -> xr.Dataset:
    """A CHESS file `(time, y, x)`: means of the 1 km cells whose centres lie in each cell of the grid.

    Raises
    ------
    InputError
        Another file, or units that are missing.
    """
    onto, raw = onto or Onto(), open_file(path)
    column, name = column_of(raw, CHESS, path)
    values = _converted(raw[column], name, ("time", "y", "x"), path)
    cell = _containing(onto.grid, raw["x"].values, raw["y"].values)
    return _record(_means(values, cell, onto.grid), name, onto, path)


def read_era5_land(path: str | Path, onto: Onto | None = None) -> xr.Dataset:
    """An ERA5-Land file `(time, latitude, longitude)`, hourly or daily: bilinear at the centres of the grid's cells.

    What falls and evaporates is accumulated from midnight to each hour [m], so the sum of a day stands at the midnight
    after it; evaporation is negative there. Temperature and soil moisture are means of the day's hours.

    Raises
    ------
    InputError
        Another file, units that are missing, or hours that do not tell a day's sum.
    """
    onto, raw = onto or Onto(), open_file(path)
    if "valid_time" in raw.dims:
        raw = raw.drop_vars("time", errors="ignore").rename({"valid_time": "time"})
    column, name = column_of(raw, ERA5_LAND, path)
    held = raw[column].drop_vars([n for n in raw[column].coords if n not in raw[column].dims])
    values = daily_of(held, column in ACCUMULATED, path)
    values = -values if column == "pev" else values
    values = _converted(values.assign_attrs(raw[column].attrs), name, ("time", "latitude", "longitude"), path)
    east, north = onto.grid.cell_position(np.arange(onto.grid.rows * onto.grid.columns))
    longitude, latitude = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    at = {"latitude": ("cell", np.asarray(latitude)), "longitude": ("cell", np.asarray(longitude))}
    laid = values.sortby(["latitude", "longitude"]).interp(at, method="linear")
    held = xr.DataArray(laid.transpose("time", "cell").values, {"time": values["time"]}, ("time", "cell"))
    return _record(held, name, onto, path)


def column_of(raw: xr.Dataset, known: Mapping[str, str], path: str | Path) -> tuple[str, str]:
    """The one variable of a file that is known, by its name there and by ours."""
    there = [column for column in known if column in raw.data_vars]
    if len(there) != 1:
        held = ", ".join(map(str, raw.data_vars)) or "nothing"
        raise InputError(f"{path}: holds {held}; one file has one of {', '.join(known)}")
    return there[0], known[there[0]]


def _converted(values: xr.DataArray, name: str, dims: tuple[str, ...], path: str | Path) -> xr.DataArray:
    if set(values.dims) != set(dims) or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {values.name} is {values.dtype} {values.dims}; needs numbers {dims}")
    if not values.sizes["time"] or not np.issubdtype(values["time"].dtype, np.datetime64):
        raise InputError(f"{path}: time is {values['time'].dtype}[{values.sizes['time']}]; needs at least one date")
    plain = observed_only(values.transpose(*dims))
    return units.convert(plain, name, values.attrs.get("units"), str(path))


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


def daily_of(values: xr.DataArray, accumulated: bool, path: str | Path) -> xr.DataArray:
    """Means of a day's hours, where at least half of them are there; or the sum of a day, at the midnight after it."""
    if "time" not in values.dims or not np.issubdtype(values["time"].dtype, np.datetime64):
        raise InputError(f"{path}: there is no time in it; an ERA5-Land map has dates")
    hours = values["time"].dt.hour.values
    if not accumulated:
        days = values["time"].dt.floor("D")
        _, place, hours_of = np.unique(days.values, return_inverse=True, return_counts=True)
        whole = 2 * hours_of[place] >= hours_of.max()
        return values.isel(time=np.flatnonzero(whole)).resample(time="1D").mean()
    if not (hours == 0).any():
        raise InputError(f"{path}: no value at 00:00, where the sum of the day before stands; download that hour, too")
    ends = values.isel(time=np.flatnonzero(hours == 0))
    return ends.assign_coords(time=ends["time"].values - np.timedelta64(1, "D"))


def _record(laid: xr.DataArray, name: str, onto: Onto, path: str | Path) -> xr.Dataset:
    """What lies on all cells (time, cell) of the grid, on those that are kept."""
    cell = onto.cells(laid.values[0], path)
    return onto.record(laid.isel(cell=cell).rename(name), cell, f"{name.replace('_', ' ')}, regridded", path)
