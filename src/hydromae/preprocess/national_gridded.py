"""National record from downloaded maps (HadUK-Grid, CHESS, ERA5-Land) and gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets import land
from hydromae.datasets.derived import default_training_period
from hydromae.datasets.discovery import WEATHER
from hydromae.datasets.gridded import GridFile, GridFiles
from hydromae.datasets.map_weather import target_grid_of
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.footprints import Footprints, footprint_mean
from hydromae.io.catchment_footprints import catchment_footprints
from hydromae.io.conventions import set_cf_attributes
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.locate import check_no_missing_days
from hydromae.io.parse import parse_period_inside
from hydromae.io.seed_layout import MAPS
from hydromae.preprocess.national import MapMaker
from hydromae.progress import track
from hydromae.store.streaming import write_streamed
from hydromae.store.zarr_store import SHARD_DAYS, describe_source
from hydromae.variables import SERIES_BESIDE_MAPS

Maps = Mapping[str, tuple[GridFile, ...]]
DEMAND = ("evaporation", "potential_evaporation")
"""Series of a national record that have the potential evaporation: the reference specification's, and that of the weather."""


@dataclass(frozen=True)
class GriddedRecord:
    """Parts of a national record.

    Attributes:
        flow (Dataset (time, catchment)): Gauges on the days of the maps.
        maps: Maps by variable; `potential_evaporation` gives the evaporation of catchments without it.
        cells: Coordinates of the land cells.
        maker: Derives missing maps if the gauges have weather.
        record: Gauges on all of their days, for the spin-up of the maker.
    """

    flow: xr.Dataset
    maps: dict[str, GridFiles]
    target_grid: TargetGrid
    cells: xr.Dataset
    maker: MapMaker | None
    record: xr.Dataset

    @property
    def gridded_variables(self) -> list[str]:
        """Return the map variables with files."""
        return [name for name in MAPS if name in self.maps]

    @property
    def footprints(self) -> Footprints | None:
        """Return the footprints if evaporation of catchments is computed from maps, or None."""
        if "potential_evaporation" in self.flow or "potential_evaporation" not in self.maps:
            return None
        return catchment_footprints(self.flow, self.cells["cell"].values, self.target_grid.grid)

    @property
    def own_weather(self) -> dict[str, str]:
        """Return the rain and temperature of the gauges: names in the record and in the gauges."""
        series = {n: v.name if n in self.maps else n for n, v in SERIES_BESIDE_MAPS.items()}
        return {held: name for name, held in series.items() if name in self.flow}

    def template(self) -> xr.Dataset:
        """Return the record without values."""
        if self.maker is not None:
            gridded = self.maker.template(self.flow)
        else:
            static = self.flow.drop_vars([n for n in (*WEATHER, "riverflow") if n in self.flow]).merge(self.cells)
            empty = np.broadcast_to(np.float32(np.nan), (self.flow.sizes["time"], self.cells.sizes["cell"]))
            series_files = {name: (("time", "cell"), empty, {"grid_mapping": "crs"}) for name in self.gridded_variables}
            series = {held: self.flow[name] for held, name in self.own_weather.items()}
            series["riverflow"] = self.flow["riverflow"]
            if "potential_evaporation" in self.flow:
                series |= dict.fromkeys(DEMAND, self.flow["potential_evaporation"])
            elif "potential_evaporation" in self.maps:
                series |= dict.fromkeys(DEMAND, xr.full_like(self.flow["riverflow"], np.nan))
            gridded = set_cf_attributes(static.assign(series_files | series))
            if "evaporation" in gridded:
                gridded["evaporation"].attrs["derived"] = "potential evaporation, not measured by an instrument"
        for name in self.gridded_variables:
            gridded[name].attrs.pop("derived", None)
            gridded[name].attrs["long_name"] = f"{name.replace('_', ' ')} of {_products(self.maps[name].used)}"
        return gridded

    def values(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Read the maps of some days (time, cell)."""
        return {
            n: self.maps[n].block(first, last, self.target_grid, self.cells.sizes["cell"])
            for n in self.gridded_variables
        }

    def blocks(self) -> Iterator[xr.Dataset]:
        """Yield the values, `SHARD_DAYS` days at a time."""
        if self.maker is not None:
            yield from self.maker.blocks(self.record, self.flow, self.values)
            return
        footprints, count = self.footprints, self.flow.sizes["catchment"]
        for first in range(0, self.flow.sizes["time"], SHARD_DAYS):
            last = min(first + SHARD_DAYS, self.flow.sizes["time"])
            days = self.flow.isel(time=slice(first, last)).transpose("time", "catchment", ...)
            series_files = {name: (("time", "cell"), values) for name, values in self.values(first, last).items()}
            for held, name in (*self.own_weather.items(), ("riverflow", "riverflow")):
                series_files[held] = (("time", "catchment"), days[name].values)
            if footprints is not None:
                demand = self.maps["potential_evaporation"].block(
                    first, last, self.target_grid, self.cells.sizes["cell"]
                )
                series_files |= dict.fromkeys(
                    DEMAND, (("time", "catchment"), footprint_mean(footprints, demand, count))
                )
            elif "potential_evaporation" in self.flow:
                series_files |= dict.fromkeys(DEMAND, (("time", "catchment"), days["potential_evaporation"].values))
            yield xr.Dataset(series_files)


def prepare_gridded(
    folder: Path,
    files_by_variable: Maps,
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
    """Write a store of a national record: maps from files, derived maps, and flow.

    Args:
        folder: Folder with an optional land mask (`*land*.npz`, `*mask*.pt`), which determines the grid; default the finest
            grid of HadUK-Grid there, or its 5 km grid with the land mask of the package.
        files_by_variable: Files of maps by variable (`gridded.find_maps`).
        record (Dataset (time, catchment)): The gauges, with places and areas.
        out, period, training_period, land_threshold, progress: As in `prepare.prepare`; default period from the first to
            the last day that maps of all variables have.
        sources: Sources of the gauges (`zarr_store.describe_source`); those of the maps follow.
        allow_missing: Treat days without a file of a variable as unobserved; the default period is then that of any variable.

    Raises:
        InputError: One line that names file, value and remedy.
    """
    days = _period(files_by_variable, period, folder, allow_missing)
    target_grid = target_grid_of(folder, files_by_variable)
    maps = {name: GridFiles.over(files, days) for name, files in files_by_variable.items()}
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


def _period(
    files_by_variable: Maps, period: tuple[str, str] | None, folder: Path, allow_missing: bool
) -> pd.DatetimeIndex:
    """Return the days of the record: the period, or the days of all variables, or of any (`allow_missing`)."""
    begins, ends = _ends(files_by_variable)
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


def _ends(files_by_variable: Maps) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return first and last day (Timestamp) of the maps of each variable."""
    series_files = {
        name: np.concatenate([file.days.values for file in files]) for name, files in files_by_variable.items()
    }
    begins = {name: pd.Timestamp(days.min()) for name, days in series_files.items()}
    return begins, {name: pd.Timestamp(days.max()) for name, days in series_files.items()}


def _products(files: tuple[GridFile, ...]) -> str:
    return " and ".join(dict.fromkeys(file.product for file in files))


def _column_note(series_files: GridFiles) -> str:
    """Return the used and unused columns of a variable as text, empty for one column."""
    used_columns = dict.fromkeys(file.column for file in series_files.used if file.product == "CHESS")
    unused_columns = dict.fromkeys(
        file.column for file in series_files.files if file.product == "CHESS" and file.column not in used_columns
    )
    if not used_columns or len(used_columns) + len(unused_columns) < 2:
        return ""
    return f" {' and '.join(used_columns)}" + (f", not {' and '.join(unused_columns)}" if unused_columns else "")


def _plan(folder: Path, gridded: GriddedRecord, is_chosen: bool) -> list[str]:
    """Return lines on the content of the record."""
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
            [f"days at the ends without maps of all variables are omitted: {outside}; --allow-missing keeps them"]
            if outside
            else []
        ),
    ]
