"""The benchmark of skill: what networks learn from, and which questions they are asked."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import skill
import skill_table
from hydromae.evaluate import networks, protocol
from synthetic import rivers


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    small = {"units": 4, "days": 200, "warm_up": 20, "sequences": 8}
    changed = {name: replace(recipe, **small) for name, recipe in networks.RECIPES.items()}
    monkeypatch.setattr(networks, "RECIPES", changed)
    monkeypatch.setattr(networks, "CORRECTION_DAYS", ("2010-01-01", "2010-12-31"))
    long = rivers(20, 900)
    return long.assign_coords(time=pd.date_range("2009-06-01", periods=900, unit="ns"))


def test_networks_learn_from_training_days_of_rivers_that_are_not_held_out(record: xr.Dataset) -> None:
    learnt = networks.learnt_from(record)
    assert str(learnt["time"].values[-1])[:10] == "2010-12-31"
    held = set(protocol.held_out(record["catchment"].values).tolist())
    assert (
        len(held) == 2 and set(learnt["catchment"].values.tolist()) == set(record["catchment"].values.tolist()) - held
    )


def test_what_is_trained_is_kept_and_asked_its_own_questions(record: xr.Dataset, tmp_path: Path) -> None:
    console = Console(file=StringIO())
    names = ["lstm-0", "lstm-1", "lstm-ahead-1", "lstm-ahead-7", "lstm-blind-3"]
    skill.train(record, tmp_path, names, 1, console)
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.safetensors")}
    assert {file.parent.name for file in written} == set(names)
    skill.train(record, tmp_path, names, 1, console)
    assert {file: file.stat().st_mtime_ns for file in written} == written, "nothing is trained twice"
    found = {question: [m.name for m in methods] for question, methods in networks.methods_of(record, tmp_path).items()}
    assert found == {
        "fill": [],
        "ungauged": ["lstm", "lstm-ensemble"],
        "ungauged-bare": ["lstm", "lstm-ensemble"],
        "simulate": ["lstm", "lstm-ensemble"],
        "forecast": ["lstm-corrected", "lstm-corrected-ensemble", "lstm-ahead"],
        "forecast-blind": ["lstm-blind"],
    }


def test_the_table_sets_a_method_beside_the_best_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"nse_median": [0.9, 0.8, 0.85], "nse_p10": [0.7, 0.5, 0.6], "crps": [0.1, 0.3, float("nan")]}
    columns |= {"coverage50": [0.5, 0.4, float("nan")], "coverage90": [0.9, 0.8, float("nan")]}
    columns |= {"flood_events": [20.0] * 3, "flood_csi": [0.5, 0.4, 0.3], "flood_brier": [0.01, 0.03, 0.02]}
    columns |= {"drought_events": [3.0] * 3, "drought_csi": [0.5] * 3, "drought_brier": [0.1] * 3}
    index = pd.MultiIndex.from_product([["forecast-3"], ["ours", "lstm", "donors"]], names=["question", "method"])
    found = pd.DataFrame(columns, index=index)
    (line,) = skill_table.rows(found, "ours")[2:]
    assert line == (
        "| `forecast-3`: forecast, 3 days ahead | 0.900 (0.70) | 0.850 (0.60) donors | 50% / 90% | 0.100, 0.300 lstm |"
    )
    (line,) = skill_table.events(found, "ours")[2:]
    assert line == "| `forecast-3` | flood | 20 | 0.500, 0.01000 | 0.400 lstm; 0.02000 donors |"
