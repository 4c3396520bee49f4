"""Small raw files of every product, made by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.io.seed_layout import MergedFile, write_months
from hydromae.variables import ATTRIBUTES, VARIABLES
from hydromae.virtual.downloads import nrfa_csv
from hydromae.virtual.seed_files import write_seed
from records import DAYS, POSITIONS, SOUTH, WEST, chess_warmth, era5_demand, rain_maps, save


def attributes_frame(ids: list[int]) -> pd.DataFrame:
    """An attributes table under the NRFA names: latitude 52, longitude −2 … and area 86.4 km² (1 m³/s = 1 mm/day)."""
    table = pd.DataFrame({"id": ids, "name": [f"River {i}" for i in ids]})
    for number, attribute in enumerate(ATTRIBUTES):
        table[attribute.name] = min(10.0 + number, attribute.valid[1])
    table["latitude"] = 52.0 + 0.1 * np.arange(len(ids))
    table["longitude"] = -2.0 + 0.1 * np.arange(len(ids))
    table["catchment-area"] = 86.4
    return table


@pytest.fixture
def attributes_csv(tmp_path: Path) -> Path:
    path = tmp_path / "Catchment_attributes.csv"
    attributes_frame([1001, 1002, 1003]).to_csv(path, index=False)
    return path


@pytest.fixture
def camels() -> xr.Dataset:
    """Three catchments, 2009-2011, in the HBV arrangement."""
    time = pd.date_range("2009-01-01", "2011-12-31", unit="ns")
    generator = np.random.default_rng(0)
    day = np.asarray(time.day_of_year)
    season = np.cos(2 * np.pi * (day - 200) / 365)[:, None]
    temperature = 10 + 6 * season + generator.normal(0, 1, (len(time), 3))
    rain = generator.gamma(0.5, 6, (len(time), 3))
    flow = generator.gamma(2, 1, (len(time), 3))
    flow[:30, 1] = np.nan
    climate = np.repeat(2 + np.cos(2 * np.pi * (np.arange(365) - 199) / 365)[:, None], 3, axis=1)
    series = {"precipitation": rain, "temperature": temperature, "riverflow": flow}
    units = {"precipitation": "mm day-1", "temperature": "degC", "riverflow": "mm day-1"}
    dataset = xr.Dataset({n: (("time", "catchment"), v, {"units": units[n]}) for n, v in series.items()})
    dataset["potential_evaporation_climatology"] = (("day_of_year", "catchment"), climate, {"units": "mm day-1"})
    return dataset.assign_coords(time=time, catchment=[1001, 1002, 1003], day_of_year=np.arange(1, 366))


@pytest.fixture
def camels_nc(tmp_path: Path, camels: xr.Dataset) -> Path:
    path = tmp_path / "camels_gb_daily.nc"
    camels.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def land_npz(tmp_path: Path) -> Path:
    """A grid of 4 × 3 cells of 20 km around the three catchments, one of them sea, one of 5 % land."""
    percent = np.full((4, 3), 100, np.uint8)
    percent[0, 0], percent[0, 1] = 4, 5
    path = tmp_path / "land_percent.npz"
    east, north = 390000 + 20000 * np.arange(3), 230000 + 20000 * np.arange(4)
    np.savez(path, land_percent=percent, easting=east, northing=north)
    return path


@pytest.fixture
def haduk() -> xr.Dataset:
    """Three days of rain on the grid of `land_npz`, at noon, cell value = 10 × row + column + day."""
    return rain_maps(230000.0, 390000.0)


@pytest.fixture
def long_table() -> pd.DataFrame:
    """Two catchments, four days, one day of one of them missing, flow in m³/s."""
    days = ["2012-02-27", "2012-02-28", "2012-03-01", "2012-02-28", "2012-02-27", "2012-02-29"]
    return pd.DataFrame(
        {
            "date": days,
            "gauge_id": [7, 7, 7, 9, 9, 9],
            "discharge_vol": [1.0, np.nan, 3.0, 40.0, -99999.0, 60.0],
            "precipitation": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            "catchment-area": [86.4, 86.4, 86.4, 864.0, 864.0, 864.0],
        }
    )


@pytest.fixture(scope="session")
def seed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Virtual GB in the seed's layout: 40 days around New Year 1989, when flow begins, of 24 rivers. Only to be read."""
    folder = tmp_path_factory.mktemp("seed") / "raw"
    write_seed(folder, 40, 0, "1988-12-20", 24)
    return folder


@pytest.fixture(scope="session")
def seed_604(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 604 rivers, on the 4 days around New Year 2011, when validation begins. Only to be read."""
    folder = tmp_path_factory.mktemp("seed604") / "raw"
    write_seed(folder, 4, 0, "2010-12-30", 604)
    return folder


@pytest.fixture
def tiny(tmp_path: Path, land_npz: Path) -> Path:
    """The seed's layout on 4 × 3 cells: three days of 2001, two catchments of 86.4 km² (1 m³/s = 1 mm/day)."""
    folder = tmp_path / "tiny"
    (folder / "Catchment_attributes").mkdir(parents=True)
    land_npz.rename(folder / land_npz.name)
    attributes_frame([1001, 1002]).to_csv(
        folder / "Catchment_attributes" / "Catchment_attributes_nrfa.csv", index=False
    )
    days = np.arange(np.datetime64("2001-01-30"), np.datetime64("2001-02-02"))
    for name, value in (("precipitation", 3.0), ("soil_moisture", 0.3), ("temperature", 9.0)):
        maps = np.full((3, 4, 3), value, np.float32)
        write_months(folder, name, days, maps)
        with MergedFile(folder / f"{name}_train_1989_2010.h5", VARIABLES[name].units, days, (4, 3)) as file:
            file.append(maps)
    rows = {"date": np.repeat(days.astype("datetime64[ms]"), 2), "ID": [1001, 1002] * 3}
    table = pd.DataFrame(rows | {"evaporation": 0.5, "discharge_vol": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    table.to_parquet(folder / "riverflow_evaporation_2catchments_1970_2015.parquet", index=False)
    return folder


@pytest.fixture
def maps_and_gauges(tmp_path: Path) -> Path:
    """Rain of HadUK-Grid at noon, warmth of CHESS in Kelvin, demand of ERA5-Land, two gauges with two styles of dates."""
    place = tmp_path / "raw"
    place.mkdir()
    save(rain_maps(SOUTH, WEST), place / "rainfall_hadukgrid_uk_20km_day_20210101-20210103.nc")
    save(chess_warmth(), place / "chess-met_tas_gb_1km_daily_20210101-20210103.nc")
    save(era5_demand(), place / "era5-land_pev_202101.nc")
    british = [f"{day[8:]}/{day[5:7]}/{day[:4]}" for day in DAYS]
    for station, days in ((1001, DAYS), (1002, british)):
        values = dict(zip(days, (station - 1000.0, np.nan, 3.0), strict=True))
        (place / f"{station}_gdf.csv").write_text(nrfa_csv(station, "gdf", "m3/s", values))
    stations = [
        {"id": station, "catchment-area": 86.4, "easting": east, "northing": north}
        for station, (east, north) in POSITIONS.items()
    ]
    (place / "station-info.json").write_text(json.dumps({"data": stations}))
    return place
