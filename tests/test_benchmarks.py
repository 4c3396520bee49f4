"""Benchmarks run, and write the figures that they name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from flops import CPU_ATTENTION, lstm_flops

STEP = Path(__file__).parents[1] / "benchmarks" / "step.py"
FIELDS = {
    "preset", "quick", "store", "batch", "precision", "threads", "torch", "days", "patches", "catchments", "tokens",
    "parameters",
    "forward_s", "backward_s", "optimizer_s", "step_s", "flops_counted", "flops_lstm", "flops", "flops_formula",
    "flops_per_s",
    "gemm_fp32_flops_per_s", "gemm_bf16_flops_per_s", "share_of_gemm", "start_bytes", "data_bytes", "peak_bytes",
    "peak_above_start_bytes",
}  # fmt: skip


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_step_measures_a_preset_and_writes_it(tmp_path: Path, preset: str) -> None:
    out = tmp_path / "step.json"
    command = [sys.executable, str(STEP), "--quick", "--preset", preset, "--steps", "1", "--out", str(out)]
    source = str(STEP.parents[1] / "src")
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "FLOPs of forward + backward, G" in said and preset in said
    (found,) = json.loads(out.read_text())
    assert set(found) == FIELDS
    assert found["step_s"] == pytest.approx(found["forward_s"] + found["backward_s"] + found["optimizer_s"])
    assert found["flops"] == found["flops_counted"] + found["flops_lstm"]
    assert found["flops_formula"] == pytest.approx(found["flops"], rel=0.01)
    assert (found["flops_lstm"] > 0) == (preset == "rivers")
    assert found["peak_bytes"] - found["start_bytes"] == found["peak_above_start_bytes"] > 0
    assert found["patches"] == (94 if preset == "base" else 0)
    # 94 patches in three maps, 24 catchments in groups of 8 in two series, on 6 days; 2 windows of 6 catchments
    assert found["tokens"] == ((3 * 94 + 2 * 3) * 6 if preset == "base" else 2 * 6 * 6)


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
