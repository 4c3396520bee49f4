"""The benchmark of skill: what networks learn from, and which questions they are asked."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import skill
import skill_csv
import skill_picture
from hydromae.evaluate import pretrained_lstm, protocol
from hydromae.evaluate.benchmark import run_protocol
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import write_store
from synthetic import rivers


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    small = {"hidden_size": 4, "sequence_length": 200, "warm_up": 20, "batch_size": 8}
    changed = {name: replace(recipe, **small) for name, recipe in pretrained_lstm.LSTM_CONFIGS.items()}
    monkeypatch.setattr(pretrained_lstm, "LSTM_CONFIGS", changed)
    monkeypatch.setattr(pretrained_lstm, "CORRECTION_DAYS", ("2010-01-01", "2010-12-31"))
    long = rivers(20, 900)
    return long.assign_coords(time=pd.date_range("2009-06-01", periods=900, unit="ns"))


def test_networks_learn_from_training_days_of_rivers_that_are_not_held_out(record: xr.Dataset) -> None:
    learnt = pretrained_lstm.training_subset(record)
    assert str(learnt["time"].values[-1])[:10] == "2010-12-31"
    held = set(protocol.held_out(record["catchment"].values).tolist())
    assert (
        len(held) == 2 and set(learnt["catchment"].values.tolist()) == set(record["catchment"].values.tolist()) - held
    )


def test_what_is_trained_is_kept_and_asked_its_own_questions(record: xr.Dataset, tmp_path: Path) -> None:
    console = Console(file=StringIO())
    names = ["lstm-0", "lstm-1", "lstm-ahead-1", "lstm-ahead-7", "lstm-blind-3"]
    skill.train(record, tmp_path, names, 1, console)
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.safetensors")}
    assert {file.parent.name for file in written} == set(names)
    skill.train(record, tmp_path, names, 1, console)
    assert {file: file.stat().st_mtime_ns for file in written} == written, "nothing is trained twice"
    found = {
        question: [m.name for m in methods]
        for question, methods in pretrained_lstm.load_methods(record, tmp_path).items()
    }
    assert found == {
        "gap": [],
        "ungauged": ["lstm", "lstm-ensemble"],
        "ungauged-limited": ["lstm", "lstm-ensemble"],
        "simulate": ["lstm", "lstm-ensemble"],
        "forecast": ["lstm-corrected", "lstm-ahead"],
        "forecast-blind": ["lstm-blind"],
    }
    skill.train(record, tmp_path, [pretrained_lstm.LIMITED], 1, console)
    with_bare = pretrained_lstm.load_methods(record, tmp_path)
    assert [m.name for m in with_bare["ungauged-limited"]] == ["lstm-limited"]
    assert [m.name for m in with_bare["ungauged"]] == found["ungauged"]
    assert set(pretrained_lstm.load_methods(record, tmp_path, ("simulate",))) == {"simulate"}, (
        "what is not asked is not fitted"
    )


def test_shuffled_answers_are_those_of_other_rivers(record: xr.Dataset) -> None:
    class Told:
        name = "told"

        def predict(self, dataset: xr.Dataset) -> xr.Dataset:
            return dataset.assign(riverflow=xr.zeros_like(dataset["riverflow"]) + np.arange(20.0))

    shuffled = skill.Shuffled(Told())
    answer = shuffled.predict(record.transpose("time", "catchment", ...))
    said = answer["riverflow"].values[0]
    assert shuffled.name == "told-shuffled" and sorted(said) == list(range(20)) and (said != np.arange(20)).all()
    assert (answer["catchment"].values == record["catchment"].values).all()


def test_the_table_sets_a_method_beside_the_best_of_the_others() -> None:
    columns = {"nse_median": [0.9, 0.8, 0.85], "nse_p10": [0.7, 0.5, 0.6], "crps": [0.1, 0.3, float("nan")]}
    columns |= {"kge_median": [0.8, 0.7, 0.75], "nse_p25": [0.75, -0.55, 0.65]}
    columns |= {"coverage50": [0.5, 0.4, float("nan")], "coverage90": [0.9, 0.8, float("nan")]}
    columns |= {"flood_events": [20.0] * 3, "flood_csi": [0.5, 0.4, 0.3], "flood_brier": [0.01, 0.03, 0.02]}
    columns |= {"drought_events": [3.0] * 3, "drought_csi": [0.5] * 3, "drought_brier": [0.1] * 3}
    index = pd.MultiIndex.from_product([["forecast-3"], ["ours", "lstm", "donors"]], names=["question", "method"])
    found = pd.DataFrame(columns, index=index)
    assert skill_csv.written(skill_csv.beside_best(found, "ours")).splitlines()[1] == (
        'forecast-3,0.900,0.70,donors,0.850,0.60,50,90,0.100,lstm,0.300,0.925,,"not reached, above the best baseline"'
    )
    assert skill_csv.written(skill_csv.all_methods(found)).splitlines()[1:] == [
        "forecast-3,ours,0.900,0.70,0.75,0.800,0.100,50,90",
        "forecast-3,donors,0.850,0.60,0.65,0.750,,,",
        "forecast-3,lstm,0.800,0.50,-0.55,0.700,0.300,40,80",
    ]
    assert skill_csv.written(skill_csv.events(found, "ours")).splitlines()[1:] == [
        "forecast-3,flood,20,0.500,0.01000,lstm,0.400,donors,0.02000"
    ], "fewer than ten droughts are not listed"


def test_tenths_of_flow_stand_beside_the_best_of_the_others() -> None:
    dims, coords = ("question", "method", "by", "decile"), {"question": ["gap"], "method": ["ours", "lstm", "donors"]}
    values = np.ones((1, 3, 2, 10)) * np.array([0.2, 0.4, np.nan])[None, :, None, None]
    held = np.full((1, 3, 2, 10), 0.9)
    held[:, :, 0, 9], held[:, :, 1, 0] = 0.8, 0.95
    tables = {"decile_crps": values, "decile_coverage90": held, "decile_coverage50": held - 0.4}
    scores = xr.Dataset({name: (dims, value) for name, value in tables.items()})
    scores = scores.assign_coords(**coords, by=["observed", "predicted"], decile=np.arange(1, 11))
    scores["nse"] = (("question", "method", "catchment"), np.ones((1, 3, 2)))
    deciles = skill_csv.deciles(scores, "ours").astype(str)
    observed = deciles["coverage90_percent_by_observed_flow"].tolist()
    assert observed == ["90"] * 9 + ["80"]
    assert deciles["coverage90_percent_by_predicted_flow"].tolist() == ["95"] + ["90"] * 9
    assert deciles["coverage50_percent_by_predicted_flow"].tolist() == ["55"] + ["50"] * 9
    assert deciles["crps_over_best_baseline"].tolist() == ["0.5"] * 10
    for names in (["ours", "donors"], ["ours"]):
        alone = skill_csv.deciles(scores.sel({"method": names}), "ours")
        assert alone["crps_over_best_baseline"].isna().all(), "no other method gives a distribution"


def test_pictures_and_tables_have_the_rows_that_are_named_and_groups_of_rivers(
    record: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: ("catchment", 1e3 * np.arange(20.0)) for name in ("easting", "northing")}
    record, period = record.assign_coords(places), ("2011-01-01", "2011-06-30")
    run_protocol(None, record, period, ("gap", "simulate"), 30, True, {}).save(tmp_path / "scores")
    days = ("2009-06-01", "2010-12-31")
    write_store(record, tmp_path / "r.zarr", scaling=Scaling.fit(record, days), sources=[], training_period=days)
    given = ["--store", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "p.png"), "--questions", "gap"]
    words = ["skill_picture.py", str(tmp_path / "scores"), "--method", "log-interpolation", *given]
    monkeypatch.setattr("sys.argv", words)
    skill_picture.main()
    told = capsys.readouterr().out
    assert "gap" in told and "simulate" not in told and "bfihost" in told
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    chosen = ["--method", "log-interpolation", "--prefix", "test", "--out", str(tmp_path)]
    monkeypatch.setattr(
        "sys.argv", ["skill_csv.py", str(tmp_path / "scores"), *chosen, "--store", str(tmp_path / "r.zarr")]
    )
    skill_csv.main()
    names = ("", "_methods", "_deciles", "_groups")
    beside, methods, deciles, groups = (pd.read_csv(tmp_path / f"test{name}.csv") for name in names)
    assert beside["task"].tolist() == ["gap"] and beside["target_nse_median"].item() == 0.96
    others = methods[(methods["task"] == "gap") & (methods["method"] != "log-interpolation")]
    assert others["nse_median"].dropna().is_monotonic_decreasing and "simulate" in set(methods["task"])
    assert beside[["best_baseline", "baseline_nse_median"]].values[0].tolist() == others.iloc[0, 1:3].tolist()
    assert set(groups["task"]) == {"gap"} and deciles["decile"].tolist() == list(range(1, 11))
    assert (tmp_path / "test_events.csv").is_file()


def test_numbers_of_a_table_have_the_decimals_of_their_column() -> None:
    row = {
        "task": "gap",
        "nse_median": 0.9,
        "nse_p10": np.nan,
        "brier": 0.004,
        "crps_over_best_baseline": 1.0,
        "up_to": 70.0,
    }
    told = skill_csv.written(pd.DataFrame([row])).splitlines()[1]
    assert told == "gap,0.900,,0.00400,1.00,70"


def test_the_outcome_of_a_target() -> None:
    row = {"nse_median": 0.9, "nse_p10": 0.7, "baseline_nse_median": 0.8}
    assert skill_csv.outcome(row, 0.89, 0.7) == "reached, above the best baseline"
    assert skill_csv.outcome(row, 0.9, 0.71) == "median reached, 10th percentile not, above the best baseline"
    assert skill_csv.outcome(row, 0.9, np.nan) == "reached, above the best baseline"
    assert skill_csv.outcome(row | {"baseline_nse_median": 0.95}, 0.91, 0.1) == "not reached, below the best baseline"
    assert skill_csv.outcome(row | {"baseline_nse_median": np.nan}, 0.91, 0.1) == "not reached"


def test_runs_with_the_same_last_folder_keep_apart() -> None:
    assert skill.names_of(["gb-rivers", "a/best", "b/best"]) == ["gb-rivers", "a/best", "b/best"]
    assert skill.names_of(["gb-rivers", "a/best", "b/last"]) == ["gb-rivers", "best", "last"]
