"""Run by `test_cpu.py` in a process whose CPU has fewer features: predict with the shipped model, and train for two steps.

    python tests/restricted.py FOLDER

FOLDER holds `question.nc`; the answers and `found.json` are written beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from hydromae.cli import main
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from synthetic import SMALL, rivers, scaling_of

PRECISIONS = ("auto", "fp32", "bf16")


def answer(folder: Path, precision: str) -> int:
    """The exit code of a prediction."""
    paths = ["predict", str(folder / "question.nc"), "--out", str(folder / f"{precision}.nc")]
    return main([*paths, "--model", "gb-rivers", "--precision", precision])


def trained(folder: Path, precision: str) -> tuple[list[str], list[dict]]:
    """What a short run of a small `rivers` says, and its journal."""
    config = SMALL.having(train={"precision": precision, "epochs": 1, "steps_per_epoch": 2, "warmup_epochs": 0})
    said, record, out = list[str](), rivers(), folder / f"run-{precision}"
    train(config, record, scaling_of(record, config), out, device="cpu", log=said.append)
    return said, MetricsLog(out / "journal.jsonl").read()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "codes": [answer(place, precision) for precision in PRECISIONS],
        "training": {precision: trained(place, precision) for precision in ("auto", "bf16")},
    }
    (place / "found.json").write_text(json.dumps(found), encoding="utf-8")
