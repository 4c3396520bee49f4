"""ERA5-Land: maps of hours on 0.1 degrees, one file with one variable or several; and the days that its hours tell.

Muñoz-Sabater et al. 2021, doi:10.5194/essd-13-4349-2021, Copernicus licence. What is said of its files is from
documentation; hourly amounts, as ERA5 has them, are told apart by what the values do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from pyproj import Transformer

from hydromae.datasets import chess
from hydromae.datasets.era5_form import said_day, usual
from hydromae.datasets.target_grid import Onto
from hydromae.errors import InputError
from hydromae.io.conventions import open_file
from hydromae.io.options import reading_options
from hydromae.io.quantities import unpacked
from hydromae.io.timestamps import refuse_step, step_of
from hydromae.io.unobserved import observed_only
from hydromae.io.value_ranges import PROCESSING

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
    return bool(names & COLUMNS.keys()) and ({"latitude", "longitude"} <= names or {"lat", "lon"} <= names)


@dataclass(frozen=True)
class Hours:
    """Which hours of a file tell which days, and how.

    Attributes:
        rows (int array (H,)): Hours that are used.
        days (DatetimeIndex (H,)): The day that each belongs to.
        way ({"mean", "sum"}): How the hours of a day become its value.
        said: The same in words.
    """

    rows: Int[np.ndarray, " H"]
    days: pd.DatetimeIndex
    way: Literal["mean", "sum"]
    said: str

    def of(self, values: xr.DataArray) -> xr.DataArray:
        """Values of days (time, …) from those of hours."""
        grouped = values.isel(time=self.rows).assign_coords(time=self.days).groupby("time")
        return grouped.mean() if self.way == "mean" else grouped.sum(skipna=False)


def opened(path: str | Path, whole: bool = True) -> xr.Dataset:
    """A file of ERA5-Land in its usual form (`era5_form.usual`)."""
    return usual(open_file(path, whole), COLUMNS, path)


def read(path: str | Path, onto: Onto | None = None, variable: str | None = None) -> xr.Dataset:
    """Maps of a file `(time, latitude, longitude)`, hourly or daily: bilinear at the centres of the grid's cells.

    What falls and evaporates is accumulated from midnight to each hour [m], so the sum of a day stands at the midnight
    after it; evaporation is negative there. Temperature and soil moisture are means of the day's hours. Cells outside the
    file's extent, or in a gap of its longitudes, are unobserved. The attribute `processing` says how days were made.

    Args:
        onto: The grid and its land.
        variable: The one variable to read; default all that the file holds.

    Raises:
        InputError: Another file, units that are missing, or hours that do not tell a day's sum.
    """
    onto, raw = onto or Onto(), opened(path)
    maps, said = {}, {}
    for name, column in chess.columns_in(raw, COLUMNS, path, variable).items():
        held = raw[column].drop_vars([n for n in raw[column].coords if n not in raw[column].dims])
        hours = hours_of(raw, column, path)
        values = hours.of(unpacked(held, name))
        values = (-values if column == "pev" else values).rename(column).assign_attrs(raw[column].attrs)
        maps[name], said[name] = _bilinear(chess.converted(values, name, DIMS, path), onto), hours.said
    record = chess.record_of(maps, onto, path)
    for name, words in said.items():
        record[name].attrs[PROCESSING] = words
    return record


def _bilinear(values: xr.DataArray, onto: Onto) -> xr.DataArray:
    """Values (time, cell) at the centres of all cells of the grid, NaN outside the file's extent and in its gaps."""
    east, north = onto.grid.cell_position(np.arange(onto.grid.rows * onto.grid.columns))
    longitude, latitude = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    at = {"latitude": ("cell", np.asarray(latitude)), "longitude": ("cell", np.asarray(longitude))}
    ordered = values.sortby(["latitude", "longitude"])
    made = ordered.interp(at, method="linear").transpose("time", "cell").values
    for axis, (_, wanted) in at.items():
        made[:, _in_gaps(ordered[axis].values.astype(np.float64), wanted)] = np.nan
    return xr.DataArray(made, {"time": values["time"]}, ("time", "cell"))


def _in_gaps(axis: Float[np.ndarray, " N"], wanted: Float[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """True for places between two values of an ascending axis that lie further apart than its others."""
    step = np.diff(axis)
    if not len(step):
        return np.ones(len(wanted), dtype=bool)
    between = np.clip(np.searchsorted(axis, wanted, side="right") - 1, 0, len(step) - 1)
    return step[between] > 1.5 * np.median(step)


def hours_of(raw: xr.Dataset, column: str, path: str | Path) -> Hours:
    """How the hours of a variable of a file become days.

    Means of the hours of a day, where at least half of them are there. Sums since midnight: the sum of a day stands at
    the midnight after it. Hourly amounts: the sum of the 24 that end from 01:00 to the midnight after. One sum a day:
    `_of_single_sums`.

    Raises:
        InputError: No dates; steps longer than days; no hour that tells a day's sum; amounts that are neither; or sums whose
            day is not known.
    """
    values = raw[column]
    if set(values.dims) != set(DIMS):
        more = [str(dim) for dim in values.dims if dim not in DIMS]
        remedy = f"; keep one {more[0]}" if more else ""
        raise InputError(f"{path}: {values.name} is of {values.dims}; needs {DIMS}{remedy}")
    if not (values.sizes["time"] and np.issubdtype(values["time"].dtype, np.datetime64)):
        raise InputError(f"{path}: there is no time in it; an ERA5-Land map has dates")
    times = pd.DatetimeIndex(values["time"].values).as_unit("ns").round("min")
    days = times.floor("D")
    refuse_step(step_of(days), path)
    if column not in ACCUMULATED:
        said = "mean of the hours of a day" if days.has_duplicates else "as given for the day"
        return _kept(days, lambda count: 2 * count >= count.max(), "mean", said)
    if not days.has_duplicates:
        return _of_single_sums(raw, column, times, path)
    days = (times - pd.Timedelta(1, "ns")).floor("D")  # midnight ends the day before
    if _is_hourly(values, days, path):
        found = _kept(days, lambda count: count == HOURS, "sum", "sum of 24 amounts of single hours")
        if not len(found.rows):
            raise InputError(
                f"{path}: {values.name} holds amounts of single hours, as ERA5 has, and of no day all {HOURS}, from 01:00 to "
                "the next 00:00; download every hour of whole days and the 00:00 after"
            )
        return found
    ends = np.flatnonzero(times == times.floor("D"))
    if not len(ends):
        raise InputError(f"{path}: no value at 00:00, where the sum of the day before stands; download that hour, too")
    return Hours(ends, days[ends], "sum", "accumulated since midnight: the value at 00:00 is the sum of the day before")


def _of_single_sums(raw: xr.Dataset, column: str, times: pd.DatetimeIndex, path: str | Path) -> Hours:
    """One sum a day, of its own day or of the day before: as the user (`options`) or the file says; else refused.

    At 00:00 both look alike: what was downloaded at that hour alone, and sums that another program made of days.
    """
    days = times.floor("D")
    midnights = bool((times == days).all())
    said = said_day(raw, column)
    belongs = reading_options().daily_sums or (said if midnights or said == "same-day" else None)
    if belongs is None and not midnights:
        raise InputError(
            f"{path}: no value at 00:00, where the sum of the day before stands; download that hour, too, or, if each value "
            "is the sum of its own day, say --daily-sums same-day"
        )
    if belongs is None:
        raise InputError(
            f"{path}: {column} has one value a day, at 00:00, and does not say of which day it is the sum; say --daily-sums "
            "day-before (00:00 as downloaded, accumulated since midnight) or same-day (made by resample, daysum)"
        )
    rows = np.arange(len(times))
    if belongs == "same-day":
        return Hours(rows, days, "mean", "one sum a day, of its own day")
    return Hours(rows, (times - pd.Timedelta(1, "ns")).floor("D"), "mean", "one sum a day, of the day before its 00:00")


def _kept(
    days: pd.DatetimeIndex, enough: Callable[[np.ndarray], np.ndarray], way: Literal["mean", "sum"], said: str
) -> Hours:
    _, place, count = np.unique(days.values, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(enough(count)[place])
    return Hours(rows, days[rows], way, said)


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
