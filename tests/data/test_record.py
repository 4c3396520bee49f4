"""The rules of a record: daily axis, NaN, range, positions, periods."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.io import conventions as rules


def flow(days, values, name="riverflow", dtype=float):
    data = np.asarray(values, dtype)[:, None]
    return xr.Dataset({name: (("time", "catchment"), data)}, {"time": pd.DatetimeIndex(days), "catchment": [1]})


def test_missing_days_come_in_as_nan_and_days_are_sorted():
    record = rules.to_canonical(flow(["2000-02-28", "2000-03-01T12:00", "2000-02-27"], [2.0, 4.0, 1.0]), "a.nc")
    assert list(record["time"].dt.strftime("%m-%d").values) == ["02-27", "02-28", "02-29", "03-01"]
    np.testing.assert_array_equal(record["riverflow"].values[:, 0], [1, 2, np.nan, 4])
    assert record["riverflow"].dtype == np.float32
    assert record["riverflow"].attrs["units"] == "mm day-1"


def test_sentinels_and_infinities_are_unobserved():
    days = pd.date_range("2000-01-01", periods=5)
    record = rules.to_canonical(flow(days, [-99999, np.inf, -np.inf, 1e20, 3]), "a.nc")
    np.testing.assert_array_equal(record["riverflow"].values[:, 0], [np.nan] * 4 + [3])


def test_a_day_that_comes_twice_is_refused():
    with pytest.raises(InputError, match=r"a.nc: 2000-01-01 occurs more than once"):
        rules.to_canonical(flow(["2000-01-01", "2000-01-01T06:00"], [1, 2]), "a.nc")


def test_a_catchment_that_comes_twice_is_refused():
    twice = xr.concat([flow(["2000-01-01"], [1])] * 2, dim="catchment")
    with pytest.raises(InputError, match="catchment 1 occurs more than once"):
        rules.to_canonical(twice, "a.nc")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("temperature", 281.25, "temperature has the value 281.25, outside -40 … 45 degC; it looks like Kelvin"),
        ("precipitation", -9999.0, "code for missing"),
        ("riverflow", 5000.0, "looks like m3 s-1"),
        ("soil_moisture", 35.0, "looks like percent"),
        ("precipitation", 900.0, "check its units"),
    ],
)
def test_values_out_of_range_are_refused_with_a_guess(name, value, line):
    with pytest.raises(InputError, match=line):
        rules.to_canonical(flow(["2000-01-01", "2000-01-02"], [0.5, value], name), "a.nc")


def test_other_shapes_are_refused_and_transposed_ones_read():
    record = flow(["2000-01-01", "2000-01-02"], [1, 2])
    assert rules.to_canonical(record.transpose("catchment", "time"), "a.nc")["riverflow"].dims == ("time", "catchment")
    with pytest.raises(InputError, match=r"riverflow has the dimensions \(time 2\); it needs \(time, catchment\)"):
        rules.to_canonical(record.isel(catchment=0), "a.nc")
    with pytest.raises(InputError, match="has no days"):
        rules.to_canonical(record.isel(time=slice(0, 0)), "a.nc")


def test_dates_of_another_calendar_are_refused():
    record = flow(["2000-01-01", "2000-01-02"], [1, 2]).assign_coords(time=[0, 1])
    with pytest.raises(InputError, match="time is of type int64"):
        rules.to_canonical(record, "a.nc")
    empty = flow(["2000-01-01", "NaT"], [1, 2])
    with pytest.raises(InputError, match="empty date"):
        rules.to_canonical(empty, "a.nc")


def test_positions_go_both_ways():
    """Ordnance Survey's worked point, Caister water tower: 52.65798° N, 1.71605° E is 651409.8, 313177.4 (to ~5 m)."""
    record = xr.Dataset(
        {"latitude": ("catchment", [52.65798, np.nan]), "longitude": ("catchment", [1.71605, 1.0])},
        {"catchment": [1, 2]},
    )
    east, north = (rules.with_positions(record)[name].values for name in ("easting", "northing"))
    assert east[0] == pytest.approx(651409.8, abs=5)
    assert north[0] == pytest.approx(313177.4, abs=5)
    assert np.isnan(east[1])
    assert np.isnan(north[1])
    metres = xr.Dataset({"easting": ("catchment", east), "northing": ("catchment", north)}, {"catchment": [1, 2]})
    back = rules.with_positions(metres)
    assert float(back["latitude"][0]) == pytest.approx(52.65798, abs=1e-4)
    assert "easting" in back.coords


def test_each_gauge_has_its_position_from_whichever_pair_it_has():
    """As in a catalogue of the NRFA, where some stations have metres and others degrees; what is said stays to the bit."""
    held = {
        "latitude": [52.65798, np.nan, np.nan, 50.0],
        "longitude": [1.71605, np.nan, np.nan, np.nan],
        "easting": [np.nan, 651409.8, np.nan, np.nan],
        "northing": [np.nan, 313177.4, np.nan, 1.0],
    }
    record = xr.Dataset({n: ("catchment", np.array(v)) for n, v in held.items()}, {"catchment": [1, 2, 3, 4]})
    placed = rules.with_positions(record)
    assert placed["easting"].values[0] == pytest.approx(651409.8, abs=5)
    assert placed["northing"].values[1] == 313177.4 and placed["latitude"].values[0] == 52.65798
    assert placed["longitude"].values[1] == pytest.approx(1.71605, abs=1e-4)
    assert all(np.isnan(placed[name].values[2:]).all() for name in ("easting", "longitude"))


def test_periods():
    record = flow(pd.date_range("2000-01-01", "2000-01-31"), np.ones(31))
    assert rules.select_period(record, ("2000-01-05", "2000-01-06"), "a.nc").sizes["time"] == 2
    assert rules.select_period(record, None, "a.nc").sizes["time"] == 31
    with pytest.raises(InputError, match=r"the period 1999-12-31 … 2000-01-06 is not inside 2000-01-01 … 2000-01-31"):
        rules.select_period(record, ("1999-12-31", "2000-01-06"), "a.nc")
    with pytest.raises(InputError, match="not two dates"):
        rules.select_period(record, ("yesterday", "tomorrow-ish"), "a.nc")
    with pytest.raises(InputError, match="before the first"):
        rules.select_period(record, ("2000-01-06", "2000-01-05"), "a.nc")
    with pytest.raises(InputError, match="a date is empty"):
        rules.select_period(record, ("", "2000-01-05"), "a.nc")


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        rules.open_netcdf(tmp_path / "absent.nc")
    text = tmp_path / "text.nc"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text.nc: not a readable NetCDF file"):
        rules.open_netcdf(text)


def test_netcdf_3_is_read_and_what_is_broken_of_it_refused(tmp_path):
    """Every byte of the header is altered once: the file is read, or refused in one line."""
    values = xr.Dataset({"tp": ("time", np.arange(4.0), {"units": "m"})}, {"time": np.arange(4)})
    whole = tmp_path / "old.nc"
    values.to_netcdf(whole, format="NETCDF3_CLASSIC")
    assert rules.open_netcdf(whole)["tp"].values.tolist() == [0.0, 1.0, 2.0, 3.0]
    told, refused = whole.read_bytes(), 0
    for place in range(3, len(told)):
        for value in (0, 0x7F, 0xFF):
            (tmp_path / "broken.nc").write_bytes(told[:place] + bytes([value]) + told[place + 1 :])
            try:
                rules.open_netcdf(tmp_path / "broken.nc")
            except InputError as error:
                refused += 1
                assert "broken.nc" in str(error) and "\n" not in str(error)
    assert refused > 100
    (tmp_path / "short.nc").write_bytes(told[:-40])
    with pytest.raises(InputError, match=r"short.nc: not a readable NetCDF"):
        rules.open_netcdf(tmp_path / "short.nc")
    (tmp_path / "wide.nc").write_bytes(b"CDF\5" + told[4:])
    with pytest.raises(InputError, match=r"nccopy -k nc4 wide.nc new.nc"):
        rules.open_netcdf(tmp_path / "wide.nc")
