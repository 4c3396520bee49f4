"""The benchmarks of data run, write the figures that they name, and measure what they say."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hydromae.virtual.seed_files import write_seed

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OF_A_WAY = {"seconds", "cpu_seconds", "start_bytes", "peak_bytes", "bytes_per_s"}
PREPARE = {
    *("days", "cells", "catchments", "value_bytes", "rounds", "memory_bytes_per_s"),
    *(f"{way}_{figure}" for way in ("prepare", "plain", "copy") for figure in OF_A_WAY),
    *(f"{speed}_of_{way}" for way in ("plain", "copy") for speed in ("speed", "cpu_speed")),
}
LOADING = {
    *("case", "quick", "store", "threads", "batch", "days", "windows_per_s", "windows_per_cpu_s"),
    *(
        "windows_per_s_2_workers",
        "taking_s",
        "window_bytes",
        "memory_bytes_per_s",
        "limit_windows_per_s",
        "share_of_limit",
    ),
    *("batch_s", "step_s", "step_with_loader_s", "step_ratio", "share_of_step"),
    *("record_days", "record_bytes", "record_bytes_45_years"),
}
MEMORY = {"record_rss_bytes", "record_pss_bytes", "rss_bytes", "pss_bytes"}


def told(name: str, *words: object) -> tuple[str, str]:
    """What a benchmark prints, and the JSON it writes."""
    out = words[-1]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, str(BENCHMARKS / name), "--quick", *map(str, words)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return said, Path(str(out)).read_text()


def test_prepare_measures_three_ways_and_writes_them(tmp_path: Path) -> None:
    said, written = told("prepare.py", "--out", tmp_path / "prepare.json")
    assert "speed of prepare, as a share of" in said
    found = json.loads(written)
    assert set(found) == PREPARE
    assert (found["days"], found["catchments"]) == (60, 24)
    assert found["value_bytes"] == 60 * (3 * found["cells"] + 2 * 24) * 4
    for way in ("prepare", "plain", "copy"):
        assert found[f"{way}_bytes_per_s"] == pytest.approx(found["value_bytes"] / found[f"{way}_seconds"])
        assert found[f"{way}_peak_bytes"] > found[f"{way}_start_bytes"] > 0
    assert found["memory_bytes_per_s"] > 0
    for way in ("plain", "copy"):
        assert found[f"speed_of_{way}"] == pytest.approx(found[f"{way}_seconds"] / found["prepare_seconds"])


def test_the_plain_way_writes_the_values_that_prepare_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would not be the same bytes; a day that a gauge did not measure is its sentinel there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = runpy.run_path(str(BENCHMARKS / "prepare.py"))
    raw, period = tmp_path / "raw", ("1989-01-01", "1989-01-28")
    write_seed(raw, 40, 0, "1988-12-20", 24)
    module["prepare_seed"](raw, tmp_path / "s.zarr", training_period=period)
    module["plain"](raw, tmp_path / "s.zarr", tmp_path / "plain.zarr")
    module["copy"](tmp_path / "s.zarr", tmp_path / "copy.zarr")
    store, plain, copied = (module["timed"](tmp_path / f"{name}.zarr") for name in ("s", "plain", "copy"))
    assert set(store) == set(plain) == set(copied) and len(store) == 5
    for name, array in store.items():
        assert (plain[name].chunks, plain[name].shards) == (array.chunks, array.shards)
        values, read = array[:], plain[name][:]
        seen = np.isfinite(values)
        assert seen.any() and (read[~seen] < -1).all()
        np.testing.assert_allclose(read[seen], values[seen], rtol=1e-6)
        np.testing.assert_array_equal(copied[name][:], values)


def test_loading_measures_a_case_and_writes_it(tmp_path: Path) -> None:
    said, written = told("loading.py", "--case", "fast-1", "--seconds", 1, "--out", tmp_path / "loading.json")
    assert "step with loader / without" in said and "fast-1" in said
    (found,) = json.loads(written)
    assert set(found) == LOADING | (MEMORY if sys.platform == "linux" else set())
    assert found["windows_per_s"] == pytest.approx(found["batch"] / found["batch_s"])
    assert found["step_ratio"] == pytest.approx(found["step_with_loader_s"] / found["step_s"])
    day = 94 * 100 * 3 * 2 + 24 * 2 * 4  # patches x pixels x maps of 2 bytes, catchments x variables of 4
    assert found["record_days"] == 20 and found["record_bytes"] == 20 * day
    assert found["record_bytes_45_years"] == 16436 * day
    # values and flags of 6 days, and a hidden flag for each token
    assert found["window_bytes"] == 6 * ((94 * 100 * 3 + 24 * 2) * (4 + 1) + 94 * 3 + 3 * 2)
    if sys.platform == "linux":
        pages = 4096 * 5  # of each file the last page is held whole
        assert found["record_bytes"] <= found["record_pss_bytes"] <= found["record_bytes"] + pages, "one copy"
        assert 2 * found["record_bytes"] <= found["record_rss_bytes"] <= 2 * (found["record_bytes"] + pages)
