"""Commands on models, as a user types them: pretrain, predict, forecast, evaluate, demo, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.cli.configuration import read_config
from hydromae.errors import InputError
from hydromae.evaluate.score import Evaluation
from hydromae.inference.predictor import load
from hydromae.virtual import virtual_catchments

SMALL = [
    *(
        "--preset",
        "tiny",
        "--data.sequence-length",
        "60",
        "--data.warm-up-days",
        "10",
        "--data.catchments-per-window",
        "6",
    ),
    *("--data.training-period", "2009-01-01", "2010-12-31", "--data.validation-period", "2011-01-01", "2011-12-30"),
    *("--model.d-model", "16", "--model.decoder-dim", "16", "--model.series-layers", "1", "--model.neighbours", "6"),
    *("--train.epochs", "1", "--train.steps-per-epoch", "12", "--train.validation-windows", "2", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small virtual record, its store, and a run trained for a few steps."""
    folder = tmp_path_factory.mktemp("country")
    virtual_catchments(1095, 3, "2009-01-01", 20).to_netcdf(folder / "virtual.nc", engine="h5netcdf")
    prepare = ["prepare", str(folder / "virtual.nc"), str(folder / "rivers.zarr")]
    assert main([*prepare, "--training-period", "2009-01-01", "2010-12-31"]) == 0
    assert main(["pretrain", str(folder / "rivers.zarr"), "--out", str(folder / "run"), *SMALL]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What a failed command printed: one line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_run_holds_journal_checkpoint_and_model(country: Path) -> None:
    run = country / "run"
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 12 and lines[-1]["validation_loss"] is not None
    assert (run / "best" / "model.safetensors").is_file() and list((run / "checkpoints").iterdir())


def test_an_option_reaches_the_configuration(country: Path) -> None:
    written = json.loads((country / "run" / "config.json").read_text())
    assert (written["model"]["d_model"], written["train"]["steps_per_epoch"]) == (16, 12)


def test_stop_and_resume_end_as_an_undisturbed_run(country: Path, tmp_path: Path) -> None:
    pretrain = ["pretrain", str(country / "rivers.zarr"), "--out", str(tmp_path / "run"), *SMALL]
    assert main([*pretrain, "--stop-after", "7"]) == 0
    assert main([*pretrain, "--resume"]) == 0
    one, two = ((folder / "last" / "model.safetensors").read_bytes() for folder in (country / "run", tmp_path / "run"))
    assert one == two


def test_a_new_run_lies_inside_the_runs_folder_and_can_go_on(
    country: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain = ["pretrain", str(country / "rivers.zarr"), *SMALL, "--json", "--stop-after"]
    capsys.readouterr()
    assert main([*pretrain, "1", "--out", str(tmp_path), "--new-run"]) == 0
    made = Path(json.loads(capsys.readouterr().out)["run"])
    assert list(tmp_path.iterdir()) == [made] and (made / "last").is_dir()
    assert main([*pretrain, "2", "--out", str(made), "--resume"]) == 0
    assert sorted(folder.name for folder in (made / "checkpoints").iterdir()) == ["step-0000001", "step-0000002"]


@pytest.mark.parametrize("suffix", [".nc", ".csv", ".parquet"])
def test_predict_answers_every_nan_in_every_form(country: Path, tmp_path: Path, suffix: str) -> None:
    asked = xr.load_dataset(country / "virtual.nc", engine="h5netcdf").isel(time=slice(-100, None))
    asked["riverflow"][10:20, 2] = np.nan
    asked["riverflow"][:, 5] = np.nan
    asked.to_netcdf(tmp_path / "question.nc", engine="h5netcdf")
    out = tmp_path / f"answer{suffix}"
    assert main(["predict", str(tmp_path / "question.nc"), "--model", str(country / "run"), "--out", str(out)]) == 0
    if suffix == ".nc":
        answer = xr.load_dataset(out, engine="h5netcdf")
        known = asked["riverflow"].notnull().values
        assert np.array_equal(answer["riverflow"].values[known], asked["riverflow"].values[known])
        assert (answer["riverflow_origin"].values[:, 5] == 3).all() and answer["riverflow"].notnull().all()
    else:
        rows = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
        assert len(rows) == 100 * 20 and rows["riverflow"].notna().all()
        assert (rows["riverflow_q05"] <= rows["riverflow_q95"]).all()


def test_forecast_uses_nothing_observed_after_the_issue_day(country: Path, tmp_path: Path) -> None:
    record = xr.load_dataset(country / "virtual.nc", engine="h5netcdf").isel(time=slice(-200, None))
    later = record.copy(deep=True)
    day = str(record["time"].values[150])[:10]
    later["riverflow"][151:] = later["riverflow"][151:] * 3 + 1
    for name, data in (("a", record), ("b", later)):
        data.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        command = ["forecast", str(tmp_path / f"{name}.nc"), "--model", str(country / "run"), "--period", day, day]
        assert main([*command, "--days", "5", "--out", str(tmp_path / f"{name}-out.nc")]) == 0
    one, two = (xr.load_dataset(tmp_path / f"{n}-out.nc", engine="h5netcdf") for n in "ab")
    assert one["riverflow"].dims == ("issue_time", "lead", "catchment")
    assert one["lead"].values.tolist() == [1, 2, 3, 4, 5]
    xr.testing.assert_identical(one["riverflow"], two["riverflow"])


def test_blind_forecast_does_not_know_the_weather(country: Path, tmp_path: Path) -> None:
    out, issue = {}, ("--period", "2011-11-01", "2011-11-01")
    for weather in ("observed", "none"):
        file = tmp_path / f"{weather}.nc"
        command = ["forecast", str(country / "virtual.nc"), "--model", str(country / "run"), *issue]
        assert main([*command, "--future-weather", weather, "--days", "3", "--out", str(file)]) == 0
        out[weather] = xr.load_dataset(file, engine="h5netcdf")["riverflow"]
    assert not np.allclose(out["observed"], out["none"])


def test_evaluate_scores_model_and_baselines(country: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(country / "rivers.zarr"), "--model", str(country / "run"), "--out", str(tmp_path / "e")]
    capsys.readouterr()
    assert main([*command, "--period", "2011-06-01", "2011-12-30", "--questions", "gap", "ungauged", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = told["scores"]
    assert told["seen_in_training"] == [
        "hydromae: Training may have seen this flow, if it used rivers of these names: it held none out; its validation "
        "period (which chooses the epoch), 2011-01-01 to 2011-12-30, has 213 of the 213 days."
    ]
    assert [row["few"] for row in rows] == [
        row["days"] < 30 or row["catchments"] - row["unanswered"] < 3 for row in rows
    ]
    assert {row["question"] for row in rows} == {"gap", "ungauged"}
    assert {"hydromae", "log-interpolation"} <= {row["method"] for row in rows}
    assert all(0 <= row["coverage90"] <= 1 for row in rows if row["method"] == "hydromae")


def test_evaluate_probes_the_model_beside_its_scores(
    country: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "e"
    command = ["evaluate", str(country / "rivers.zarr"), "--model", str(country / "run"), "--out", str(out), "--probes"]
    command += ["--questions", "gap", "--no-baselines", "--json", "--period"]
    assert main([*command, "2009-02-01", "2009-12-30"]) == 2, "the record has no two years before its end"
    capsys.readouterr()
    assert main([*command, "2011-09-01", "2011-12-30"]) == 0
    rows = json.loads(capsys.readouterr().out)["probes"]
    summary = pd.read_csv(out / "probes.csv")
    assert [row["quantity"] for row in rows] == summary["quantity"].tolist()
    assert set(summary["method"]) == {"observed", "hydromae"} and summary["rivers"].max() == 20
    found = Evaluation.load(out)
    assert found.probes is not None and found.settings["command"].endswith("--no-baselines --probes")
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    assert "no rain from day 300" in (tmp_path / "page.html").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "probes.csv").write_text("mine")
    assert main([*command, "2011-09-01", "2011-12-30", "--out", str(tmp_path / "mine")]) == 2


def test_gaps_of_several_lengths_are_scored_on_request(
    country: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        str(country / "rivers.zarr"),
        "--out",
        str(tmp_path / "e"),
        "--questions",
        "simulate",
        "--json",
    ]
    capsys.readouterr()
    assert main([*command, "--period", "2011-06-01", "2011-12-30", "--gap-lengths"]) == 0
    rows = json.loads(capsys.readouterr().out)["scores"]
    assert list(dict.fromkeys(row["question"] for row in rows)) == [
        "simulate",
        *(f"gap-{n}" for n in (1, 3, 10, 30, 90)),
    ]
    interpolation = {row["question"]: row["nse_median"] for row in rows if row["method"] == "log-interpolation"}
    assert interpolation["gap-1"] > interpolation["gap-30"]
    settings = json.loads((tmp_path / "e" / "settings.json").read_text())
    assert settings["command"].endswith("--questions simulate --gap-lengths 1 3 10 30 90")
    assert main([*command, "--gap-lengths", "3", "2000"]) == 2
    assert "gap length of 2000 days: give lengths of 1 day to less than half" in said(capsys)


def test_the_protocol_names_model_years_and_issues_and_raw_files_are_prepared(country: Path, tmp_path: Path) -> None:
    file, out = country / "virtual.nc", tmp_path / "gb"
    command = ["evaluate", str(file), "--protocol", "gb", "--no-baselines", "--questions", "gap", "--out", str(out)]
    assert main(command) == 2, "the record ends before the years of the report"
    assert main([*command, "--period", "2011-06-01", "2011-12-30"]) == 0
    found = Evaluation.load(out)
    assert found.settings["period"] == ["2011-06-01", "2011-12-30"] and found.settings["issue_every_days"] == 10
    said = f"hydromae evaluate {file} --out {out} --protocol gb --period 2011-06-01 2011-12-30"
    assert found.settings["command"] == f"{said} --questions gap --no-baselines", "the command again, as it was typed"
    assert found.settings["precision"] == load("gb-rivers").precision_used, "what the answers were computed in"
    assert float(found.scores["flood_cases"].sum()) == 0, "two years of training days say nothing of a 2-year flood"


def test_the_protocol_for_france_scores_gaps_and_simulation(country: Path, tmp_path: Path) -> None:
    command = ["evaluate", str(country / "virtual.nc"), "--protocol", "france", "--out", str(tmp_path / "fr")]
    assert main(command) == 2, "the record ends before 2015"
    assert main([*command, "--no-baselines", "--period", "2011-09-01", "2011-12-30"]) == 0
    found = Evaluation.load(tmp_path / "fr")
    assert found.scores["question"].values.tolist() == ["gap", "simulate"]
    assert found.scores["method"].values.tolist() == ["hydromae"], "the LSTMs of the package are of Great Britain"


def test_mistakes_are_one_line_each(country: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, store, virtual = country / "run", country / "rivers.zarr", country / "virtual.nc"
    wrong = xr.load_dataset(virtual, engine="h5netcdf").isel(time=slice(-40, None))
    wrong["riverflow"].attrs["units"] = "furlong"
    wrong.to_netcdf(tmp_path / "unit.nc", engine="h5netcdf")
    wrong["riverflow"].attrs["units"] = "mm day-1"
    wrong.rename(catchment="basin").to_netcdf(tmp_path / "shape.nc", engine="h5netcdf")
    (tmp_path / "text.csv").write_text("day,flow\n1,2\n")
    (tmp_path / "no.nc").write_bytes(b"not netcdf")
    out = ["--out", str(tmp_path / "o.nc"), "--model", str(run)]
    mistakes = {
        "text.csv": ["predict", str(tmp_path / "text.csv"), *out],
        "no.nc": ["predict", str(tmp_path / "no.nc"), *out],
        "furlong": ["predict", str(tmp_path / "unit.nc"), *out],
        "catchment": ["predict", str(tmp_path / "shape.nc"), *out],
        "missing.nc": ["predict", str(tmp_path / "missing.nc"), *out],
        "nowhere": ["predict", str(virtual), "--model", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o.nc")],
        ".txt": ["predict", str(virtual), "--model", str(run), "--out", str(tmp_path / "o.txt")],
        "1.5": ["predict", str(virtual), *out, "--quantiles", "0.5", "1.5"],
        "1999": ["forecast", str(virtual), *out, "--period", "1999-01-01", "1999-01-01"],
        "--new-run and --resume": ["pretrain", str(store), "--out", str(run), *SMALL, "--new-run", "--resume"],
        "contains a run": ["pretrain", str(store), "--out", str(run), *SMALL],
        "1950": [
            "pretrain",
            str(store),
            "--out",
            str(tmp_path / "r"),
            "--data.training-period",
            "1950-01-01",
            "1951-01-01",
        ],
        "9999": ["pretrain", str(store), "--out", str(tmp_path / "r"), *SMALL, "--data.held-out", "9999999"],
        "--preset huge": ["pretrain", str(store), "--out", str(tmp_path / "r"), "--preset", "huge"],
        "2020": ["evaluate", str(store), "--out", str(tmp_path / "e"), "--period", "2020-01-01", "2021-01-01"],
    }
    for named, command in mistakes.items():
        capsys.readouterr()
        assert main(command) == 2, named
        assert named in said(capsys)
    assert not (tmp_path / "o.nc").exists() and not (tmp_path / "r").exists()


def test_config_files_are_read_and_refused_with_their_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from hydromae.config.presets import BASE\nconfig = BASE.having(model={'d_model': 64})\n")
    assert read_config(file).model.d_model == 64
    for text in (
        "config = 3\n",
        "1 / 0\n",
        "from hydromae.config.presets import BASE\nBASE.having(model={'heads': 7})\n",
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=r"mine\.py"):
            read_config(file)
    with pytest.raises(InputError, match=r"absent\.py"):
        read_config(tmp_path / "absent.py")


def test_demo_writes_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", str(folder), "--catchments", "20", "--epochs", "0.04", "--issue-interval", "360"]) == 0
    assert (folder / "report.html").stat().st_size > 100_000
    answer = xr.load_dataset(folder / "answer.nc", engine="h5netcdf")
    assert set(np.unique(answer["riverflow_origin"])) == {0, 1, 2, 3}
