"""Every CPU answers and trains: the shipped model in a process restricted to AVX2, where torch has no LSTM in bf16.

On a CPU that has AVX2 alone the restriction changes nothing, and the tests are the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import hydromae
from hydromae.inference.scenarios import fill_gaps, gap_pattern
from hydromae.virtual import virtual_catchments

RESTRICTED = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""Read by oneDNN and torch before their first tensor."""
SAME = {"rtol": 1e-4, "atol": 1e-4}
"""Of fp32 on two CPUs: [-], [mm/day]."""
BF16 = {"rtol": 0.05, "atol": 0.01}
"""Of a day's flow in bf16 and in fp32: [-], [mm/day]."""


@pytest.fixture(scope="module")
def question() -> xr.Dataset:
    rivers = virtual_catchments(120, 5, "2001-01-01", 6, missing=False)
    return fill_gaps(rivers, gap_pattern(rivers["time"], rivers["catchment"], 2, 30, np.arange(6)))


@pytest.fixture(scope="module")
def exact(question: xr.Dataset) -> xr.Dataset:
    """In fp32, on this machine's CPU as it is."""
    return hydromae.load("gb-rivers", "cpu", "fp32").predict(question)


@pytest.fixture(scope="module")
def folder(question: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `restricted.py` ran."""
    folder = tmp_path_factory.mktemp("restricted")
    question.to_netcdf(folder / "question.nc", engine="h5netcdf")
    words = [sys.executable, str(Path(__file__).parent / "restricted.py"), str(folder)]
    done = subprocess.run(words, env={**os.environ, **RESTRICTED}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def answer(folder: Path, precision: str) -> np.ndarray:
    with xr.open_dataset(folder / f"{precision}.nc", engine="h5netcdf") as held:
        return held["riverflow"].values


def test_the_shipped_model_answers_on_a_cpu_without_avx512(folder: Path, found: dict, exact: xr.Dataset) -> None:
    """In fp32 as every CPU does, and in bf16 within the bound, where it is forced."""
    assert found["codes"] == [0, 0, 0]
    single, half = answer(folder, "fp32"), answer(folder, "bf16")
    np.testing.assert_allclose(single, exact["riverflow"].values, **SAME)
    np.testing.assert_allclose(half, single, **BF16)
    assert not np.array_equal(half, single), "what is forced is obeyed"
    if found["capability"] == "AVX2":
        assert np.array_equal(answer(folder, "auto"), single), "auto is fp32 there"


def test_training_goes_on_in_what_the_cpu_has_and_says_so_in_one_line(found: dict) -> None:
    if found["capability"] != "AVX2":
        pytest.skip(f"the restriction has no effect on this CPU ({found['capability']})")
    for asked, used in {"auto": "fp32", "bf16": "bf16"}.items():
        said, journal = found["training"][asked]
        assert [line["precision"] for line in journal] == [used, used]
        assert all(np.isfinite(line["loss"]) for line in journal)
        assert len(said) == 1 and said[0].startswith(f"precision on cpu: {used}; ") and "AVX2" in said[0], said


def test_answers_in_bf16_are_those_of_fp32_within_the_bound(question: xr.Dataset, exact: xr.Dataset) -> None:
    """On this machine's CPU as it is."""
    model = hydromae.load("gb-rivers", "cpu", "bf16")
    half = model.predict(question)
    assert model.precision_used == "bf16"
    for name in ("riverflow", "riverflow_quantile"):
        np.testing.assert_allclose(half[name].values, exact[name].values, **BF16)
    asked = question["riverflow"].isnull().values
    off = np.abs(half["riverflow"].values - exact["riverflow"].values)[asked]
    assert 0 < off.mean() < 0.005 * exact["riverflow"].values[asked].mean()


def test_a_model_trained_in_fp32_answers_in_fp32() -> None:
    model = hydromae.load("gb-rivers", "cpu")
    old = replace(model, config=model.config.having(train={"precision": "fp32"}))
    assert old.precision_used == "fp32" and replace(old, precision="bf16").precision_used == "bf16"
