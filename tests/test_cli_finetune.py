"""The command finetune, as a user types it: what it asks, how it is scaled, what it says, and one line for every mistake."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from hydromae.cli import main
from hydromae.cli.finetune import Finetune
from hydromae.config import Config
from hydromae.config.presets import BASE, NATIONAL
from hydromae.inference.predictor import load
from hydromae.io.conventions import catchment_positions
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import write_model
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import open_store, write_store
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from synthetic import GRID, SMALL, TRAINING, country, rivers, scaling_of

HELD = SMALL.having(data={"held_out": ("1002", "1005")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a pretrained run of it, and another store: drier, with other catchments but one that was held out."""
    folder = tmp_path_factory.mktemp("finetune")
    record = rivers()
    other = rivers(seed=4).assign_coords(catchment=[1002, 7, 8, 9, 10, 11])
    other["riverflow"] = other["riverflow"] * 0.2
    for name, each in (("rivers", record), ("other", other)):
        write_store(
            each, folder / f"{name}.zarr", scaling=scaling_of(each, SMALL), sources=[], training_period=TRAINING
        )
    scaling = Scaling.fit(record.drop_sel(catchment=[1002, 1005]), TRAINING)
    train(HELD, record, scaling, folder / "run", device="cpu")
    return folder


def finetune(folder: Path, out: Path, *options: str, store: str = "rivers") -> int:
    given = ["--model", str(folder / "run"), "--out", str(out), "--device", "cpu"]
    return main(["finetune", str(folder / f"{store}.zarr"), *given, *options])


def config_of(run: Path) -> Config:
    return Config.from_json((run / "config.json").read_text())


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("gap", "gap"),
        ("ungauged", "ungauged"),
        ("simulate", "simulate"),
        ("forecast", "forecast"),
        ("forecast-blind", "forecast-blind"),
    ],
)
def test_a_question_is_a_mask_on_river_flow(folder, tmp_path, question, kind):
    assert finetune(folder, tmp_path / "run", "--question", question, "--stop-after", "1") == 0
    config = config_of(tmp_path / "run")
    assert (config.masks.kind, config.masks.target_modalities) == (kind, ("riverflow",))
    assert config.optimizer.lr == pytest.approx(SMALL.optimizer.lr / 10)
    assert config == HELD.having(masks={"kind": kind}, optimizer={"lr": config.optimizer.lr})


def test_a_mixture_of_masks_is_drawn_from_instead_of_the_runs(folder, tmp_path):
    assert (
        finetune(folder, tmp_path / "run", "--stop-after", "1", "--mixture", "outage", "0.6", "forecast-blind", "0.4")
        == 0
    )
    config = config_of(tmp_path / "run")
    assert config.masks.drawn == {"outage", "forecast-blind"}
    assert config == HELD.having(
        masks={"kind": "mixture", "mixture": (("outage", 0.6), ("forecast-blind", 0.4))},
        optimizer={"lr": config.optimizer.lr},
    )


def test_a_model_of_random_masks_on_all_modalities_is_asked_for_flow(tmp_path):
    """Else `forecast` would also hide the weather after the issue day."""
    before = BASE.having(masks={"kind": "random", "target_modalities": ()})
    for given in ({"question": "forecast"}, {"mixture": {"forecast": 0.5, "gap": 0.5}}):
        config = Finetune(tmp_path / "s.zarr", tmp_path / "run", tmp_path / "new", **given)._config(
            before, np.arange(5)
        )
        assert config.masks.target_modalities == ("riverflow",) and "forecast" in config.masks.drawn
    kept = Finetune(tmp_path / "s.zarr", tmp_path / "run", tmp_path / "new")._config(before, np.arange(5))
    assert kept.masks == before.masks


def test_options_reach_the_configuration_and_what_is_not_given_is_the_runs(folder, tmp_path):
    given = ["--lr", "3e-3", "--epochs", "1", "--steps-per-epoch", "2", "--batch-size", "3"]
    given += ["--sites", "3", "--accumulation", "2", "--seed", "5", "--attribute-dropout", "0.25"]
    periods = ["--training-period", "2001-02-01", "2001-08-31", "--validation-period", "2001-09-01", "2001-12-31"]
    assert finetune(folder, tmp_path / "run", *given, *periods) == 0
    assert config_of(tmp_path / "run") == HELD.having(
        data={
            "training_period": ("2001-02-01", "2001-08-31"),
            "validation_period": ("2001-09-01", "2001-12-31"),
            "catchments_per_window": 3,
            "attribute_dropout": 0.25,
        },
        optimizer={"lr": 3e-3},
        train={"epochs": 1, "warmup_epochs": 0.25, "steps_per_epoch": 2, "batch_size": 3, "accumulation": 2, "seed": 5},
    )


@pytest.mark.parametrize("weights", ["frozen", "lora", "lstm"])
def test_what_learns_is_said_and_lora_keeps_the_learning_rate(folder, tmp_path, capsys, weights):
    capsys.readouterr()
    rank = ["--rank", "2"] if weights == "lora" else []
    options = ["--trainable", weights, *rank, "--stop-after", "2", "--json"]
    assert finetune(folder, tmp_path / "run", *options) == 0
    result = json.loads(capsys.readouterr().out)
    total = sum(value.numel() for name, value in load_file(folder / "run" / "best" / "model.safetensors").items())
    assert result["pretrained"] == total - 6  # the priors' constants are no parameters
    assert 0 < result["learned"] < result["pretrained"]
    held = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert (held["trainable"], held["rank"]) == (weights, 2 if weights == "lora" else None)
    assert (held["learned"], held["pretrained"]) == (result["learned"], result["pretrained"])
    assert config_of(tmp_path / "run").optimizer.lr == SMALL.optimizer.lr


def test_the_scaling_is_the_pretrained_runs_and_is_never_fitted_to_the_new_store(folder, tmp_path, capsys, monkeypatch):
    """The other store has a fifth of the flow; a catchment that the run held out stays held out in it."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("a scaling was fitted")

    monkeypatch.setattr(Scaling, "fit", refuse)
    capsys.readouterr()
    assert finetune(folder, tmp_path / "run", store="other") == 0
    assert f"scaling of {folder / 'run'}; nothing is fitted" in capsys.readouterr().out.replace("\n", " ")
    for part in ("best", "last"):
        own, before = (
            Scaling.from_json((run / part / "scaling.json").read_text()) for run in (tmp_path / "run", folder / "run")
        )
        assert own == before, "means and spreads; ranges are widened by the rivers that it learns from"
        assert all(own.ranges[n][0] <= low and high <= own.ranges[n][1] for n, (low, high) in before.ranges.items())
    assert config_of(tmp_path / "run").data.held_out == ("1002",)


def test_the_rest_is_taught_beside_memories_that_were_kept_from_its_rivers(folder, tmp_path):
    """Two halves, begun anew without the rivers that the pretrained run held out; then the rest, with no river left out."""
    halves = [tmp_path / "first", tmp_path / "second"]
    for part, half in enumerate(halves, 1):
        options = ["--trainable", "lstm", "--reinit-lstm", "--fold", str(part), "2", "--stop-after", "2"]
        assert finetune(folder, half, *options) == 0
    names = {str(name) for name in rivers()["catchment"].values}
    kept = [set(config_of(half).data.held_out) for half in halves]
    assert kept[0] & kept[1] == set(HELD.data.held_out) and kept[0] | kept[1] == names and len(kept[0]) == len(kept[1])
    runs = [str(half) for half in halves]
    assert (
        finetune(folder, tmp_path / "rest", "--trainable", "all-but-lstm", "--stop-after", "2", "--oof-runs", *runs)
        == 0
    )
    held = json.loads((tmp_path / "rest" / "finetune.json").read_text())
    assert held["oof_runs"] == runs and config_of(tmp_path / "rest").data.held_out == HELD.data.held_out
    first, last = (
        load_file(run / "model.safetensors") for run in (folder / "run" / "best", tmp_path / "rest" / "last")
    )
    assert set(first) == set(last)
    moved = {name.split(".")[0] for name in first if not (first[name] == last[name]).all()}
    assert moved and not moved & {"rainfall_runoff", "positional"}


def test_mistakes_of_out_of_fold_runs_are_one_line_each(folder, tmp_path, capsys):
    memories = ["--trainable", "lstm", "--reinit-lstm", "--stop-after", "1"]
    assert finetune(folder, tmp_path / "first", *memories, "--fold", "1", "2") == 0
    rest, first = ["--trainable", "all-but-lstm", "--oof-runs"], str(tmp_path / "first")
    mistakes = {
        "all were trained on": [*rest, first],
        "is not a run of LSTMs": [*rest, str(tmp_path / "full")],
        "add --trainable lstm": ["--reinit-lstm"],
        "add --trainable all-but-lstm": ["--oof-runs", first],
        "--fold 3 2": [*memories, "--fold", "3", "2"],
        "--fold 1 1": [*memories, "--fold", "1", "1"],
    }
    assert finetune(folder, tmp_path / "full", "--stop-after", "1") == 0
    for named, options in mistakes.items():
        capsys.readouterr()
        assert finetune(folder, tmp_path / "run", *options) == 2, named
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and named in lines[0], (named, lines)
        assert not (tmp_path / "run" / "config.json").exists()


def test_it_starts_from_the_pretrained_model(folder, tmp_path):
    """Without learning, the first validation is that of the pretrained model under the same masks."""
    for name in ("one", "two"):
        assert finetune(folder, tmp_path / name, "--lr", "0", "--epochs", "1", "--trainable", "lora") == 0
    best, before = (load_file(run / "best" / "model.safetensors") for run in (tmp_path / "one", folder / "run"))
    assert all((best[name] == value).all() for name, value in before.items())
    one, two = (MetricsLog(tmp_path / name / "journal.jsonl").read()[-1]["validation_loss"] for name in ("one", "two"))
    lowest = min(
        line["validation_loss"]
        for line in MetricsLog(folder / "run" / "journal.jsonl").read()
        if line["validation_loss"]
    )
    assert one == two == lowest


def test_a_longer_run_goes_on_with_the_warm_up_it_began_with(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path / "run", "--epochs", "1", "--steps-per-epoch", "2") == 0
    capsys.readouterr()
    assert finetune(folder, tmp_path / "run", "--epochs", "2", "--steps-per-epoch", "2", "--resume") == 0
    told = capsys.readouterr().out
    assert "train.epochs was 1, is 2 from step 3" in told and "the cosine that ends at step 4" in told
    assert config_of(tmp_path / "run").train.warmup_epochs == 0.25
    assert [line["step"] for line in MetricsLog(tmp_path / "run" / "journal.jsonl").read()] == [1, 2, 3, 4]


def test_stop_and_resume_end_as_an_undisturbed_run(folder, tmp_path):
    options = ["--trainable", "lora", "--rank", "2", "--question", "gap", "--epochs", "1"]
    assert finetune(folder, tmp_path / "straight", *options) == 0
    assert finetune(folder, tmp_path / "broken", *options, "--stop-after", "3") == 0
    assert finetune(folder, tmp_path / "broken", *options, "--resume") == 0
    one, two = ((tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("straight", "broken"))
    assert one == two


def test_mistakes_are_one_line_each(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path / "run", "--trainable", "lora", "--rank", "2", "--stop-after", "1") == 0
    lora = ["--trainable", "lora", "--resume"]
    mistakes = {
        "trainable was lora, is frozen": ["--trainable", "frozen", "--resume"],
        "rank was 2, is 3": [*lora, "--rank", "3"],
        "masks.kind is mixture in the run, gap given": [*lora, "--rank", "2", "--question", "gap"],
        "contains a run": ["--trainable", "lora", "--rank", "2"],
        "rank 0": [*lora, "--rank", "0"],
        "--rank 4: is an option of adapters": ["--rank", "4"],
        "train.batch_size has the value 0": ["--out", str(tmp_path / "zero"), "--batch-size", "0"],
        "is the input": [*lora, "--rank", "2", "--model", str(tmp_path / "run")],
        "nowhere": ["--model", "nowhere"],
        "--question gap and --mixture": ["--question", "gap", "--mixture", "gap", "1"],
        "no weight above 0": ["--mixture", "gap", "0"],
        "1950": ["--out", str(tmp_path / "new"), "--training-period", "1950-01-01", "1950-12-31"],
    }
    for named, options in mistakes.items():
        capsys.readouterr()
        assert finetune(folder, tmp_path / "run", *options) == 2, named
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and named in lines[0], (named, lines)
    assert not (tmp_path / "new").exists() and not (tmp_path / "zero").exists()
    assert finetune(folder, tmp_path / "new", "--stop-after", "1") == 0


def test_of_several_processes_the_first_writes_what_was_started_from(folder, tmp_path, monkeypatch):
    for rank, written in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        assert finetune(folder, tmp_path / rank, "--stop-after", "1") == 0
        assert (tmp_path / rank / "finetune.json").is_file() is written


def test_a_run_that_was_not_finetuned_is_not_gone_on_with(folder, tmp_path, capsys):
    train(HELD, rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu", stop_after=1)
    capsys.readouterr()
    assert finetune(folder, tmp_path / "run", "--resume") == 2
    assert "started with other options (sha256 was None" in capsys.readouterr().err


NEAR = ["--epochs", "1", "--steps-per-epoch", "2", "--batch-size", "1"]


def test_near_a_river_the_heads_are_trained_on_it_and_its_neighbours(folder, tmp_path, capsys):
    store = open_store(folder / "rivers.zarr")
    names = store["catchment"].values.astype(str).tolist()
    east, north = catchment_positions(store)
    river = names.index("1002")
    order = np.argsort(np.hypot(east - east[river], north - north[river]), kind="stable")[1:]
    nearest = [names[index] for index in order[:3]]
    out = tmp_path / "run"
    assert finetune(folder, out, "--near", "1002", "--neighbours", "3", *NEAR) == 0
    told = " ".join(capsys.readouterr().out.split())
    trained = [name for name in nearest if name != "1005"]
    assert f"trained on 1002 and {len(trained)} of its neighbours within" in told and f"({', '.join(trained)})" in told
    assert ("1 that the model held out are not used" in told) == ("1005" in nearest) and "frozen: " in told
    config = config_of(out)
    assert config.data.held_out == (("1005",) if "1005" in nearest else ()), (
        "the river was held out, and is trained on now"
    )
    assert config.optimizer.lr == SMALL.optimizer.lr
    before, after = (load_file(run / "last" / "model.safetensors") for run in (folder / "run", out))
    changed = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed and changed <= {"heads", "decoders", "queries", "mix"}
    start = json.loads((out / "finetune.json").read_text())
    assert (start["near"], start["neighbours"], start["trainable"]) == ("1002", 3, "frozen")


def test_near_has_defaults_of_minutes_that_options_override(folder, tmp_path):
    assert finetune(folder, tmp_path / "run", "--near", "1001", "--stop-after", "1") == 0
    train = config_of(tmp_path / "run").train
    assert (train.epochs, train.steps_per_epoch, train.batch_size) == (3, 100, 2)
    assert finetune(folder, tmp_path / "full", "--near", "1001", "--stop-after", "1", "--trainable", "full", *NEAR) == 0
    assert config_of(tmp_path / "full").train.steps_per_epoch == 2
    assert config_of(tmp_path / "full").optimizer.lr == pytest.approx(SMALL.optimizer.lr / 10)
    assert finetune(folder, tmp_path / "run", "--near", "1003", "--resume", "--stop-after", "2") == 2


def test_mistakes_near_a_river_are_one_line_each(folder, tmp_path, capsys):
    for options, line in {
        ("--near", "1012"): r"--near 1012: is not in the record; near names are 1\d+",
        ("--near", "Thames"): "--near Thames: is not in the record; choose one of 1001, 1002",
        ("--near", "1001", "--neighbours", "0"): "--neighbours 0: give 1 or more",
        ("--neighbours", "3"): "--neighbours 3: is an option of --near; add it, or leave this out",
        (
            "--near",
            "1001",
            "--training-period",
            "1980-01-01",
            "1980-12-31",
        ): "--near 1001: has no flow from 1980-01-01 to",
    }.items():
        capsys.readouterr()
        assert finetune(folder, tmp_path / "run", *options) == 2
        assert re.search(line, capsys.readouterr().err), line
    assert not (tmp_path / "run").exists()


def test_a_model_with_maps_is_finetuned_on_rivers_without_maps(folder, tmp_path, capsys):
    """Maps may be absent; maps of another grid, or the training of maps without maps, are one line."""
    other = country(6, 400)
    parts = {"streams": NATIONAL.model.streams, "fusion_layers": 1, "map_layers": 1, "fusion_gates": True}
    config = SMALL.having(model=parts | {"map_estimators": True}, data={"patches_per_window": 4})
    scaling = Scaling.fit(other, TRAINING)
    known = Scaling.fit(rivers(), TRAINING)
    scaling = replace(scaling, variables=known.variables | scaling.variables)
    model = tmp_path / "model"
    model.mkdir()
    write_model(model, HydroMAE(config, pixels=GRID.patch**2).state_dict(), config, scaling, GRID)
    common = ["--model", str(model), "--device", "cpu", "--stop-after", "1"]
    assert main(["finetune", str(folder / "rivers.zarr"), *common, "--out", str(tmp_path / "one")]) == 0
    assert load(tmp_path / "one", "cpu").grid == GRID
    moved = replace(GRID, northing=GRID.northing + 1000.0)
    write_store(other, tmp_path / "moved.zarr", scaling=scaling, sources=[], training_period=TRAINING, grid=moved)
    for store, named, options in (
        (folder / "rivers.zarr", "has no maps", ["--trainable", "maps"]),
        (tmp_path / "moved.zarr", "not on the grid of", []),
    ):
        capsys.readouterr()
        assert main(["finetune", str(store), *common, "--out", str(tmp_path / "two"), *options]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and named in lines[0], lines
    assert not (tmp_path / "two").exists()
