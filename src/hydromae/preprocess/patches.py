"""Spatial patches: land patches of the map, and catchments that share a token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hydromae.batching.record_arrays import neighbour_groups
from hydromae.datasets import land
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io import attributes as nrfa
from hydromae.io.atomic import atomic_path
from hydromae.io.conventions import catchment_positions
from hydromae.store.zarr_store import grid_of, is_store, open_store


def spatial_patches(
    source: str | Path,
    attributes: str | Path | None = None,
    land_threshold: float | None = None,
    group_size: int = 8,
    picture: str | Path | None = None,
) -> dict[str, Any]:
    """Return land patches of a grid, and groups of neighbouring catchments, as in training.

    Args:
        source: A national store, or a land mask (`.pt`, `.npz`).
        attributes: Table of catchments, instead of those of the store.
        land_threshold: Minimum share of land cells of a land patch; default that of the store, or 0.5.
        group_size: Catchments that share a token (`vector_patch_size`).
        picture: PNG file of the patches.

    Returns:
        dict: `rows`, `columns`, `patch` (cells along its side), `patch_rows`, `patch_columns`, `patches` (number),
            `land_threshold`, `land_patches` (flat numbers, row × patch_columns + column, row 0 in the south); and with
            catchments `group_size`, `catchments`, `groups` (lists of catchment numbers; the last one may be shorter),
            `padding` (empty slots of the last group).

    Raises:
        InputError: Neither store nor mask, an invalid threshold or group size, or a catchment without a position.
    """
    if group_size < 1:
        raise InputError(f"group size {group_size}: below 1; give how many catchments share a token")
    grid, is_land, rivers = _read_grid(source)
    threshold = grid.land_threshold if land_threshold is None else land_threshold
    if not 0 < threshold <= 1:
        raise InputError(f"land threshold {threshold:g}: not above 0 and up to 1; it is a share of land cells")
    grid = replace(grid, land_threshold=threshold)
    land_patches = grid.land_patches(is_land)
    patch_rows, patch_columns = grid.patch_shape
    summary: dict[str, Any] = {"rows": grid.rows, "columns": grid.columns, "patch": grid.patch}
    summary |= {"patch_rows": patch_rows, "patch_columns": patch_columns, "patches": patch_rows * patch_columns}
    summary |= {"land_threshold": threshold, "land_patches": land_patches.tolist()}
    if attributes is not None:
        rivers = nrfa.read_attribute_table(attributes)
    if rivers is not None:
        easting, northing = catchment_positions(rivers)
        group_slots = neighbour_groups(easting, northing, group_size)
        names = rivers["catchment"].values
        groups = [names[row[row >= 0]].tolist() for row in group_slots]
        summary |= {"group_size": group_size, "catchments": len(names), "groups": groups}
        summary |= {"padding": int((group_slots < 0).sum())}
    if picture is not None:
        _draw(picture, grid, is_land, land_patches, None if rivers is None else (easting, northing, group_slots))
    return summary


def _read_grid(source: str | Path) -> tuple[GridSpec, Bool[np.ndarray, "rows columns"], xr.Dataset | None]:
    """Return grid, land cells, and catchments if the source has them."""
    if Path(source).suffix in (".pt", ".npz"):
        fraction = land.read_land_fraction(source)
        grid = land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(source))
        cell, rivers = land.land_cells(fraction), None
    elif is_store(source):
        rivers = open_store(source)
        if "cell" not in rivers.dims:
            raise InputError(f"{source}: a store without maps; give a national store, or a land mask")
        grid, cell = grid_of(rivers), rivers["cell"].values
    else:
        raise InputError(f"{source}: neither a store nor a land mask (.pt, .npz); check the path")
    is_land = np.zeros(grid.shape, dtype=bool)
    is_land.ravel()[cell] = True
    return grid, is_land, rivers


def _draw(
    path: str | Path,
    grid: GridSpec,
    is_land: Bool[np.ndarray, "rows columns"],
    land_patches: np.ndarray,
    gauges: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
) -> None:
    """Draw the land, its patches, and the catchments of each group joined by a line."""
    figure = Figure(figsize=(6, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    west, south = (start - grid.cell_size / 2 for start in (grid.easting, grid.northing))
    east, north = west + grid.columns * grid.cell_size, south + grid.rows * grid.cell_size
    extent = (west / 1e3, east / 1e3, south / 1e3, north / 1e3)
    axes.imshow(is_land, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=5)
    side = grid.patch * grid.cell_size / 1e3
    for row, column in zip(*np.divmod(land_patches, grid.patch_shape[1]), strict=True):
        corner = (west / 1e3 + column * side, south / 1e3 + row * side)
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="tab:blue", linewidth=0.7))
    title = f"{len(land_patches)} land patches of {grid.patch_shape[0] * grid.patch_shape[1]}"
    if gauges is not None:
        for row in gauges[2]:
            members = row[row >= 0]
            axes.plot(gauges[0][members] / 1e3, gauges[1][members] / 1e3, ".-", markersize=3, linewidth=0.6)
        title += f", {len(gauges[0])} catchments in {len(gauges[2])} groups"
    axes.set(aspect="equal", xlabel="easting [km]", ylabel="northing [km]", title=title)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, dpi=130)
