"""The benchmark of parts: what each arm goes without, that it trains, goes on and is scored."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import arms
from hydromae.batching.windows import ALWAYS_KNOWN_ATTRIBUTES
from hydromae.evaluate import protocol
from hydromae.evaluate.score import Evaluation
from hydromae.store.zarr_store import load_store, write_store
from hydromae.variables import ATTRIBUTES
from synthetic import GRID, country, scaling_of


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """A country of two months, learnt from in two updates."""
    made = country()
    write_store(made, tmp_path / "store.zarr", scaling=scaling_of(made, arms.WHOLE), sources=[], grid=GRID)
    record = load_store(tmp_path / "store.zarr")
    days = np.datetime_as_string(record["time"].values, "D")
    whole = (str(days[0]), str(days[-1]))
    few = arms.WHOLE.having(
        data={"training_period": whole, "validation_period": whole, "sequence_length": 10, "stride": 5},
        train={"epochs": 1, "steps_per_epoch": 2, "validation_windows": 2},
    )
    monkeypatch.setattr(arms, "WHOLE", few)
    return record


def test_every_arm_goes_without_one_part() -> None:
    whole = arms.config_of("whole", 0, ())
    assert whole.model.fusion_layers and whole.model.static_tokens and whole.model.footprints and whole.model.film
    gone = {arm: arms.config_of(arm, 0, ()) for arm in arms.ARMS}
    assert len({config.to_json() for config in gone.values()}) == len(arms.ARMS)
    assert gone["estimators"].model.estimators and not any(gone[arm].model.estimators for arm in arms.LESS)
    assert not any("precipitation" in stream for stream in gone["maps"].model.streams)
    assert gone["neighbours"].model.neighbours == 1 and whole.model.neighbours is None
    assert all(config.train.steps_per_epoch == whole.train.steps_per_epoch for config in gone.values())
    assert arms.config_of("whole", 0, (), 9).train.epochs == 9 and whole.train.epochs == arms.EPOCHS


def test_without_traits_a_river_has_a_place_and_an_area(few: xr.Dataset) -> None:
    bare = arms.without_traits(few)
    known = {a.name for a in ATTRIBUTES if bool(bare[a.name].notnull().any())}
    assert known == set(ALWAYS_KNOWN_ATTRIBUTES) and bare["riverflow"].equals(few["riverflow"])


@pytest.mark.parametrize("arm", ["maps", "traits", "estimators"])
def test_an_arm_trains_without_what_is_held_out_and_answers(few: xr.Dataset, tmp_path: Path, arm: str) -> None:
    out = arms.teach(few, tmp_path, arm, 3, Console(file=StringIO()))
    assert out == tmp_path / f"{arm}-3"
    weights = (out / "last" / "model.safetensors").read_bytes()
    arms.teach(few, tmp_path, arm, 3, Console(file=StringIO()))
    assert (out / "last" / "model.safetensors").read_bytes() == weights, "what has ended is not taught again"
    [method] = arms.methods(tmp_path)
    model = method.method.model if isinstance(method, arms.Traitless) else method.model
    held = protocol.held_out(few["catchment"].values).astype(str).tolist()
    assert sorted(model.config.data.held_out) == sorted(held) and model.config.train.seed == 3
    assert method.name == f"{arm}-3" and isinstance(method, arms.Traitless) is (arm == "traits")
    asked = few.copy()
    asked["riverflow"] = asked["riverflow"].where(asked["time"] != asked["time"][-1])
    assert method.predict(asked)["riverflow"].notnull().all()


def test_arms_that_have_ended_are_scored_side_by_side(few: xr.Dataset, tmp_path: Path, monkeypatch) -> None:
    days = np.datetime_as_string(few["time"].values, "D")
    monkeypatch.setitem(protocol.PERIODS, "validation", (str(days[20]), str(days[-1])))  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(protocol, "TRAINING_END", str(days[19]))
    monkeypatch.setattr(arms, "QUESTIONS", ("ungauged", "simulate", "gap"))
    for arm in ("maps", "traits"):
        arms.teach(few, tmp_path, arm, 0, Console(file=StringIO()), 1)
    (tmp_path / "fusion-0").mkdir()  # one that has not ended
    printed = StringIO()
    arms.score(few, tmp_path, "validation", 30, Console(file=printed, width=200))
    scored = Evaluation.load(tmp_path / "scores-validation").scores
    assert set(scored["method"].values.tolist()) == {"maps-0", "traits-0", "log-interpolation"}
    assert set(scored["question"].values.tolist()) == {"ungauged", "simulate", "gap"}
    beside = scored["nse"].sel({"method": "log-interpolation"}).notnull().any("catchment")
    assert scored["question"].values[beside.values].tolist() == ["gap"]
    assert np.isfinite(scored["nse"].sel({"question": "simulate", "method": "maps-0"})).any()
    assert "traits-0" in printed.getvalue()


def test_what_a_part_gives_is_the_difference_on_each_river() -> None:
    nse = np.array([[[0.9, 0.8, np.nan], [0.5, 0.9, 0.1], [0.7, 0.7, 0.7]]])
    names = ["whole-1", "maps-1", "maps-2"]
    scores = xr.Dataset({"nse": (("question", "method", "catchment"), nse)}, {"question": ["gap"], "method": names})
    header, row = arms.paired(scores).splitlines()
    assert header.split() == ["without", "question", "gives", "better"]
    assert row.split() == ["maps-1", "gap", "0.150", "0.500"], "median of 0.4 and -0.1; no whole has the seed 2"
