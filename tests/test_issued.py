"""Issued forecasts are kept as they were, and scored when the truth arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.evaluate.verification import RETURN_PERIODS, verify
from hydromae.inference.ensembles import FINE_LEVELS
from hydromae.inference.issued import IssuedForecasts, issue_new
from hydromae.virtual import virtual_catchments

LEVELS = np.array(FINE_LEVELS)
RIVERS = [11, 22]
DAYS = pd.date_range("1990-10-01", "2013-09-30")
ISSUES = pd.date_range("2012-10-05", periods=40, freq="7D")


def record() -> xr.Dataset:
    """Flow with a yearly cycle and storms; 22 has no flow in the last months, and a gap before."""
    draw = np.random.default_rng(0)
    season = 2 + np.cos(2 * np.pi * DAYS.day_of_year.to_numpy() / 365.25)[:, None]
    flow = season * draw.gamma(0.7, 1.5, (len(DAYS), 2)) + 0.1
    flow[-90:, 1] = flow[-200:-190, 1] = np.nan
    dims = ("time", "catchment")
    return xr.Dataset({"riverflow": (dims, flow)}, {"time": DAYS, "catchment": RIVERS})


def forecast(issues: pd.DatetimeIndex, spread: float = 0.2, leads: int = 3, shift: float = 1.0) -> xr.Dataset:
    """Normal-like quantiles around the flow that comes; from lead 3 on they know nothing."""
    truth = record()["riverflow"].copy(data=pd.DataFrame(record()["riverflow"].values).ffill().to_numpy())
    valid = issues.to_numpy()[:, None] + np.arange(1, leads + 1) * np.timedelta64(1, "D")
    middle = shift * truth.sel(time=xr.DataArray(valid, dims=("issue_time", "lead"))).values
    middle[:, 2:] = 40.0
    shape = np.log(LEVELS / (1 - LEVELS))[:, None, None, None] * spread
    quantiles = np.maximum(middle + shape, 0.01).astype(np.float32)
    dims = ("issue_time", "lead", "catchment")
    return xr.Dataset(
        {
            "riverflow": (dims, middle.astype(np.float32), {"units": "mm day-1"}),
            "riverflow_quantile": (("quantile", *dims), quantiles, {"units": "mm day-1"}),
        },
        {
            "quantile": LEVELS,
            "issue_time": issues,
            "lead": ("lead", np.arange(1, leads + 1), {"units": "days"}),
            "catchment": RIVERS,
            "valid_time": (dims[:2], valid),
        },
    )


def parts(issues: pd.DatetimeIndex, **more: float) -> list[xr.Dataset]:
    whole = forecast(issues, **more)  # type: ignore[arg-type]
    return [whole.isel(issue_time=[index]) for index in range(len(issues))]


def test_a_day_is_issued_once_and_never_changed(tmp_path: Path) -> None:
    issued, asked = IssuedForecasts(tmp_path / "kept"), list[pd.DatetimeIndex]()

    def compute(days: pd.DatetimeIndex) -> xr.Dataset:
        asked.append(days)
        return forecast(days)

    names = np.array(RIVERS)
    first, new = issue_new(issued, ISSUES[:2], 3, names, "abc", compute)
    assert list(new) == list(ISSUES[:2]) and [file.name for file in sorted((tmp_path / "kept").iterdir())] == [
        "forecast-2012-10-05.nc",
        "forecast-2012-10-12.nc",
    ]
    before = {file: file.read_bytes() for file in (tmp_path / "kept").iterdir()}
    again, new = issue_new(issued, ISSUES[:3], 3, names, "abc", compute)
    assert list(new) == [ISSUES[2]] and [list(days) for days in asked] == [list(ISSUES[:2]), [ISSUES[2]]]
    assert all(file.read_bytes() == content for file, content in before.items())
    xr.testing.assert_allclose(again["riverflow_quantile"].isel(issue_time=slice(2)), first["riverflow_quantile"])
    assert again["lead"].values.tolist() == [1, 2, 3] and again.sizes["issue_time"] == 3
    for words, days, rivers, sha in (
        ("days of lead", 4, names, "abc"),
        ("rivers", 3, names + 1, "abc"),
        ("weights", 3, names, "x"),
    ):
        with pytest.raises(InputError, match=f"issued with other {words}"):
            issue_new(issued, ISSUES[:1], days, rivers, sha, compute)
    with pytest.raises(InputError, match="it is not replaced"):
        issued.write(forecast(ISSUES[:1]), "abc")
    issued.path(ISSUES[0]).write_bytes(issued.path(ISSUES[1]).read_bytes())
    with pytest.raises(InputError, match="issued on that day"):
        issued.read(ISSUES[0])
    with pytest.raises(InputError, match="has no issued forecasts"):
        IssuedForecasts(tmp_path).read_all()


def test_a_forecast_of_the_truth_has_skill_until_it_knows_nothing() -> None:
    scores = verify(parts(ISSUES), record())
    assert scores.skilful_lead == 2 and scores.leads["lead"].tolist() == [1, 2, 3]
    skill = scores.leads[["skill_persistence", "skill_climatology"]].to_numpy()
    assert (skill[:2] > 0.5).all() and (skill[2] < 0).all()
    assert scores.conclusion().endswith("up to day 2.")
    wrong = verify(parts(ISSUES, shift=9.0), record())
    assert wrong.skilful_lead == 0 and wrong.conclusion().endswith(
        "not better than persistence and climatology on day 1."
    )


def test_what_has_no_truth_is_counted_and_not_scored() -> None:
    scores = verify(parts(ISSUES), record())
    flow, valid = record()["riverflow"], forecast(ISSUES)["valid_time"].values
    known = flow.reindex(time=np.unique(valid)).sel(time=valid.ravel()).notnull().values
    assert scores.counts["scored"] == known.sum() == scores.leads["pairs"].sum()
    assert scores.counts["waiting"] > 0 and scores.counts["missing"] > 0 and scores.counts["issue_days"] == len(ISSUES)
    assert sum(scores.counts[name] for name in ("scored", "waiting", "missing")) == known.size
    late = [one.assign_coords(valid_time=one["valid_time"]) for one in parts(ISSUES[:1])]
    with pytest.raises(InputError, match="no forecast has an observation yet"):
        verify(late, record().sel(time=slice(None, ISSUES[0])))
    with pytest.raises(InputError, match="has no river"):
        verify(late, record().assign_coords(catchment=[1, 2]))


def test_scores_by_hand() -> None:
    """CRPS against persistence of one river and lead; events and reliability of a threshold."""
    one = record().sel(catchment=[11])
    issued = [part.sel(catchment=[11]) for part in parts(ISSUES)]
    scores = verify(issued, one)
    flow = one["riverflow"].to_series().droplevel("catchment")
    ahead, now = flow[ISSUES + pd.Timedelta(days=1)].to_numpy(), flow[ISSUES].to_numpy()
    assert scores.leads["crps_persistence"][0] == pytest.approx(np.abs(ahead - now).mean())
    past = flow[: ISSUES[0]]
    maxima = past.groupby((past.index.year * 12 + past.index.month + 2) // 12).max()[lambda s: s.index < 2013]
    rows = scores.events.set_index(["threshold", "lead"])
    assert list(dict.fromkeys(scores.events["threshold"])) == list(RETURN_PERIODS)
    assert rows.loc[("2-year", 1), "events"] == (ahead > maxima.median()).sum()
    assert rows.loc[("2-year", 1), "cases"] == len(ISSUES)
    assert rows.loc[("50-year", 1), "cases"] in (0, len(ISSUES))
    third = rows.loc[("2-year", 3)]
    assert third["false_alarms"] + third["hits"] == len(ISSUES) and third["far"] > 0.9, "40 mm/day is always a warning"
    reliability = scores.reliability[scores.reliability["threshold"] == "2-year"]
    assert reliability["cases_in_class"].sum() == 3 * len(ISSUES)
    assert reliability["mean_probability"].between(0, 1).all() and reliability["level"].iloc[-1] == 0.8
    assert scores.intervals["share_below"].is_monotonic_increasing
    table = scores.table()
    assert set(table.columns) == {"score", "threshold", "lead", "level", "value"} and "csi" in set(table["score"])


def test_climatology_needs_years() -> None:
    short = record().sel(time=slice("2011-10-01", None))
    scores = verify(parts(ISSUES), short)
    assert scores.leads["skill_climatology"].isna().all() and scores.leads["skill_persistence"].notna().all()
    assert scores.skilful_lead == 0 and "not known: climatology could not be scored" in scores.conclusion()


def test_two_mornings_and_a_verification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = virtual_catchments(800, 5, "2009-01-01", 3, missing=False).load()
    command = [
        "forecast",
        str(tmp_path / "r.nc"),
        "--model",
        "gb-rivers",
        "--days",
        "2",
        "--out",
        str(tmp_path / "f.nc"),
    ]
    command += ["--keep", str(tmp_path / "kept"), "--future-weather", "none"]
    for morning, last in enumerate((-5, -4)):
        whole.isel(time=slice(None, last)).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
        for words in ("1 issue days are new", "0 issue days are new, 1 were issued before"):
            assert main(command) == 0
            assert words in " ".join(capsys.readouterr().out.split())
        assert len(list((tmp_path / "kept").glob("*.nc"))) == morning + 1
    answer = xr.open_dataset(tmp_path / "f.nc")
    assert answer["quantile"].size == 5 and answer.sizes["issue_time"] == 1
    whole.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    files = ["--out", str(tmp_path / "v.csv"), "--page", str(tmp_path / "v.html")]
    assert main(["verify", str(tmp_path / "kept"), str(tmp_path / "r.nc"), *files]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 issue days; 12 daily flows scored, 0 wait for an observation" in said
    page = (tmp_path / "v.html").read_text()
    assert "Skill by lead" in page and "<script" not in page and "<svg" in page and "No threshold" in page
    assert pd.read_csv(tmp_path / "v.csv")["score"].nunique() > 10
    mistakes = {
        "has no issued forecasts": ["verify", str(tmp_path), str(tmp_path / "r.nc")],
        "name the file so": ["verify", str(tmp_path / "kept"), str(tmp_path / "r.nc"), "--out", "v.txt"],
        "issued with other days of lead": [
            *command,
            "--days",
            "3",
            "--period",
            *[str(whole["time"].values[-5])[:10]] * 2,
        ],
    }
    for words, wrong in mistakes.items():
        assert main(wrong) == 2
        assert words in capsys.readouterr().err
