"""The day that a time stamp means, and steps that are not days, refused by name by every reader."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.datasets import haduk
from hydromae.datasets.gridded import find_maps
from hydromae.datasets.map_file import MapFile
from hydromae.datasets.nrfa import open_series
from hydromae.datasets.reader import open_record
from hydromae.datasets.seed_flow_table import FlowTable
from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.conventions import to_daily
from hydromae.io.timestamps import infer_step, to_days
from records import rain_maps

DAYS = pd.date_range("1999-09-01", periods=40)


def flow(days: pd.DatetimeIndex | np.ndarray, **time: object) -> xr.Dataset:
    values = np.arange(1.0, len(days) + 1)[:, None]
    held = xr.Dataset({"riverflow": (("time", "catchment"), values, {"units": "mm/day"})}, {"catchment": [7]})
    return held.assign_coords(time=("time", days, time))


def frame(days: pd.DatetimeIndex | list, name: int = 7) -> pd.DataFrame:
    return pd.DataFrame({"date": days, "catchment": name, "riverflow": np.arange(1.0, len(days) + 1) / 10})


@pytest.mark.parametrize("early", ["1ns", "5us", "300us", "999ms", "4s"])
def test_a_rounding_error_before_midnight_is_that_midnight(early: str) -> None:
    stamps = DAYS - pd.Timedelta(early)
    some = DAYS.as_unit("ns") - pd.to_timedelta(np.where(np.arange(40) % 7 == 3, pd.Timedelta(early).value, 0))
    for one in (stamps, some):
        assert to_daily(flow(one), "x")["time"].values.tolist() == DAYS.as_unit("ns").to_numpy().tolist()
        assert table.from_frame(frame(one)).indexes["time"].equals(DAYS)
        written = one.strftime("%Y-%m-%dT%H:%M:%S.%f").tolist()
        assert table.from_frame(frame(written)).indexes["time"].equals(DAYS)


@pytest.mark.parametrize("hour", ["0h", "9h", "12h", "23h", "23h59min59s"])
def test_other_hours_stand_for_the_day_that_is_written(hour: str) -> None:
    assert to_days(DAYS + pd.Timedelta(hour), "x").equals(DAYS.as_unit("ns"))


@pytest.mark.parametrize(
    "units",
    [
        "days since 1999-09-01 00:00:00 +1:00",
        "days since 1999-09-01T00:00:00+01:00",
        "days since 1999-09-01 00:00:00 -05:30",
        "days since 1999-09-01 00:00:00 UTC",
        "days since 1999-09-01",
    ],
)
@pytest.mark.parametrize("kind", ["nc", "zarr", "memory"])
def test_units_with_an_offset_land_on_the_day_of_their_clock(units: str, kind: str, tmp_path: Path) -> None:
    raw = flow(np.arange(40.0), units=units, calendar="standard")
    if kind == "nc":
        raw.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    elif kind == "zarr":
        raw.to_zarr(tmp_path / "x.zarr", zarr_format=3, consolidated=False)
    record = table.from_dataset(xr.decode_cf(raw)) if kind == "memory" else open_record(tmp_path / f"x.{kind}")
    assert record.indexes["time"].equals(DAYS) and record["riverflow"].values[0, 0] == 1


def test_stamps_of_summer_and_winter_time_are_read_as_they_are_written() -> None:
    written = [f"1999-10-{day}T00:00:00+0{int(day < 31)}:00" for day in (29, 30, 31)]
    assert table.from_frame(frame(written)).indexes["time"].equals(pd.date_range("1999-10-29", periods=3))
    zoned = pd.date_range("1999-10-29", periods=5, tz="Europe/London")
    assert table.from_frame(frame(zoned)).indexes["time"].equals(pd.date_range("1999-10-29", periods=5))


STEPS = {
    "7D": "weekly values",
    "MS": "monthly values",
    "ME": "monthly values",
    "QS": "seasonal values",
    "YS": "yearly values",
    "5D": "values of every 5 days",
    "30min": "values of every 30 minutes",
    "h": "hourly values",
}


@pytest.mark.parametrize(("step", "said"), STEPS.items())
def test_steps_that_are_not_days_are_refused_by_name(step: str, said: str, tmp_path: Path) -> None:
    stamps = pd.date_range("1999-09-01", periods=48 if step in ("30min", "h") else 8, freq=step)
    flow(stamps).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    flow(stamps).to_zarr(tmp_path / "x.zarr", zarr_format=3, consolidated=False)
    frame(stamps).to_csv(tmp_path / "x.csv", index=False)
    frame(stamps).assign(date=stamps).to_parquet(tmp_path / "x.parquet", index=False)
    for kind in ("nc", "zarr", "csv", "parquet"):
        with pytest.raises(InputError, match=rf"x.{kind}: .*has {said}; give daily values"):
            open_record(tmp_path / f"x.{kind}")
    wide = frame(stamps).pivot(index="date", columns="catchment", values="riverflow")
    wide.attrs["units"] = "mm/day"
    with pytest.raises(InputError, match=said):
        table.from_frame(wide)


def test_a_catchment_of_months_among_daily_ones_is_refused() -> None:
    both = pd.concat([frame(DAYS), frame(pd.date_range("1999-09-15", periods=5, freq=pd.DateOffset(months=1)), 8)])
    with pytest.raises(InputError, match="catchment 8: has monthly values"):
        table.from_frame(both)


DAILY = {
    "two days": DAYS[:2],
    "one day": DAYS[:1],
    "gaps": DAYS[[0, 1, 9, 20, 21, 39]],
    "every other day": DAYS[::2],
    "sparse": pd.DatetimeIndex(["1999-01-03", "1999-01-20", "1999-03-01", "2000-06-05", "2000-06-30"]),
    "no leap days": (whole := pd.date_range("2000-02-01", "2004-03-31"))[(whole.month != 2) | (whole.day != 29)],
    "noon": DAYS + pd.Timedelta("12h"),
}


@pytest.mark.parametrize("days", DAILY.values(), ids=DAILY)
def test_days_with_gaps_are_read(days: pd.DatetimeIndex) -> None:
    assert infer_step(days) is None
    assert table.from_frame(frame(days).assign(riverflow=1.0)).indexes["time"].isin(days.floor("D")).sum() == len(days)
    assert to_daily(flow(days), "x").sizes["time"] >= len(days)


@pytest.mark.parametrize(
    "middle",
    [["2001-01-16T12", "2001-02-15T00", "2001-03-16T12"], ["2001-01-31", "2001-02-28"], ["2001-07-01", "2002-07-01"]],
)
def test_middles_and_ends_of_months_are_months(middle: list[str]) -> None:
    assert infer_step(pd.DatetimeIndex(middle)) in ("monthly values", "yearly values")


def test_what_a_dataset_says_of_its_step_counts() -> None:
    with pytest.raises(InputError, match="has monthly values"):
        table.from_dataset(flow(DAYS[:1]).assign_attrs(frequency="mon"))
    bounds = xr.DataArray([[DAYS[0], DAYS[30]]], dims=("time", "bnds"))
    with pytest.raises(InputError, match="has monthly values"):
        to_daily(flow(DAYS[:1]).assign(time_bnds=bounds), "x")
    assert to_daily(flow(DAYS[:1]).assign_attrs(frequency="day"), "x").sizes["time"] == 1


def one_map(said: str | None, day: str = "2023-07-02") -> xr.Dataset:
    maps = rain_maps(230000.0, 390000.0).isel(time=[0]).assign_coords(time=pd.DatetimeIndex([day]).as_unit("ns"))
    maps.attrs.pop("frequency")
    return maps if said is None else maps.assign_attrs(frequency=said)


@pytest.mark.parametrize(
    ("said", "name", "found"),
    [
        ("day", "x", ""),
        ("mon", "x", "monthly values"),
        ("ann", "x", "yearly values"),
        ("seas", "x", "seasonal values"),
        ("mon-30y", "x", "monthly means of 30 years"),
        (None, "rainfall_hadukgrid_uk_5km_ann-30y_199101-202012", "yearly means of 30 years"),
        (None, "rainfall_hadukgrid_uk_5km_day_20230702", ""),
        (None, "x", None),
    ],
)
def test_steps_of_haduk_grid(said: str | None, name: str, found: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.nc"
    one_map(said).to_netcdf(path, engine="h5netcdf")
    if found is None:
        with pytest.raises(InputError, match="does not state whether its one map is of a day, a month or a year"):
            find_maps(tmp_path)
    elif found:
        assert find_maps(tmp_path) == {}
        with pytest.raises(InputError, match=f"{name}.nc: has {found}; give daily values"):
            open_record(path)
    else:
        assert list(find_maps(tmp_path)) == ["precipitation"] and open_record(path).sizes["time"] == 1


def test_months_of_haduk_grid_serve_as_normals_alone(tmp_path: Path) -> None:
    one_map("ann").to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="has yearly values"):
        haduk.read_haduk(tmp_path / "x.nc")
    one_map("mon").to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    assert haduk.read_haduk(tmp_path / "m.nc")["precipitation"].sel(cell=7).values.tolist() == pytest.approx([21 / 31])


def test_maps_of_months_of_other_products_are_refused(tmp_path: Path) -> None:
    months = pd.date_range("2001-01-01", periods=12, freq="MS")
    grid = {"time": months, "y": np.arange(3) * 1000.0 + 500, "x": np.arange(3) * 1000.0 + 500}
    chess = xr.Dataset({"precip": (("time", "y", "x"), np.ones((12, 3, 3)), {"units": "mm/day"})}, grid)
    chess.to_netcdf(tmp_path / "chess.nc", engine="h5netcdf")
    for tried in (lambda: find_maps(tmp_path), lambda: open_record(tmp_path / "chess.nc")):
        with pytest.raises(InputError, match=r"chess.nc: has monthly values"):
            tried()


@pytest.mark.parametrize("period", ["P1M", "P1Y", "P1D"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_series_of_the_nrfa_says_its_period(period: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"1_gdf.{kind}"
    if kind == "csv":
        rows = ["file,timestamp,x", "database,id,nrfa", "station,id,1", "dataType,id,gdf", "dataType,units,m3/s"]
        file.write_text("\n".join([*rows, f"dataType,period,{period} (x)", "data,last,x", "2001-01-01,1.0"]) + "\n")
    else:
        kinds = {"id": "gdf", "units": "m3/s", "period": period}
        file.write_text(json.dumps({"station": {"id": 1}, "data-type": kinds, "data-stream": ["2001-01-01", 1.0]}))
    if period == "P1D":
        assert open_series(file).series["gdf"].tolist() == [1.0]
    else:
        said = {"P1M": "monthly", "P1Y": "yearly"}[period]
        with pytest.raises(InputError, match=f"1_gdf.{kind}: has {said} values; give daily values"):
            open_series(file)


def test_the_seeds_files_of_months_are_refused(tmp_path: Path) -> None:
    months = pd.date_range("2001-01-01", periods=6, freq="MS")
    with h5py.File(tmp_path / "precipitation_a.h5", "w") as file:
        file["data"], file["dates"] = (
            np.ones((6, 1, 2), np.float32),
            months.strftime("%Y-%m-%d").to_numpy().astype("S10"),
        )
    with pytest.raises(InputError, match=r"precipitation_a.h5: has monthly values"):
        MapFile.open(tmp_path / "precipitation_a.h5", "precipitation")
    rows = pd.DataFrame({"date": months, "ID": 7, "evaporation": 1.0, "discharge_vol": 1.0})
    rows.to_parquet(tmp_path / "x.parquet", index=False)
    with pytest.raises(InputError, match=r"x.parquet: has monthly values"):
        FlowTable.open(tmp_path / "x.parquet")
