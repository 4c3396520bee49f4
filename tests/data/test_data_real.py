"""The readers and the derived quantities on the real files."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.datasets import camels_gb, derived, haduk, land, reader
from hydromae.io import attributes
from hydromae.io.conventions import with_positions
from hydromae.preprocess.national import MapMaker

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def rivers(real_data):
    return reader.open_record(real_data / "camels_gb_daily.nc", real_data / "Catchment_attributes_nrfa.csv")


def test_camels_gb_record(rivers):
    assert dict(rivers.sizes) == {"time": 16071, "catchment": 599}
    assert rivers["bfihost"].notnull().sum() == 599
    assert float(rivers["riverflow"].notnull().mean()) == pytest.approx(0.9276, abs=1e-3)


def test_derived_evaporation_explains_real_evaporation(rivers, real_data):
    """0.79 of the variance of real daily PETI at six Severn gauges."""
    real = reader.open_record(real_data / "severn_evaporation_2010_2015.csv.gz")["potential_evaporation"]
    made, real = xr.align(rivers["potential_evaporation"], real)
    assert made.sizes["catchment"] == 6
    assert 1 - float(((made - real) ** 2).mean() / real.var()) > 0.77


def test_land_has_10083_cells_and_94_patches(real_data):
    fraction = land.read_land_fraction(real_data / "gb_land_percent.npz")
    cells = land.land_cells(fraction)
    grid = haduk.grid_of_file(real_data / "rainfall_hadukgrid_uk_5km_day_20210101-20210331.nc")
    assert len(cells) == 10083
    assert len(grid.land_patches(fraction.values >= 0.05 - 1e-6)) == 94
    rain = haduk.read_haduk(real_data / "rainfall_hadukgrid_uk_5km_day_20210101-20210331.nc", fraction)
    assert dict(rain.sizes) == {"time": 90, "cell": 10083, "row": 290, "column": 180}


def test_derived_rain_maps_match_real_ones(rivers, real_data):
    """Against HadUK-Grid 12 km, four months of 2012: better than 0.905 (Gaussian weights), cells correlate at 0.98."""
    fraction = land.read_land_fraction(real_data / "gb_land_percent.npz")
    grid = haduk.grid_of_file(real_data / "tas_hadukgrid_uk_5km_mon_202301-202312.nc")
    cells = land.cell_coordinates(land.land_cells(fraction), grid, fraction)
    normals = (real_data / f"{name}_hadukgrid_uk_5km_mon_202301-202312.nc" for name in ("rainfall", "tas"))
    maker = MapMaker.build(rivers, cells, grid, fraction, *normals)
    real = haduk.read_haduk(real_data / "haduk_rainfall_12km_day_2010_2014.nc")["precipitation"]
    real = real.sel(time=slice("2012-09-01", "2012-12-31")).dropna("time", how="all").load()
    rain = rivers["precipitation"].sel(time=real["time"]).values
    made = derived.rain_maps(maker.kriging, rain, *maker.rain)
    coarse, truth = on_coarse_cells(made, cells, real)
    residual = truth - coarse
    assert 1 - (residual**2).mean() / truth.var() > 0.91
    anomaly = [values - values.mean(0) for values in (coarse, truth)]
    correlation = (anomaly[0] * anomaly[1]).sum(0) / np.sqrt((anomaly[0] ** 2).sum(0) * (anomaly[1] ** 2).sum(0))
    assert np.median(correlation) > 0.98


def on_coarse_cells(made, cells, real):
    """Means of the fine cells whose centre lies in each observed coarse cell, and the coarse cells' own values."""
    east, north = real["cell_easting"].values, real["cell_northing"].values
    size = 12000.0
    coarse = pd.MultiIndex.from_arrays([np.rint((north - north.min()) / size), np.rint((east - east.min()) / size)])
    rows = np.rint((cells["cell_northing"].values - north.min()) / size)
    columns = np.rint((cells["cell_easting"].values - east.min()) / size)
    where = coarse.get_indexer(pd.MultiIndex.from_arrays([rows, columns]))
    order = np.argsort(where[where >= 0], kind="stable")
    held, start = np.unique(where[where >= 0][order], return_index=True)
    counts = np.diff([*start, len(order)])
    return np.add.reduceat(made[:, where >= 0][:, order], start, axis=1) / counts, real.values[:, held]


def test_soil_bucket_follows_era5_land(rivers, real_data):
    """Caravan's ERA5-Land soil water, upper 28 cm, January to April 1981: median correlation of a catchment 0.85."""
    table = pd.read_csv(real_data / "caravan_408x100days_soilmoisture.csv.gz", parse_dates=["date"])
    table["id"] = table["gauge_id"].str.removeprefix("camelsgb_").astype(int)
    layers = [f"volumetric_soil_water_layer_{k}_mean" for k in (1, 2)]
    table["upper"] = (7 * table[layers[0]] + 21 * table[layers[1]]) / 28
    upper = table.pivot(index="date", columns="id", values="upper")
    chosen = rivers.sel(catchment=np.intersect1d(upper.columns, rivers["catchment"]), time=slice("1978", "1981-04-30"))
    chosen = chosen[["precipitation", "potential_evaporation"]].load()
    bucket = derived.Bucket()
    rain, demand = chosen["precipitation"].values, chosen["potential_evaporation"].values
    content, _ = bucket.run(rain, demand, bucket.start(chosen.sizes["catchment"]))
    made = pd.DataFrame(content, chosen.indexes["time"], chosen["catchment"].values).loc[upper.index]
    assert made.corrwith(upper).median() > 0.82
    assert abs(float((made - upper).stack().mean())) < 0.02


def test_every_attribute_row_of_the_catalogue_is_read(real_data):
    catalogue = attributes.read_attribute_table(real_data / "Catchment_attributes_nrfa.csv")
    assert catalogue.sizes["catchment"] == 604
    known = np.isfinite(catalogue["centroid_easting"].values)
    assert known.sum() == 464
    # positions worked out from latitude and longitude agree with the catalogue's own to a few metres
    again = with_positions(catalogue.drop_vars(["easting", "northing"]))
    apart = np.hypot(again["easting"] - catalogue["easting"], again["northing"] - catalogue["northing"])
    assert float(apart.median()) < 10


def test_training_period_is_kept_in_the_note(real_data):
    record = camels_gb.read_camels_gb(real_data / "camels_gb_daily.nc", ("1980-01-01", "1999-12-31"))
    assert "1980-01-01 to 1999-12-31" in record["potential_evaporation"].attrs["derived"]
