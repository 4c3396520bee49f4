"""Catchment boundaries: polygons of a vector file, and their footprints on the cells of a map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError, first_line
from hydromae.footprints import Footprints
from hydromae.grid import GridSpec
from hydromae.io.attributes import match_catchments
from hydromae.io.options import reading_options
from hydromae.io.table_keys import CATCHMENTS, plain_label

NAME_COLUMNS = (*CATCHMENTS, "id_string", "station", "hydro_id")
"""Columns with the name of the catchment; CAMELS-GB has ID_STRING, the NRFA STATION."""
SIGNATURES = {".gpkg": b"SQLite format 3\0", ".geojson": b"{", ".json": b"{", ".shp": b"\x00\x00\x27\x0a"}
"""First bytes of the formats that are read."""
AREA_TOLERANCE = 0.2
"""Relative difference between the area of a polygon and the catchment area beyond which it is reported."""
MIN_COVERED_SHARE = 0.9
"""Minimum share of a polygon on land cells of the maps below which it is reported."""
BRITISH_GRID = "EPSG:27700"


@dataclass(frozen=True)
class Boundaries:
    """Polygons of catchments on the British National Grid.

    Attributes:
        path: Their file.
        names: Name of the catchment of each polygon, as in the file.
        polygons (array of shapely geometries): One for each name [m].
    """

    path: Path
    names: pd.Index
    polygons: np.ndarray

    def footprints(
        self, record: xr.Dataset, cell: Int[np.ndarray, " N"], grid: GridSpec, discs: Footprints
    ) -> tuple[Footprints, list[str]]:
        """Return the footprints of a record on land cells: shares of the polygons, else discs.

        Args:
            record: The catchments.
            cell: Flat numbers of the land cells on the grid.
            discs: Footprints of catchments without a polygon.

        Returns:
            Footprints, and lines on catchments without a polygon and on areas and overlaps that do not fit.
        """
        catchments = record.indexes["catchment"]
        row = self.names.get_indexer(match_catchments(catchments, self.names))
        parts = [_cell_shares(self.polygons[index], cell, grid) if index >= 0 else None for index in row]
        covered = np.array([np.nan if part is None else part[1].sum() for part in parts])
        has_polygon = covered > 0
        is_disc = ~has_polygon[discs.catchment]
        catchment = [discs.catchment[is_disc]]
        cells, weights = [discs.cell[is_disc]], [discs.weight[is_disc]]
        for index in np.flatnonzero(has_polygon):
            part = parts[index]
            assert part is not None
            catchment.append(np.full(len(part[0]), index))
            cells.append(part[0])
            weights.append(part[1] / part[1].sum())
        order = np.argsort(np.concatenate(catchment), kind="stable")
        joined = (np.concatenate(values)[order] for values in (catchment, cells, weights))
        return Footprints(*joined), self._faults(record, row, covered)

    def _faults(self, record: xr.Dataset, row: np.ndarray, covered: Float[np.ndarray, " C"]) -> list[str]:
        """Return lines on catchments without a polygon and on areas and overlaps that do not fit."""
        import shapely

        names = record["catchment"].values
        area = np.where(row >= 0, shapely.area(self.polygons)[row] / 1e6, np.nan)
        known = record["catchment-area"].values if "catchment-area" in record else np.full(len(row), np.nan)
        lines = []
        if (row < 0).any():
            lines.append(f"{self.path}: has no boundary of {_count(row < 0, names)}; the disc of its area is used")
        is_other = np.abs(area / known - 1) > AREA_TOLERANCE
        if is_other.any():
            first = is_other.argmax()
            lines.append(
                f"{self.path}: the boundaries of {_count(is_other, names)}, have another area than the catchment "
                f"({area[first]:.4g} km², catchment-area is {known[first]:.4g} km²); check its name and its area"
            )
        is_partial = covered < MIN_COVERED_SHARE
        if is_partial.any():
            share = f"{100 * covered[is_partial.argmax()]:.0f} %"
            lines.append(
                f"{self.path}: less than {100 * MIN_COVERED_SHARE:.0f} % of the boundaries of {_count(is_partial, names)} "
                f"({share}), lie on cells of the maps"
            )
        return lines


def read_boundaries(path: Path) -> Boundaries:
    """Read polygons from a GeoPackage, GeoJSON or shapefile, with a column that names the catchments.

    Raises:
        InputError: The file cannot be read, has no polygons, no CRS or no column of names; or pyogrio is not installed.
    """
    try:
        import shapely
        from pyogrio import errors, raw
    except ImportError as error:
        raise InputError(
            f"{path}: boundaries need pyogrio and shapely ({error.name}); pip install 'hydromae[boundaries]'"
        ) from None
    _check_format(path)
    try:
        meta, _, geometry, fields = raw.read(path)
        polygons = shapely.make_valid(shapely.from_wkb(geometry))
    except (errors.DataSourceError, errors.DataLayerError, shapely.GEOSException, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a vector file ({first_line(error)}); give a GeoPackage, GeoJSON or shapefile"
        ) from None
    names = _names(meta, fields, path)
    if len(names) == 0 or not np.isin(shapely.get_type_id(polygons), (3, 6, 7)).all():
        raise InputError(f"{path}: does not hold polygons alone; give the boundaries of the catchments")
    if meta["crs"] is None:
        raise InputError(f"{path}: has no coordinate reference system (a .prj file, or a CRS in the file); add it")
    projected = _on_british_grid(polygons, str(meta["crs"]), path)
    grouped = pd.Series(projected, dtype=object).groupby(names, sort=False)
    return Boundaries(path, pd.Index(list(grouped.groups)), np.array([shapely.union_all(part) for _, part in grouped]))


def _check_format(path: Path) -> None:
    """Refuse a file whose first bytes are not those of its format: other formats of GDAL may refer to other files."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        head = file.read(512)
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(SIGNATURES.get(path.suffix.lower(), b"\0none")):
        raise InputError(
            f"{path}: is not a {' or '.join(SIGNATURES)} file; give the boundaries in one of these formats"
        )


def refuse_unused_boundaries(source: str | Path, maps: object) -> None:
    """Raise InputError if boundaries are given for a source without maps."""
    boundaries = reading_options().boundaries
    if boundaries is not None and not maps:
        raise InputError(
            f"--boundaries {boundaries}: {source} has no daily maps, which boundaries are for; put maps beside its gauges, "
            "or leave --boundaries out"
        )


def _names(meta: dict[str, Any], fields: list[np.ndarray], path: Path) -> np.ndarray:
    labels = {plain_label(str(name)): index for index, name in enumerate(meta["fields"])}
    column = next((labels[name] for name in NAME_COLUMNS if name in labels), None)
    if column is None:
        has = ", ".join(map(str, meta["fields"])) or "no column"
        raise InputError(f"{path}: has no column of catchment names (it has {has}); name one of them id")
    return np.asarray(fields[column])


def _on_british_grid(polygons: np.ndarray, crs: str, path: Path) -> np.ndarray:
    """Transform polygons to the British National Grid."""
    import shapely
    from pyproj import Transformer
    from pyproj.exceptions import CRSError, ProjError

    try:
        transformer = Transformer.from_crs(crs, BRITISH_GRID, always_xy=True)
        moved = shapely.transform(polygons, lambda xy: np.stack(transformer.transform(xy[:, 0], xy[:, 1]), axis=1))
    except (CRSError, ProjError) as error:
        raise InputError(
            f"{path}: its coordinates cannot be transformed ({first_line(error)}); check its CRS"
        ) from None
    if not np.isfinite(shapely.bounds(moved)).all():
        raise InputError(f"{path}: has coordinates outside its coordinate reference system {crs}; check its CRS")
    return moved


def _cell_shares(
    polygon: Any, cell: Int[np.ndarray, " N"], grid: GridSpec
) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Return indices of the cells that a polygon touches, and the share of its area in each."""
    import shapely

    half = grid.cell_size / 2
    east, north = grid.cell_position(cell)
    west_end, south_end, east_end, north_end = polygon.bounds
    near = np.flatnonzero(
        (east >= west_end - half)
        & (east <= east_end + half)
        & (north >= south_end - half)
        & (north <= north_end + half)
    )
    squares = shapely.box(east[near] - half, north[near] - half, east[near] + half, north[near] + half)
    shares = shapely.area(shapely.intersection(squares, polygon)) / polygon.area
    return near[shares > 0], shares[shares > 0]


def _count(is_listed: np.ndarray, names: np.ndarray) -> str:
    return f"{is_listed.sum()} catchments, such as {names[is_listed.argmax()]}"
