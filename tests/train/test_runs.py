"""Runs side by side in one folder, and the model that a folder stands for."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from hydromae.distributed import SINGLE_PROCESS, ProcessGroup
from hydromae.errors import InputError
from hydromae.inference.predictor import load
from hydromae.train import new_runs
from hydromae.train.trainer import train
from runs import RIVERS, STILL
from runs import run as trained
from synthetic import scaling_of

TIMESTAMPED_RUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d")
SHORT = STILL.having(train={"epochs": 1, "steps_per_epoch": 1, "validation_windows": 1})


def begin(out: Path, seed: int) -> Path:
    """The folder of a new run in `out`."""
    config = SHORT.having(train={"seed": seed})
    return train(config, RIVERS, scaling_of(RIVERS, config), out, device="cpu", new_run=True).parent


def test_new_runs_are_side_by_side_and_the_newest_is_found(tmp_path, monkeypatch):
    """Two that begin in the same second have folders of their own, and the one that began later is taken."""
    monkeypatch.setattr(time, "time", lambda: 1_795_940_640.9)
    one, two = begin(tmp_path / "out", 1), begin(tmp_path / "out", 2)
    assert (one.name, two.name) == ("2026-11-29T08-24-00", "2026-11-29T08-24-01")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {one.name, two.name}
    assert load(tmp_path / "out").config.train.seed == 2
    assert load(one).config.train.seed == 1
    (tmp_path / "out" / "2026-11-29T08-24-02").mkdir()  # begun, without a model yet
    assert load(tmp_path / "out").config.train.seed == 2


def test_a_new_run_beside_the_folders_own_run_leaves_it_as_it_is_and_is_not_mistaken_for_it(tmp_path):
    out = tmp_path / "out"
    trained(out, SHORT)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    new = begin(out, 1)
    assert TIMESTAMPED_RUN.fullmatch(new.name) and new.parent == out
    assert {file: file.read_bytes() for file in before} == before
    with pytest.raises(InputError, match=f"is a run and contains 1 of --new-run; name {out / 'best'} or {new}"):
        load(out)
    assert load(new).config.train.seed == 1 and load(out / "best").config.train.seed == 0


def test_a_new_run_that_cannot_begin_leaves_no_folder(tmp_path):
    late = SHORT.having(data={"validation_period": ("2031-01-01", "2032-01-01")})
    with pytest.raises(InputError, match="period 2031-01-01"):
        train(late, RIVERS, scaling_of(RIVERS, late), tmp_path, device="cpu", new_run=True)
    assert not list(tmp_path.iterdir())


def test_a_run_is_new_or_goes_on(tmp_path):
    with pytest.raises(InputError, match=r"--new-run and --resume: .*; give one of them"):
        trained(tmp_path / "out", SHORT, new_run=True, resume=True)
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Recorded(ProcessGroup):
    """The sums over processes that the first one gave, for another one to read."""

    sums: list[torch.Tensor] = field(default_factory=list)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        if self.is_main:
            self.sums.append(super().sum(values))
            return self.sums[-1]
        return self.sums.pop(0)


def test_every_process_takes_the_folder_that_the_first_one_made(tmp_path, monkeypatch):
    first = Recorded(0, 1, torch.device("cpu"))
    made = new_runs.make_run_folder(tmp_path, first)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # its clock does not matter
    assert new_runs.make_run_folder(tmp_path, Recorded(1, 1, torch.device("cpu"), sums=first.sums)) == made
    assert list(tmp_path.iterdir()) == [made]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written \(.*\); make room there, or name another folder"):
        new_runs.make_run_folder(tmp_path / "file", SINGLE_PROCESS)
