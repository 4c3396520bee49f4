"""Weather of catchments from the maps above them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.datasets import land
from hydromae.datasets.boundaries import read_boundaries
from hydromae.datasets.gridded import GridFile, GridFiles
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.footprints import Footprints, footprint_mean
from hydromae.grid import GridSpec
from hydromae.io.catchment_footprints import catchment_footprints
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.locate import one_of
from hydromae.io.options import reading_options
from hydromae.io.value_ranges import PROCESSING, joined_notes
from hydromae.progress import report_progress
from hydromae.variables import MODALITIES

WEATHER = MODALITIES["weather"].variables
READ_DAYS = 366
"""Days of maps in memory."""


def target_grid_of(folder: Path, files_by_variable: Mapping[str, tuple[GridFile, ...]]) -> TargetGrid:
    """Return the grid to which the maps of a folder are converted, and its land.

    A land mask in the folder (`*land*.npz`, `*mask*.pt`) determines it; default the finest grid of HadUK-Grid there, or its
    5 km grid with the land mask of the package.
    """
    mask = one_of(folder, ("*land*.npz", "*mask*.pt"))
    if mask is not None:
        fraction = land.read_land_fraction(mask)
        return TargetGrid(land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(mask)), fraction)
    gridded_files = [file for files in files_by_variable.values() for file in files if file.grid is not None]
    finest = min(gridded_files, key=lambda file: file.priority, default=None)
    if finest is None or finest.grid is None or finest.grid.same_cells_as(GridSpec()):
        with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as land_path:
            return TargetGrid(GridSpec(), land.read_land_fraction(land_path))
    cells_seen = finest.read(TargetGrid(finest.grid))["cell"].values
    fraction = np.zeros(finest.grid.shape, np.float32)
    fraction.ravel()[cells_seen] = 1.0
    return TargetGrid(finest.grid, xr.DataArray(fraction, dims=("row", "column")))


@dataclass(frozen=True)
class MapWeather:
    """A record with weather from maps.

    Attributes:
        record (Dataset (time, catchment)): The record; `processing` of a variable states what is from maps.
        lines: Lines on maps that are not used, days without maps and catchments outside the maps.
        files: Files that were read.
    """

    record: xr.Dataset
    lines: tuple[str, ...] = ()
    files: tuple[GridFile, ...] = ()


def with_map_weather(
    record: xr.Dataset, files_by_variable: Mapping[str, tuple[GridFile, ...]], folder: Path
) -> MapWeather:
    """Give catchments without a series of a weather variable the mean of the maps above them.

    Args:
        record (Dataset (time, catchment)): Catchments with positions. A catchment with any value of a variable keeps its
            series.
        files_by_variable: Maps by variable (`gridded.find_maps`).
        folder: Their folder, for the grid and for messages.

    Returns:
        MapWeather: The record, NaN on days without a map and for catchments outside the maps.

    Raises:
        InputError: No day of the record has a map, or a map cannot be read.
    """
    days = pd.DatetimeIndex(record["time"].values)
    maps = {v.name: files_by_variable[v.name] for v in WEATHER if v.name in files_by_variable}
    without_series = {name: _without_series(record, name) for name in maps}
    lines = [
        f"{folder}: maps of {name} are not used, every catchment has a series"
        for name, is_needed in without_series.items()
        if not is_needed.any()
    ]
    maps = {name: files for name, files in maps.items() if without_series[name].any()}
    if not maps:
        return MapWeather(record, tuple(lines))
    files = {name: GridFiles.over(choices, days) for name, choices in maps.items()}
    if all((one.file < 0).all() for one in files.values()):
        first, last = (f"{day:%Y-%m-%d}" for day in days[[0, -1]])
        raise InputError(
            f"{folder}: its record, {first} … {last}, has no day of its maps; put maps and flow of the same days there"
        )
    grid = target_grid_of(folder, maps)
    assert grid.land is not None
    cells = land.cell_coordinates(land.land_cells(grid.land, grid.threshold), grid.grid, grid.land)
    cell, boundaries = cells["cell"].values, reading_options().boundaries
    footprints = catchment_footprints(record, cell, grid.grid)
    if boundaries is not None:
        footprints, boundary_lines = read_boundaries(boundaries).footprints(record, cell, grid.grid, footprints)
        lines += boundary_lines
    weather = {}
    for name, of_days in files.items():
        mean = _footprint_series(of_days, grid, footprints, record.sizes["catchment"], cells.sizes["cell"], name)
        weather[name] = _merged(record, name, mean, without_series[name], of_days)
        lines += _gap_lines(folder, name, of_days, mean, without_series[name], record["catchment"].values)
    used = tuple(file for of_days in files.values() for file in of_days.used)
    credits = dict.fromkeys(MAP_CREDITS[file.product] for file in used)
    source = "; ".join(filter(None, (record.attrs.get("source"), *credits)))
    return MapWeather(record.assign(weather).assign_attrs(source=source), tuple(lines), used)


def _without_series(record: xr.Dataset, name: str) -> Bool[np.ndarray, " C"]:
    """Return True for catchments without any value of a variable."""
    if name not in record:
        return np.ones(record.sizes["catchment"], dtype=bool)
    return ~record[name].notnull().any("time").values


def _footprint_series(
    files: GridFiles, grid: TargetGrid, footprints: Footprints, catchments: int, cells: int, name: str
) -> Float[np.ndarray, "T C"]:
    """Return the footprint means of all days, `READ_DAYS` days at a time."""
    total = len(files.days)
    parts = []
    for first in range(0, total, READ_DAYS):
        last = min(first + READ_DAYS, total)
        parts.append(footprint_mean(footprints, files.block(first, last, grid, cells), catchments))
        report_progress(f"days of {name} maps read", last, total)
    return np.concatenate(parts).astype(np.float32)


def _merged(
    record: xr.Dataset, name: str, mean: Float[np.ndarray, "T C"], is_needed: Bool[np.ndarray, " C"], files: GridFiles
) -> xr.DataArray:
    """Return the series of a variable: footprint means where needed, else the values of the record."""
    own = record[name].transpose("time", "catchment") if name in record else None
    values = mean if own is None else np.where(is_needed, mean, own.values)
    products = " and ".join(dict.fromkeys(file.product for file in files.used))
    count = f"{is_needed.sum()} of {len(is_needed)} catchments" if not is_needed.all() else "every catchment"
    boundaries = reading_options().boundaries
    where = "a disc of the catchment's area"
    if boundaries is not None:
        where = f"the boundaries in {boundaries.name} (discs without one)"
    note = f"mean of {products} maps over {where}, for {count}"
    attrs = {} if own is None else own.attrs
    notes = joined_notes(attrs.get(PROCESSING), note)
    units = next(variable.units for variable in WEATHER if variable.name == name)
    coords = {"time": record["time"], "catchment": record["catchment"]}
    return xr.DataArray(values, coords, ("time", "catchment"), attrs={**attrs, "units": units, PROCESSING: notes})


def _gap_lines(
    folder: Path,
    name: str,
    files: GridFiles,
    mean: Float[np.ndarray, "T C"],
    is_needed: Bool[np.ndarray, " C"],
    catchments: np.ndarray,
) -> list[str]:
    """Return lines on days without a map and on catchments outside the maps."""
    has_map = files.file >= 0
    is_outside = is_needed & ~np.isfinite(mean[has_map]).any(axis=0) if has_map.any() else np.zeros_like(is_needed)
    first_missing = f"{files.days[(~has_map).argmax()]:%Y-%m-%d}"
    return [
        *(
            [f"{folder}: {name}: {(~has_map).sum()} of {len(has_map)} days have no map, the first is {first_missing}"]
            if not has_map.all()
            else []
        ),
        *(
            [
                f"{folder}: {name}: {is_outside.sum()} catchments, such as {catchments[is_outside.argmax()]}, are outside "
                "the maps; it is unobserved there"
            ]
            if is_outside.any()
            else []
        ),
    ]
