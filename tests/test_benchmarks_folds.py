"""The benchmark of ten folds: which model goes without which rivers, and that none answers for a river that it saw."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import folds
from hydromae.evaluate import protocol
from hydromae.evaluate.score import Evaluation
from hydromae.store.zarr_store import load_store, write_store
from synthetic import SMALL, rivers, scaling_of


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Twenty rivers, learnt from in two updates."""
    made = rivers(20)
    few = SMALL.having(train={"epochs": 1, "steps_per_epoch": 2, "validation_windows": 2})
    write_store(made, tmp_path / "store.zarr", scaling=scaling_of(made, few), sources=[])
    monkeypatch.setattr(folds, "FOLDED", few)
    monkeypatch.setitem(protocol.PERIODS, "validation", few.data.validation_period)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(protocol, "TRAINING_END", few.data.training_period[1])
    return load_store(tmp_path / "store.zarr")


def test_every_fold_is_left_out_by_one_model(record: xr.Dataset) -> None:
    names = record["catchment"].values
    groups = folds.groups(names)
    assert np.concatenate(groups).tolist() == list(range(protocol.FOLDS))
    left_out = [folds.config_of(names, group, 0).data.held_out for group in groups]
    assert sorted(sum(left_out, ())) == sorted(names.astype(str))
    assert set(protocol.held_out(names).astype(str)) <= set(left_out[0])


def test_each_fold_is_answered_by_the_model_that_never_saw_it(record: xr.Dataset, tmp_path: Path) -> None:
    runs = [folds.teach(record, tmp_path, group, 2, Console(file=StringIO())) for group in range(folds.MODELS)]
    weights = (runs[2] / "last" / "model.safetensors").read_bytes()
    folds.teach(record, tmp_path, 2, 2, Console(file=StringIO()))
    assert (runs[2] / "last" / "model.safetensors").read_bytes() == weights, "what has ended is not taught again"
    together, questions = folds.ByFold(tmp_path), list(folds.asked(record, protocol.PERIODS["validation"]))
    assert len(questions) == protocol.FOLDS and {m.model.config.train.seed for m in together.models} == {2}
    for question, group in ((questions[0], 0), (questions[5], 1), (questions[9], 2)):
        answer, own = together.predict(question.dataset), together.models[group].predict(question.dataset)
        xr.testing.assert_identical(answer.drop_attrs(), own.drop_attrs())
    with pytest.raises(LookupError, match="no fold is without flow"):
        together.predict(record)
    printed = StringIO()
    folds.score(record, tmp_path, "validation", Console(file=printed, width=200))
    scored = Evaluation.load(tmp_path / "scores-validation")
    assert folds.NAME in printed.getvalue() and "weighted-donors" in scored.scores["method"].values
    asked = scored.scores.sel({"question": "ungauged", "method": folds.NAME})
    assert np.isfinite(asked["nse"]).all(), "every river is asked once"
    assert scored.settings["split"] == "ten folds, protocol.folds"
