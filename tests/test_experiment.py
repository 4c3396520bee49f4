"""What `train_mae.py` makes of its arguments and of the configuration file, without a process or a launcher."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hydromae.cli.experiment import pretrain_words
from hydromae.config.presets import SEED

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "configs" / "mae_config.py"
ONE = ROOT / "configs" / "mae_config_exp1.py"
STORE = "data/national.zarr"


def expected(store: str, out: str, file: Path, *rest: str) -> list[str]:
    return ["pretrain", store, "--out", out, "--config", str(file), *rest]


def test_without_words_the_default_file_is_trained():
    assert pretrain_words([], DEFAULT) == expected(STORE, "output/multimodal_mae", DEFAULT)


@pytest.mark.parametrize("given", [["--config", str(ONE)], [f"--config={ONE}"]])
def test_config_names_another_file_with_its_store_and_output(given):
    """A launcher's `--local_rank` is left out; options of training are handed on in their order."""
    assert pretrain_words(given, DEFAULT) == expected(STORE, "output/exp1", ONE)
    rest = ["--train.batch-size", "8", "--device", "cpu"]
    for rank in ("--local_rank=1", "--local-rank=1"):
        assert pretrain_words([rank, *given, *rest], DEFAULT) == expected(STORE, "output/exp1", ONE, *rest)


def test_two_experiments_of_one_file_have_outputs_of_their_own():
    for out in ("one", "two"):
        assert pretrain_words(["--out", out, "--store", "s.zarr"], DEFAULT) == expected("s.zarr", out, DEFAULT)


def test_experiment_1_hides_more_and_the_same_in_every_modality_of_a_kind():
    masks = runpy.run_path(str(ONE))["config"].masks
    assert (masks.kind, masks.map_ratio, masks.series_ratio) == ("unified", 0.6, 0.6)
    assert SEED.masks.kind == "random" and SEED.masks.map_ratio == SEED.masks.series_ratio == 0.4
