"""A new country: who learns from which rivers and days, and that a river is predicted by a model that never saw it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import new_country
from hydromae.evaluate import protocol
from hydromae.inference.predictor import load
from synthetic import rivers

DAYS = 3 * 365


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Eight rivers, learnt from in one update."""
    days = pd.date_range("2012-01-01", periods=DAYS, unit="ns")
    monkeypatch.setattr(new_country, "TRAINING", ("2012-01-01", "2012-12-31"))
    monkeypatch.setattr(new_country, "VALIDATION", ("2013-01-01", "2013-12-31"))
    monkeypatch.setattr(new_country, "EPOCH", 1)
    monkeypatch.setattr(new_country, "UPDATES", dict.fromkeys(new_country.UPDATES, 1))
    monkeypatch.setattr(new_country, "EVERY", 100)
    few = {"hidden_size": 8, "sequence_length": 120, "warm_up": 30, "batch_size": 8, "steps": 2}
    monkeypatch.setattr(new_country, "LSTM", replace(new_country.LSTM, **few))
    return rivers(8, DAYS).assign_coords(time=days)


def test_every_river_is_left_out_by_one_model_and_the_test_days_by_all() -> None:
    names, base = np.arange(1001, 1020), load("gb-rivers", "cpu").config
    configs = [new_country.config_of(base, names, fold, 0) for fold in range(new_country.FOLDS + 1)]
    assert configs[0].data.held_out == ()
    assert sorted(sum((config.data.held_out for config in configs[1:]), ())) == [str(name) for name in names]
    for config in configs:
        for period in (config.data.training_period, config.data.validation_period):
            assert period[1] < new_country.PERIODS["test"][0]


def test_all_ways_are_trained_once_and_scored(record: xr.Dataset, tmp_path: Path) -> None:
    for fold in range(new_country.FOLDS + 1):
        new_country.teach(record, tmp_path, fold, 0, Console(file=StringIO()))
    new_country.teach_lstm(record, tmp_path, 0, Console(file=StringIO()))
    written = {
        file: file.stat().st_mtime_ns for file in [*tmp_path.glob("*/best/*.safetensors"), *tmp_path.glob("lstm/*")]
    }
    new_country.teach(record, tmp_path, 1, 0, Console(file=StringIO()))
    new_country.teach_lstm(record, tmp_path, 0, Console(file=StringIO()))
    assert written and {file: file.stat().st_mtime_ns for file in written} == written, "nothing is trained twice"

    scores = new_country.score(record, tmp_path, ("2014-01-01", "2014-12-30")).scores
    assert set(scores["question"].values) == {"simulate", "ungauged", "forecast-1", "forecast-3", "forecast-7"}
    methods = {
        str(name): set(scores["method"].values[scores["nse"].sel(question=name).notnull().any("catchment")].tolist())
        for name in scores["question"].values
    }
    assert {"fine-tuned", "shipped", "lstm", "gr4j"} <= methods["simulate"]
    assert {"fine-tuned", "shipped", "lstm-corrected", "persistence"} == methods["forecast-7"]
    assert {"fine-tuned", "shipped", "weighted-donors"} <= methods["ungauged"]
    asked = scores["nse"].sel({"question": "ungauged", "method": "fine-tuned"})
    assert asked.notnull().all(), "every river is left out once"


def test_a_river_is_predicted_by_a_model_that_held_it_out(record: xr.Dataset, tmp_path: Path) -> None:
    for fold in (1, 2):
        new_country.teach(record, tmp_path, fold, 0, Console(file=StringIO()))
    runs = [load(tmp_path / new_country.run_name(fold) / "best", "cpu") for fold in (1, 2)]
    models = [new_country.scored_method(run, "fine-tuned") for run in runs]
    together = new_country.LeaveOneOut(models)
    part = record.isel(time=slice(0, 200))
    for run, own in zip(runs, models, strict=True):
        is_asked = part["catchment"].astype(str) == run.config.data.held_out[0]
        [question] = protocol.ungauged_questions(part, ("2012-04-01", "2012-06-30"), part["catchment"].values[is_asked])
        xr.testing.assert_identical(
            together.predict(question.dataset).drop_attrs(), own.predict(question.dataset).drop_attrs()
        )
    with pytest.raises(LookupError, match="no model was trained without"):
        new_country.LeaveOneOut(models[:1]).predict(question.dataset)
