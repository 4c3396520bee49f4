"""Few gauges and few years: what is known in a case, and that all ways to a model are trained and scored on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import few_gauges
from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from synthetic import SMALL, rivers

DAYS = 6 * 365


def test_a_case_has_its_gauges_its_years_and_ungauged_catchments_for_the_score() -> None:
    record = rivers(600, DAYS)
    record = record.assign_coords(time=pd.date_range("2007-01-01", periods=DAYS, unit="ns"))
    record["riverflow"] = record["riverflow"].notnull() * 1.0
    held_out = protocol.held_out(record["catchment"].values)
    small, ungauged = few_gauges.region(record, 5, 1)
    large, same = few_gauges.region(record, 40, 2)
    assert len(ungauged) == 20 and set(ungauged) == set(same) and set(large["catchment"].values) == set(held_out)
    gauged = [name for name in small["catchment"].values if name not in ungauged]
    assert len(gauged) == 5 and set(gauged) < set(large["catchment"].values)
    flow = small["riverflow"].transpose("time", "catchment")
    assert str(small["time"].values[0])[:10] == "2009-01-01", "the weather of a year before"
    assert flow.sel(time=slice(None, "2009-12-31")).isnull().all()
    assert flow.sel(time="2010", catchment=gauged).notnull().all()
    assert flow.sel(time=slice(None, "2010-12-31"), catchment=ungauged).isnull().all()
    assert flow.sel(time=slice("2011", None)).notnull().all(), "for the choice of weights and for the score"
    assert small["precipitation"].notnull().all()


def test_more_updates_are_for_what_starts_from_random_weights() -> None:
    longer = few_gauges.updates_of(2.0)
    assert longer.pop("fine-tuned") == few_gauges.UPDATES["fine-tuned"]
    assert longer == {name: 2 * count for name, count in few_gauges.UPDATES.items() if name != "fine-tuned"}
    config = few_gauges.config_of(RIVERS, "random", 5, 1, 0, longer["random"])
    assert config.train.epochs * config.train.steps_per_epoch == longer["random"]


def test_every_way_is_trained_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_gauges, "GAUGES", (3,))
    monkeypatch.setattr(few_gauges, "YEARS", (1,))
    monkeypatch.setattr(few_gauges, "UNGAUGED", 2)
    monkeypatch.setattr(few_gauges, "EPOCH", 1)
    monkeypatch.setattr(few_gauges, "UPDATES", dict.fromkeys(few_gauges.UPDATES, 1))
    monkeypatch.setattr(few_gauges, "RIVERS", SMALL.having(data={"validation_period": RIVERS.data.validation_period}))
    days = pd.date_range("2008-06-01", "2012-09-30", unit="ns")
    record = rivers(50, len(days)).assign_coords(time=days)
    few_gauges.teach(record, tmp_path, 3, 1, 0, Console(quiet=True))
    assert {path.name for path in (tmp_path / "3-gauges-1-years").iterdir()} == set(few_gauges.UPDATES)
    monkeypatch.setitem(protocol.PERIODS, "test", ("2011-06-01", "2012-06-30"))
    place = tmp_path / "3-gauges-1-years"
    table = few_gauges.score(record, place, 3, 1, "test")
    assert set(table["method"]) == {"fine-tuned", "random", "lstm", "shipped"} and len(table) == 3 * 4
    assert set(table["question"]) == {"simulate", "ungauged", "forecast-1"}
    assert np.isfinite(table["nse_median"]).all() and (table["nse_p10"] <= table["nse_median"]).all()
    assert (table["gauges"] == 3).all() and (table["years"] == 1).all()
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*/*.safetensors")}
    few_gauges.teach(record, tmp_path, 3, 1, 0, Console(quiet=True))
    assert written and {file: file.stat().st_mtime_ns for file in written} == written, "nothing is trained twice"
    pd.testing.assert_frame_equal(few_gauges.score(record.isel(time=[]), place, 3, 1, "test"), table)
