"""Prepare and inspect: small files of every product to a store of either shape."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from hydromae.errors import InputError
from hydromae.preprocess.prepare import prepare, prepare_national
from hydromae.store.inspect import picture, summary
from hydromae.store.zarr_store import grid_of, open_store, scaling_of

TRAIN = ("2009-01-01", "2010-12-31")


@pytest.fixture
def folder(camels_nc, attributes_csv, land_npz, haduk, tmp_path):
    months = haduk.assign_coords(time=pd.to_datetime(["2023-01-16", "2023-02-14", "2023-03-16"]).as_unit("ns"))
    months.attrs["frequency"] = "mon"
    months["rainfall"] = months["rainfall"] + 60
    months.to_netcdf(tmp_path / "rainfall_uk_mon_2023.nc", engine="h5netcdf")
    return tmp_path


def test_catchment_store(folder, camels):
    path = prepare(folder, folder / "new" / "a.zarr", training_period=TRAIN)
    opened = open_store(path)
    np.testing.assert_allclose(opened["riverflow"].values, camels["riverflow"].values, rtol=1e-6)
    assert opened.attrs["training_period"] == "/".join(TRAIN)
    roots = np.sqrt(camels["riverflow"].sel(time=slice(*TRAIN)).values)
    assert scaling_of(opened)["riverflow"].mean == pytest.approx(np.nanmean(roots), rel=1e-6)
    assert opened["catchment-area"].attrs["units"] == "km2"
    assert opened["easting"].shape == (3,)


def test_national_store(folder):
    path = prepare(folder, folder / "n.zarr", "national", period=("2010-06-01", "2011-12-31"), training_period=TRAIN)
    opened = open_store(path)
    assert opened["precipitation"].dims == ("time", "cell")
    assert opened.sizes["time"] == 579
    assert opened.sizes["cell"] == 11
    assert grid_of(opened).shape == (4, 3)
    for name in ("precipitation", "soil_moisture", "temperature", "evaporation"):
        assert "derived" in opened[name].attrs
        assert np.isfinite(opened[name].values).all()
    assert "rainfall_uk_mon_2023.nc" in opened["precipitation"].attrs["derived"]
    assert "derived" not in opened["riverflow"].attrs
    np.testing.assert_array_equal(opened["potential_evaporation"].values, opened["evaporation"].values)
    # rain stands in proportion to its normal: north (row 3) is wetter than south
    rows = opened["precipitation"].mean("time").groupby(opened["cell"] // 3).mean().values
    assert (np.diff(rows) > 0).all()
    assert set(scaling_of(opened).variables) >= {"precipitation", "soil_moisture", "temperature", "evaporation"}


def test_the_bucket_before_the_period_is_the_same_as_inside_it(folder):
    """Soil moisture of a day does not depend on where the period starts, once the bucket has run for a while."""
    late = prepare(folder, folder / "l.zarr", "national", period=("2010-12-01", "2011-12-31"), training_period=TRAIN)
    whole = prepare(folder, folder / "w.zarr", "national", training_period=TRAIN)
    last = open_store(late)["soil_moisture"]
    np.testing.assert_allclose(last.values, open_store(whole)["soil_moisture"].sel(time=last["time"]).values, atol=1e-3)


def test_prepare_refuses(folder, attributes_csv, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        prepare(folder / "absent", folder / "a.zarr")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no record in this folder"):
        prepare(empty, folder / "a.zarr")
    with pytest.raises(InputError, match=r"period 2000-01-01 … 2010-01-01 is not inside 2009-01-01"):
        prepare(folder, folder / "a.zarr", period=("2000-01-01", "2010-01-01"))
    (folder / "land_percent.npz").unlink()
    with pytest.raises(InputError, match=r"no \*land\*.npz"):
        prepare(folder, folder / "a.zarr", "national")
    with pytest.raises(InputError, match="has monthly values; give daily values"):
        prepare(folder / "rainfall_uk_mon_2023.nc", folder / "a.zarr")
    for name in ("one.csv", "two.csv"):
        (empty / name).write_text("date\n")
    with pytest.raises(InputError, match=r"2 files match \*.csv"):
        prepare(empty, folder / "a.zarr")
    assert not (folder / "a.zarr").exists()


def test_a_catchment_without_position_cannot_be_on_a_map(folder, camels_nc, attributes_csv, land_npz):
    table = pd.read_csv(attributes_csv)
    table.loc[1, ["latitude", "longitude"]] = np.nan
    table.to_csv(attributes_csv, index=False)
    with pytest.raises(InputError, match=r"first: 1002\) have no position"):
        prepare_national(camels_nc, attributes_csv, land_npz, folder / "n.zarr", training_period=TRAIN)


def test_summary_and_picture(folder):
    path = prepare(folder, folder / "a.zarr", training_period=TRAIN)
    told = summary(path)
    assert json.loads(json.dumps(told)) == told
    assert told["period"] == ["2009-01-01", "2011-12-31"]
    assert (told["days"], told["catchments"], told["cells"]) == (1095, 3, 0)
    by_name = {variable["name"]: variable for variable in told["variables"]}
    # 30 of 1095 days of one catchment of three are missing, all in 2009
    assert by_name["riverflow"]["observed"] == pytest.approx(1 - 10 / 1095, abs=1e-4)
    assert by_name["riverflow"]["observed_by_decade"] == {"2000s": pytest.approx(1 - 10 / 365, abs=1e-4), "2010s": 1.0}
    assert by_name["riverflow"]["derived"] is None
    assert "Oudin" in by_name["potential_evaporation"]["derived"]
    assert [source["file"] for source in told["sources"]] == ["camels_gb_daily.nc", "Catchment_attributes.csv"]
    assert len(told["attributes"]) == 11
    drawn = image.imread(picture(path, folder / "a.png"))
    assert drawn.shape[0] > 400
    assert drawn[..., :3].std() > 0.05


def test_picture_of_a_national_record(folder):
    path = prepare(folder, folder / "n.zarr", "national", period=("2010-12-01", "2011-01-31"), training_period=TRAIN)
    assert summary(path)["cells"] == 11
    assert image.imread(picture(path, folder / "n.png")).shape[1] > 800


def test_maps_are_simulated_between_catchments(folder):
    """Rain and temperature vary where no catchment is, as the seed says; what is simulated is named in the store."""
    days = {"period": ("2010-06-01", "2010-06-30"), "training_period": TRAIN}
    stores = {
        seed: open_store(prepare(folder, folder / f"s{seed}.zarr", "national", simulation_seed=seed, **days)).load()
        for seed in (None, 1, 2)
    }
    for name in ("precipitation", "temperature", "soil_moisture"):
        values = [store[name].values for store in stores.values()]
        assert not np.array_equal(values[0], values[1]) and not np.array_equal(values[1], values[2])
    assert (stores[1]["precipitation"] >= 0).all()
    assert "simulated between them, seed 2" in stores[2]["precipitation"].attrs["derived"]
    assert "simulated" not in stores[None]["precipitation"].attrs["derived"]
    for name in ("riverflow", "evaporation"):
        np.testing.assert_array_equal(stores[None][name], stores[1][name])
    with pytest.raises(InputError, match=r"--simulate-maps is for maps derived from catchments .*leave it out"):
        prepare(folder, folder / "c.zarr", "catchments", simulation_seed=1)
