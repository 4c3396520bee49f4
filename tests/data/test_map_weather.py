"""Weather of catchments from the maps above them, in prepare, predict and national stores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.datasets.reader import load_record
from hydromae.errors import InputError
from hydromae.footprints import disc_footprints, footprint_mean
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import load_store, sources_of
from records import DAYS, POSITIONS, SOUTH, WEST, rain_maps, save

RAIN = np.array([[11.0, 22.0], [12.0, 23.0], [13.0, 24.0]])
"""Rain of the cells that contain the gauges [mm/day]; day by catchment."""


@pytest.fixture
def beside_a_table(tmp_path: Path) -> Path:
    """Rain of HadUK-Grid beside a table of flow, in which one river has rain of its own, and a table of positions."""
    place = tmp_path / "own"
    place.mkdir()
    save(rain_maps(SOUTH, WEST), place / "rainfall_hadukgrid_uk_20km_day_20210101-20210103.nc")
    rows = [(day, 1001, 1.0, np.nan) for day in DAYS] + [(day, 1002, 2.0, 5.0) for day in DAYS]
    pd.DataFrame(rows, columns=["date", "catchment", "riverflow", "precipitation"]).to_csv(place / "flows.csv")
    attributes = [(n, *position, 86.4) for n, position in POSITIONS.items()]
    frame = pd.DataFrame(attributes, columns=["id", "easting", "northing", "catchment-area"])
    frame.to_csv(place / "attributes.csv", index=False)
    return place


def test_catchments_without_series_get_the_mean_of_the_cells_above_them(maps_and_gauges: Path) -> None:
    said: list[str] = []
    out = prepare(maps_and_gauges, maps_and_gauges.parent / "rivers.zarr", "catchments", progress=said.append)
    record = load_store(out)
    np.testing.assert_allclose(record["precipitation"].values, RAIN, rtol=1e-6)
    np.testing.assert_allclose(record["temperature"].values, [[7, 7], [8, 8], [9, 9]], atol=1e-3)
    np.testing.assert_allclose(record["potential_evaporation"].values, [[1, 1], [2, 2], [3, 3]], rtol=1e-5)
    lines = " ".join(said)
    assert "precipitation: mean of HadUK-Grid maps over a disc of the catchment's area, for every catchment" in lines
    assert "missing: precipitation" not in lines
    assert "era5-land_pev_202101.nc" in {source["file"] for source in sources_of(record)}


def test_prepare_predict_and_a_national_store_read_the_same_weather(maps_and_gauges: Path, tmp_path: Path) -> None:
    """The shipped model answers the folder, the store of catchments and the national store alike."""
    prepare(maps_and_gauges, tmp_path / "rivers.zarr", "catchments")
    prepare(maps_and_gauges, tmp_path / "national.zarr", "national")
    answers = {}
    for source in (maps_and_gauges, tmp_path / "rivers.zarr", tmp_path / "national.zarr"):
        out = tmp_path / f"{source.stem}.nc"
        assert main(["predict", str(source), "--model", "gb-rivers", "--out", str(out), "--device", "cpu"]) == 0
        answers[source.stem] = xr.load_dataset(out)
    expected = answers["rivers"]["riverflow"].values
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(answers["national"]["riverflow"].values, expected, rtol=1e-4)
    flow = answers["raw"]["riverflow"]
    assert flow.attrs["units"] == "m3/s", "the area of 86.4 km² makes 1 m³/s 1 mm/day"
    np.testing.assert_allclose(flow.transpose("time", "catchment").values, expected, rtol=1e-4)
    assert "precipitation" not in answers["raw"], "the mean of maps is not returned as an observation"
    told = json.loads(answers["raw"].attrs["provenance"])["processing"]
    assert told["precipitation"].startswith("mean of HadUK-Grid maps")
    assert answers["national"]["precipitation"].dims == ("time", "cell")


def test_a_river_keeps_its_own_series(beside_a_table: Path) -> None:
    record = load_record(beside_a_table)
    np.testing.assert_allclose(record["precipitation"].values, np.stack([RAIN[:, 0], np.full(3, 5.0)], axis=1))
    note = record["precipitation"].attrs["processing"]
    assert note == "mean of HadUK-Grid maps over a disc of the catchment's area, for 1 of 2 catchments"
    stored = load_store(prepare(beside_a_table, beside_a_table.parent / "own.zarr"))
    np.testing.assert_array_equal(stored["precipitation"].values, record["precipitation"].values)
    np.testing.assert_array_equal(stored["riverflow"].values, [[1, 2]] * 3)


def test_a_table_beside_maps_comes_back_as_it_is(beside_a_table: Path) -> None:
    out = beside_a_table.parent / "answer.csv"
    assert main(["predict", str(beside_a_table), "--model", "gb-rivers", "--out", str(out), "--device", "cpu"]) == 0
    asked, answer = pd.read_csv(beside_a_table / "flows.csv"), pd.read_csv(out)
    np.testing.assert_array_equal(answer["riverflow"].to_numpy(), asked["riverflow"].to_numpy())
    assert list(answer.columns[:5]) == list(asked.columns) and len(answer) == 6


def test_days_and_catchments_outside_the_maps_are_unobserved_and_reported(beside_a_table: Path) -> None:
    frame = pd.read_csv(beside_a_table / "flows.csv", index_col=0)
    later = frame.assign(date="2021-01-04")[::3]
    lost = frame[:3].assign(catchment=1003, precipitation=np.nan)
    pd.concat([frame, later, lost]).to_csv(beside_a_table / "flows.csv", index=False)
    attributes = pd.read_csv(beside_a_table / "attributes.csv")
    attributes.loc[2] = [1003, 310000.0, 900000.0, 86.4]
    attributes.to_csv(beside_a_table / "attributes.csv", index=False)
    said: list[str] = []
    record = load_store(prepare(beside_a_table, beside_a_table.parent / "own.zarr", progress=said.append))
    assert record["precipitation"].sel(catchment=1003).isnull().all()
    assert np.isnan(record["precipitation"].sel(catchment=1001).values[3])
    lines = "\n".join(said)
    assert "precipitation: 1 of 4 days have no map, the first is 2021-01-04" in lines
    assert "precipitation: 1 catchments, such as 1003, are outside the maps; it is unobserved there" in lines


def test_maps_of_other_days_are_refused(beside_a_table: Path) -> None:
    rain = rain_maps(SOUTH, WEST)
    later = rain.assign_coords(time=rain["time"].values + np.timedelta64(900, "D"))
    save(later, next(beside_a_table.glob("*.nc")))
    with pytest.raises(InputError, match=r"its record, 2021-01-01 … 2021-01-03, has no day of its maps"):
        load_record(beside_a_table)


def test_maps_that_no_catchment_needs_are_reported(beside_a_table: Path) -> None:
    frame = pd.read_csv(beside_a_table / "flows.csv", index_col=0).assign(precipitation=4.0)
    frame.to_csv(beside_a_table / "flows.csv")
    said: list[str] = []
    record = load_store(prepare(beside_a_table, beside_a_table.parent / "own.zarr", progress=said.append))
    assert (record["precipitation"] == 4).all()
    assert any("maps of precipitation are not used, every catchment has a series" in line for line in said)


def test_a_catchment_far_from_every_cell_has_no_footprint() -> None:
    """Cells at 0 and 10 km; catchments of 1 km² at 1 km, 21 km (too far) and 11 km east."""
    east = np.array([0.0, 10e3])
    places = np.array([1e3, 21e3, 11e3])
    prints = disc_footprints(east, np.zeros(2), places, np.zeros(3), np.ones(3), 10e3, max_distance=10e3)
    assert prints.catchment.tolist() == [0, 2] and prints.cell.tolist() == [0, 1]
    mean = footprint_mean(prints, np.array([[3.0, 4.0], [np.nan, 5.0]]), 3)
    np.testing.assert_array_equal(mean, [[3, np.nan, 4], [np.nan, np.nan, 5]])


@pytest.mark.parametrize("command", ["predict", "forecast"])
def test_sums_of_an_unknown_day_need_the_option(
    beside_a_table: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sum a day at 00:00: of that day, or of the day before, which leaves the last day without rain."""
    next(beside_a_table.glob("*.nc")).unlink()
    latitude, longitude = np.arange(51.0, 53.0, 0.5), np.arange(-5.0, -2.0, 0.5)
    values = np.full((3, len(latitude), len(longitude)), 0.004)
    rain = {"tp": (("time", "latitude", "longitude"), values, {"units": "m"})}
    save(
        xr.Dataset(rain, {"time": pd.to_datetime(DAYS), "latitude": latitude, "longitude": longitude}),
        beside_a_table / "era5.nc",
    )
    out = beside_a_table.parent / "answer.nc"
    words = [command, str(beside_a_table), "--model", "gb-rivers", "--out", str(out), "--device", "cpu"]
    assert main(words) == 2 and "--daily-sums" in capsys.readouterr().err
    for rule, count in (("same-day", 6), ("day-before", 5)):
        assert main([*words, "--daily-sums", rule]) == 0
        assert json.loads(xr.load_dataset(out).attrs["provenance"])["inputs"]["precipitation"] == count


def test_a_national_store_keeps_the_weather_of_its_gauges_beside_the_maps(beside_a_table: Path, tmp_path: Path) -> None:
    record = load_store(prepare(beside_a_table, tmp_path / "national.zarr", "national"))
    assert record["precipitation"].dims == ("time", "cell")
    np.testing.assert_array_equal(record["precipitation_series"].values, [[np.nan, 5.0]] * 3)
    assert record["precipitation_series"].attrs["units"] == "mm day-1"
