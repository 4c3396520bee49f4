"""ERA5-Land as people have it: its longitudes, names, versions and steps, and the day that a sum belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.datasets import era5_land
from hydromae.datasets.reader import open_record
from hydromae.datasets.target_grid import TargetGrid
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.options import use_reading_options
from hydromae.io.value_ranges import PROCESSING

LATITUDE, LONGITUDE = np.round(np.arange(54, 50.9, -0.5), 1), np.round(np.arange(-3, 1.01, 0.5), 1)
GRID = GridSpec(rows=8, columns=10, cell_size=25000.0, northing=200000.0, easting=400000.0, patch=2)
SUMS = (1.0, 2.0, 3.0, 4.0)
OWN, AFTER = pd.date_range("2009-01-01", periods=4), pd.date_range("2009-01-02", periods=4)
RIGHT = {f"2009-01-0{day}": float(day) for day in (1, 2, 3, 4)}


def rain(values: np.ndarray | tuple, times: pd.DatetimeIndex, history: str = "", **attrs: str) -> xr.Dataset:
    """Rain [mm], the same at all places, in the units of the archive."""
    maps = np.broadcast_to(np.asarray(values)[:, None, None] / 1000, (len(values), len(LATITUDE), len(LONGITUDE)))
    held = {"tp": (("time", "latitude", "longitude"), maps.copy(), {"units": "m", **attrs})}
    made = xr.Dataset(held, {"time": times, "latitude": LATITUDE, "longitude": LONGITUDE})
    return made.assign_attrs(history=history) if history else made


def days(data: xr.Dataset, path: Path) -> dict[str, float]:
    data.to_netcdf(path / "x.nc", engine="h5netcdf")
    record = era5_land.read_era5_land(path / "x.nc", TargetGrid(GRID))["precipitation"]
    return {
        str(day)[:10]: round(float(value), 4) for day, value in zip(record["time"].values, record[:, 0], strict=True)
    }


@pytest.mark.parametrize(
    ("times", "history", "attrs"),
    [
        (OWN, "cdo daysum -shifttime,-1sec in.nc out.nc", {}),
        (OWN, "cdo shifttime,-1day -selhour,0 in.nc out.nc", {}),
        (OWN, "", {"cell_methods": "time: sum"}),
        (OWN + pd.Timedelta("23h"), "cdo daysum in.nc out.nc", {}),
        (OWN + pd.Timedelta("12h"), "", {"cell_methods": "time: sum (interval: 1 hour)"}),
        (AFTER, "2009-02-01 GRIB to CDM+CF via cfgrib-0.9.10", {}),
        (AFTER, "fetched by the daily job; GRIB to CDM+CF via cfgrib", {}),
        (AFTER - pd.Timedelta("300us"), "cdo selhour,0 in.nc out.nc", {}),
        (AFTER, "", {"GRIB_stepType": "accum"}),
    ],
)
def test_a_sum_that_stands_alone_is_of_the_day_that_the_file_says(
    times: pd.DatetimeIndex, history: str, attrs: dict[str, str], tmp_path: Path
) -> None:
    assert days(rain(SUMS, times, history, **attrs), tmp_path) == RIGHT


def test_a_sum_whose_day_nothing_says_is_refused_with_the_option_that_does(tmp_path: Path) -> None:
    for times, history in ((OWN, ""), (AFTER, ""), (AFTER, "fetched by the daily job")):
        with pytest.raises(InputError, match=r"one value a day, at 00:00.*--daily-sums day-before .* or same-day"):
            days(rain(SUMS, times, history), tmp_path)
    with use_reading_options(daily_sums="same-day"):
        assert days(rain(SUMS, OWN), tmp_path) == RIGHT
    with use_reading_options(daily_sums="day-before"):
        assert days(rain(SUMS, AFTER), tmp_path) == RIGHT
    with pytest.raises(InputError, match=r"no value at 00:00.*--daily-sums same-day"):
        days(rain(SUMS, OWN + pd.Timedelta("12h")), tmp_path)


def hourly(per_day: tuple[float, ...] = SUMS) -> xr.Dataset:
    """Accumulated since midnight; the value at 00:00 is the sum of the day before."""
    times = pd.date_range("2009-01-01T01:00", periods=24 * len(per_day), freq="h")
    hour = np.where(times.hour == 0, 24, times.hour)
    return rain(hour / 24 * np.repeat(per_day, 24), times)


def test_hours_tell_their_days_and_how_is_said(tmp_path: Path) -> None:
    assert days(hourly(), tmp_path) == RIGHT
    assert (
        "the value at 00:00 is the sum of the day before"
        in open_record(tmp_path / "x.nc")["precipitation"].attrs[PROCESSING]
    )
    amounts = hourly()
    tp = np.diff(amounts["tp"].values, axis=0, prepend=0)
    tp = np.where((amounts["time"].dt.hour == 1).values[:, None, None], amounts["tp"].values, tp)
    uneven = np.where(np.arange(96) % 24 % 2 == 0, 2.0, 0.0)[:, None, None]  # falls every other hour
    assert days(amounts.assign(tp=amounts["tp"].copy(data=tp * uneven)), tmp_path) == RIGHT
    assert "24 amounts of single hours" in open_record(tmp_path / "x.nc")["precipitation"].attrs[PROCESSING]


def plain(data: xr.Dataset) -> xr.Dataset:
    return data


FORMS = {
    "0 to 360": lambda d: d.assign_coords(longitude=d["longitude"].values % 360).sortby("longitude"),
    "0 to 360, as it comes": lambda d: d.assign_coords(longitude=d["longitude"].values % 360),
    "northward": lambda d: d.sortby("latitude"),
    "lat and lon": lambda d: d.rename(latitude="lat", longitude="lon"),
    "valid_time": lambda d: d.rename(time="valid_time"),
    "valid_time beside time": lambda d: d.assign_coords(valid_time=("time", d["time"].values)),
    "expver and number as coordinates": lambda d: d.assign_coords(
        number=0, expver=("time", ["0001"] * d.sizes["time"])
    ),
    "number of one": lambda d: d.expand_dims(number=[0], axis=1),
    "versions": lambda d: xr.concat(
        [d.isel(time=slice(40, None)).reindex(time=d["time"]), d.where(d["time"] < d["time"][60]) + 0],
        pd.Index([5, 1], name="expver"),
        combine_attrs="override",
    ).transpose("time", "expver", "latitude", "longitude"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_file_gives_the_same_maps(form, tmp_path: Path) -> None:
    """Rain that differs by place, on cells to both sides of Greenwich."""
    east = 1 + 0.1 * xr.DataArray(LONGITUDE, {"longitude": LONGITUDE}, ("longitude",))
    data = hourly()
    data = data.assign(tp=(data["tp"] * east).transpose(*data["tp"].dims).assign_attrs(units="m"))
    data.to_netcdf(tmp_path / "plain.nc", engine="h5netcdf")
    made = form(data)
    made["tp"].attrs["units"] = "m"
    made.to_netcdf(tmp_path / "form.nc", engine="h5netcdf")
    expected, record = (open_record(tmp_path / f"{name}.nc")["precipitation"] for name in ("plain", "form"))
    np.testing.assert_array_equal(record["cell"].values, expected["cell"].values)
    np.testing.assert_allclose(record.values, expected.values, rtol=1e-5)
    assert expected.notnull().all() and record.indexes["time"].equals(expected.indexes["time"])


def test_the_final_version_of_a_value_comes_before_the_first_one(tmp_path: Path) -> None:
    both = xr.concat(
        [hourly((9.0,) * 4), hourly()], pd.Index(["0005", "0001"], name="expver"), combine_attrs="override"
    )
    assert days(both, tmp_path) == RIGHT


def test_members_of_an_ensemble_are_refused(tmp_path: Path) -> None:
    both = xr.concat([hourly(), hourly()], pd.Index([0, 1], name="number"), combine_attrs="override")
    with pytest.raises(InputError, match=r"x.nc: has 2 members of an ensemble \(number\); keep one"):
        days(both, tmp_path)


@pytest.mark.parametrize("dims", [1, 0])
def test_one_time_step_is_read(dims: int, tmp_path: Path) -> None:
    one = hourly().isel(time=[23] if dims else 23).assign_attrs(history="GRIB to CF")
    assert days(one, tmp_path) == {"2009-01-01": 1.0}


@pytest.mark.parametrize("wrap", [False, True])
def test_cells_outside_a_file_or_in_its_gap_are_unobserved(wrap: bool, tmp_path: Path) -> None:
    """A file of two pieces, west of 2 degrees west and east of the meridian: what lies between is in neither."""
    pieces = hourly().sel(longitude=[-3.0, -2.5, -2.0, 0.0, 0.5, 1.0])
    if wrap:
        pieces = pieces.assign_coords(longitude=pieces["longitude"].values % 360).sortby("longitude")
    pieces.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    record = open_record(tmp_path / "x.nc")
    from pyproj import Transformer

    place = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True)
    longitude, latitude = place.transform(record["cell_easting"].values, record["cell_northing"].values)
    assert ((longitude >= -3) & (longitude <= 1) & (latitude >= 51) & (latitude <= 54)).all()
    assert not ((longitude > -1.999) & (longitude < -0.001)).any() and (longitude > 0).any() and (longitude < -2).any()


def test_maps_of_months_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.nc: has monthly values; give daily values"):
        days(rain(SUMS, pd.date_range("2009-01-01", periods=4, freq="MS")), tmp_path)


def test_packed_zeros_are_zeros_and_negative_rain_is_refused(tmp_path: Path) -> None:
    packed = {"dtype": "int16", "scale_factor": 9.06276558810304e-07, "add_offset": 0.0296950577259784}
    data = rain(np.zeros(96), pd.DatetimeIndex(hourly()["time"].values))
    data.to_netcdf(tmp_path / "x.nc", engine="h5netcdf", encoding={"tp": {**packed, "_FillValue": -32767}})
    with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as raw:
        assert -1e-6 < float(raw["tp"].min()) < 0
    assert (open_record(tmp_path / "x.nc")["precipitation"] == 0).all()
    one = hourly()
    one["tp"][48:, 2, 2] = -0.001
    with pytest.raises(
        InputError, match=r"has the value -\S+ m, which is -\S+ mm day-1, outside 0 … 600 .*latitude 53"
    ):
        days(one, tmp_path)
