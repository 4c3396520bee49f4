"""Raw layout of the reference specification: map files, a table of flow, static attributes and a land mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets import land
from hydromae.datasets.map_file import Days, MapFile
from hydromae.datasets.map_files import MapSeries, map_files
from hydromae.datasets.seed_flow_table import FlowTable
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io import attributes as nrfa
from hydromae.io.conventions import set_cf_attributes
from hydromae.io.locate import check_no_missing_days, one_of
from hydromae.io.parse import every_day, parse_period_inside
from hydromae.io.seed_layout import ATTRIBUTES, MAPS, MASK

SERIES = ("evaporation", "riverflow")


@dataclass(frozen=True)
class SeedFolder:
    """Folder in the raw layout for one period, read in blocks.

    Attributes:
        days (DatetimeIndex (T,)): Days of the period.
        grid: Grid of the maps.
        cells: Coordinates of the land cells.
        attributes (Dataset (catchment)): Static attributes of all catchments of the table.
        maps: Map series by variable.
        sources: Files (or folders of monthly files) and their variables.
    """

    days: pd.DatetimeIndex
    grid: GridSpec
    cells: xr.Dataset
    attributes: xr.Dataset
    table: FlowTable
    maps: dict[str, MapSeries]
    sources: dict[Path, tuple[str, ...]]

    @classmethod
    def open(
        cls,
        folder: str | Path,
        attributes: str | Path | None = None,
        period: tuple[str, str] | None = None,
        since: str | None = None,
        allow_missing: bool = False,
    ) -> SeedFolder:
        """Find and check the files without reading values.

        Args:
            folder: With `precipitation_train_1989_2010.h5` and the other merged files, or `precipitation_processed/` and the
                other folders of monthly files; `riverflow_evaporation_*.parquet`, `Catchment_attributes/`, and the mask.
            attributes: Another attributes table.
            period (str, str), optional: First and last day; default all days with maps from `since`.
            since: First day without a period.
            allow_missing: Treat days without a file of a variable as unobserved.

        Raises:
            InputError: One line that names the file, the value and the remedy.
        """
        folder_path = Path(folder)
        if not folder_path.is_dir():
            raise InputError(f"{folder}: no such folder; check the path")
        mask = _require_file(folder_path, (MASK, "*mask*.pt", "*land*.npz"))
        table = FlowTable.open(_require_file(folder_path, ("riverflow_evaporation_*.parquet", "*.parquet")))
        static_attributes = nrfa.read_attribute_table(attributes or folder_path / ATTRIBUTES)
        known_catchments = static_attributes.indexes["catchment"]
        without_row = table.catchments[~np.isin(table.catchments, known_catchments)]
        if len(without_row):
            raise InputError(
                f"{attributes or folder_path / ATTRIBUTES}: no row for catchment {without_row[0]}, which {table.path.name} "
                f"has ({len(without_row)} such); add it, with catchment-area, latitude and longitude"
            )
        fraction = land.read_land_fraction(mask)
        grid = land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(mask))
        cells = land.cell_coordinates(land.land_cells(fraction), grid, fraction)
        files = {name: map_files(folder_path, name) for name in MAPS}
        for file in (file for group in files.values() for file in group):
            if file.shape != grid.shape:
                raise InputError(
                    f"{file.path}: maps of {file.shape[0]} × {file.shape[1]} cells, but the mask {mask.name} has "
                    f"{grid.rows} × {grid.columns}; give both on one grid"
                )
        days = _period(files, period, since, folder_path)
        maps = {name: MapSeries.over(group, days) for name, group in files.items()}
        if not allow_missing:
            check_no_missing_days({name: series.days[series.file < 0] for name, series in maps.items()}, folder_path)
        map_sources = {
            _source(map_series.files[n]): (name,)
            for name, map_series in maps.items()
            for n in np.unique(map_series.file)
            if n >= 0
        }
        sources = {table.path: SERIES, Path(attributes or folder_path / ATTRIBUTES): (), mask: (), **map_sources}
        rows = static_attributes.sel(catchment=table.catchments)
        return cls(pd.DatetimeIndex(days).as_unit("ns"), grid, cells, rows, table, maps, sources)

    def template(self) -> xr.Dataset:
        """Return the record without values: dimensions, coordinates, static attributes, metadata."""
        static = self.attributes.assign_coords(time=self.days).merge(self.cells)
        static["time"].attrs |= {"long_name": "day", "standard_name": "time"}

        def hollow(dim: str) -> tuple[tuple[str, str], np.ndarray]:
            return ("time", dim), np.broadcast_to(np.float32(np.nan), (len(self.days), static.sizes[dim]))

        maps = {name: (*hollow("cell"), {"grid_mapping": "crs"}) for name in MAPS}
        return set_cf_attributes(static.assign(maps | {name: hollow("catchment") for name in SERIES}))

    def blocks(self, length: int) -> Iterator[xr.Dataset]:
        """Yield the values, `length` days at a time."""
        cell = self.cells["cell"].values
        for first in range(0, len(self.days), length):
            last = min(first + length, len(self.days))
            series = self.table.days(self.days[first:last], self.attributes["catchment-area"])
            yield series.assign(
                {n: (("time", "cell"), map_series.block(first, last, cell)) for n, map_series in self.maps.items()}
            )


def _require_file(folder: Path, patterns: tuple[str, ...]) -> Path:
    required = one_of(folder, patterns)
    if required is None:
        raise InputError(f"{folder}: no {' or '.join(patterns)} in it, which the raw layout needs; add one")
    return required


def _source(file: MapFile) -> Path:
    return file.path if file.merged else file.path.parent


def _period(
    files: dict[str, tuple[MapFile, ...]], period: tuple[str, str] | None, since: str | None, folder: Path
) -> Days:
    end_days = [file.days[end] for group in files.values() for file in group for end in (0, -1)]
    first, last = min(end_days), max(end_days)
    if period is None:
        begin = first if since is None else max(first, np.datetime64(since, "D"))
        if begin > last:
            raise InputError(f"{folder}: its maps end on {last}, before {begin}; choose another training period")
        return np.arange(begin, last + 1)
    return every_day(*parse_period_inside(period, first, last, folder, ", the days of its maps"))
