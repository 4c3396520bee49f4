"""The command sweep, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hydromae.cli import main
from hydromae.config import Config
from hydromae.store.zarr_store import write_store
from synthetic import SMALL, TRAINING, VALIDATION, rivers, scaling_of

pytest.importorskip("optuna")
OPTIONS = [
    *("--preset", "tiny", "--data.training-period", *TRAINING, "--data.validation-period", *VALIDATION),
    *(
        "--data.sequence-length",
        "40",
        "--data.warm-up-days",
        "5",
        "--data.catchments-per-window",
        "4",
        "--model.d-model",
        "16",
    ),
    *("--model.decoder-dim", "16", "--model.heads", "2", "--train.epochs", "1", "--train.steps-per-epoch", "2"),
    *("--train.validation-windows", "2", "--device", "cpu", "--data.held-out", "1003"),
]


def test_a_sweep_writes_its_study_its_best_and_a_picture_and_goes_on(tmp_path: Path, capsys) -> None:
    record, out = rivers(), tmp_path / "sweep"
    store = tmp_path / "rivers.zarr"
    write_store(record, store, scaling=scaling_of(record, SMALL), sources=[], training_period=TRAINING)
    command = ["sweep", str(store), "--out", str(out), *OPTIONS, "--search.lr", "1e-3", "1e-2"]
    command += ["--search.heads", "1", "4", "--search.task-weights", "fixed"]
    capsys.readouterr()
    assert main([*command, "--trials", "2"]) == 0
    said = capsys.readouterr().out
    assert "trial 1 of 2: score" in said and "best.json" in said and "series_layers" in said
    assert main([*command, "--trials", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 2]
    assert {name for trial in result["trials"] for name in trial["values"]} == {"lr", "series_layers", "heads"}
    assert all(1e-3 <= t["values"]["lr"] <= 1e-2 and t["values"]["heads"] in (1, 4) for t in result["trials"])
    best = Config.from_json((out / "best.json").read_text())
    assert best.optimizer.lr == result["best"]["values"]["lr"] and best.data.held_out == ("1003",)
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--trials", "3", "--search.lr", "1e-3", "1e-1"]) == 2
    assert "differs from the sweep given" in capsys.readouterr().err


def test_a_sweep_of_which_nothing_can_train_says_why(tmp_path: Path, capsys) -> None:
    record, store = rivers(), tmp_path / "rivers.zarr"
    write_store(record, store, scaling=scaling_of(record, SMALL), sources=[], training_period=TRAINING)
    command = ["sweep", str(store), "--out", str(tmp_path / "sweep"), *OPTIONS, "--trials", "1"]
    capsys.readouterr()
    assert main([*command, "--data.validation-period", "1990-01-01", "1990-12-31"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no trial has a score" in error and "1990" in error
    assert main([*command[:-1], "0", "--out", str(tmp_path / "none")]) == 2
    assert "none was requested" in capsys.readouterr().err
