"""A small evaluation and a journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.evaluate.score import EVENTS

QUESTIONS, METHODS, CATCHMENTS = (
    ["gap", "forecast-3"],
    ["rivers", "donors", "persistence"],
    [39001, 54001, 8006, 27009],
)


@dataclass(frozen=True)
class Fake:
    """The parts of an evaluation that a report uses."""

    scores: xr.Dataset
    examples: xr.Dataset
    settings: dict[str, object]
    probes: pd.DataFrame | None = None


@pytest.fixture
def evaluation() -> Fake:
    dims = ("question", "method", "catchment")
    nse = np.full((2, 3, 4), np.nan)
    nse[0, 0], nse[0, 1] = [0.9, 0.8, 0.7, 0.2], [0.95, np.nan, 0.5, 0.1]
    nse[1, 0], nse[1, 2] = [0.6, 0.4, 0.2, 0.0], [0.3, 0.1, -0.1, -0.3]
    days = np.broadcast_to([[[400.0, 400.0, 400.0, 10.0]], [[100.0, 60.0, 50.0, 49.0]]], nse.shape)
    share = np.where(np.arange(3)[None, :, None] == 0, 0.5, np.nan) * np.ones(nse.shape)
    values = {"nse": nse, "kge": nse, "crps": share, "coverage50": share, "coverage90": share + 0.38}
    scores = xr.Dataset({name: (dims, value) for name, value in values.items()})
    was_asked = np.isfinite(nse).any(axis=-1, keepdims=True)
    scores["target_days"] = (dims, np.where(was_asked, days, np.nan))
    scores["answered_days"] = (dims, np.where(was_asked, np.where(np.isfinite(nse), days, 0.0), np.nan))
    scores = scores.assign(dict.fromkeys(EVENTS, scores["nse"] * 0))
    scores = scores.assign_coords(
        question=QUESTIONS,
        method=METHODS,
        catchment=CATCHMENTS,
        easting=("catchment", [451000.0, 377000.0, 303000.0, 460000.0]),
        northing=("catchment", [206000.0, 276000.0, 825000.0, 450000.0]),
    )
    held = np.full((2, 3, 2, 10), np.nan)
    held[0, 0, 1] = np.linspace(0.81, 0.99, 10)
    by_tenth = {"by": ["observed", "predicted"], "decile": np.arange(1, 11)}
    scores = scores.assign(decile_coverage90=(("question", "method", "by", "decile"), held)).assign_coords(by_tenth)
    time = pd.date_range("2013-01-01", periods=60)
    truth = np.stack([np.linspace(1, 3, 60), np.where(np.arange(60) < 30, 2.0, np.nan)])
    spread = np.array([0.5, 0.8, 1.0, 1.2, 2.0])[:, None]
    examples = xr.Dataset(
        {
            "truth": (("example", "time"), truth),
            "mean": (("example", "time"), np.where(np.stack([np.arange(60) >= 50, np.arange(60) < 30]), truth, np.nan)),
            "quantile_value": (("quantile", "example", "time"), truth * spread[:, None]),
            "precipitation": (("example", "time"), np.full((2, 60), 4.0)),
        },
        coords={
            "time": time,
            "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
            "question": ("example", ["forecast-3", "gap"]),
            "method": ("example", ["rivers", "rivers"]),
            "catchment": ("example", [39001, 54001]),
            "nse": ("example", [0.6, np.nan]),
        },
    )
    settings: dict[str, object] = {"period": ["2012-10-01", "2014-09-30"], "seed": 0, "command": "hydromae evaluate A"}
    return Fake(scores, examples, settings)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    file = tmp_path / "journal.jsonl"
    lines = [
        {
            "step": k,
            "loss": 2.0 / k if k != 3 else float("nan"),
            "validation_loss": 0.5 if k == 4 else None,
            "seconds": 9.0 * k,
        }
        for k in range(1, 21)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 21, "lo')
    return file
