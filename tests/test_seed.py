"""The reference specification line by line: a row of docs/seed.md names a test that exists; its numbers are the defaults."""

from __future__ import annotations

import ast
import functools
import json
import re
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import mutations
from hydromae.config import Config
from hydromae.config.presets import BASE, SEED
from mutations import Mutation, Outcome, Row

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
ROWS = [
    line
    for line in (ROOT / "docs" / "seed.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| the specification says", "| the original", "|---"))
]


@functools.cache
def variables_in_file(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_the_table_is_read() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_a_row_names_a_test_that_exists(row: str) -> None:
    last = row.rstrip(" |").rsplit(" | ", 1)[-1]
    named = NAMED.findall(last)
    assert named, "a row without a test is open"
    for file, test in named:
        assert test in variables_in_file(ROOT / "tests" / file), f"{file} has no {test}"


def test_every_file_that_the_names_map_to_is_there() -> None:
    rows = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8").split("|original file|here|")[1].splitlines()[2:]
    paths = {
        path for row in rows for path in re.findall(r"`((?:src|configs)/[\w/]+\.py|train_mae\.py)`", row.split("|")[2])
    }
    assert len(paths) > 20 and all((ROOT / path).is_file() for path in paths)


def test_the_seeds_numbers_are_the_defaults_of_base() -> None:
    data, model, masks, optimizer, train = BASE.data, BASE.model, BASE.masks, BASE.optimizer, BASE.train
    assert Config() == BASE
    assert data.training_period == ("1989-01-01", "2010-12-31") and data.validation_period == (
        "2011-01-01",
        "2015-12-30",
    )
    assert (data.sequence_length, data.stride, data.vector_patch_size, data.cache_images) == (30, 20, 8, True)
    assert (model.d_model, model.heads, model.map_layers, model.series_layers, model.dropout) == (256, 8, 6, 4, 0.1)
    assert (model.decoder_dim, model.decoder_layers, model.decoder_self_attn, model.film) == (128, 4, False, True)
    assert model.modalities == ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow")
    assert (masks.kind, masks.map_ratio, masks.series_ratio) == ("random", 0.4, 0.4)
    assert (optimizer.lr, optimizer.min_lr, optimizer.weight_decay, optimizer.eps) == (1e-4, 0.0, 0.05, 1e-8)
    assert (optimizer.betas, optimizer.clip) == ((0.9, 0.95), 1.0)
    assert (train.batch_size, train.accumulation, train.epochs, train.warmup_epochs) == (16, 1, 10, 5)
    assert train.validation_windows is None
    assert (train.log_every, train.validate_every, train.checkpoint_every, train.keep_last) == (10, 1, 10, 10)
    assert (train.wandb_project, train.wandb_entity) == ("water-mae-pretraining", None)
    weights = dict(train.task_weights)
    assert [weights[name] for name in model.modalities] == [100.0, 10.0, 10.0, 1.0, 1.0]
    assert (SEED.train.precision, SEED.train.workers, SEED.train.tracker) == ("fp16", 12, "auto")


def differences(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
    return {f"{part}.{name}" for part, held in one.items() for name, value in held.items() if two[part][name] != value}


@pytest.mark.parametrize(
    ("name", "output", "changed"),
    [
        ("mae_config", "output/multimodal_mae", set()),
        ("mae_config_exp1", "output/exp1", {"masks.kind", "masks.map_ratio", "masks.series_ratio"}),
        ("mae_config_exp2", "output/exp2", {"model.use_weighted_fm", "model.use_input"}),
    ],
)
def test_the_configurations_differ_from_the_seeds_only_where_they_say(
    name: str, output: str, changed: set[str]
) -> None:
    built = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))
    assert differences(asdict(built["config"]), asdict(SEED)) == changed
    assert built["output"] == output and built["store"] == "data/national.zarr"


def test_the_column_of_the_shipped_model_states_its_configuration() -> None:
    text = (ROOT / "src" / "hydromae" / "assets" / "gb-national" / "config.json").read_text(encoding="utf-8")
    config = Config.from_json(text)
    model, train, optimizer = config.model, config.train, config.optimizer
    stated = {
        "d_model 256": f"{model.d_model} wide, {model.heads} heads, {model.map_layers} block for a map, "
        f"{model.series_layers} with FiLM for series",
        "CrossMAE decoder": f"no decoder (`decoder_layers` {model.decoder_layers})",
        "604 catchments": f"(`vector_patch_size` {config.data.vector_patch_size})",
        "image mask ratio": f"in {dict(config.masks.mixture)['random']:.0%}".replace("%", " %"),
        "unified or": f"`{config.masks.kind}`",
        "`prediction_ratio`": f"{model.prediction_ratio}",
        "num_workers": f"{train.workers}",
        "batch 16": f"{train.batch_size} windows, lr 2e-3, weight decay {optimizer.weight_decay}, AdamW {optimizer.betas}",
        "10 epochs": f"{train.epochs:g} of {train.steps_per_epoch} updates, {train.warmup_epochs} of warm-up",
        "FP16": train.precision,
        "checkpoint every": f"every {train.checkpoint_every} epochs, the last {train.keep_last} kept",
    }
    for first, value in stated.items():
        (row,) = [row for row in ROWS if row.startswith(f"| {first}")]
        assert row.split(" | ")[-2].startswith(value) or value in row.split(" | ")[-2], (row[:60], value)
    assert optimizer.lr == 2e-3 and not model.static_tokens and not model.use_weighted_fm
    assert model.fusion_gates and not model.contrastive_weight


MUTATIONS = mutations.mutations_of(mutations.read("benchmarks/mutations.toml"))


def test_every_row_has_a_mutation_and_every_mutation_a_row() -> None:
    """`benchmarks/mutations.py` reads the same rows, and runs the tests that they name."""
    rows = mutations.rows_of(mutations.read("docs/seed.md"))
    assert [f"| {row.name} | " == line[: len(row.name) + 5] for row, line in zip(rows, ROWS, strict=True)] == [
        True
    ] * len(ROWS)
    assert sum(len(row.tests) for row in rows) == sum(len(NAMED.findall(line.rsplit(" | ", 1)[-1])) for line in ROWS)
    assert {row.name for row in rows} == {name for mutation in MUTATIONS for name in mutation.rows}
    assert len({mutation.what for mutation in MUTATIONS}) == len(MUTATIONS)


def test_a_mutation_changes_one_place_and_leaves_a_program() -> None:
    for mutation in MUTATIONS:
        ast.parse(mutation.applied(mutations.read(mutation.file)))


LOSS_SCALE = "tests/train/test_loss_scale.py::test_the_first_overflow_is_forgiven_and_the_second_halves"
FALL = "self.value = max(self.value / self.factor, self.minimum)"


def outcome(tree: Path, new: str) -> Outcome:
    """What becomes of a change in the rule of the loss scale."""
    mutation = Mutation("a change", ("the loss scale",), "src/hydromae/train/loss_scale.py", FALL, new)
    (found,) = mutations.tried(tree, mutation, [Row("the loss scale", (LOSS_SCALE,))], {LOSS_SCALE: 0.1})
    assert (tree / mutation.file).read_text("utf-8") == mutations.read(mutation.file), "the copy is whole again"
    return found


def test_a_breakage_is_caught_by_a_test_that_fails_and_a_comment_by_none(tmp_path: Path) -> None:
    tree = mutations.copied(tmp_path)
    caught, survived = outcome(tree, "self.value = max(self.value, self.minimum)"), outcome(tree, f"{FALL}  # !")
    assert (caught.state, caught.caught_by) == ("caught", LOSS_SCALE), caught.why
    assert (survived.state, survived.caught_by) == ("survived", ""), survived.why
    lines = mutations.table([caught, survived]).splitlines()
    assert lines[2].startswith(f"| the loss scale | a change | `{LOSS_SCALE.removeprefix('tests/')}` | ")
    assert lines[3].startswith("| the loss scale | a change | **survived**")


def test_a_mutation_that_is_no_program_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = [{"fault": "NameError: name 'a' is not defined"}, {"test": LOSS_SCALE, "outcome": "failed"}]
    monkeypatch.setattr(mutations, "tested", lambda *given: noted)
    found = outcome(mutations.copied(tmp_path), "a")
    assert (found.state, found.caught_by, found.why) == ("error", "", noted[0]["fault"])


def test_the_command_runs_the_chosen_rows_and_fails_if_a_mutation_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, states, failing = [], ["caught"], []

    def tried(given: list[tuple[Mutation, list[Row]]], jobs: int) -> tuple[list[Outcome], list[str]]:
        chosen.append(([(mutation.what, [row.name for row in rows]) for mutation, rows in given], jobs))
        pairs = [(mutation.what, row) for mutation, rows in given for row in rows]
        return [Outcome(row.name, what, states[0], row.tests[0], 1.0) for what, row in pairs], failing

    monkeypatch.setattr(mutations, "all_tried", tried)
    arguments = [
        "--rows",
        "DECAY GROUPS",
        "--jobs",
        "2",
        "--out",
        str(tmp_path / "m.md"),
        "--json",
        str(tmp_path / "m.json"),
    ]
    assert mutations.main(arguments) == 0
    found, jobs = chosen[0]
    assert jobs == 2 and len(found) >= 2 and all(rows == ["decay groups"] for _, rows in found)
    printed = capsys.readouterr().out
    assert printed.startswith((tmp_path / "m.md").read_text("utf-8"))
    assert printed.endswith(f"1 rows, {len(found)} breakages, {len(found)} caught\n")
    assert [one["mutation"] for one in json.loads((tmp_path / "m.json").read_text("utf-8"))] == [
        what for what, _ in found
    ]
    states[0] = "survived"
    assert mutations.main(arguments) == 1
    states[0], failing = "caught", ["tests/test_a.py::test_b"]
    assert (
        mutations.main(arguments) == 1
        and "does not pass without any mutation: tests/test_a.py::test_b" in capsys.readouterr().out
    )


def test_a_mutation_whose_text_does_not_stand_in_its_file_once_is_refused() -> None:
    for old in ("no such text", "self.value"):
        with pytest.raises(ValueError, match=r"loss_scale\.py holds the old text \d+ times"):
            Mutation("a change", (), "src/hydromae/train/loss_scale.py", old, "").applied(
                mutations.read("src/hydromae/train/loss_scale.py")
            )
