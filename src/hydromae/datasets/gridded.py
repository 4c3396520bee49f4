"""Maps of days in a folder as downloaded: which file holds which days of a variable, and which one a day is taken from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float32, Int

from hydromae.datasets import chess, era5_land, haduk
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.conventions import open_netcdf, variables_in_file
from hydromae.io.locate import files_in
from hydromae.io.timestamps import check_daily_step, dataset_step, to_days

PRODUCTS = ("HadUK-Grid", "CHESS", "ERA5-Land")
"""The best one first: a day that several hold comes from it."""


def product_of_file(names: set[str]) -> str | None:
    """The product of maps that a NetCDF file with these names is of, None where it is of none."""
    if names & haduk.VARIABLE_NAMES.keys() and haduk.AXES[1] in names:
        return "HadUK-Grid"
    if chess.is_chess(names):
        return "CHESS"
    return "ERA5-Land" if era5_land.is_era5_land(names) else None


@dataclass(frozen=True)
class GridFile:
    """The maps of one variable in a file.

    Attributes:
        column: The variable's name in the file.
        days: Ascending.
        grid: Its own, of HadUK-Grid.
        note: How its hours become days, of ERA5-Land.
    """

    path: Path
    product: str
    variable: str
    column: str
    days: pd.DatetimeIndex
    grid: GridSpec | None
    note: str = ""

    @property
    def priority(self) -> tuple[int, float, int]:
        """Product; of one product the finer cells first; of CHESS the better column."""
        best = list(chess.CHESS).index(self.column) if self.product == "CHESS" else 0
        return PRODUCTS.index(self.product), 0.0 if self.grid is None else self.grid.cell_size, best

    def read(self, target_grid: TargetGrid) -> xr.Dataset:
        """Its maps on the land cells of a grid."""
        if self.product == "HadUK-Grid":
            return chess.read_haduk(self.path, target_grid)
        if self.product == "CHESS":
            return chess.read_chess(self.path, target_grid, self.variable)
        return era5_land.read(self.path, target_grid, self.variable)


@dataclass(frozen=True)
class GridFiles:
    """The files of one variable, and the file of each day of a period, −1 where none holds it."""

    files: tuple[GridFile, ...]
    days: pd.DatetimeIndex
    file: Int[np.ndarray, " T"]

    @classmethod
    def over(cls, files: tuple[GridFile, ...], days: pd.DatetimeIndex) -> GridFiles:
        """Each day from the best file that holds it.

        Raises:
            InputError: Two files that are as good hold one day.
        """
        ordered = tuple(sorted(files, key=lambda file: file.priority))
        file_index = np.full(len(days), -1)
        for index, file in enumerate(ordered):
            is_held = days.isin(file.days)
            for day in np.flatnonzero(is_held & (file_index >= 0)):
                other = ordered[file_index[day]]
                if other.priority == file.priority:
                    raise InputError(
                        f"{file.path}: {days[day]:%Y-%m-%d} is in {other.path.name}, too; keep one of them"
                    )
            file_index[is_held & (file_index < 0)] = index
        return cls(ordered, days, file_index)

    @property
    def used(self) -> tuple[GridFile, ...]:
        """The files that some day is taken from."""
        return tuple(self.files[index] for index in np.unique(self.file[self.file >= 0]))

    def block(self, first: int, last: int, target_grid: TargetGrid, cells: int) -> Float32[np.ndarray, "T N"]:
        """Days `first` to `last` (exclusive) on the land cells, in canonical units, NaN = unobserved."""
        values = np.full((last - first, cells), np.nan, np.float32)
        part = self.file[first:last]
        for index in np.unique(part[part >= 0]):
            file = self.files[index]
            record = file.read(target_grid)
            rows = np.flatnonzero(part == index)
            day_index = record.indexes["time"].get_indexer(self.days[first:last][rows])
            values[rows] = record[file.variable].isel(time=day_index).values
        return values


def find_maps(folder: Path) -> dict[str, tuple[GridFile, ...]]:
    """The files of maps of days in a folder, however deep, by variable; HadUK-Grid's of months, seasons and years are none.

    Raises:
        InputError: A NetCDF file that cannot be read, or a map whose dates are none.
    """
    by_variable: dict[str, list[GridFile]] = {}
    for path in files_in(folder, ".nc"):
        product = product_of_file(variables_in_file(path))
        for file in () if product is None else _grid_files(path, product):
            by_variable.setdefault(file.variable, []).append(file)
    return {variable: tuple(files) for variable, files in by_variable.items()}


def _grid_files(path: Path, product: str) -> list[GridFile]:
    """The maps of each variable that a file holds."""
    if product == "ERA5-Land":
        with era5_land.open_era5_land(path, whole=False) as raw:
            columns = chess.columns_of_file(raw, era5_land.COLUMNS, path).items()
            _days(raw, path)
            hours = {column: era5_land.hours_of(raw, column, path) for _, column in columns}
            return [
                GridFile(path, product, name, column, hours[column].days.unique(), None, hours[column].note)
                for name, column in columns
            ]
    with open_netcdf(path, whole=False) as raw:
        if product == "CHESS":
            check_daily_step(dataset_step(raw) if "time" in raw.coords else None, path)
            columns = chess.columns_of_file(raw, chess.CHESS, path).items()
            return [GridFile(path, product, name, column, _days(raw, path), None) for name, column in columns]
        if haduk.stored_step(raw, path):
            return []
        variable, field = haduk.data_variable(raw, path)
        return [GridFile(path, product, variable, str(field.name), _days(raw, path), haduk.grid_of_file(path))]


def _days(raw: xr.Dataset, path: Path) -> pd.DatetimeIndex:
    if "time" not in raw.coords or not (raw["time"].size and np.issubdtype(raw["time"].dtype, np.datetime64)):
        time_type = raw["time"].dtype if "time" in raw.variables else "not there"
        raise InputError(f"{path}: its time is {time_type}; maps need dates of the standard calendar, not of 360 days")
    return to_days(pd.DatetimeIndex(raw["time"].values), str(path))
