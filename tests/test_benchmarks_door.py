"""The benchmark of the door runs, writes the figures that it names, and fits and sorts as it says."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DOOR = Path(__file__).parents[1] / "benchmarks" / "door.py"
FIELDS = {
    "model",
    "quick",
    "store",
    "threads",
    "torch",
    "days",
    "rivers",
    "limits",
    "forward",
    "growth",
    "start",
    "fill",
}


@pytest.fixture(scope="module")
def names() -> dict:
    sys.path.insert(0, str(DOOR.parent))
    try:
        return runpy.run_path(str(DOOR))
    finally:
        sys.path.remove(str(DOOR.parent))


def test_door_measures_and_writes_what_it_names(tmp_path: Path) -> None:
    out = tmp_path / "door.json"
    done = subprocess.run([sys.executable, str(DOOR), "--quick", "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found) == FIELDS and found["fill"] is None
    assert (found["days"], found["rivers"], found["quick"]) == (40, 30, True)
    tokens = 40 * 30
    for precision, one in found["forward"].items():
        gemm = found["limits"][f"gemm_{precision}_flops_per_s"]
        assert one["share_of_gemm"] == pytest.approx(one["flops"] / one["s"] / gemm)
        # 4 gates, a product and a sum each: two layers, two directions of 48 units over 96; memories of 128 and 64 over 64
        units = 2 * 2 * 48 * (96 + 48) + 128 * (64 + 128) + 64 * (64 + 64)
        assert one["flops_lstm"] == tokens * 2 * 4 * units
        assert one["flops"] > 1.5 * one["flops_lstm"]
        assert one["cpu_s_by_kind"]["LSTM"] > 0 and one["cpu_s_by_kind"]["products"] > 0
    assert found["forward"]["fp32"]["flops"] == found["forward"]["bf16"]["flops"]
    assert all(one["s"] > 0 and one["cpu_s"] > 0 for one in found["start"].values())
    assert set(found["growth"]) == {"days", "windows", "rivers"} and "the door" in done.stdout


def test_an_exponent_is_the_slope_of_logarithms(names: dict) -> None:
    assert names["exponent"]({n: {"cpu_s": 3.0 * n**1.5} for n in (10, 20, 80)}) == pytest.approx(1.5)


def test_processor_time_goes_to_the_kind_of_operation_that_took_it(names: dict) -> None:
    left = torch.randn(400, 400)
    seconds = names["by_kind"](lambda: [left @ left for _ in range(20)])
    assert set(seconds) == {*names["KINDS"], "sums and activations"}
    assert seconds["products"] > 0.9 * sum(seconds.values())
    assert names["by_kind"](lambda: left.softmax(dim=-1))["attention"] > 0


def test_questions_hide_a_share_of_flow_and_no_weather(names: dict) -> None:
    asked = names["question"](50, 20)
    assert float(asked["riverflow"].isnull().mean()) == pytest.approx(0.3, abs=0.05)
    assert bool(asked["precipitation"].notnull().all()) and dict(asked.sizes) == {"time": 50, "catchment": 20}
