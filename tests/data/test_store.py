"""The store: what goes in comes out, whole or not at all."""

import json

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from filelock import FileLock, Timeout

from hydromae.datasets.land import cell_coordinates
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io import outputs
from hydromae.store import zarr_store
from hydromae.store.scaling import Scaling, VariableScaling

SCALING = Scaling({"riverflow": VariableScaling("root", 1.0, 2.0)})
GRID = GridSpec(4, 3, 20000.0, 230000.0, 390000.0)
SOURCES = [{"file": "a.nc", "sha256": "0", "units": {"riverflow": "mm day-1"}}]


@pytest.fixture
def record():
    """1,000 days, so that a second shard is written; a map and a series, and names of catchments as text."""
    days = pd.date_range("2000-01-01", periods=1000, unit="ns")
    generator = np.random.default_rng(1)
    flow = generator.gamma(1, 1, (1000, 2)).astype(np.float32)
    flow[10:20, 0] = np.nan
    cells = cell_coordinates(np.array([1, 5, 7]), GRID)
    record = xr.Dataset({"riverflow": (("time", "catchment"), flow, {"units": "mm day-1"})})
    record["precipitation"] = (("time", "cell"), generator.gamma(1, 1, (1000, 3)).astype(np.float32))
    record["precipitation"].attrs |= {"units": "mm day-1", "derived": "by hand", "grid_mapping": "crs"}
    record["propwet"] = ("catchment", [0.5, np.nan])
    record = record.assign_coords(cells.coords)
    names = ("catchment", ["Ouse", "Severn at Bewdley"])
    return record.assign_coords(time=days, catchment=["camelsgb_1", "camelsgb_22"], name=names)


def write(record, path):
    return zarr_store.write_store(
        record, path, scaling=SCALING, sources=SOURCES, grid=GRID, training_period=("2000-01-01", "2001-01-01")
    )


@pytest.mark.parametrize("kind", ["folder", "file", "memory"])
def test_round_trip(record, tmp_path, kind):
    path = {"folder": tmp_path / "a.zarr", "file": f"file://{tmp_path}/a.zarr", "memory": "memory://round/a.zarr"}[kind]
    write(record.chunk(time=77), path)
    opened = zarr_store.open_store(path)
    xr.testing.assert_equal(opened.load(), record)
    assert opened["precipitation"].attrs == record["precipitation"].attrs
    assert list(opened.data_vars) == ["precipitation", "riverflow", "propwet"]
    assert zarr_store.scaling_of(opened) == SCALING
    assert zarr_store.grid_of(opened) == GRID
    assert zarr_store.sources_of(opened) == SOURCES
    assert opened.attrs["training_period"] == "2000-01-01/2001-01-01"
    system, name = fsspec.url_to_fs(str(path))
    assert [entry for entry in system.glob(f"{name}*") if "partial" in entry] == []


def test_layout_is_zarr_3_sharded_for_30_days(record, tmp_path):
    write(record, tmp_path / "a.zarr")
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["precipitation"]
    assert array.metadata.zarr_format == 3
    assert array.chunks == (30, 3)
    assert array.shards == (900, 3)
    assert np.isnan(array.fill_value)
    meta = json.loads((tmp_path / "a.zarr" / "cell" / "zarr.json").read_text())
    assert meta["attributes"]["compress"] == "row column"


def test_a_gathered_map_scatters_back_by_its_own_coordinates(record, tmp_path):
    """CF: cell = row × columns + column, with `row` and `column` the axes in metres."""
    write(record, tmp_path / "a.zarr")
    opened = zarr_store.open_store(tmp_path / "a.zarr")
    row, column = np.divmod(opened["cell"].values, opened.sizes["column"])
    np.testing.assert_array_equal(opened["row"].values[row], opened["cell_northing"].values)
    np.testing.assert_array_equal(opened["column"].values[column], opened["cell_easting"].values)
    assert opened["crs"].attrs["grid_mapping_name"] == "transverse_mercator"


def test_nothing_is_left_when_writing_fails(record, tmp_path):
    def failing():
        yield record.isel(time=slice(0, 900))
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk"), zarr_store.atomic_output(tmp_path / "a.zarr") as aside:
        zarr_store.write_blocks(aside, record, failing())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_is_cleared_and_begun_again(record, tmp_path):
    left = tmp_path / "a.zarr.partial-0123"
    left.mkdir()
    (left / "zarr.json").write_text("{")
    write(record, tmp_path / "a.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_what_a_user_named_alike_is_not_cleared(record, tmp_path):
    (tmp_path / "a.zarr.partial-backup").mkdir()
    (tmp_path / "[a].zarr.partial-0123").mkdir()  # of another store, whose name is a pattern
    write(record, tmp_path / "a.zarr")
    write(record, tmp_path / "?.zarr")
    assert (tmp_path / "a.zarr.partial-backup").is_dir() and (tmp_path / "[a].zarr.partial-0123").is_dir()


def test_a_store_that_is_being_written_is_left_alone(record, tmp_path):
    """Two at once would clear each other's work."""
    with zarr_store.atomic_output(tmp_path / "a.zarr") as aside:
        folder, name = outputs._lock_location(outputs.new_output(tmp_path / "a.zarr"))
        assert not outputs._locked_files.isdisjoint({folder / name})
        with pytest.raises(Timeout):
            FileLock(folder / name, timeout=0).acquire()
        zarr_store.write_blocks(aside, record, zarr_store.iter_blocks(record))
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_blocks_must_cover_the_days(record, tmp_path):
    with pytest.raises(ValueError, match="900 of 1000 days"), zarr_store.atomic_output(tmp_path / "a.zarr") as aside:
        zarr_store.write_blocks(aside, record, [record.isel(time=slice(0, 900))])


def test_what_is_no_store_is_refused(record, tmp_path):
    with pytest.raises(InputError, match="no such store"):
        zarr_store.open_store(tmp_path / "absent.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a hydromae store"):
        zarr_store.open_store(tmp_path / "folder")
    record[["propwet"]].drop_vars(["catchment", "name"]).to_zarr(tmp_path / "z.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="not a hydromae store"):
        zarr_store.open_store(tmp_path / "z.zarr")
    assert not zarr_store.is_store(tmp_path / "absent.zarr")
    with pytest.raises(InputError, match="exists already"):
        write(record, tmp_path / "folder")
    with pytest.raises(InputError, match="no attribute scaling"):
        zarr_store.scaling_of(record)


def test_sources_carry_the_hash_of_file_and_folder(tmp_path, record):
    """SHA-256 of the three bytes "abc" is the example of FIPS 180-2."""
    (tmp_path / "a.nc").write_bytes(b"abc")
    source = zarr_store.describe_source(tmp_path / "a.nc", record)
    assert source["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert source["units"] == {"riverflow": "mm day-1", "precipitation": "mm day-1"}
    before = zarr_store.describe_source(tmp_path)["sha256"]
    (tmp_path / "a.nc").write_bytes(b"abd")
    assert zarr_store.describe_source(tmp_path)["sha256"] != before
