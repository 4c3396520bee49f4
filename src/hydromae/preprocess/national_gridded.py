"""A national record from maps as they were downloaded (HadUK-Grid, CHESS, ERA5-Land) and the flow of gauges beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets import land
from hydromae.datasets.derived import default_training_period
from hydromae.datasets.discovery import WEATHER
from hydromae.datasets.gridded import GridFile, GridFiles
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.footprints import Footprints, disc_footprints, footprint_mean
from hydromae.grid import GridSpec
from hydromae.io.conventions import set_cf_attributes
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.locate import check_no_missing_days, one_of
from hydromae.io.parse import parse_period_inside
from hydromae.io.seed_layout import MAPS
from hydromae.preprocess.national import LAND_SHARE, MapMaker, centroids
from hydromae.progress import track
from hydromae.store.streaming import write_streamed
from hydromae.store.zarr_store import SHARD_DAYS, describe_source

Maps = Mapping[str, tuple[GridFile, ...]]


@dataclass(frozen=True)
class GriddedRecord:
    """What a national record is made of.

    Attributes:
        flow (Dataset (time, catchment)): The gauges on the days of the maps.
        maps: By variable; `potential_evaporation` becomes the evaporation of catchments that have none.
        cells: Coordinates of the land cells.
        maker: Derives the maps that lack, where the gauges have weather.
        record: The gauges on all of their days, for what the maker runs before the first one.
    """

    flow: xr.Dataset
    maps: dict[str, GridFiles]
    target_grid: TargetGrid
    cells: xr.Dataset
    maker: MapMaker | None
    record: xr.Dataset

    @property
    def gridded_variables(self) -> list[str]:
        """Variables of the record's maps that files hold."""
        return [name for name in MAPS if name in self.maps]

    @property
    def footprints(self) -> Footprints | None:
        """Cells above each catchment, where evaporation of catchments is taken from maps."""
        if "potential_evaporation" in self.flow or "potential_evaporation" not in self.maps:
            return None
        cell_positions = (self.cells["cell_easting"].values, self.cells["cell_northing"].values)
        area = self.flow["catchment-area"].values.astype(np.float64)
        return disc_footprints(*cell_positions, *centroids(self.flow), area, self.target_grid.grid.cell_size)

    def template(self) -> xr.Dataset:
        """The record without its values."""
        if self.maker is not None:
            gridded = self.maker.template(self.flow)
        else:
            static = self.flow.drop_vars([n for n in (*WEATHER, "riverflow") if n in self.flow]).merge(self.cells)
            empty = np.broadcast_to(np.float32(np.nan), (self.flow.sizes["time"], self.cells.sizes["cell"]))
            series_files = {name: (("time", "cell"), empty, {"grid_mapping": "crs"}) for name in self.gridded_variables}
            series = {"riverflow": self.flow["riverflow"]}
            if "potential_evaporation" in self.flow:
                series["evaporation"] = self.flow["potential_evaporation"]
            elif "potential_evaporation" in self.maps:
                series["evaporation"] = xr.full_like(self.flow["riverflow"], np.nan)
            gridded = set_cf_attributes(static.assign(series_files | series))
            if "evaporation" in gridded:
                gridded["evaporation"].attrs["derived"] = "potential evaporation, not measured by an instrument"
        for name in self.gridded_variables:
            gridded[name].attrs.pop("derived", None)
            gridded[name].attrs["long_name"] = f"{name.replace('_', ' ')} of {_products(self.maps[name].used)}"
        return gridded

    def values(self, first: int, last: int) -> dict[str, np.ndarray]:
        """The maps that files hold, of some days (time, cell)."""
        return {
            n: self.maps[n].block(first, last, self.target_grid, self.cells.sizes["cell"])
            for n in self.gridded_variables
        }

    def blocks(self) -> Iterator[xr.Dataset]:
        """The values, `SHARD_DAYS` days at a time."""
        if self.maker is not None:
            yield from self.maker.blocks(self.record, self.flow, self.values)
            return
        footprints, count = self.footprints, self.flow.sizes["catchment"]
        for first in range(0, self.flow.sizes["time"], SHARD_DAYS):
            last = min(first + SHARD_DAYS, self.flow.sizes["time"])
            days = self.flow.isel(time=slice(first, last)).transpose("time", "catchment", ...)
            series_files = {name: (("time", "cell"), values) for name, values in self.values(first, last).items()}
            series_files["riverflow"] = (("time", "catchment"), days["riverflow"].values)
            if footprints is not None:
                demand = self.maps["potential_evaporation"].block(
                    first, last, self.target_grid, self.cells.sizes["cell"]
                )
                series_files["evaporation"] = (("time", "catchment"), footprint_mean(footprints, demand, count))
            elif "potential_evaporation" in self.flow:
                series_files["evaporation"] = (("time", "catchment"), days["potential_evaporation"].values)
            yield xr.Dataset(series_files)


def prepare_gridded(
    folder: Path,
    availableby_variable: Maps,
    record: xr.Dataset,
    out: str | Path,
    period: tuple[str, str] | None,
    training_period: tuple[str, str] | None,
    *,
    sources: list[dict[str, Any]],
    land_threshold: float,
    allow_missing: bool,
    progress: Callable[[str], None],
) -> str:
    """A store of a national record: maps that files hold, what of them can be derived from the gauges' weather, and flow.

    Args:
        folder: May hold a land mask (`*land*.npz`, `*mask*.pt`), whose grid is then the record's; else the finest grid of
            HadUK-Grid there, else its 5 km grid, with the outline of Great Britain that comes with the package.
        availableby_variable: Files of maps by variable (`gridded.find_maps`).
        record (Dataset (time, catchment)): The gauges, with places and areas.
        out, period, training_period, land_threshold, progress: As in `prepare.prepare`; default period from the first to
            the last day that maps of all variables have.
        sources: Of the gauges (`zarr_store.describe_source`); those of the maps follow.
        allow_missing: Take days that no file of a variable holds as unobserved; the period's default is then that of any
            variable.

    Raises:
        InputError: One line that names file, value and remedy.
    """
    days = _period(availableby_variable, period, folder, allow_missing)
    target_grid = _target_grid(folder, availableby_variable)
    maps = {name: GridFiles.over(files, days) for name, files in availableby_variable.items()}
    if not allow_missing:
        check_no_missing_days(
            {name: series_files.days[series_files.file < 0] for name, series_files in maps.items()}, folder
        )
    if not record.indexes["time"].isin(days).any():
        first_day, end = record.indexes["time"][[0, -1]]
        raise InputError(
            f"{folder}: its flow, {first_day:%Y-%m-%d} … {end:%Y-%m-%d}, has no day of its maps, {days[0]:%Y-%m-%d} … "
            f"{days[-1]:%Y-%m-%d}; put maps and flow of the same days there"
        )
    assert target_grid.land is not None
    cells = land.cell_coordinates(
        land.land_cells(target_grid.land, target_grid.threshold), target_grid.grid, target_grid.land
    )
    flow = record.reindex(time=days)
    weather = all(name in flow and bool(flow[name].notnull().any("catchment").all()) for name in WEATHER)
    maker = MapMaker.build(record, cells, target_grid.grid, target_grid.land, None, None) if weather else None
    gridded = GriddedRecord(flow, maps, target_grid, cells, maker, record)
    for line in _plan(folder, gridded, is_chosen=period is not None):
        progress(line)
    template = gridded.template()
    training = training_period or default_training_period(template, progress)
    used: dict[tuple[Path, str], list[str]] = {}
    for name, series_files in maps.items():
        for file in series_files.used:
            used.setdefault((file.path, file.product), []).extend([name] if name in template else [])
    files = track(used.items(), "sums of the maps", len(used))
    sources += [
        describe_source(path, template[names] if names else None, MAP_CREDITS[product])
        for (path, product), names in files
    ]
    return write_streamed(
        template, gridded.blocks(), out, sources, training, land.with_threshold(target_grid.grid, land_threshold)
    )


def _target_grid(folder: Path, availableby_variable: Maps) -> TargetGrid:
    """The grid of the record, and its land."""
    mask = one_of(folder, ("*land*.npz", "*mask*.pt"))
    if mask is not None:
        fraction = land.read(mask)
        return TargetGrid(
            land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(mask)), fraction, LAND_SHARE
        )
    gridded_files = [file for files in availableby_variable.values() for file in files if file.grid is not None]
    finest = min(gridded_files, key=lambda file: file.priority, default=None)
    if finest is None or finest.grid is None or finest.grid.same_cells_as(GridSpec()):
        with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as land_path:
            return TargetGrid(GridSpec(), land.read(land_path), LAND_SHARE)
    cells_seen = finest.read(TargetGrid(finest.grid))["cell"].values
    fraction = np.zeros(finest.grid.shape, np.float32)
    fraction.ravel()[cells_seen] = 1.0
    return TargetGrid(finest.grid, xr.DataArray(fraction, dims=("row", "column")), LAND_SHARE)


def _period(
    availableby_variable: Maps, period: tuple[str, str] | None, folder: Path, allow_missing: bool
) -> pd.DatetimeIndex:
    """Days of the record: those of the period; else from the first to the last that all variables have, or any has."""
    begins, ends = _ends(availableby_variable)
    first, last = min(begins.values()), max(ends.values())
    if period is not None:
        start, end = parse_period_inside(period, first, last, folder, ", the days of its maps")
    elif allow_missing:
        start, end = first, last
    else:
        start, end = max(begins.values()), min(ends.values())
        if start > end:
            late, early = max(begins, key=lambda n: begins[n]), min(ends, key=lambda n: ends[n])
            raise InputError(
                f"{folder}: maps of {late} begin on {start:%Y-%m-%d}, after those of {early} end ({end:%Y-%m-%d}); put maps "
                "of the same days there, or --allow-missing"
            )
    return pd.date_range(start, end, freq="D", unit="ns")


def _ends(availableby_variable: Maps) -> tuple[dict[str, Any], dict[str, Any]]:
    """First and last day (Timestamp) of each variable's maps."""
    series_files = {
        name: np.concatenate([file.days.values for file in files]) for name, files in availableby_variable.items()
    }
    begins = {name: pd.Timestamp(days.min()) for name, days in series_files.items()}
    return begins, {name: pd.Timestamp(days.max()) for name, days in series_files.items()}


def _products(files: tuple[GridFile, ...]) -> str:
    return " and ".join(dict.fromkeys(file.product for file in files))


def _column_note(series_files: GridFiles) -> str:
    """Which of several columns of one variable are taken, and which are there for nothing; empty where there is one."""
    used_columns = dict.fromkeys(file.column for file in series_files.used if file.product == "CHESS")
    unused_columns = dict.fromkeys(
        file.column for file in series_files.files if file.product == "CHESS" and file.column not in used_columns
    )
    if not used_columns or len(used_columns) + len(unused_columns) < 2:
        return ""
    return f" {' and '.join(used_columns)}" + (f", not {' and '.join(unused_columns)}" if unused_columns else "")


def _plan(folder: Path, gridded: GriddedRecord, is_chosen: bool) -> list[str]:
    """What the record will hold, in lines."""
    days = gridded.flow.indexes["time"]
    maps_text = ", ".join(
        f"{n} ({_products(m.used)}{_column_note(m)}, {len(m.used)} files)" for n, m in gridded.maps.items()
    )
    lacking = [name for name in MAPS if name not in gridded.maps]
    grid_text = f"{gridded.cells.sizes['cell']} land cells of {gridded.target_grid.grid.cell_size / 1000:g} km"
    begins, ends = _ends({name: series_files.files for name, series_files in gridded.maps.items()})
    outside = ", ".join(
        f"{name} {begins[name]:%Y-%m-%d} … {ends[name]:%Y-%m-%d}"
        for name in begins
        if not is_chosen and (begins[name] < days[0] or ends[name] > days[-1])
    )
    notes = dict.fromkeys(
        f"{f.path.name}: {f.variable}: {f.note}" for m in gridded.maps.values() for f in m.used if f.note
    )
    origin_text = "derived from the weather of catchments" if gridded.maker is not None else "missing"
    return [
        f"{folder}: maps of {maps_text}, {days[0]:%Y-%m-%d} … {days[-1]:%Y-%m-%d}, on {grid_text}",
        *notes,
        *([f"maps {origin_text}: {', '.join(lacking)}"] if lacking else []),
        *(
            [f"days at the edges that only some maps have are left out: {outside}; --allow-missing keeps them"]
            if outside
            else []
        ),
    ]
