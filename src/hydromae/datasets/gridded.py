"""Daily maps in a folder of downloads: the files of each variable, and the file of each day."""

from __future__ import annotations

from collections.abc import Iterable
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
"""Products, the best first, from which a day is read."""


def product_of_file(names: set[str]) -> str | None:
    """Return the map product of a NetCDF file with these names, or None."""
    if names & haduk.VARIABLE_NAMES.keys() and haduk.AXES[1] in names:
        return "HadUK-Grid"
    if chess.is_chess(names):
        return "CHESS"
    return "ERA5-Land" if era5_land.is_era5_land(names) else None


@dataclass(frozen=True)
class GridFile:
    """Maps of one variable in a file.

    Attributes:
        column: Name of the variable in the file.
        days: Days, ascending.
        grid: Grid of the file (HadUK-Grid only).
        note: Aggregation of hours to days (ERA5-Land only).
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
        """Return the order: product, then finer cells, then (CHESS) the better column."""
        best = list(chess.CHESS).index(self.column) if self.product == "CHESS" else 0
        return PRODUCTS.index(self.product), 0.0 if self.grid is None else self.grid.cell_size, best

    def read(self, target_grid: TargetGrid) -> xr.Dataset:
        """Read the maps on the land cells of a grid."""
        if self.product == "HadUK-Grid":
            return chess.regrid_haduk(self.path, target_grid)
        if self.product == "CHESS":
            return chess.read_chess(self.path, target_grid, self.variable)
        return era5_land.read_era5_land(self.path, target_grid, self.variable)


@dataclass(frozen=True)
class GridFiles:
    """Files of one variable, and the index of the file of each day, −1 for none."""

    files: tuple[GridFile, ...]
    days: pd.DatetimeIndex
    file: Int[np.ndarray, " T"]

    @classmethod
    def over(cls, files: tuple[GridFile, ...], days: pd.DatetimeIndex) -> GridFiles:
        """Select the best file of each day.

        Raises:
            InputError: Two files of the same priority have the same day.
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
        """Return the files of at least one day."""
        return tuple(self.files[index] for index in np.unique(self.file[self.file >= 0]))

    def block(self, first: int, last: int, target_grid: TargetGrid, cells: int) -> Float32[np.ndarray, "T N"]:
        """Read days `first` to `last` (exclusive) on the land cells, in canonical units, NaN if unobserved."""
        values = np.full((last - first, cells), np.nan, np.float32)
        part = self.file[first:last]
        for index in np.unique(part[part >= 0]):
            file = self.files[index]
            record = file.read(target_grid)
            rows = np.flatnonzero(part == index)
            day_index = record.indexes["time"].get_indexer(self.days[first:last][rows])
            values[rows] = record[file.variable].isel(time=day_index).values
        return values


def map_products(folder: Path, exclude: Iterable[Path] = ()) -> dict[Path, str]:
    """Return the map product of each NetCDF file below a folder that has one, whatever its step; `exclude` are not opened.

    Raises:
        InputError: A NetCDF file that cannot be read.
    """
    excluded = {*exclude}
    products = {
        path: product_of_file(variables_in_file(path)) for path in files_in(folder, ".nc") if path not in excluded
    }
    return {path: product for path, product in products.items() if product is not None}


def find_maps(folder: Path, exclude: Iterable[Path] = ()) -> dict[str, tuple[GridFile, ...]]:
    """Return the files of daily maps below a folder by variable, without monthly, seasonal and yearly maps of HadUK-Grid.

    Raises:
        InputError: A NetCDF file that cannot be read, or a map with invalid dates.
    """
    by_variable: dict[str, list[GridFile]] = {}
    for path, product in map_products(folder, exclude).items():
        for file in _grid_files(path, product):
            by_variable.setdefault(file.variable, []).append(file)
    return {variable: tuple(files) for variable, files in by_variable.items()}


def _grid_files(path: Path, product: str) -> list[GridFile]:
    """Return the maps of each variable of a file."""
    if product == "ERA5-Land":
        with era5_land.open_era5_land(path, whole=False) as raw:
            columns = chess.columns_of_file(raw, era5_land.COLUMNS, path).items()
            _days_of_maps(raw, path)
            hours = {column: era5_land.hours_of(raw, column, path) for _, column in columns}
            return [
                GridFile(path, product, name, column, hours[column].days.unique(), None, hours[column].note)
                for name, column in columns
            ]
    with open_netcdf(path, whole=False) as raw:
        if product == "CHESS":
            check_daily_step(dataset_step(raw) if "time" in raw.coords else None, path)
            columns = chess.columns_of_file(raw, chess.CHESS, path).items()
            return [GridFile(path, product, name, column, _days_of_maps(raw, path), None) for name, column in columns]
        if haduk.stored_step(raw, path):
            return []
        variable, field = haduk.data_variable(raw, path)
        return [GridFile(path, product, variable, str(field.name), _days_of_maps(raw, path), haduk.grid_of_file(path))]


def _days_of_maps(raw: xr.Dataset, path: Path) -> pd.DatetimeIndex:
    if "time" not in raw.coords or not (raw["time"].size and np.issubdtype(raw["time"].dtype, np.datetime64)):
        time_type = raw["time"].dtype if "time" in raw.variables else "absent"
        raise InputError(f"{path}: its time is {time_type}; maps need dates of the standard calendar, not of 360 days")
    return to_days(pd.DatetimeIndex(raw["time"].values), str(path))
