"""`prepare --layout seed`: the raw files become a national store, and nothing missing becomes a number."""

import json
import shutil
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.cli import main
from hydromae.config.presets import PRESETS
from hydromae.datasets.seed import SeedFolder
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.preprocess.prepare import prepare, prepare_seed
from hydromae.store import scaling
from hydromae.store.zarr_store import grid_of, open_store, scaling_of, sources_of
from hydromae.virtual import virtual_record
from synthetic import country

MAPS = ("precipitation", "soil_moisture", "temperature")
LONGER = ("1970-01-01", "2010-12-31")


@pytest.fixture(scope="module")
def merged(seed_folder, tmp_path_factory):
    """A store of the merged files, of the longer record."""
    return open_store(prepare_seed(seed_folder, tmp_path_factory.mktemp("m") / "s.zarr", training_period=LONGER)).load()


def test_the_store_is_the_truth_to_the_bit(merged):
    truth = virtual_record(40, 0, "1988-12-20", 24)
    assert merged["time"].values[[0, -1]].astype("datetime64[D]").astype(str).tolist() == ["1988-12-20", "1989-01-28"]
    for name in (*MAPS, "evaporation"):
        assert merged[name].dims == truth[name].dims and merged[name].dtype == np.float32
        np.testing.assert_array_equal(merged[name].values, truth[name].values)
    np.testing.assert_array_equal(merged["cell"].values, truth["cell"].values)
    flow = merged["riverflow"].values
    np.testing.assert_allclose(np.where(np.isnan(flow), truth["riverflow"], flow), truth["riverflow"], rtol=1e-6)
    known = merged["bfihost"].notnull().values
    np.testing.assert_array_equal(merged["bfihost"].values[known], truth["bfihost"].values[known])
    assert merged.attrs["training_period"] == "/".join(LONGER) and grid_of(merged) == GridSpec()
    assert [(s["file"], list(s["units"])) for s in sources_of(merged)] == [
        ("riverflow_evaporation_24catchments_1970_2015.parquet", ["evaporation", "riverflow"]),
        ("Catchment_attributes_nrfa.csv", []),
        ("gb_temp_valid_mask_290x180.pt", []),
        *((f"{name}_train_1970_2010.h5", [name]) for name in MAPS),
    ]


def test_flow_before_1989_is_unobserved_and_evaporation_is_not(merged):
    early = merged.sel(time=slice(None, "1988-12-31"))
    assert early.sizes["time"] == 12
    assert np.isnan(early["riverflow"].values).all() and np.isfinite(early["evaporation"].values).all()
    late = merged["riverflow"].sel(time=slice("1989-01-01", None)).values
    assert 0 < np.isnan(late).mean() < 0.4 and np.nanmin(late) > 0


def test_the_months_give_the_same_store_as_the_merged_files(seed_folder, merged, tmp_path):
    folder = tmp_path / "months"
    shutil.copytree(seed_folder, folder, ignore=shutil.ignore_patterns("*_train_*.h5"))
    store = open_store(prepare_seed(folder, tmp_path / "s.zarr", training_period=LONGER)).load()
    xr.testing.assert_identical(store.drop_attrs(), merged.drop_attrs())
    assert scaling_of(store) == scaling_of(merged)
    assert [s["file"] for s in sources_of(store)][3:] == [f"{name}_processed" for name in MAPS]


def test_the_shorter_record_begins_in_1989(seed_folder, merged, tmp_path):
    store = open_store(prepare_seed(seed_folder, tmp_path / "s.zarr")).load()
    assert store.attrs["training_period"] == "1989-01-01/2010-12-31"
    late = merged.sel(time=slice("1989-01-01", None))
    xr.testing.assert_identical(store.drop_attrs(), late.drop_attrs())
    assert "precipitation_train_1989_2010.h5" in [source["file"] for source in sources_of(store)]
    mean = np.sqrt(late["precipitation"].values.astype(np.float64)).mean()
    assert scaling_of(store)["precipitation"].mean == pytest.approx(mean, rel=1e-6)


def test_94_patches_of_522_and_604_catchments_in_76_groups_of_8(seed_604, tmp_path):
    store = open_store(prepare_seed(seed_604, tmp_path / "s.zarr"))
    assert store.sizes["catchment"] == 604 and store.sizes["cell"] == 10083
    grid = grid_of(store)
    assert grid.patch_shape == (29, 18) and grid.land_threshold == 0.5
    record = to_record_arrays(store.load(), PRESETS["base"], scaling_of(store), grid)
    assert len(record.patches) == 94 and record.values["temperature"].shape == (4, 94, 100)
    assert record.groups.shape == (76, 8) and (record.groups < 0).sum() == 4 and (record.groups[:-1] >= 0).all()
    # both sides of New Year 2011 come from their own files
    assert np.isfinite(store["soil_moisture"].values).all()


def test_validation_years_come_from_their_merged_files_alone(seed_604, tmp_path):
    """Without months, `soil_val_2011_2015.h5` and the others hold the days from 2011 on, and each day is its own."""
    folder = tmp_path / "merged"
    shutil.copytree(seed_604, folder, ignore=shutil.ignore_patterns("*_processed"))
    store = open_store(prepare_seed(folder, tmp_path / "s.zarr"))
    with h5py.File(folder / "soil_val_2011_2015.h5") as file:
        expected = file["data"][()].reshape(len(file["dates"]), -1)[:, store["cell"].values]
    late = store["soil_moisture"].sel(time=slice("2011-01-01", None)).values
    assert len(late) == 2
    np.testing.assert_array_equal(late, expected)
    assert "soil_val_2011_2015.h5" in [source["file"] for source in sources_of(store)]


def test_a_merged_file_is_read_before_the_months(tiny, tmp_path):
    """Both hold 30 January to 1 February; the values of the merged file are taken."""
    with h5py.File(tiny / "temperature_train_1989_2010.h5", "r+") as file:
        file["data"][...] = 20.0
    assert (open_store(prepare_seed(tiny, tmp_path / "s.zarr"))["temperature"].values == 20.0).all()


def test_the_land_threshold_is_kept_with_the_grid(seed_604, tmp_path):
    grid = grid_of(open_store(prepare_seed(seed_604, tmp_path / "s.zarr", land_threshold=0.9)))
    land = np.zeros(grid.shape, dtype=bool)
    land.ravel()[open_store(tmp_path / "s.zarr")["cell"].values] = True
    assert grid.land_threshold == 0.9 and len(grid.land_patches(land)) < 94
    with pytest.raises(InputError, match="land threshold 0: not above 0"):
        prepare_seed(seed_604, tmp_path / "t.zarr", land_threshold=0)


def test_from_nothing_to_a_store_on_the_command_line(tmp_path, capsys):
    raw, store = tmp_path / "raw", tmp_path / "s.zarr"
    period = ["--start", "1988-12-31", "--days", "3"]
    assert main(["virtual", str(raw), "--layout", "seed", *period, "--catchments", "6", "--seed", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(raw), "days": 3, "catchments": 6, "seed": 5}
    options = ["--training-period", "1970-01-01", "2010-12-31", "--land-threshold", "0.6", "--json"]
    assert main(["prepare", str(raw), str(store), "--layout", "seed", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(store), "shape": "national"}
    opened = open_store(store)
    assert (opened.sizes["time"], opened.sizes["catchment"], grid_of(opened).land_threshold) == (3, 6, 0.6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "s.zarr"]


def test_missing_is_never_zero_and_flow_goes_by_area(tiny, tmp_path):
    path = tiny / "riverflow_evaporation_2catchments_1970_2015.parquet"
    table = pd.read_parquet(path)
    table["discharge_vol"] = [1.0, -99999.0, np.nan, np.inf, 5.0, 6.0]
    table["evaporation_filled"] = [False, True, False, False, False, False]
    table.drop(index=4).to_parquet(path, index=False)
    for name, first in (("precipitation", -99999), ("soil_moisture", np.nan), ("temperature", -np.inf)):
        with h5py.File(tiny / f"{name}_train_1989_2010.h5", "r+") as file:
            file["data"][0, 1, 1] = first
    attributes = tiny / "Catchment_attributes" / "Catchment_attributes_nrfa.csv"
    pd.read_csv(attributes).assign(**{"catchment-area": [86.4, 864.0]}).to_csv(attributes, index=False)
    store = open_store(prepare_seed(tiny, tmp_path / "s.zarr"))
    # m³/s × 86.4 / area [km²]: 1 m³/s on 86.4 km² is 1 mm/day, 6 m³/s on 864 km² are 0.6
    np.testing.assert_allclose(store["riverflow"].values, [[1, np.nan], [np.nan, np.nan], [np.nan, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(store["evaporation"].values, [[0.5, np.nan], [0.5, 0.5], [np.nan, 0.5]])
    for name in MAPS:
        gone = np.isnan(store[name].values)
        assert gone.sum() == 1 and gone[0, store["cell"].values == 4].all()
        assert (store[name].values[~gone] > 0).all()


@pytest.mark.parametrize("kind", ["text", "date", "nanoseconds", "noon", "by river"])
def test_dates_and_rows_may_be_written_in_any_way(tiny, tmp_path, kind):
    path = tiny / "riverflow_evaporation_2catchments_1970_2015.parquet"
    table = pd.read_parquet(path)
    dates = {
        "text": table["date"].dt.strftime("%Y-%m-%d"),
        "date": table["date"].dt.date,
        "nanoseconds": table["date"].astype("datetime64[ns]"),
        "noon": table["date"] + pd.Timedelta(hours=12),
        "by river": table["date"],
    }
    table["date"] = dates[kind]
    table["ID"] = table["ID"].astype(str) if kind == "text" else table["ID"]
    table.sort_values(["ID", "date"] if kind == "by river" else ["date"]).to_parquet(path, index=False)
    store = open_store(prepare_seed(tiny, tmp_path / "s.zarr"))
    assert store["catchment"].values.tolist() == [1001, 1002]
    np.testing.assert_allclose(store["riverflow"].values, [[1, 2], [3, 4], [5, 6]], rtol=1e-6)


def test_units_that_a_file_says_are_converted_after_the_sentinel_is_taken_out(tiny, tmp_path):
    with h5py.File(tiny / "temperature_train_1989_2010.h5", "r+") as file:
        file["data"][...] = 283.15
        file["data"][1] = -99999
        file["data"].attrs["units"] = "K"
    values = open_store(prepare_seed(tiny, tmp_path / "s.zarr"))["temperature"].values
    np.testing.assert_allclose(values[[0, 2]], 10.0, atol=1e-4)
    assert np.isnan(values[1]).all()
    with h5py.File(tiny / "temperature_train_1989_2010.h5", "r+") as file:
        del file["data"].attrs["units"]
    with pytest.raises(InputError, match=r"temperature_train_1989_2010.h5: temperature has the value 283.*Kelvin"):
        prepare_seed(tiny, tmp_path / "t.zarr")


def test_a_day_that_no_file_holds_is_refused_or_unobserved(tiny, tmp_path):
    (tiny / "soil_moisture_train_1989_2010.h5").unlink()
    with h5py.File(tiny / "soil_moisture_processed" / "soil_moisture_2001_01.h5", "r+") as file:
        del file["2001-01-31"]
    with pytest.raises(InputError, match=r"no file of soil_moisture has 2001-01-31 \(1 such days\).*--allow-missing"):
        prepare_seed(tiny, tmp_path / "s.zarr")
    store = open_store(prepare_seed(tiny, tmp_path / "s.zarr", allow_missing=True))
    assert np.isnan(store["soil_moisture"].values).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(store["temperature"].values).all()


def test_days_that_merged_files_lack_come_from_the_months(tiny, tmp_path):
    with h5py.File(tiny / "temperature_train_1989_2010.h5", "w") as file:
        file["dates"] = np.array([b"2001-01-30"])
        file["data"] = np.full((1, 4, 3), 20.0, np.float32)
    values = open_store(prepare_seed(tiny, tmp_path / "s.zarr"))["temperature"].values
    np.testing.assert_array_equal(values[:, 0], [20.0, 9.0, 9.0])


def test_memory_does_not_grow_with_the_period(seed_604, tmp_path):
    """Blocks of 60 days of 240 and of 720 days: the peak of arrays held stays the same, on the true grid."""
    folder = tmp_path / "long"
    shutil.copytree(seed_604, folder, ignore=shutil.ignore_patterns("*.h5"))
    days = np.arange(np.datetime64("1989-01-01"), np.datetime64("1989-01-01") + 720)
    for name in MAPS:
        with h5py.File(folder / f"{name}_train_1989_2010.h5", "w") as file:
            file["dates"] = days.astype("S10")
            # nothing is stored: every value reads as the fill value
            file.create_dataset("data", (720, 290, 180), "f4", chunks=(30, 290, 180), compression="gzip", fillvalue=0.5)

    def peak(length: int) -> int:
        opened = SeedFolder.open(folder, period=("1989-01-01", str(days[length - 1])))
        tracemalloc.start()
        for block in opened.blocks(60):
            assert block.sizes["time"] == 60 and float(block["soil_moisture"][-1, -1]) == 0.5
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    short, long = peak(240), peak(720)
    assert long < 1.05 * short
    # three blocks of 60 days of land cells, and what one file is read in, 30 days of the whole grid; some of it twice
    assert long < 4 * 4 * (60 * 10083 * 3 + 30 * 290 * 180)


def test_scaling_holds_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "FIT_DAYS", 60)
    maps = np.random.default_rng(0).random((1200, 5000), dtype=np.float32)
    days = pd.date_range("2001-01-01", periods=1200, unit="ns")
    record = xr.Dataset({"temperature": (("time", "cell"), maps)}, {"time": days, "cell": np.arange(5000)})
    record.chunk(time=60).to_zarr(tmp_path / "r.zarr", zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "r.zarr", consolidated=False, chunks=None) as lazy:
        tracemalloc.start()
        found = scaling.Scaling.fit(lazy, ("2001-01-01", "2010-12-31"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found["temperature"].mean == pytest.approx(maps.mean(dtype=np.float64), rel=1e-6)
    assert peak < 0.7 * maps.nbytes  # a block in float64, some times over; all of the variable would be more


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_national_file_with_maps_of_its_own_becomes_a_store(tmp_path, suffix):
    record = virtual_record(4, 3, "2000-01-01", 10)
    path = tmp_path / f"country{suffix}"
    if suffix == ".nc":
        record.to_netcdf(path, engine="h5netcdf")
    else:
        record.to_zarr(path, zarr_format=3, consolidated=False)
    out = prepare(path, tmp_path / "s.zarr", "national", training_period=("2000-01-01", "2000-01-02"))
    store = open_store(out).load()
    for name in (*MAPS, "evaporation", "riverflow", "bfihost"):
        np.testing.assert_array_equal(store[name].values, record[name].values.astype(store[name].dtype))
    assert grid_of(store) == GridSpec() and "derived" not in store["precipitation"].attrs


def test_a_national_file_says_where_its_cells_lie(tmp_path):
    record = country(4, 10)
    for attrs, message in (
        ({}, "the positions of its cells are unknown"),
        ({"grid": "{"}, "the attribute grid: is not a grid"),
        ({"grid": '{"rows": 2, "columns": 2}'}, "flat numbers below 2 × 2"),
    ):
        bad = record.copy()
        bad.attrs = attrs
        bad.to_netcdf(tmp_path / "bad.nc", engine="h5netcdf")
        with pytest.raises(InputError, match=message):
            prepare(tmp_path / "bad.nc", tmp_path / "t.zarr", "national")
    assert not (tmp_path / "t.zarr").exists()
