"""A store is read once, by one process of a machine; what is damaged in it is found before training, and ends all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from zarr.storage import LocalStore

from hydromae.cli import main
from hydromae.config import Config
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import open_store, scaling_of, write_store
from hydromae.train.trainer import train
from processes import together
from synthetic import SMALL, TRAINING, rivers

pytestmark = pytest.mark.usefixtures("built_extension")
ONE_STEP = SMALL.having(train={"steps_per_epoch": 1, "epochs": 1})
SERIES = ("precipitation", "temperature", "potential_evaporation", "riverflow")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    record = rivers(days=400)
    write_store(
        record,
        tmp_path / "rivers.zarr",
        scaling=Scaling.fit(record, TRAINING),
        sources=[{"file": "invented", "sha256": "0" * 64, "units": {}}],
        training_period=TRAINING,
    )
    return tmp_path / "rivers.zarr"


def pretrain(store: Path, out: Path, config: Config = ONE_STEP) -> list[str]:
    out.parent.mkdir(exist_ok=True)
    file = out.parent / f"{out.name}.json"
    file.write_text(config.to_json())
    return ["pretrain", str(store), "--out", str(out), "--config", str(file), "--device", "cpu", "--json"]


def damaged(store: Path) -> Path:
    """One bit of a chunk of temperature is turned."""
    file = next(file for file in sorted((store / "temperature" / "c").rglob("*")) if file.is_file())
    held = bytearray(file.read_bytes())
    held[40] ^= 4
    file.write_bytes(bytes(held))
    return store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file of values of time was read."""
    counted: Counter[str] = Counter()
    get = LocalStore.get

    async def counting(self, key, prototype, byte_range=None):
        if key.split("/")[0] in SERIES and "/c/" in key:
            counted[key] += 1
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(LocalStore, "get", counting)
    return counted


def test_pretrain_reads_every_value_once(store: Path, tmp_path: Path, reads: Counter[str]) -> None:
    assert main(pretrain(store, tmp_path / "run")) == 0
    assert reads == {f"{name}/c/0/0": 1 for name in SERIES}


def test_predict_reads_every_value_once(store: Path, tmp_path: Path, reads: Counter[str]) -> None:
    assert main(pretrain(store, tmp_path / "run")) == 0
    reads.clear()
    answer = tmp_path / "answer.nc"
    assert main(["predict", str(store), "--model", str(tmp_path / "run"), "--out", str(answer), "--device", "cpu"]) == 0
    assert reads == {f"{name}/c/0/0": 1 for name in SERIES}


@pytest.mark.parametrize("held_out", [(), ("1002",)], ids=["laid", "fitted first"])
def test_a_damaged_store_is_one_line_and_no_run(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], held_out: tuple[str, ...]
) -> None:
    config = ONE_STEP.having(data={"held_out": held_out})
    assert main(pretrain(damaged(store), tmp_path / "run", config)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{store}: the store cannot be read (" in line and line.endswith("prepare it again")
    assert not list((tmp_path / "run").glob("*"))


def test_a_damaged_store_ends_all_processes_with_a_line_each(store: Path, tmp_path: Path) -> None:
    damaged(store)

    def deed() -> None:
        record = open_store(store)
        train(ONE_STEP.having(train={"batch_size": 1}), record, scaling_of(record), tmp_path / "run", device="cpu")

    (first, why), (second, after) = together(2, deed, tmp_path / "words")
    assert (first, second) == (2, 2)
    assert why.startswith(f"{store}: the store cannot be read (") and why.endswith("prepare it again")
    assert after == "process 1: stops because 1 of 2 processes failed; see their lines"


def test_one_process_of_a_machine_reads_for_all(store: Path, tmp_path: Path) -> None:
    """The second process has a record whose values would end it."""
    broken = damaged(Path(shutil.copytree(store, tmp_path / "broken.zarr")))

    def deed() -> None:
        record = open_store(store if os.environ["RANK"] == "0" else broken)
        train(ONE_STEP.having(train={"batch_size": 1}), record, scaling_of(record), tmp_path / "run", device="cpu")

    assert together(2, deed, tmp_path / "words") == [(0, ""), (0, "")]
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {
        "config.json", "journal.jsonl", "checkpoints", "best", "last"
    }  # fmt: skip
