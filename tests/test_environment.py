"""What torch reads from the environment is set before it loads, and only where the user has not set it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hydromae

SOURCE = Path(__file__).parents[1] / "src"
NAMES = (
    *("THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"),
    *("RANK", "LOCAL_SIZE", "LOCAL_WORLD_SIZE"),
)


def after_import(monkeypatch: pytest.MonkeyPatch, **given: str) -> dict[str, str]:
    """What the environment holds after the package was imported where it held what is given."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    importlib.reload(hydromae)
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_threads_that_wait_spin_briefly_and_sleep_unless_the_user_says_otherwise(monkeypatch):
    own = {"THP_MEM_ALLOC_ENABLE": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
    assert after_import(monkeypatch) == own
    assert after_import(monkeypatch, GOMP_SPINCOUNT="7") == {**own, "GOMP_SPINCOUNT": "7"}
    chosen = {"THP_MEM_ALLOC_ENABLE": "0", "OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "3"}
    assert after_import(monkeypatch, **chosen) == chosen


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        ({"RANK": "1", "LOCAL_SIZE": "4"}, "2"),
        ({"RANK": "1", "LOCAL_WORLD_SIZE": "16"}, "1"),
        ({"RANK": "1", "LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "5"}, "5"),
        ({"RANK": "0", "LOCAL_SIZE": "1"}, None),
        ({"LOCAL_SIZE": "4"}, None),  # for DeepSpeed's launcher, not by it
        ({"RANK": "0"}, None),
    ],
)
def test_the_processes_of_a_launcher_share_the_cores(monkeypatch, launcher, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert after_import(monkeypatch, **launcher).get("OMP_NUM_THREADS") == threads


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP's runtime is another one")
def test_the_runtime_hears_it():
    """OpenMP says what it has read when it loads, with torch: the command line has set it before."""
    code = "import hydromae.cli, sys; assert 'torch' not in sys.modules; import torch"
    environment = {n: value for n, value in os.environ.items() if n not in NAMES} | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0 and "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr, done.stderr
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr, done.stderr
