"""The reference specification line by line: a row of docs/seed.md names a test that exists; its numbers are the defaults."""

from __future__ import annotations

import ast
import functools
import re
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hydromae.config import Config
from hydromae.presets import BASE, SEED

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
ROWS = [
    line
    for line in (ROOT / "docs" / "seed.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| the specification says", "| the original", "|---"))
]


@functools.cache
def names_in(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_the_table_is_read() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_a_row_names_a_test_that_exists(row: str) -> None:
    last = row.rstrip(" |").rsplit(" | ", 1)[-1]
    named = NAMED.findall(last)
    assert named, "a row without a test is open"
    for file, test in named:
        assert test in names_in(ROOT / "tests" / file), f"{file} has no {test}"


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
