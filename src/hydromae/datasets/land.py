"""Land: share of land of grid cells, and the land cells of a record."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from pyproj import CRS

from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.safety import READ_ERRORS, check_size, check_zip

MIN_LAND_SHARE = 0.05 - 1e-6
"""Minimum share of a land cell: 5 percent with a tolerance for rounding to float32."""


def read_land_fraction(path: str | Path, grid: GridSpec | None = None) -> xr.DataArray:
    """Read the share of land of each cell.

    Args:
        path: `.npz` with `land_percent` (row, column) and `easting`, `northing` [m]; or `.pt`, a boolean tensor (row,
            column), rows northward, on `grid`, read without unpickling code.
        grid: Grid of a `.pt` (default HadUK-Grid 5 km); an `.npz` must agree with it if given.

    Returns:
        DataArray (row, column): `land_fraction` in 0 … 1, float32, with coordinates `row` (northing) and `column` (easting)
            [m].

    Raises:
        InputError: No such file, another file type, or another shape or position than the grid.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    suffix = Path(path).suffix
    if suffix in (".npz", ".pt"):
        check_zip(path)
    if suffix == ".npz":
        fraction, grid_found = _read_npz(path)
    elif suffix == ".pt":
        grid_found = grid or GridSpec()
        fraction = _read_pt(path)
    else:
        raise InputError(f"{path}: a land mask ends in .npz or .pt, not {suffix!r}")
    if fraction.shape != grid_found.shape or (grid is not None and _geometry(grid) != _geometry(grid_found)):
        expected = grid or grid_found
        raise InputError(
            f"{path}: land mask of {fraction.shape[0]} × {fraction.shape[1]} cells from easting {grid_found.easting:g}, "
            f"northing {grid_found.northing:g} m does not fit the grid of {expected.rows} × {expected.columns} cells from "
            f"{expected.easting:g}, {expected.northing:g} m; give a mask on that grid"
        )
    if not (fraction >= MIN_LAND_SHARE).any():
        raise InputError(f"{path}: has no land; True, or 100 percent, is land")
    row, column = axes(grid_found)
    return xr.DataArray(fraction, {"row": row, "column": column}, ("row", "column"), "land_fraction", {"units": "1"})


def _geometry(grid: GridSpec) -> tuple[float, ...]:
    return float(grid.rows), float(grid.columns), grid.cell_size, grid.northing, grid.easting


def _read_npz(path: str | Path) -> tuple[np.ndarray, GridSpec]:
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                _check_npy(archive, member, str(path))
        with np.load(path, allow_pickle=False) as arrays_:
            arrays = {name: np.asarray(arrays_[name]) for name in arrays_.files}
    except InputError:
        raise
    except (BadZipFile, *READ_ERRORS) as error:
        raise InputError(f"{path}: not a readable npz file ({first_line(error)}); give a land mask") from error
    missing_arrays = [name for name in ("land_percent", "easting", "northing") if name not in arrays]
    if missing_arrays:
        raise InputError(f"{path}: no array {', '.join(missing_arrays)}; a land mask holds land_percent and its axes")
    percent, east, north = (arrays[name] for name in ("land_percent", "easting", "northing"))
    for name, array, rank in (("land_percent", percent, 2), ("easting", east, 1), ("northing", north, 1)):
        if array.ndim != rank or array.dtype.kind not in "iufb":
            raise InputError(f"{path}: {name} is {array.dtype}{array.shape}; give numbers, in {rank} dimensions")
    if not ((percent >= 0) & (percent <= 100)).all():
        raise InputError(f"{path}: land_percent holds {percent.min()} … {percent.max()}; give percent, 0 to 100")
    grid = grid_of_axes(east.astype(float), north.astype(float), str(path))
    return (percent / 100).astype(np.float32), grid


def _read_pt(path: str | Path) -> np.ndarray:
    import torch  # slow import

    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of pickle protocols
            land = torch.load(path, weights_only=True, map_location="cpu")
    except (UnpicklingError, *READ_ERRORS) as error:
        raise InputError(f"{path}: not a plain tensor ({_short(error)}); save a boolean tensor") from error
    is_plain = isinstance(land, torch.Tensor) and land.layout == torch.strided and not land.is_meta
    if not is_plain or land.dtype != torch.bool or land.ndim != 2:
        raise InputError(f"{path}: holds no boolean tensor of two dimensions; save land[row, column] as torch.bool")
    check_size(str(path), "the mask", tuple(land.shape), land.untyped_storage().nbytes())
    return land.numpy().astype(np.float32)


def _short(error: Exception) -> str:
    """Return the error of torch without its advice to disable the safety check."""
    return first_line(error).split(".")[0]


def _check_npy(archive: ZipFile, member: ZipInfo, source: str) -> None:
    """Refuse an array whose header declares another size than the archive, before numpy allocates memory."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise InputError(
                f"{source}: {member.filename} does not contain the {dtype}{shape} that it declares; write it again"
            )


def grid_of_axes(east: Float[np.ndarray, " X"], north: Float[np.ndarray, " Y"], source: str) -> GridSpec:
    """Return the grid of cell centres at these eastings and northings [m], ascending and evenly spaced."""
    is_finite = len(east) > 1 and len(north) > 1 and np.isfinite(east).all() and np.isfinite(north).all()
    steps = np.concatenate([np.diff(east), np.diff(north)]) if is_finite else np.zeros(1)
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        raise InputError(f"{source}: its eastings and northings are not evenly spaced and ascending; regrid it first")
    return GridSpec(len(north), len(east), float(steps[0]), float(north[0]), float(east[0]))


def axes(grid: GridSpec) -> tuple[xr.Variable, xr.Variable]:
    """Return the coordinates `row` and `column`: northing and easting [m] of the cell centres."""
    north = grid.northing + grid.cell_size * np.arange(grid.rows)
    east = grid.easting + grid.cell_size * np.arange(grid.columns)
    row = xr.Variable("row", north, {"units": "m", "standard_name": "projection_y_coordinate", "long_name": "northing"})
    column = {"units": "m", "standard_name": "projection_x_coordinate", "long_name": "easting"}
    return row, xr.Variable("column", east, column)


def cell_coordinates(cell: Int[np.ndarray, " N"], grid: GridSpec, fraction: xr.DataArray | None = None) -> xr.Dataset:
    """Return coordinates of land cells: `cell` (CF compression by gathering), positions, axes and CRS of the grid.

    Args:
        cell (int array (N,)): Flat cell numbers, row × columns + column, ascending.
        grid: Grid of the cells.
        fraction (DataArray (row, column), optional): Share of land, for `land_fraction` (cell).
    """
    east, north = grid.cell_position(cell)
    row, column = axes(grid)
    metres = {"units": "m"}
    coords = {
        "cell": ("cell", cell.astype(np.int64), {"compress": "row column", "long_name": "land cells"}),
        "cell_easting": ("cell", east, metres | {"standard_name": "projection_x_coordinate"}),
        "cell_northing": ("cell", north, metres | {"standard_name": "projection_y_coordinate"}),
        "row": row,
        "column": column,
        "crs": ((), np.int32(27700), CRS.from_epsg(27700).to_cf()),
    }
    if fraction is not None:
        attrs = {"units": "1", "standard_name": "land_area_fraction"}
        coords["land_fraction"] = ("cell", fraction.values.ravel()[cell].astype(np.float32), attrs)
    return xr.Dataset(coords=coords)


def land_cells(fraction: xr.DataArray, threshold: float = 0.05) -> Int[np.ndarray, " N"]:
    """Return flat numbers of the cells with a share of land of at least `threshold`."""
    return np.flatnonzero(fraction.values.ravel() >= threshold - 0.05 + MIN_LAND_SHARE)


def with_threshold(grid: GridSpec, land_threshold: float) -> GridSpec:
    """Set the minimum share of land cells of a patch."""
    if not 0 < land_threshold <= 1:
        raise InputError(f"land threshold {land_threshold:g}: not above 0 and up to 1; it is a share of land cells")
    return replace(grid, land_threshold=land_threshold)
