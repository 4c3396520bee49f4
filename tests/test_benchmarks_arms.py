"""The benchmark of parts: what each arm goes without, that it trains, goes on and is scored."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import arms
from hydromae.data.store import load_store, write_store
from hydromae.evaluate import protocol
from hydromae.modalities import ATTRIBUTES
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
    gone = {arm: arms.config_of(arm, 0, ()) for arm in arms.LESS}
    assert len({config.to_json() for config in gone.values()}) == len(arms.LESS)
    assert not any("precipitation" in stream for stream in gone["maps"].model.streams)
    assert gone["neighbours"].model.neighbours == 1 and whole.model.neighbours is None
    assert all(config.train.steps_per_epoch == whole.train.steps_per_epoch for config in gone.values())


def test_without_traits_a_river_lies_somewhere_and_that_is_all(few: xr.Dataset) -> None:
    bare = arms.without_traits(few)
    known = {a.name for a in ATTRIBUTES if bool(bare[a.name].notnull().any())}
    assert known == set(arms.KEPT) and bare["riverflow"].equals(few["riverflow"])


@pytest.mark.parametrize("arm", ["maps", "traits"])
def test_an_arm_trains_without_what_is_held_out_and_answers(few: xr.Dataset, tmp_path: Path, arm: str) -> None:
    out = arms.teach(few, tmp_path, arm, 3, Console(file=StringIO()))
    assert out == tmp_path / f"{arm}-3"
    [method] = arms.methods(tmp_path)
    model = method.method.model if isinstance(method, arms.Blind) else method.model
    held = protocol.held_out(few["catchment"].values).astype(str).tolist()
    assert sorted(model.config.data.held_out) == sorted(held) and model.config.train.seed == 3
    assert method.name == f"{arm}-3" and isinstance(method, arms.Blind) is (arm == "traits")
    asked = few.copy()
    asked["riverflow"] = asked["riverflow"].where(asked["time"] != asked["time"][-1])
    assert method.predict(asked)["riverflow"].notnull().all()
