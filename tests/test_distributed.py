"""Several processes are one: the same loss and the same weights, whoever shares the windows, under either engine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hydromae.config import Config
from hydromae.train.journal import Journal
from hydromae.train.loop import train
from processes import together
from synthetic import SMALL, rivers, scaling_of

RIVERS = rivers()
ENGINES = [
    "torch",
    pytest.param(
        "deepspeed", marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
    ),
]
LONG = SMALL.having(model={"dropout": 0.0}, train={"epochs": 13, "steps_per_epoch": 4, "validate_every": 2})
"""52 updates, in which nothing but the windows is drawn."""


def deed(out: Path, config: Config, **options: object) -> Callable[[], None]:
    def run() -> None:
        train(config, RIVERS, scaling_of(RIVERS, config), out, device="cpu", timeout=60, **options)

    return run


def sized(config: Config, batch: int) -> Config:
    return config.having(train={"batch_size": batch})


def losses(run: Path) -> torch.Tensor:
    return torch.tensor([line["loss"] for line in Journal(run / "journal.jsonl").read()], dtype=torch.float64)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "last" / "model.safetensors")


def well(told: list[tuple[int | None, str]]) -> None:
    assert [code for code, _ in told] == [0] * len(told), told


@pytest.mark.parametrize("engine", ENGINES)
def test_one_two_and_four_processes_learn_the_same(tmp_path, engine):
    for size in (1, 2, 4):
        well(together(size, deed(tmp_path / str(size), sized(LONG, 4 // size), engine=engine), tmp_path / "words"))
    one = losses(tmp_path / "1")
    assert len(one) == 52 and one[-10:].mean() < 0.7 * one[:10].mean()
    for size in (2, 4):
        torch.testing.assert_close(losses(tmp_path / str(size)), one, rtol=1e-5, atol=0)
