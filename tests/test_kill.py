"""Killed at random moments, also while it writes a checkpoint, a run ends as one that nothing disturbed.

    HYDROMAE_KILLS=100 python -m pytest tests/test_kill.py -s

kills a hundred times instead of twenty, and says what the kills hit.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from hydromae.config import Config
from hydromae.train.trainer import train
from processes import LIMIT, begin, free_port, killed_at_the_end, together
from synthetic import SMALL, rivers, scaling_of
from test_distributed import same, well

KILLS = int(os.environ.get("HYDROMAE_KILLS", "20"))
RIVERS = rivers()


def config_of(kills: int) -> Config:
    """Ten updates for every kill, a checkpoint after each, the best model written again and again."""
    quick = {"epochs": 1, "steps_per_epoch": 10 * kills, "checkpoint_every": 0.1 / kills, "validate_every": 0.5 / kills}
    return SMALL.having(train={**quick, "keep_last": 2, "validation_windows": 2})


def attempt(out: Path, config: Config) -> None:
    train(config, RIVERS, scaling_of(RIVERS, config), out, device="cpu", engine="torch", resume=True, timeout=LIMIT)


def written(out: Path) -> list[Path]:
    """The checkpoints that are there, looked at without touching them."""
    return sorted((out / "checkpoints").glob("step-*[0-9]"))


def kill(out: Path, config: Config, size: int, after: float, chance: random.Random) -> bool:
    """Start a run in `size` processes and kill one of them in its course; whether it was still at work."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": size}
    environment = [{**meeting, "RANK": rank, "LOCAL_RANK": rank} for rank in range(size)] if size > 1 else [{}]
    words = [out.parent / f"words-{rank}.txt" for rank in range(size)]
    before = written(out)
    with killed_at_the_end() as started:
        for file, given in zip(words, environment, strict=True):
            started.append(begin(lambda: attempt(out, config), file, **given))
        until = time.monotonic() + LIMIT
        while written(out) == before and started[0].is_alive() and time.monotonic() < until:
            time.sleep(0.01)  # every attempt gets on by a checkpoint at least
        time.sleep(after)
        victim = chance.choice(started)
        at_work = victim.is_alive()
        victim.kill()
        for process in started:
            process.join(LIMIT)
            assert not process.is_alive()
    codes = sorted(process.exitcode or 0 for process in started)
    assert not at_work or codes in ([-9], [-9, 2]), (codes, [file.read_text() for file in words if file.exists()])
    return at_work


@pytest.mark.parametrize(("size", "kills"), [(1, KILLS), (2, KILLS // 4)], ids=["one process", "one of two processes"])
def test_a_run_that_is_killed_ends_as_one_that_was_not(tmp_path, size, kills):
    config, chance = config_of(kills), random.Random(size)
    well(together(size, lambda: attempt(tmp_path / "straight", config), tmp_path / "words") if size > 1 else [])
    if size == 1:
        attempt(tmp_path / "straight", config)
    out, hits, halves = tmp_path / "killed", 0, 0
    while hits < kills:
        assert kill(out, config, size, chance.uniform(0, 0.3), chance), (
            "the run ended before it was killed often enough"
        )
        hits += 1
        halves += bool([*out.rglob("*.partial"), *out.rglob("*.old")])
    if size > 1:
        well(together(size, lambda: attempt(out, config), tmp_path / "words"))
    else:
        attempt(out, config)
    same(tmp_path / "straight", out)
    assert not [*out.rglob("*.partial"), *out.rglob("*.old")]
    assert halves or kills < 10, "no kill came while something was written"
    print(f"{hits} kills, {halves} of them while a checkpoint or a model was being written")  # noqa: T201
