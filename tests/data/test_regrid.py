"""Maps on other grids, and soil moisture of sites: to the letter of their documentation, against numbers by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer

from hydromae.datasets import chess as regrid
from hydromae.datasets import era5_land
from hydromae.datasets.chess import TargetGrid
from hydromae.datasets.reader import open_record
from hydromae.errors import InputError
from hydromae.grid import GridSpec

GRID = GridSpec(rows=2, columns=3, cell_size=5000.0, northing=202500.0, easting=402500.0, patch=1)
"""From 400 to 415 km east and 200 to 210 km north."""
LAND = xr.DataArray(np.array([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0]], np.float32), dims=("row", "column"))


def chess(path: Path, name: str = "precip", units: str = "kg m-2 s-1", scale: float = 1 / 86400) -> Path:
    """1 km cells from 400 km east and 200 km north; a cell holds its number of km east, twice that on the second day."""
    x, y = 400500.0 + 1000 * np.arange(15), 200500.0 + 1000 * np.arange(10)
    day = np.broadcast_to(np.arange(15.0), (10, 15)).copy()
    day[0, 0] = -99999.0  # the sea
    values = np.stack([day, np.where(day < 0, day, 2 * day)])
    values = np.where(values < 0, values, values * scale)
    times = pd.date_range("1994-01-01T12:00", periods=2)
    dataset = xr.Dataset({name: (("time", "y", "x"), values, {"units": units})}, {"time": times, "y": y, "x": x})
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


def test_chess_is_averaged_over_the_cells_that_hold_it(tmp_path: Path) -> None:
    record = regrid.read_chess(chess(tmp_path / "p.nc"), TargetGrid(GRID, LAND))
    assert record["cell"].values.tolist() == [0, 1, 3, 4] and record["precipitation"].shape == (2, 4)
    first = record["precipitation"].values[0]
    mean = (np.arange(5).sum() * 5 - 0) / 24  # one of 25 is sea
    np.testing.assert_allclose(first, [mean, 7.0, 2.0, 7.0], rtol=1e-5)
    np.testing.assert_allclose(record["precipitation"].values[1], 2 * first, rtol=1e-5)
    assert str(record["time"].values[0])[:10] == "1994-01-01"
    assert record["cell_easting"].values.tolist() == [402500.0, 407500.0, 402500.0, 407500.0]


def test_chess_in_kelvin_and_without_units(tmp_path: Path) -> None:
    warm = xr.load_dataset(chess(tmp_path / "w.nc", "tas", "K"), engine="h5netcdf")
    warm["tas"] = xr.full_like(warm["tas"], 283.15).assign_attrs(units="K")
    warm.to_netcdf(tmp_path / "w.nc", engine="h5netcdf")
    np.testing.assert_allclose(
        regrid.read_chess(tmp_path / "w.nc", TargetGrid(GRID, LAND))["temperature"], 10.0, atol=1e-4
    )
    with pytest.raises(InputError, match="has no units attribute"):
        regrid.read_chess(chess(tmp_path / "n.nc", "peti", ""), TargetGrid(GRID, LAND))


def era5(path: Path, column: str, units: str, dim: str = "time") -> Path:
    """Two days, hourly, on 0.1 degrees around the grid; latitudes run southward, as they do there."""
    hours = pd.date_range("2010-06-01", "2010-06-03", freq="h")
    latitude, longitude = np.arange(52.3, 51.4, -0.1), np.arange(-2.4, -1.4, 0.1)
    plane = latitude[:, None] + 2 * longitude[None] + 60.0
    hour = np.asarray(hours.hour, dtype=np.float64)
    if column in ("tp", "pev"):  # accumulated from midnight: 1 mm/h times the plane; midnight holds the day before
        along = np.where(hour == 0, 24.0, hour) * (1 if column == "tp" else -0.1) / 1000 / 24
    else:
        along = 1.0 + (hour - 11.5) / 1000
    values = (
        along[:, None, None] * plane[None] / (1 if column in ("tp", "pev") else {"t2m": 1 / 2.6, "swvl1": 200}[column])
    )
    dims = (dim, "latitude", "longitude")
    coords = {dim: hours, "latitude": latitude, "longitude": longitude}
    xr.Dataset({column: (dims, values, {"units": units})}, coords).to_netcdf(path, engine="h5netcdf")
    return path


def plane() -> np.ndarray:
    """The plane at the land cells' centres."""
    east, north = GRID.cell_position(np.array([0, 1, 3, 4]))
    longitude, latitude = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    return latitude + 2 * longitude + 60.0


@pytest.mark.parametrize("dim", ["time", "valid_time"])
def test_rain_of_era5_land_is_the_sum_at_the_midnight_after(tmp_path: Path, dim: str) -> None:
    record = era5_land.read_era5_land(era5(tmp_path / "tp.nc", "tp", "m", dim), TargetGrid(GRID, LAND))
    days = [str(day)[:10] for day in record["time"].values]
    assert days == ["2010-05-31", "2010-06-01", "2010-06-02"]
    np.testing.assert_allclose(record["precipitation"].values[1], plane(), rtol=1e-4)
    evaporated = era5_land.read_era5_land(era5(tmp_path / "pev.nc", "pev", "m", dim), TargetGrid(GRID, LAND))
    np.testing.assert_allclose(evaporated["potential_evaporation"].values[1], 0.1 * plane(), rtol=1e-4)


def test_temperature_and_soil_of_era5_land_are_means_of_the_day(tmp_path: Path) -> None:
    warm = era5_land.read_era5_land(era5(tmp_path / "t.nc", "t2m", "K"), TargetGrid(GRID, LAND))
    np.testing.assert_allclose(warm["temperature"].values[1], 2.6 * plane() - 273.15, atol=0.01)
    assert [str(day)[:10] for day in warm["time"].values] == ["2010-06-01", "2010-06-02"], "an hour is no day"
    wet = open_record(era5(tmp_path / "s.nc", "swvl1", "m**3 m**-3"))
    place = np.flatnonzero((wet["cell_easting"].values == 402500.0) & (wet["cell_northing"].values == 202500.0))
    np.testing.assert_allclose(wet["soil_moisture"].values[1, place], plane()[:1] / 200, rtol=1e-3)


def test_rain_without_midnights_is_refused(tmp_path: Path) -> None:
    file = era5(tmp_path / "tp.nc", "tp", "m")
    noon = xr.load_dataset(file, engine="h5netcdf")
    noon.isel(time=noon["time"].dt.hour.values == 12).to_netcdf(tmp_path / "noon.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="no value at 00:00"):
        era5_land.read_era5_land(tmp_path / "noon.nc", TargetGrid(GRID, LAND))


def hourly_rain(path: Path, amounts: np.ndarray, **attrs: str) -> Path:
    """Amounts [m] of single hours, the first one that from 00:00 to 01:00 of 2010-06-01, the same at all places."""
    hours = pd.date_range("2010-06-01T01:00", periods=len(amounts), freq="h")
    latitude, longitude = np.arange(52.3, 51.4, -0.1), np.arange(-2.4, -1.4, 0.1)
    values = np.broadcast_to(amounts[:, None, None], (len(hours), len(latitude), len(longitude)))
    held = xr.Dataset(
        {"tp": (("time", "latitude", "longitude"), values, {"units": "m"})},
        {"time": hours, "latitude": latitude, "longitude": longitude},
        attrs,
    )
    held.to_netcdf(path, engine="h5netcdf")
    return path


def test_rain_of_single_hours_is_told_from_sums_and_summed(tmp_path: Path) -> None:
    amounts = np.random.default_rng(0).gamma(0.3, 0.001, 50)  # two days and two hours
    days = amounts[:48].reshape(2, 24)
    record = era5_land.read_era5_land(hourly_rain(tmp_path / "era5.nc", amounts), TargetGrid(GRID, LAND))
    assert [str(day)[:10] for day in record["time"].values] == ["2010-06-01", "2010-06-02"]
    np.testing.assert_allclose(record["precipitation"].values[:, 0], 1000 * days.sum(axis=1), rtol=1e-4)
    sums = era5_land.read_era5_land(
        hourly_rain(tmp_path / "land.nc", np.cumsum(days, axis=1).ravel()), TargetGrid(GRID, LAND)
    )
    np.testing.assert_allclose(sums["precipitation"].values, record["precipitation"].values, rtol=1e-4)
    with pytest.raises(InputError, match=r"amounts of single hours, as ERA5, but no day with all 24"):
        era5_land.read_era5_land(hourly_rain(tmp_path / "few.nc", amounts[:20]), TargetGrid(GRID, LAND))
    odd = np.concatenate([np.linspace(0, 0.01, 18), np.linspace(0.01, 0.007, 6)])
    with pytest.raises(InputError, match=r"decreases within days by 30% of its increases"):
        era5_land.read_era5_land(hourly_rain(tmp_path / "odd.nc", odd), TargetGrid(GRID, LAND))


def test_sums_of_days_stand_at_their_own_day_where_the_file_says_so(tmp_path: Path) -> None:
    hourly = xr.load_dataset(era5(tmp_path / "tp.nc", "tp", "m"), engine="h5netcdf")
    midnights = hourly.isel(time=hourly["time"].dt.hour.values == 0)
    for history, first in (("daily_reduce of earthkit", "2010-06-01"), ("GRIB to CF", "2010-05-31")):
        midnights.assign_attrs(history=history).to_netcdf(tmp_path / "days.nc", engine="h5netcdf")
        record = era5_land.read_era5_land(tmp_path / "days.nc", TargetGrid(GRID, LAND))
        assert str(record["time"].values[0])[:10] == first and record.sizes["time"] == 3


def coverage(site: str, values: list, latitude: float) -> dict:
    days = [f"2015-01-{day + 1:02d}T00:00:00Z" for day in range(len(values))]
    axes = {"t": {"values": days}, "x": {"values": [-1.2]}, "y": {"values": [latitude]}}
    return {"type": "Coverage", "id": site, "domain": {"axes": axes}, "ranges": {"cosmos_vwc": {"values": values}}}


def test_sites_of_cosmos_uk(tmp_path: Path) -> None:
    parameters = {"cosmos_vwc": {"unit": {"symbol": {"value": "%"}}}}
    two = [coverage("CHIMN", [30.0, None, 32.0], 51.7), coverage("EUSTN", [20.0], 52.4)]
    file = tmp_path / "cosmos.covjson"
    file.write_text(json.dumps({"type": "CoverageCollection", "coverages": two, "parameters": parameters}))
    record = open_record(file)
    assert record["catchment"].values.tolist() == ["CHIMN", "EUSTN"]
    np.testing.assert_allclose(record["soil_moisture"].values[:, 0], [0.3, np.nan, 0.32], rtol=1e-6)
    assert np.isnan(record["soil_moisture"].values[1:, 1]).all() and record["latitude"].values.tolist() == [51.7, 52.4]
    file.write_text(json.dumps({**two[0], "parameters": parameters}))
    assert open_record(file)["catchment"].values.tolist() == ["CHIMN"]
    hourly = coverage("CHIMN", [30.0, 31.0], 51.7)
    hourly["domain"]["axes"]["t"]["values"] = ["2015-01-01T00:00:00Z", "2015-01-01T01:00:00Z"]
    file.write_text(json.dumps({**hourly, "parameters": parameters}))
    with pytest.raises(InputError, match="has 2015-01-01 more than once"):
        open_record(file)
    for broken in ("{", "[]", "{}"):
        file.write_text(broken)
        with pytest.raises(InputError, match="not CoverageJSON"):
            open_record(file)
