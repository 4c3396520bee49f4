"""Benchmarks run, and write the figures that they name."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clock import Spent
from flops import CPU_ATTENTION, lstm_flops
from growth import exponent
from rows import ROWS, RUNS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STEP, GROWTH, SOURCE = BENCHMARKS / "step.py", BENCHMARKS / "growth.py", BENCHMARKS.parent / "src"
FIELDS = {
    "preset", "quick", "store", "batch", "precision", "threads", "torch", "days", "patches", "catchments", "tokens",
    "parameters",
    "forward_s", "backward_s", "optimizer_s", "step_s", "step_cpu_s",
    "flops", "flops_again", "flops_lstm", "flops_counted", "flops_per_s",
    "gemm_rows", "gemm_fp32_flops_per_s", "gemm_bf16_flops_per_s", "gemm_fp32_flops_per_cpu_s", "gemm_bf16_flops_per_cpu_s",
    "share_of_gemm", "share_of_gemm_cpu", "share_of_gemm_counted", "share_of_gemm_counted_cpu",
    "start_bytes", "data_bytes", "peak_bytes", "peak_above_start_bytes",
}  # fmt: skip


def told(tmp_path: Path, script: Path, *words: str) -> tuple[str, list[dict]]:
    """What a benchmark prints, and the rows that it writes."""
    out = tmp_path / "figures.json"
    command = [sys.executable, str(script), "--quick", *words, "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return said, json.loads(out.read_text())


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_step_measures_a_preset_and_writes_it(tmp_path: Path, preset: str) -> None:
    said, (found,) = told(tmp_path, STEP, "--preset", preset, "--steps", "1")
    assert "FLOPs of forward + backward, G" in said and preset in said
    assert set(found) == FIELDS
    assert found["step_s"] == pytest.approx(found["forward_s"] + found["backward_s"] + found["optimizer_s"])
    # lines of `base` are even, and the formula exact; priors of rivers have a few products of their own
    assert 1 - 1e-9 < found["flops_counted"] / (found["flops"] + found["flops_again"]) < 1.06
    # one step, and one rate around it: both shares are FLOPs over seconds over that rate
    rate, spent = found[f"gemm_{found['precision']}_flops_per_s"], found["forward_s"] + found["backward_s"]
    assert found["share_of_gemm"] == pytest.approx(found["flops"] / spent / rate)
    assert found["flops_per_s"] == pytest.approx(found["flops"] / spent)
    for clock in ("", "_cpu"):
        counted = found["share_of_gemm_counted" + clock] / found["share_of_gemm" + clock]
        assert counted == pytest.approx(found["flops_counted"] / found["flops"])
    assert (found["flops_lstm"] > 0) == (preset == "rivers")
    assert found["peak_bytes"] - found["start_bytes"] == found["peak_above_start_bytes"] > 0
    assert found["patches"] == (94 if preset == "base" else 0)
    # the longest stream: 94 patches of which 38 are hidden on each of 6 days, or all 6 catchments of 2 windows
    assert found["gemm_rows"] == ((94 - 38) * 6 if preset == "base" else 2 * 6 * 6)
    # 94 patches in three maps, 24 catchments in groups of 8 in two series, on 6 days; 2 windows of 6 catchments
    assert found["tokens"] == ((3 * 94 + 2 * 3) * 6 if preset == "base" else 2 * 6 * 6)


def test_two_presets_take_steps_in_turn(tmp_path: Path) -> None:
    said, (found,) = told(tmp_path, STEP, "--ratio", "--steps", "1")
    assert "fast / base" in said
    assert found["ratio"] == pytest.approx(found["fast_s"] / found["base_s"])
    assert found["ratio_cpu"] == pytest.approx(found["fast_cpu_s"] / found["base_cpu_s"])
    assert 0.1 < found["ratio_flops"] < 0.5  # half as many mixers, and attention along lines


def test_growth_is_measured_fitted_and_drawn(tmp_path: Path) -> None:
    said, rows = told(tmp_path, GROWTH, "--times", "1", "--plot", str(tmp_path / "growth.svg"))
    assert "exponent" in said and "</svg>" in (tmp_path / "growth.svg").read_text()
    assert [row["preset"] for row in rows] == ["fast", "rivers", "national"]
    for row in rows:
        patches = {"patches"} if row["preset"] == "national" else set()
        assert set(row["growth"]) == {"days", "sites", "batch"} | patches
        for one in row["growth"].values():
            small, large = one["at"]
            slope = math.log(large["cpu_s"] / small["cpu_s"]) / math.log(large["size"] / small["size"])
            assert one["exponent"] == pytest.approx(slope)
    days, _, batch = (row["at"] for row in rows[0]["growth"].values())
    assert days[1]["tokens"] == 2 * days[0]["tokens"] and batch[1]["tokens"] == 2 * batch[0]["tokens"]
    tokens = [at["tokens"] for at in rows[2]["growth"]["patches"]["at"]]
    assert tokens == [6 * (6 + 3 * 4), 6 * (6 + 3 * 8)], "a stream of rivers and three of maps"
    river = rows[1]["growth"]["sites"]["at"]
    assert [at["tokens"] for at in river] == [2 * 6 * 6, 2 * 6 * 12]


def test_an_exponent_is_the_slope_of_logarithms_of_processor_time() -> None:
    assert exponent({n: Spent(1.0, 3.0 * n**1.5) for n in (10.0, 20.0, 80.0)}) == pytest.approx(1.5)


def test_every_row_names_runs_and_figures_that_there_are() -> None:
    """A row without its figure says why; one with it is judged."""
    assert {name for row in ROWS for name in row.runs} == set(RUNS)
    growth = [
        {"preset": p, "growth": {w: {"exponent": 1.0} for w in ("days", "sites", "batch")}} for p in ("fast", "rivers")
    ]
    found = {"ratio": [{"ratio": 0.4}], "growth": growth}
    judged = {row.work: row.judged(found, {}, {}) for row in ROWS if set(row.runs) <= set(found)}
    assert len(judged) == 7
    assert [one["reached"] for one in judged.values()] == [False] + [True] * 6


def test_flops_that_the_counter_does_not_see() -> None:
    """An LSTM of width 3 and 5 units costs 4 x 5 x (3 + 5) products a token and direction; attention two products a pair."""
    lstm = nn.LSTM(3, 5, bidirectional=True)
    assert lstm_flops(lstm, 7) == 3 * 7 * 2 * 2 * 4 * 5 * (3 + 5)
    with FlopCounterMode(display=False) as plain:
        lstm(torch.zeros(7, 1, 3))[0].sum().backward()
    assert plain.get_total_flops() == 0  # else they would count twice
    query = torch.zeros(1, 2, 6, 8, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        total = nn.functional.scaled_dot_product_attention(query, query, query).sum()
        assert counter.get_total_flops() == 2 * 2 * (2 * 6 * 6 * 8)
        total.backward()
    assert counter.get_total_flops() == (2 + 5) * 2 * (2 * 6 * 6 * 8)  # scores once more, and four products
