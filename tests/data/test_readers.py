"""The readers of products, on files made by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from hydromae.datasets import camels_gb, land, reader
from hydromae.datasets import haduk as haduk_reader
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io import attributes

TRAIN = ("2009-01-01", "2010-12-31")


def test_camels_gb_is_read_with_a_derived_evaporation(camels_nc, camels):
    record = camels_gb.read_camels_gb(camels_nc, TRAIN)
    assert record["catchment"].dtype == np.int64
    np.testing.assert_allclose(record["riverflow"].values, camels["riverflow"].values, rtol=1e-6)
    assert "Oudin" in record["potential_evaporation"].attrs["derived"]
    assert "derived" not in record["riverflow"].attrs
    assert record["potential_evaporation"].attrs["units"] == "mm day-1"
    assert float(record["potential_evaporation"].min()) >= 0


def test_camels_gb_evaporation_does_not_see_days_after_training(camels, tmp_path):
    warm = camels.copy(deep=True)
    warm["temperature"][camels["time"].dt.year.values == 2011] += 5
    paths = tmp_path / "a.nc", tmp_path / "b.nc"
    for path, dataset in zip(paths, (camels, warm), strict=True):
        dataset.to_netcdf(path, engine="h5netcdf")
    first, second = (
        camels_gb.read_camels_gb(path, TRAIN)["potential_evaporation"].sel(time=slice(*TRAIN)) for path in paths
    )
    np.testing.assert_array_equal(first.values, second.values)


def test_camels_gb_refuses_other_files_and_units(camels, tmp_path):
    path = tmp_path / "other.nc"
    camels.drop_vars("temperature").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InputError, match="no variable temperature; this is not the CAMELS-GB"):
        camels_gb.read_camels_gb(path)
    camels["temperature"].attrs.pop("units")
    camels.to_netcdf(tmp_path / "unit.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="temperature has no units"):
        camels_gb.read_camels_gb(tmp_path / "unit.nc")
    with pytest.raises(InputError, match="training period 1990-01-01/1990-12-31: no day"):
        camels["temperature"].attrs["units"] = "degC"
        camels.to_netcdf(tmp_path / "period.nc", engine="h5netcdf")
        camels_gb.read_camels_gb(tmp_path / "period.nc", ("1990-01-01", "1990-12-31"))


def test_camels_gb_refuses_a_climatology_out_of_range(camels, tmp_path):
    camels["potential_evaporation_climatology"][10, 1] = 3e7
    camels.to_netcdf(tmp_path / "camels_gb_daily.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"potential_evaporation_climatology holds .* 3e\+07 mm/day, outside -5 … 25"):
        camels_gb.read_camels_gb(tmp_path / "camels_gb_daily.nc")


def test_nrfa_reads_names_positions_and_blanks(attributes_csv):
    table = pd.read_csv(attributes_csv)
    table["propwet"] = table["propwet"].astype(object)
    table.loc[1, "propwet"] = None
    table["centroid-easting"], table["centroid-northing"] = [1.0, 2.0, np.nan], [3.0, 4.0, np.nan]
    table.to_csv(attributes_csv, index=False)
    dataset = attributes.read_attribute_table(attributes_csv)
    assert dataset["propwet"].isnull().values.tolist() == [False, True, False]
    assert dataset["catchment-area"].attrs["units"] == "km2"
    assert dataset["centroid_easting"].values[1] == 2.0
    assert dataset["name"].values[0] == "River 1001"
    assert 300e3 < float(dataset["easting"][0]) < 500e3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t[["id", "name"]], "no column of an attribute"),
        (lambda t: t.rename(columns={"id": "station_name"}), "no column id"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "catchment 1001 occurs twice"),
        (lambda t: t.assign(dpsbar=["steep", "1", "2"]), "dpsbar holds 'steep'"),
    ],
)
def test_nrfa_refuses(attributes_csv, change, line):
    change(pd.read_csv(attributes_csv)).to_csv(attributes_csv, index=False)
    with pytest.raises(InputError, match=line):
        attributes.read_attribute_table(attributes_csv)


def test_nrfa_refuses_what_is_no_table(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        attributes.read_attribute_table(tmp_path / "absent.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(InputError, match="not a readable CSV"):
        attributes.read_attribute_table(empty)


def test_attributes_join_by_catchment(attributes_csv):
    days = pd.date_range("2000-01-01", periods=2)
    record = xr.Dataset({"riverflow": (("time", "catchment"), np.ones((2, 2)))}, {"time": days, "catchment": [1002, 5]})
    joined = attributes.with_attributes(record, attributes.read_attribute_table(attributes_csv), "a.nc")
    np.testing.assert_allclose(joined["latitude"].values, [52.1, np.nan])
    assert joined["name"].values.tolist() == ["River 1002", ""]
    with pytest.raises(InputError, match=r"none of its 1 catchments \(first: 5\)"):
        attributes.with_attributes(record.isel(catchment=[1]), attributes.read_attribute_table(attributes_csv), "a.nc")


def test_haduk_maps_are_gathered_to_land_cells(haduk, land_npz, tmp_path):
    path = tmp_path / "rain.nc"
    haduk.isel(time=[0, 2]).to_netcdf(path, engine="h5netcdf")
    record = haduk_reader.read_haduk(path, land.read_land_fraction(land_npz))
    assert record["cell"].values.tolist() == list(range(1, 12))
    assert record["cell"].attrs["compress"] == "row column"
    assert str(record["time"].values[0])[:19] == "2021-01-01T00:00:00"
    # cell 7 is row 2, column 1: 21 + day; the missing second day is unobserved
    np.testing.assert_array_equal(record["precipitation"].sel(cell=7).values, [21, np.nan, 23])
    assert float(record["cell_easting"].sel(cell=7)) == 410000
    assert float(record["cell_northing"].sel(cell=7)) == 270000
    assert float(record["land_fraction"].sel(cell=1)) == pytest.approx(0.05)
    assert record["precipitation"].attrs["units"] == "mm day-1"


def test_haduk_without_a_mask_keeps_observed_cells_and_tells_its_grid(haduk, tmp_path):
    path = tmp_path / "rain.nc"
    haduk.to_netcdf(path, engine="h5netcdf")
    assert haduk_reader.read_haduk(path)["cell"].values.tolist() == list(range(1, 12))
    assert haduk_reader.grid_of_file(path) == GridSpec(4, 3, 20000.0, 230000.0, 390000.0)


def test_haduk_months_become_daily_rates(haduk, tmp_path):
    months = haduk.assign_coords(time=pd.to_datetime(["2023-01-16", "2023-02-14", "2023-03-16"]).as_unit("ns"))
    months.attrs["frequency"] = "mon"
    path = tmp_path / "mon.nc"
    months.to_netcdf(path, engine="h5netcdf")
    record = haduk_reader.read_haduk(path)
    np.testing.assert_allclose(record["precipitation"].sel(cell=7).values, [21 / 31, 22 / 28, 23 / 31], rtol=1e-6)


def test_haduk_refuses_other_files_and_grids(haduk, land_npz, tmp_path):
    haduk.rename(rainfall="sun").to_netcdf(tmp_path / "sun.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"no rainfall or tas in it \(it holds sun\)"):
        haduk_reader.read_haduk(tmp_path / "sun.nc")
    haduk.isel(projection_y_coordinate=slice(0, 3)).to_netcdf(tmp_path / "small.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="3 × 3 cells, but the land mask has 4 × 3"):
        haduk_reader.read_haduk(tmp_path / "small.nc", land.read_land_fraction(land_npz))
    haduk.isel(projection_x_coordinate=0).to_netcdf(tmp_path / "flat.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="rainfall has dimensions"):
        haduk_reader.read_haduk(tmp_path / "flat.nc")
    haduk.isel(projection_y_coordinate=[0, 1, 3]).to_netcdf(tmp_path / "uneven.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="not evenly spaced"):
        haduk_reader.read_haduk(tmp_path / "uneven.nc")


def test_land_from_npz_and_pt(land_npz, tmp_path):
    fraction = land.read_land_fraction(land_npz)
    assert fraction.shape == (4, 3)
    assert land.land_cells(fraction).tolist() == list(range(1, 12))
    tensor = torch.ones(4, 3, dtype=torch.bool)
    tensor[3, 2] = False
    path = tmp_path / "mask.pt"
    torch.save(tensor, path)
    grid = GridSpec(4, 3, 20000.0, 230000.0, 390000.0)
    assert land.land_cells(land.read_land_fraction(path, grid)).tolist() == list(range(11))
    with pytest.raises(InputError, match=r"land mask of 4 × 3 cells .* does not fit the grid of 290 × 180"):
        land.read_land_fraction(path)
    with pytest.raises(InputError, match="does not fit the grid"):
        land.read_land_fraction(land_npz, GridSpec())


def test_land_refuses_pickles_and_other_things(tmp_path):
    torch.save({"land": [1, 2]}, tmp_path / "dict.pt")
    with pytest.raises(InputError, match="no boolean tensor"):
        land.read_land_fraction(tmp_path / "dict.pt")
    torch.save(InputError, tmp_path / "code.pt")
    with pytest.raises(InputError, match="not a plain tensor"):
        land.read_land_fraction(tmp_path / "code.pt")
    with pytest.raises(InputError, match="no such file"):
        land.read_land_fraction(tmp_path / "absent.npz")
    (tmp_path / "a.tif").write_text("")
    with pytest.raises(InputError, match=r"ends in .npz or .pt, not '.tif'"):
        land.read_land_fraction(tmp_path / "a.tif")
    np.savez(tmp_path / "bare.npz", land_percent=np.ones((2, 2)))
    with pytest.raises(InputError, match="no array easting, northing"):
        land.read_land_fraction(tmp_path / "bare.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match=r"text.npz"):
        land.read_land_fraction(tmp_path / "text.npz")


def test_evaporation_csv(tmp_path):
    path = tmp_path / "evaporation.csv.gz"
    frame = pd.DataFrame({"gauge_id": [1, 2], "date": ["2010-01-01"] * 2, "peti": [0.5, 1.5]})
    frame.to_csv(path, index=False)
    assert reader.open_record(path)["potential_evaporation"].values.tolist() == [[0.5, 1.5]]


def test_read_tells_files_apart(camels_nc, attributes_csv, haduk, tmp_path, long_table):
    record = reader.open_record(camels_nc, attributes_csv, ("2010-01-01", "2010-01-31"), TRAIN)
    assert record.sizes["time"] == 31
    assert record["latitude"].values[0] == 52.0
    haduk.to_netcdf(tmp_path / "rain.nc", engine="h5netcdf")
    assert "cell" in reader.open_record(tmp_path / "rain.nc").dims
    assert reader.open_record(long_table)["riverflow"].shape == (4, 2)
    long_table.to_csv(tmp_path / "mine.csv", index=False)
    assert reader.open_record(tmp_path / "mine.csv")["riverflow"].shape == (4, 2)
    record.load().to_netcdf(tmp_path / "mine.nc", engine="h5netcdf")
    again = reader.open_record(tmp_path / "mine.nc")
    np.testing.assert_array_equal(again["riverflow"].values, record["riverflow"].values)
    assert "Oudin" in again["potential_evaporation"].attrs["derived"]
    in_memory = reader.open_record(record)
    np.testing.assert_array_equal(in_memory["temperature"].values, record["temperature"].values)
    assert in_memory["name"].values[2] == "River 1003"
