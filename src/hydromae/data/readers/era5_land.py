"""ERA5-Land: maps of hours on 0.1 degrees, one file with one variable or several; and the days that its hours tell.

Muñoz-Sabater et al. 2021, doi:10.5194/essd-13-4349-2021, Copernicus licence. What is said of its files is from
documentation; hourly amounts, as ERA5 has them, are told apart by what the values do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int
from pyproj import Transformer

from hydromae.data.readers import regrid
from hydromae.data.readers.onto import Onto
from hydromae.data.readers.record import observed_only, open_file
from hydromae.errors import InputError

COLUMNS = {"tp": "precipitation", "t2m": "temperature", "pev": "potential_evaporation", "swvl1": "soil_moisture"}
"""Names of the files' variables; of the four layers of soil the first, to 7 cm, is taken."""
ACCUMULATED = ("tp", "pev")
"""What ERA5-Land sums up from midnight to each hour."""
DIMS = ("time", "latitude", "longitude")
SAMPLE = 744
"""Hours that are looked at, at a time, to tell sums from hourly amounts: a month."""
MOST_FALL, LEAST_FALL = 0.2, 0.5
"""What falls within days as a share of what rises: less than the first in sums since midnight, more in hourly amounts."""
HOURS = 24


def is_one(names: set[str]) -> bool:
    """Whether a NetCDF file with these names is of ERA5-Land."""
    return bool(names & COLUMNS.keys()) and {"latitude", "longitude"} <= names


@dataclass(frozen=True)
class Hours:
    """Which hours of a file tell which days, and how.

    Attributes
    ----------
    rows : int array (H,)
        Hours that are used.
    days : DatetimeIndex (H,)
        The day that each belongs to.
    way : {"mean", "sum"}
        How the hours of a day become its value.
    """

    rows: Int[np.ndarray, " H"]
    days: pd.DatetimeIndex
    way: Literal["mean", "sum"]

    def of(self, values: xr.DataArray) -> xr.DataArray:
        """Values of days (time, …) from those of hours."""
        grouped = values.isel(time=self.rows).assign_coords(time=self.days).groupby("time")
        return grouped.mean() if self.way == "mean" else grouped.sum(skipna=False)


def opened(path: str | Path, whole: bool = True) -> xr.Dataset:
    """A file of ERA5-Land, its hours named `time`."""
    raw = open_file(path, whole)
    if "valid_time" in raw.dims:
        raw = raw.drop_vars("time", errors="ignore").rename({"valid_time": "time"})
    return raw


def read(path: str | Path, onto: Onto | None = None, variable: str | None = None) -> xr.Dataset:
    """Maps of a file `(time, latitude, longitude)`, hourly or daily: bilinear at the centres of the grid's cells.

    What falls and evaporates is accumulated from midnight to each hour [m], so the sum of a day stands at the midnight
    after it; evaporation is negative there. Temperature and soil moisture are means of the day's hours.

    Parameters
    ----------
    path : path
    onto : Onto, optional
        The grid and its land.
    variable : str, optional
        The one variable to read; default all that the file holds.

    Raises
    ------
    InputError
        Another file, units that are missing, or hours that do not tell a day's sum.
    """
    onto, raw = onto or Onto(), opened(path)
    laid = {}
    for name, column in regrid.columns_in(raw, COLUMNS, path, variable).items():
        held = raw[column].drop_vars([n for n in raw[column].coords if n not in raw[column].dims])
        values = hours_of(raw, column, path).of(observed_only(held))
        values = (-values if column == "pev" else values).rename(column).assign_attrs(raw[column].attrs)
        laid[name] = _bilinear(regrid.converted(values, name, DIMS, path), onto)
    return regrid.record_of(laid, onto, path)


def _bilinear(values: xr.DataArray, onto: Onto) -> xr.DataArray:
    """Values (time, cell) at the centres of all cells of the grid."""
    east, north = onto.grid.cell_position(np.arange(onto.grid.rows * onto.grid.columns))
    longitude, latitude = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    at = {"latitude": ("cell", np.asarray(latitude)), "longitude": ("cell", np.asarray(longitude))}
    laid = values.sortby(["latitude", "longitude"]).interp(at, method="linear")
    return xr.DataArray(laid.transpose("time", "cell").values, {"time": values["time"]}, ("time", "cell"))


def hours_of(raw: xr.Dataset, column: str, path: str | Path) -> Hours:
    """How the hours of a variable of a file become days.

    Means of the hours of a day, where at least half of them are there. Sums since midnight: the sum of a day stands at
    the midnight after it. Hourly amounts: the sum of the 24 that end from 01:00 to the midnight after. A file of days that
    says so (`cell_methods`, `history`) holds the sum of a day at that day.

    Raises
    ------
    InputError
        No dates; no hour that tells a day's sum; or amounts that are neither.
    """
    values = raw[column]
    if set(values.dims) != set(DIMS):
        raise InputError(f"{path}: {values.name} is of {values.dims}; needs {DIMS}")
    if not (values.sizes["time"] and np.issubdtype(values["time"].dtype, np.datetime64)):
        raise InputError(f"{path}: there is no time in it; an ERA5-Land map has dates")
    times = pd.DatetimeIndex(values["time"].values).as_unit("ns")
    days = times.floor("D")
    if column not in ACCUMULATED or (_says_daily(raw, column) and not days.has_duplicates):
        return _kept(days, lambda count: 2 * count >= count.max(), "mean")
    days = (times - pd.Timedelta(1, "ns")).floor("D")  # midnight ends the day before
    if _is_hourly(values, days, path):
        found = _kept(days, lambda count: count == HOURS, "sum")
        if not len(found.rows):
            raise InputError(
                f"{path}: {values.name} holds amounts of single hours, as ERA5 has, and of no day all {HOURS}, from 01:00 to "
                "the next 00:00; download every hour of whole days and the 00:00 after"
            )
        return found
    ends = np.flatnonzero(times == times.floor("D"))
    if not len(ends):
        raise InputError(f"{path}: no value at 00:00, where the sum of the day before stands; download that hour, too")
    return Hours(ends, days[ends], "sum")


def _says_daily(raw: xr.Dataset, column: str) -> bool:
    """Whether a file says that its values are sums of days, as those of Copernicus' daily statistics are."""
    told = [raw[column].attrs.get("cell_methods", ""), raw.attrs.get("history", "")]
    return any(re.search(r"\bdaily|1 days?\b", str(one)) is not None for one in told)


def _kept(days: pd.DatetimeIndex, enough: Callable[[np.ndarray], np.ndarray], way: Literal["mean", "sum"]) -> Hours:
    _, place, count = np.unique(days.values, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(enough(count)[place])
    return Hours(rows, days[rows], way)


def _is_hourly(values: xr.DataArray, days: pd.DatetimeIndex, path: str | Path) -> bool:
    """Whether values are amounts of single hours: these fall within days about as much as they rise, sums never."""
    for first in range(0, len(days), SAMPLE):
        rows = slice(first, first + SAMPLE)
        held = observed_only(values.isel(time=rows)).transpose(*DIMS).values.astype(np.float64)
        within = days.values[rows][1:] == days.values[rows][:-1]
        step = (-1 if values.name == "pev" else 1) * np.diff(held, axis=0)[within]
        rise, fall = np.nansum(np.maximum(step, 0)), np.nansum(np.maximum(-step, 0))
        if not rise + fall:
            continue  # dry, or midnights alone
        if MOST_FALL * rise < fall < LEAST_FALL * rise:
            raise InputError(
                f"{path}: {values.name} falls within days by {fall / rise:.0%} of what it rises, too much for sums since "
                "midnight and too little for amounts of single hours; download ERA5-Land, hourly, a month or more"
            )
        return bool(fall >= LEAST_FALL * rise)
    return False
