"""ERA5-Land: hourly or daily maps on 0.1 degrees, converted to daily values.

Source: Muñoz-Sabater et al. 2021, doi:10.5194/essd-13-4349-2021, Copernicus licence; the format follows the documentation.
Hourly amounts, as in ERA5, are detected from the values.
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
from hydromae.datasets.era5_form import declared_day, standard_form
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.io.conventions import open_netcdf
from hydromae.io.options import reading_options
from hydromae.io.quantities import without_packing_noise
from hydromae.io.timestamps import check_daily_step, infer_step
from hydromae.io.unobserved import observed_only
from hydromae.io.value_ranges import PROCESSING

COLUMNS = {"tp": "precipitation", "t2m": "temperature", "pev": "potential_evaporation", "swvl1": "soil_moisture"}
"""Names in the files -> variables; soil moisture is the first layer, to 7 cm."""
ACCUMULATED = ("tp", "pev")
"""Variables that ERA5-Land accumulates from midnight."""
DIMS = ("time", "latitude", "longitude")
SAMPLE = 744
"""Hours per sample for the detection of hourly amounts: a month."""
MAX_FALL, MIN_FALL = 0.2, 0.5
"""Ratio of decreases to increases within days: below the first for accumulations, above the second for hourly amounts."""
HOURS = 24


def is_era5_land(names: set[str]) -> bool:
    """Return whether a NetCDF file with these names is ERA5-Land."""
    return bool(names & COLUMNS.keys()) and ({"latitude", "longitude"} <= names or {"lat", "lon"} <= names)


@dataclass(frozen=True)
class DailyHours:
    """Aggregation of hours to days.

    Attributes:
        rows (int array (H,)): Indices of the hours that are used.
        days (DatetimeIndex (H,)): Day of each hour.
        method ({"mean", "sum"}): Aggregation.
        note: Description.
    """

    rows: Int[np.ndarray, " H"]
    days: pd.DatetimeIndex
    method: Literal["mean", "sum"]
    note: str

    def of(self, values: xr.DataArray) -> xr.DataArray:
        """Aggregate hourly values to days (time, …)."""
        grouped = values.isel(time=self.rows).assign_coords(time=self.days).groupby("time")
        return grouped.mean() if self.method == "mean" else grouped.sum(skipna=False)


def open_era5_land(path: str | Path, whole: bool = True) -> xr.Dataset:
    """Open a file of ERA5-Land in its standard form (`era5_form.standard_form`)."""
    return standard_form(open_netcdf(path, whole), COLUMNS, path)


def read_era5_land(path: str | Path, target_grid: TargetGrid | None = None, variable: str | None = None) -> xr.Dataset:
    """Read hourly or daily maps `(time, latitude, longitude)`, interpolated bilinearly to the cell centres of a grid.

    Precipitation and evaporation are accumulated from midnight [m], so the sum of a day has the stamp of the next midnight;
    evaporation is negative in the file. Temperature and soil moisture are means of the hours of a day. Cells outside the
    extent or in a gap of the longitudes are unobserved. The attribute `processing` describes the aggregation.

    Args:
        target_grid: The grid and its land.
        variable: The only variable to read; default all.

    Raises:
        InputError: Another file, missing units, or hours without daily sums.
    """
    target_grid, raw = target_grid or TargetGrid(), open_era5_land(path)
    maps, note = {}, {}
    for name, column in chess.columns_of_file(raw, COLUMNS, path, variable).items():
        hourly = raw[column].drop_vars([n for n in raw[column].coords if n not in raw[column].dims])
        hours = hours_of(raw, column, path)
        values = hours.of(without_packing_noise(hourly, name))
        values = (-values if column == "pev" else values).rename(column).assign_attrs(raw[column].attrs)
        maps[name], note[name] = _bilinear(chess.convert_column(values, name, DIMS, path), target_grid), hours.note
    record = chess.cells_to_record(maps, target_grid, path)
    for name, note_text in note.items():
        record[name].attrs[PROCESSING] = note_text
    return record


def _bilinear(values: xr.DataArray, target_grid: TargetGrid) -> xr.DataArray:
    """Interpolate to the centres of all cells (time, cell), NaN outside the extent and in gaps."""
    east, north = target_grid.grid.cell_position(np.arange(target_grid.grid.rows * target_grid.grid.columns))
    longitude, latitude = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    cell_coordinates = {"latitude": ("cell", np.asarray(latitude)), "longitude": ("cell", np.asarray(longitude))}
    ordered = values.sortby(["latitude", "longitude"])
    interpolated = ordered.interp(cell_coordinates, method="linear").transpose("time", "cell").values
    for axis, (_, wanted) in cell_coordinates.items():
        interpolated[:, _is_in_gap(ordered[axis].values.astype(np.float64), wanted)] = np.nan
    return xr.DataArray(interpolated, {"time": values["time"]}, ("time", "cell"))


def _is_in_gap(axis: Float[np.ndarray, " N"], wanted: Float[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """Return True for positions in an interval of an ascending axis that is wider than 1.5 times the median."""
    steps = np.diff(axis)
    if not len(steps):
        return np.ones(len(wanted), dtype=bool)
    interval = np.clip(np.searchsorted(axis, wanted, side="right") - 1, 0, len(steps) - 1)
    return steps[interval] > 1.5 * np.median(steps)


def hours_of(raw: xr.Dataset, column: str, path: str | Path) -> DailyHours:
    """Return the aggregation of a variable to days.

    Means need at least half of the hours of a day. The sum of accumulations is at the next midnight. Hourly amounts are
    summed from 01:00 to the next midnight. One sum per day: `_of_single_sums`.

    Raises:
        InputError: No dates; steps longer than days; no hour with a daily sum; values that are neither; or sums of an unknown
            day.
    """
    values = raw[column]
    if set(values.dims) != set(DIMS):
        extra_dims = [str(dim) for dim in values.dims if dim not in DIMS]
        remedy = f"; keep one {extra_dims[0]}" if extra_dims else ""
        raise InputError(f"{path}: {values.name} is of {values.dims}; needs {DIMS}{remedy}")
    if not (values.sizes["time"] and np.issubdtype(values["time"].dtype, np.datetime64)):
        raise InputError(f"{path}: has no time; an ERA5-Land map has dates")
    times = pd.DatetimeIndex(values["time"].values).as_unit("ns").round("min")
    days = times.floor("D")
    check_daily_step(infer_step(days), path)
    if column not in ACCUMULATED:
        note = "mean of the hours of a day" if days.has_duplicates else "as given for the day"
        return _complete_days(days, lambda count: 2 * count >= count.max(), "mean", note)
    if not days.has_duplicates:
        return _of_single_sums(raw, column, times, path)
    days = (times - pd.Timedelta(1, "ns")).floor("D")  # midnight belongs to the day before
    if _is_hourly(values, days, path):
        hourly_sums = _complete_days(days, lambda count: count == HOURS, "sum", "sum of 24 amounts of single hours")
        if not len(hourly_sums.rows):
            raise InputError(
                f"{path}: {values.name} has amounts of single hours, as ERA5, but no day with all {HOURS}, from 01:00 to "
                "the next 00:00; download every hour of whole days and the 00:00 after"
            )
        return hourly_sums
    midnights_index = np.flatnonzero(times == times.floor("D"))
    if not len(midnights_index):
        raise InputError(f"{path}: no value at 00:00, which has the sum of the day before; download that hour, too")
    return DailyHours(
        midnights_index,
        days[midnights_index],
        "sum",
        "accumulated since midnight: the value at 00:00 is the sum of the day before",
    )


def _of_single_sums(raw: xr.Dataset, column: str, times: pd.DatetimeIndex, path: str | Path) -> DailyHours:
    """Return the aggregation of one sum per day, of its own or the previous day according to the options or the file.

    At 00:00, a download of that hour alone and daily sums of another program look the same.
    """
    days = times.floor("D")
    midnights = bool((times == days).all())
    note = declared_day(raw, column)
    day_rule = reading_options().daily_sums or (note if midnights or note == "same-day" else None)
    if day_rule is None and not midnights:
        raise InputError(
            f"{path}: no value at 00:00, which has the sum of the day before; download that hour, too, or, if each value "
            "is the sum of its own day, give --daily-sums same-day"
        )
    if day_rule is None:
        raise InputError(
            f"{path}: {column} has one value a day, at 00:00, and does not state of which day it is the sum; give "
            "--daily-sums day-before (00:00 as downloaded, accumulated since midnight) or same-day (made by resample, daysum)"
        )
    rows = np.arange(len(times))
    if day_rule == "same-day":
        return DailyHours(rows, days, "mean", "one sum a day, of its own day")
    return DailyHours(
        rows, (times - pd.Timedelta(1, "ns")).floor("D"), "mean", "one sum a day, of the day before its 00:00"
    )


def _complete_days(
    days: pd.DatetimeIndex, is_complete: Callable[[np.ndarray], np.ndarray], method: Literal["mean", "sum"], note: str
) -> DailyHours:
    _, day_index, count = np.unique(days.values, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(is_complete(count)[day_index])
    return DailyHours(rows, days[rows], method, note)


def _is_hourly(values: xr.DataArray, days: pd.DatetimeIndex, path: str | Path) -> bool:
    """Return whether values are hourly amounts, which decrease within days, unlike accumulations."""
    for first in range(0, len(days), SAMPLE):
        rows = slice(first, first + SAMPLE)
        hourly = observed_only(values.isel(time=rows)).transpose(*DIMS).values.astype(np.float64)
        within = days.values[rows][1:] == days.values[rows][:-1]
        steps = (-1 if values.name == "pev" else 1) * np.diff(hourly, axis=0)[within]
        rise, fall = np.nansum(np.maximum(steps, 0)), np.nansum(np.maximum(-steps, 0))
        if not rise + fall:
            continue  # dry, or midnights only
        if MAX_FALL * rise < fall < MIN_FALL * rise:
            raise InputError(
                f"{path}: {values.name} decreases within days by {fall / rise:.0%} of its increases, too much for sums since "
                "midnight and too little for hourly amounts; download ERA5-Land, hourly, a month or more"
            )
        return bool(fall >= MIN_FALL * rise)
    return False
