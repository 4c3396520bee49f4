"""Weather of catchments from maps, weighted by the shares of their boundaries in the cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from pyogrio import raw
from pyproj import Transformer

from hydromae.cli import main
from hydromae.datasets.boundaries import read_boundaries
from hydromae.errors import InputError
from hydromae.io.options import use_reading_options
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import load_store
from records import POSITIONS

EAST, NORTH = POSITIONS[1001]
"""Centre of the cell (1, 1) of 20 km, with 11 mm of rain on the first day; its eastern cell has 12 mm, its northern 21 mm."""


def write(
    path: Path, polygons: list[Any], names: list[Any], crs: str | None = "EPSG:27700", column: str = "id"
) -> Path:
    raw.write(
        path,
        np.array([shapely.to_wkb(p) for p in polygons], dtype=object),
        [np.array(names)],
        [column],
        geometry_type="Polygon",
        crs=crs,
    )
    return path


def square(west: float, south: float, width: float, height: float) -> Any:
    return shapely.box(EAST + west, NORTH + south, EAST + west + width, NORTH + south + height)


def rain(folder: Path, boundaries: Path, said: list[str] | None = None) -> xr.DataArray:
    with use_reading_options(boundaries=boundaries):
        lines = [] if said is None else said
        return load_store(prepare(folder, folder.parent / f"{boundaries.stem}.zarr", progress=lines.append))[
            "precipitation"
        ]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp"])
def test_cells_weigh_by_their_share_of_the_polygon(maps_and_gauges: Path, tmp_path: Path, suffix: str) -> None:
    """Three quarters in the cell of 11 mm, a quarter in that of 12 mm: 11.25 mm; the other river has no boundary: 22 mm."""
    polygon = square(-5e3, 0, 20e3, 4.32e3)
    if suffix == ".geojson":
        degrees = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True)
        corners = shapely.segmentize(polygon, 100)
        polygon = shapely.transform(corners, lambda xy: np.stack(degrees.transform(*xy.T), axis=1))
    path = write(tmp_path / f"shape{suffix}", [polygon], [1001], "EPSG:4326" if suffix == ".geojson" else "EPSG:27700")
    said: list[str] = []
    values = rain(maps_and_gauges, path, said)
    np.testing.assert_allclose(values.sel(catchment=1001), [11.25, 12.25, 13.25], atol=1e-3)
    np.testing.assert_allclose(values.sel(catchment=1002), [22, 23, 24], rtol=1e-6)
    lines = "\n".join(said)
    assert "has no boundary of 1 catchments, such as 1002; the disc of its area is used" in lines
    assert "another area" not in lines, "20 km × 4.32 km is the catchment area, 86.4 km²"
    assert f"over the boundaries in shape{suffix}" in lines


def test_parts_of_a_catchment_are_joined_and_names_match_as_text(maps_and_gauges: Path, tmp_path: Path) -> None:
    parts = [square(0, 0, 1e3, 1e3), square(0, 15e3, 1e3, 3e3)]  # 1 km² in the cell of 11 mm, 3 km² in that of 21 mm
    path = write(tmp_path / "parts.gpkg", parts, ["1001", "1001"], column="ID_STRING")
    said: list[str] = []
    np.testing.assert_allclose(rain(maps_and_gauges, path, said).sel(catchment=1001), [18.5, 19.5, 20.5], rtol=1e-6)
    assert "another area than the catchment (4 km², catchment-area is 86.4 km²)" in "\n".join(said)


def test_a_polygon_beyond_the_maps_is_reported(maps_and_gauges: Path, tmp_path: Path) -> None:
    """Half of it lies west of the maps."""
    said: list[str] = []
    path = write(tmp_path / "west.gpkg", [square(-40e3, 0, 20e3, 4.32e3)], [1001])
    np.testing.assert_allclose(rain(maps_and_gauges, path, said).sel(catchment=1001), [10, 11, 12], rtol=1e-6)
    assert (
        "less than 90 % of the boundaries of 1 catchments, such as 1001 (50 %), lie on cells of the maps"
        in "\n".join(said)
    )


@pytest.mark.parametrize("command", ["predict", "forecast"])
def test_an_answer_states_the_boundaries(maps_and_gauges: Path, tmp_path: Path, command: str) -> None:
    path, out = write(tmp_path / "b.gpkg", [square(-5e3, 0, 20e3, 4.32e3)], [1001]), tmp_path / "answer.nc"
    words = [command, str(maps_and_gauges), "--model", "gb-rivers", "--out", str(out), "--boundaries", str(path)]
    assert main([*words, "--device", "cpu"]) == 0
    told = json.loads(xr.open_dataset(out).attrs["provenance"])["processing"]["precipitation"]
    assert told == "mean of HadUK-Grid maps over the boundaries in b.gpkg (discs without one), for every catchment"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no crs", "has no coordinate reference system"),
        ("points", "does not hold polygons alone"),
        ("no names", r"has no column of catchment names \(it has colour\)"),
        ("text", "is not a .gpkg or .geojson or .json or .shp file"),
        ("absent", "no such file"),
        ("truncated", "cannot be read as a vector file"),
        ("degrees", "has coordinates outside its coordinate reference system|cannot be transformed|lies on"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, fault: str, message: str) -> None:
    path, shape = tmp_path / "b.gpkg", square(0, 0, 1e3, 1e3)
    if fault == "no crs":
        path = write(tmp_path / "b.shp", [shape], [1001]).with_suffix(".shp")
        path.with_suffix(".prj").unlink()
    elif fault == "points":
        raw.write(
            path,
            np.array([shapely.to_wkb(shapely.Point(0, 0))], dtype=object),
            [np.array([1])],
            ["id"],
            geometry_type="Point",
            crs="EPSG:27700",
        )
    elif fault == "no names":
        write(path, [shape], ["red"], column="colour")
    elif fault == "text":
        path.write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    elif fault == "truncated":
        path.write_bytes(write(tmp_path / "whole.gpkg", [shape], [1001]).read_bytes()[:3000])
    elif fault == "degrees":
        write(path, [shape], [1001], "EPSG:4326")
    with pytest.raises(InputError, match=message):
        read_boundaries(path)


def test_boundaries_without_maps_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "b.gpkg", [square(0, 0, 1e3, 1e3)], [1001])
    table = tmp_path / "t.csv"
    pd.DataFrame({"date": ["2021-01-01"], "catchment": [1001], "riverflow": [1.0]}).to_csv(table, index=False)
    for words in (["predict", str(table), "--model", "gb-rivers"], ["prepare", str(table), str(tmp_path / "o.zarr")]):
        extra = ["--out", str(tmp_path / "o.nc")] if words[0] == "predict" else []
        assert main([*words, *extra, "--boundaries", str(path)]) == 2
        assert "has no daily maps, which boundaries are for" in capsys.readouterr().err
