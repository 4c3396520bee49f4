"""The shipped model on tables and files: Python and the command line give the same answer, in the form of the question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.inference.predictor import Model, load
from hydromae.io.csv_parquet import detect_dialect, read_csv_as_text
from hydromae.io.table import open_zarr
from hydromae.virtual import virtual_catchments

NAMES = ["01013500", "01022500", "39001"]
ADDED = [f"riverflow_q{level}" for level in ("05", "25", "50", "75", "95")]


@pytest.fixture(scope="module")
def model() -> Model:
    return load("gb-rivers")


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    """Forty days of three rivers; five days of the second are unknown."""
    record = virtual_catchments(40, 3, "2009-01-01", 3, missing=False).load()
    record["riverflow"][20:25, 1] = np.nan
    return record.assign_coords(catchment=NAMES)


@pytest.fixture(scope="module")
def gauges(record: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gauges") / "gauges.csv"
    names = ["latitude", "longitude", "catchment-area"]
    record[names].to_dataframe()[names].rename_axis("id").to_csv(file)
    return file


def cubic(record: xr.Dataset) -> pd.DataFrame:
    """A long table in m³/s, out of order, with other columns, and without a row of the first river."""
    flow = (record["riverflow"] * record["catchment-area"] / 86.4).to_series().rename("riverflow [m3/s]")
    frame = pd.concat([flow, record["precipitation"].to_series()], axis=1).reset_index().iloc[1:]
    frame = frame.sample(frac=1.0, random_state=1).assign(flag="x", time=lambda f: f["time"] + pd.Timedelta("12h"))
    frame = frame.astype({"riverflow [m3/s]": np.float64}).rename(columns={"time": "Date", "catchment": "gauge_id"})
    return frame[["flag", "Date", "gauge_id", "riverflow [m3/s]", "precipitation"]].reset_index(drop=True)


def run(*words: object) -> None:
    assert main([*map(str, words), "--model", "gb-rivers"]) == 0


def test_the_promise_of_the_ten_minutes(model: Model, record: xr.Dataset, gauges: Path, tmp_path: Path) -> None:
    frame = cubic(record)
    python = model.predict(frame, attributes=gauges)
    frame.to_csv(tmp_path / "my.csv", index=False, date_format="%d/%m/%Y %H:%M")
    frame.to_parquet(tmp_path / "my.parquet")
    for kind in (".csv", ".parquet"):
        run("predict", tmp_path / f"my{kind}", "--attributes", gauges, "--out", tmp_path / f"filled{kind}")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "filled.parquet"), python)
    asked, told = (
        read_csv_as_text(file, detect_dialect(file)) for file in (tmp_path / "my.csv", tmp_path / "filled.csv")
    )
    own = list(asked.columns)
    assert list(told.columns[: len(own) + 6]) == [*own, *ADDED, "riverflow_origin"] and len(told) == len(asked)
    seen = asked["riverflow [m3/s]"] != ""
    assert (~seen).sum() == 5
    pd.testing.assert_frame_equal(told.loc[seen, own], asked.loc[seen, own])
    pd.testing.assert_frame_equal(told[["flag", "Date", "gauge_id"]], asked[["flag", "Date", "gauge_id"]])
    for name in ("riverflow [m3/s]", *ADDED, "riverflow_origin"):
        np.testing.assert_array_equal(told[name].astype(np.float32), python[name].astype(np.float32))
    assert (told.loc[seen, "riverflow_q05"] == asked.loc[seen, "riverflow [m3/s]"]).all()
    area = frame["gauge_id"].map(record["catchment-area"].to_series())
    depth = frame.assign(riverflow=frame["riverflow [m3/s]"] * 86.4 / area).drop(columns="riverflow [m3/s]")
    in_depth = model.predict(depth, attributes=gauges)
    np.testing.assert_allclose(in_depth["riverflow_q95"] * area / 86.4, python["riverflow_q95"], rtol=1e-3)


def test_long_gaps_stay_as_they_were_and_are_counted(
    record: xr.Dataset, gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = record["riverflow"].to_dataframe().reset_index()
    frame.loc[(frame["catchment"] == "39001") & frame["time"].between("2009-01-10", "2009-01-12"), "riverflow"] = np.nan
    frame.rename(columns={"riverflow": "riverflow [mm/d]"}).to_csv(tmp_path / "q.csv", index=False)
    words = ["predict", tmp_path / "q.csv", "--attributes", gauges, "--out", tmp_path / "a.csv", "--longest-gap", "3"]
    run(*words)
    assert "1 gap of more than 3 days (5 days in all) left missing" in capsys.readouterr().out
    told = pd.read_csv(tmp_path / "a.csv", dtype={"catchment": str})
    is_left = told["riverflow [mm/d]"].isna()
    assert told.loc[is_left, "catchment"].tolist() == ["01022500"] * 5 and set(
        told.loc[is_left, "riverflow_origin"]
    ) == {4}
    assert told.loc[is_left, ADDED].isna().all(axis=None) and (told["riverflow_origin"] == 1).sum() == 3
    assert json.loads((tmp_path / "a.csv.provenance.json").read_text())["values"]["riverflow"]["missing"] == 5
    words[-1] = "0"
    assert main([*map(str, words), "--model", "gb-rivers"]) == 2
    assert "longest gap of 0 days: give 1 day or more" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [".nc", ".zarr"])
def test_a_dataset_is_the_same_from_python_and_the_command_line(
    model: Model, record: xr.Dataset, tmp_path: Path, kind: str
) -> None:
    question = record.rename(catchment="station").transpose("station", "time")
    question["riverflow"] = (question["riverflow"] * question["catchment-area"] / 86.4).assign_attrs(units="m3/s")
    if kind == ".nc":
        question.to_netcdf(tmp_path / "q.nc", engine="h5netcdf")
    else:
        question = question.assign_coords(station=question["station"].astype(object))
        question.to_zarr(tmp_path / "q.zarr", zarr_format=3, consolidated=False)
    run("predict", tmp_path / f"q{kind}", "--out", tmp_path / f"a{kind}")
    python = model.predict(question)
    told = xr.load_dataset(tmp_path / "a.nc", engine="h5netcdf") if kind == ".nc" else open_zarr(tmp_path / "a.zarr")
    assert set(told.data_vars) == set(python.data_vars) and told["riverflow"].dims == ("station", "time")
    assert kind == ".zarr" or list(told.data_vars) == list(python.data_vars), "a Zarr group has no order"
    for name in python.data_vars:
        xr.testing.assert_equal(told[name], python[name])
        assert told[name].attrs.get("units") == python[name].attrs.get("units")
    seen = question["riverflow"].notnull()
    xr.testing.assert_equal(told["riverflow"].where(seen), question["riverflow"])


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_forecast_is_a_long_table_in_the_units_of_the_question(
    record: xr.Dataset, gauges: Path, tmp_path: Path, kind: str
) -> None:
    cubic(record).to_csv(tmp_path / "q.csv", index=False)
    options = ["--attributes", gauges, "--period", "2009-02-01", "2009-02-03", "--issue-interval", "2", "--days", "2"]
    for end in (kind, ".nc"):
        run("forecast", tmp_path / "q.csv", *options, "--out", tmp_path / f"f{end}")
    is_csv, file = kind == ".csv", tmp_path / f"f{kind}"
    table = pd.read_csv(file, dtype={"catchment": str}) if is_csv else pd.read_parquet(file)
    keys = ["issue_time", "lead", "date", "catchment"]
    assert list(table.columns[: len(keys) + 7]) == [*keys, "riverflow [m3/s]", *ADDED, "riverflow_origin"]
    assert len(table) == 2 * 2 * 3 and set(table["catchment"]) == set(NAMES) and set(table["riverflow_origin"]) == {2}
    issued, dates = (pd.to_datetime(table[name]) for name in ("issue_time", "date"))
    assert ((dates - issued).dt.days == table["lead"]).all() and issued.min() == pd.Timestamp("2009-02-01")
    dataset = xr.load_dataset(tmp_path / "f.nc", engine="h5netcdf")
    assert dataset["riverflow"].attrs["units"] == "m3/s" == dataset["riverflow_quantile"].attrs["units"]
    np.testing.assert_array_equal(table["riverflow [m3/s]"].astype(np.float32), dataset["riverflow"].values.ravel())


def test_predictions_and_forecasts_are_workbooks(
    model: Model, record: xr.Dataset, gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cubic(record).to_csv(tmp_path / "q.csv", index=False)
    run("predict", tmp_path / "q.csv", "--attributes", gauges, "--out", tmp_path / "a.xlsx")
    sheets = pd.read_excel(tmp_path / "a.xlsx", sheet_name=None)
    assert sorted(sheets) == sorted(NAMES)
    expected = model.predict(cubic(record), attributes=gauges).set_index("gauge_id").loc["01022500"].sort_values("Date")
    told = sheets["01022500"]
    for name in ("riverflow [m3/s]", "riverflow_q95"):
        column = name if "[" in name else f"{name} [m3/s]"
        np.testing.assert_allclose(told[column], expected[name].to_numpy(float), rtol=1e-6)
    assert (told["riverflow_origin"] == "filled").sum() == 5 == told["observed [m3/s]"].isna().sum()
    assert (tmp_path / "a.xlsx.provenance.json").is_file()
    options = ["--attributes", gauges, "--period", "2009-02-01", "2009-02-03", "--issue-interval", "2", "--days", "2"]
    for kind in (".xlsx", ".csv"):
        run("forecast", tmp_path / "q.csv", *options, "--out", tmp_path / f"f{kind}")
    table = pd.read_csv(tmp_path / "f.csv", dtype={"catchment": str})
    sheet = pd.read_excel(tmp_path / "f.xlsx", sheet_name="39001")
    ahead = table[table["catchment"] == "39001"].reset_index(drop=True)
    assert list(sheet.columns) == list(table.columns) and len(sheet) == 4
    np.testing.assert_allclose(sheet["riverflow [m3/s]"], ahead["riverflow [m3/s]"], rtol=1e-6)
    assert sheet["lead"].tolist() == [1, 2, 1, 2]
    many = record.isel(catchment=np.zeros(201, int)).assign_coords(catchment=np.arange(201))
    many.to_netcdf(tmp_path / "many.nc", engine="h5netcdf")
    capsys.readouterr()
    words = ["predict", tmp_path / "many.nc", "--out", tmp_path / "many.xlsx"]
    assert main([*map(str, words), "--model", "gb-rivers"]) == 2
    assert "many.xlsx: 201 rivers are more than the 200 sheets of a workbook" in capsys.readouterr().err


def test_a_wide_table_is_asked_with_its_units(model: Model, record: xr.Dataset, gauges: Path, tmp_path: Path) -> None:
    frame = record["riverflow"].astype(np.float64).to_pandas()
    frame.to_csv(tmp_path / "q.csv")
    words = ["predict", tmp_path / "q.csv", "--attributes", gauges, "--out", tmp_path / "a.csv"]
    assert main([*map(str, words), "--model", "gb-rivers"]) == 2
    run(*words, "--units", "mm/day")
    frame.attrs["units"] = "mm/day"
    python = model.predict(frame, attributes=gauges)
    told = pd.read_csv(tmp_path / "a.csv", index_col="time", parse_dates=True)
    assert list(told.columns) == list(python.columns)
    np.testing.assert_array_equal(told.astype(np.float32), python.astype(np.float32))
    zoned = frame.tz_localize("Asia/Tokyo").rename_axis("time")
    answer = model.predict(zoned, attributes=gauges)
    assert answer.index[39] == pd.Timestamp("2009-02-09", tz="Asia/Tokyo")
