"""Maps of days in a folder as downloaded: which file holds which days of a variable, and which one a day is taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float32, Int

from hydromae.data.folders import files_in
from hydromae.data.readers import haduk, regrid
from hydromae.data.readers.onto import Onto
from hydromae.data.readers.record import names_in, open_file
from hydromae.errors import InputError
from hydromae.grid import GridSpec

PRODUCTS = ("HadUK-Grid", "CHESS", "ERA5-Land")
"""The best one first: a day that several hold comes from it."""


def product_of(names: set[str]) -> str | None:
    """The product of maps that a NetCDF file with these names is of, None where it is of none."""
    if names & haduk.NAMES.keys() and haduk.AXES[1] in names:
        return "HadUK-Grid"
    if regrid.is_chess(names):
        return "CHESS"
    return "ERA5-Land" if regrid.is_era5_land(names) else None


@dataclass(frozen=True)
class GridFile:
    """One file of maps.

    Attributes
    ----------
    path : Path
    product, variable : str
    days : DatetimeIndex
        Ascending.
    grid : GridSpec or None
        Its own, of HadUK-Grid.
    """

    path: Path
    product: str
    variable: str
    days: pd.DatetimeIndex
    grid: GridSpec | None

    @property
    def rank(self) -> tuple[int, float]:
        """Product, and of one product the finer cells first."""
        return PRODUCTS.index(self.product), 0.0 if self.grid is None else self.grid.cell_size

    def read(self, onto: Onto) -> xr.Dataset:
        """Its maps on the land cells of a grid."""
        readers = {
            "HadUK-Grid": regrid.read_haduk,
            "CHESS": regrid.read_chess,
            "ERA5-Land": regrid.read_era5_land,
        }
        return readers[self.product](self.path, onto)


@dataclass(frozen=True)
class GridFiles:
    """The files of one variable, and the file of each day of a period, −1 where none holds it."""

    files: tuple[GridFile, ...]
    days: pd.DatetimeIndex
    file: Int[np.ndarray, " T"]

    @classmethod
    def over(cls, files: tuple[GridFile, ...], days: pd.DatetimeIndex) -> GridFiles:
        """Each day from the best file that holds it.

        Raises
        ------
        InputError
            Two files that are as good hold one day.
        """
        ordered = tuple(sorted(files, key=lambda file: file.rank))
        taken = np.full(len(days), -1)
        for number, file in enumerate(ordered):
            holds = days.isin(file.days)
            for day in np.flatnonzero(holds & (taken >= 0)):
                before = ordered[taken[day]]
                if before.rank == file.rank:
                    raise InputError(
                        f"{file.path}: {days[day]:%Y-%m-%d} is in {before.path.name}, too; keep one of them"
                    )
            taken[holds & (taken < 0)] = number
        return cls(ordered, days, taken)

    def block(self, first: int, last: int, onto: Onto, cells: int) -> Float32[np.ndarray, "T N"]:
        """Days `first` to `last` (exclusive) on the land cells, in canonical units, NaN = unobserved."""
        values = np.full((last - first, cells), np.nan, np.float32)
        part = self.file[first:last]
        for number in np.unique(part[part >= 0]):
            file = self.files[number]
            record = file.read(onto)
            rows = np.flatnonzero(part == number)
            place = record.indexes["time"].get_indexer(self.days[first:last][rows])
            values[rows] = record[file.variable].isel(time=place).values
        return values


def find_maps(folder: Path) -> dict[str, tuple[GridFile, ...]]:
    """The files of maps of days in a folder, however deep, by variable; files of months are none.

    Raises
    ------
    InputError
        A NetCDF file that cannot be read, or a map whose dates are none.
    """
    found: dict[str, list[GridFile]] = {}
    for path in files_in(folder, ".nc"):
        product = product_of(names_in(path))
        file = None if product is None else _grid_file(path, product)
        if file is not None:
            found.setdefault(file.variable, []).append(file)
    return {variable: tuple(files) for variable, files in found.items()}


def _grid_file(path: Path, product: str) -> GridFile | None:
    with open_file(path, whole=False) as raw:
        if product == "HadUK-Grid":
            if haduk.is_monthly(raw):
                return None
            variable, grid = haduk.field(raw, path)[0], haduk.grid_of_file(path)
            return GridFile(path, product, variable, _days(raw, path), grid)
        known: Mapping[str, str] = regrid.CHESS if product == "CHESS" else regrid.ERA5_LAND
        if "valid_time" in raw.dims:
            raw = raw.drop_vars("time", errors="ignore").rename({"valid_time": "time"})
        column, variable = regrid.column_of(raw, known, path)
        days = _days(raw, path) if product == "CHESS" else _days_of_hours(raw, column, path)
        return GridFile(path, product, variable, days, None)


def _days(raw: xr.Dataset, path: Path) -> pd.DatetimeIndex:
    if "time" not in raw.coords or not (raw["time"].size and np.issubdtype(raw["time"].dtype, np.datetime64)):
        held = raw["time"].dtype if "time" in raw.variables else "not there"
        raise InputError(f"{path}: its time is {held}; maps need dates of the standard calendar, not of 360 days")
    return pd.DatetimeIndex(raw["time"].values).floor("D")


def _days_of_hours(raw: xr.Dataset, column: str, path: Path) -> pd.DatetimeIndex:
    """Days that an ERA5-Land file gives, from its hours alone."""
    _days(raw, path)
    time = raw["time"].values
    hours = xr.DataArray(np.zeros(len(time)), {"time": time}, ("time",))
    return pd.DatetimeIndex(regrid.daily_of(hours, column in regrid.ACCUMULATED, path)["time"].values)
