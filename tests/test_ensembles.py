"""Forecasts from ensembles of weather: mixtures by hand, files, and the command with the shipped model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.datasets.ensemble import read_ensembles
from hydromae.errors import InputError
from hydromae.inference.distribution import exceedance, mixture_quantiles
from hydromae.inference.ensembles import FINE_LEVELS, forecast_ensembles
from hydromae.inference.predictor import Model, load
from hydromae.virtual import virtual_catchments
from synthetic import repeated

LEVELS = np.array(FINE_LEVELS)
WEATHER = ["precipitation", "temperature", "potential_evaporation"]
DAYS = 3


def test_a_mixture_is_the_mean_of_distribution_functions_not_of_quantiles() -> None:
    low, high = 1.0 + 0.1 * LEVELS, 5.0 + 0.1 * LEVELS
    mixed = mixture_quantiles(LEVELS, np.stack([low, high], axis=1)[..., None])[:, 0]
    median = np.flatnonzero(LEVELS == 0.25)[0], np.flatnonzero(LEVELS == 0.75)[0]
    assert mixed[list(median)] == pytest.approx([1.05, 5.05], abs=1e-3), "half of the mass is at each member"
    assert abs(mixed[0] - (low[0] + high[0]) / 2) > 1
    draw = np.random.default_rng(0)
    members = np.sort(draw.gamma(2.0, 3.0, (len(LEVELS), 7, 4)), axis=0)
    mixed = mixture_quantiles(LEVELS, members)
    for level, flow in zip(LEVELS, mixed, strict=True):
        above = exceedance(LEVELS, members, np.broadcast_to(flow, members.shape[1:])).mean(axis=0)
        assert above == pytest.approx(1 - level, abs=1e-6)


def test_a_mixture_of_equal_members_is_the_member() -> None:
    member = np.sort(np.random.default_rng(1).gamma(2.0, 3.0, (len(LEVELS), 1, 5)), axis=0)
    assert np.array_equal(mixture_quantiles(LEVELS, np.repeat(member, 3, axis=1)), member[:, 0])
    assert np.isnan(mixture_quantiles(LEVELS, np.concatenate([member, member * np.nan], axis=1))).all()


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return repeated(virtual_catchments(730, 3, "2009-01-01", 3, missing=False).load(), 4200)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("gb-rivers")


@pytest.fixture(scope="module")
def table(whole: xr.Dataset) -> pd.DataFrame:
    """Two members: the weather that came, and a wet one; in another order of rivers, and issued on the day before."""
    future = whole[WEATHER].isel(time=slice(-DAYS, None), catchment=slice(None, None, -1))
    rows = []
    for member, rain in (("a", 1.0), ("b", 5.0)):
        wet = future.assign(precipitation=future["precipitation"] * rain + (rain > 1) * 40)
        rows.append(wet.to_dataframe()[WEATHER].reset_index().assign(member=member))
    return pd.concat(rows).rename(columns={"time": "date"}).assign(issue_time=str(whole["time"].values[-DAYS - 1])[:10])


@pytest.fixture
def ensemble(table: pd.DataFrame, tmp_path: Path) -> Path:
    table.to_csv(tmp_path / "ensemble.csv", index=False)
    return tmp_path / "ensemble.csv"


@pytest.fixture
def record(whole: xr.Dataset, tmp_path: Path) -> Path:
    """The record until the issue day, in m³/s."""
    flow = (whole["riverflow"] * whole["catchment-area"] / 86.4).assign_attrs(units="m3 s-1")
    past = whole.assign(riverflow=flow.transpose("time", "catchment")).isel(time=slice(None, -DAYS))
    past.to_netcdf(tmp_path / "record.nc", engine="h5netcdf")
    return tmp_path / "record.nc"


def test_tables_and_datasets_hold_the_same(table: pd.DataFrame, ensemble: Path, tmp_path: Path) -> None:
    (one,) = read_ensembles(ensemble)
    assert one.names == ("a", "b") and one.days == DAYS and one.issue == pd.Timestamp(table["issue_time"].iloc[0])
    days = pd.to_datetime(table["date"])
    leads = table.assign(lead=(days - pd.to_datetime(table["issue_time"])).dt.days).drop(columns="date")
    leads.to_csv(tmp_path / "leads.csv", index=False)
    dataset = table.assign(date=days).set_index(["member", "date", "catchment"])[WEATHER].to_xarray()
    dataset = dataset.rename(date="time").assign_coords(issue_time=pd.Timestamp(table["issue_time"].iloc[0]))
    for name, units in zip(WEATHER, ("mm day-1", "degC", "mm day-1"), strict=True):
        dataset[name].attrs["units"] = units
    dataset.to_netcdf(tmp_path / "time.nc", engine="h5netcdf")
    by_lead = dataset.assign_coords(time=np.arange(1, DAYS + 1)).rename(time="lead").expand_dims("issue_time")
    by_lead["lead"].attrs["units"] = "days"
    by_lead.to_netcdf(tmp_path / "lead.nc", engine="h5netcdf")
    for name in ("leads.csv", "time.nc", "lead.nc"):
        (other,) = read_ensembles(tmp_path / name)
        assert (other.issue, other.names) == (one.issue, one.names)
        for mine, theirs in zip(one.members, other.members, strict=True):
            xr.testing.assert_allclose(mine[WEATHER].sortby("catchment"), theirs[WEATHER].sortby("catchment"))


def test_an_ensemble_that_is_not_understood_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    first = table["date"].min()
    wrong = {
        "no column member": table.drop(columns="member"),
        "has no days": table.drop(columns="date"),
        "has other days": table[(table["member"] == "a") | (table["date"] != first)],
        "has other catchments": table[(table["member"] == "a") | (table["catchment"] != table["catchment"].iloc[0])],
        "days without temperature": table.assign(temperature=table["temperature"].where(table["date"] != first)),
        "it must begin on that day": table.assign(issue_time="2009-01-01"),
        "is not a date": table.assign(issue_time="soon"),
        "row 2 has no member": table.assign(member=table["member"].where(np.arange(len(table)) > 0)),
        "precipitation": table.rename(columns={"precipitation": "precip"}),
        "twice": pd.concat([table, table]),
    }
    for words, frame in wrong.items():
        frame.to_csv(tmp_path / "wrong.csv", index=False)
        with pytest.raises(InputError, match=words):
            read_ensembles(tmp_path / "wrong.csv")
    table.drop(columns="date").assign(lead=1.5).to_csv(tmp_path / "wrong.csv", index=False)
    with pytest.raises(InputError, match="not a whole number of days"):
        read_ensembles(tmp_path / "wrong.csv")
    with pytest.raises(InputError, match=r"read from \.csv or \.nc"):
        read_ensembles(tmp_path / "wrong.txt")


def test_one_member_with_the_weather_of_the_record_is_the_forecast(
    model: Model, whole: xr.Dataset, table: pd.DataFrame, tmp_path: Path
) -> None:
    table[table["member"] == "a"].to_csv(tmp_path / "one.csv", index=False)
    ensembles = read_ensembles(tmp_path / "one.csv")
    issues = pd.DatetimeIndex([ensembles[0].issue])
    plain = model.forecast_record(whole, DAYS, issues, "observed", FINE_LEVELS)
    past = whole.isel(time=slice(None, -DAYS))
    mixed = forecast_ensembles(model, past, ensembles, DAYS)
    xr.testing.assert_allclose(plain["riverflow_quantile"], mixed["riverflow_quantile"], rtol=1e-4)
    assert mixed.attrs["members"] == 1 and mixed["valid_time"].equals(plain["valid_time"])
    with pytest.raises(InputError, match="has 3 days; give --days 3"):
        forecast_ensembles(model, past, ensembles, DAYS + 1)
    with pytest.raises(InputError, match="has no weather of catchment"):
        forecast_ensembles(model, past.assign_coords(catchment=[1, 2, 3]), ensembles, DAYS)
    with pytest.raises(InputError, match="fetch newer flow first"):
        forecast_ensembles(model, past.isel(time=slice(None, -40)), ensembles, DAYS)


def test_the_command_writes_a_mixture_and_its_warnings(
    record: Path, ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.csv").write_text(
        f"catchment,brook [m3/s]\n{xr.open_dataset(record)['catchment'].values[0]},0.001\n"
    )
    command = ["forecast", str(record), "--model", "gb-rivers", "--days", str(DAYS), "--out", str(tmp_path / "f.nc")]
    command += ["--ensemble", str(ensemble)]
    files = ["--warnings", str(tmp_path / "w.csv"), "--warnings-page", str(tmp_path / "w.html")]
    assert main([*command, *files, "--threshold-file", str(tmp_path / "own.csv")]) == 0
    answer, table = xr.open_dataset(tmp_path / "f.nc"), pd.read_csv(tmp_path / "w.csv")
    assert (
        answer.attrs["members"] == 2 and answer["quantile"].size == 5 and answer["riverflow"].attrs["units"] == "m3 s-1"
    )
    assert set(table["threshold"]) == {"2-year", "10-year", "q95", "brook"} and table["probability"].between(0, 1).all()
    assert len(table) == (3 * 3 + 1) * DAYS and table[table["threshold"] == "brook"]["warning"].all()
    page = (tmp_path / "w.html").read_text()
    assert "above brook" in page and "weather of 2 members" in page and "<script" not in page
    assert "warnings for" in capsys.readouterr().out
    mistakes = {
        "omit --period": [*command, "--period", "2010", "2010"],
        "add one of them": [*command, "--thresholds", "2-year"],
        "name the file so": [*command, "--warnings", "w.txt"],
        "is not known": [*command, *files, "--thresholds", "often"],
        "is the input": [*command, "--warnings", str(ensemble)],
    }
    for words, wrong in mistakes.items():
        assert main(wrong) == 2
        assert words in capsys.readouterr().err


def test_warnings_without_an_ensemble_use_flow_before_the_issue_day(record: Path, tmp_path: Path) -> None:
    """A flood after the issue day must not raise the threshold."""
    whole = xr.open_dataset(record).load()
    issue = str(whole["time"].values[-400])[:10]
    tables, names = [], ["--thresholds", "q50", "q10"]
    for factor in (1.0, 3.0):
        late = whole["riverflow"] * xr.where(whole["time"] > np.datetime64(issue), factor, 1.0)
        late = late.transpose("time", "catchment").assign_attrs(units="m3 s-1")
        whole.assign(riverflow=late).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
        command = [
            "forecast",
            str(tmp_path / "r.nc"),
            "--model",
            "gb-rivers",
            "--days",
            "1",
            "--out",
            str(tmp_path / "f.nc"),
        ]
        assert main([*command, "--period", issue, issue, "--warnings", str(tmp_path / "w.csv"), *names]) == 0
        tables.append(pd.read_csv(tmp_path / "w.csv"))
    pd.testing.assert_frame_equal(*tables)
