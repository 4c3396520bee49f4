"""A published split: flow of the tested years is seen by nothing, and scores are compared river by river."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import published
from hydromae.inference.predictor import load
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import load_store
from synthetic import rivers

DAYS = 4 * 365


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Six rivers in 2001 to 2004: training in 2001, test in 2002 and 2003."""
    monkeypatch.setattr(published, "TRAINING", ("2001-01-01", "2001-12-31"))
    monkeypatch.setattr(published, "TEST", ("2002-01-01", "2003-12-31"))
    monkeypatch.setattr(published, "VALIDATION", ("2004-01-01", "2004-12-30"))
    monkeypatch.setattr(published, "LSTM_UPDATES", 2)
    monkeypatch.setattr(published, "UPDATES", 2)
    small = {"lstm_width": 8, "lstm_ar_width": 4, "d_model": 16, "decoder_dim": 16, "heads": 2, "recurrent_width": 8}
    config = published.RIVERS.having(model=small, data={"catchments_per_window": 3})
    monkeypatch.setattr(published, "RIVERS", config)
    return rivers(6, DAYS).assign_coords(time=pd.date_range("2001-01-01", periods=DAYS, unit="ns"))


def test_flow_of_the_tested_years_is_seen_by_nothing(record: xr.Dataset, tmp_path: Path) -> None:
    """The weights do not change if the flow of the tested years does."""
    known = published.training_record(record)["riverflow"].notnull().any("catchment")
    assert set(known["time"].dt.year.values[known.values]) == {2001, 2004}
    is_tested = record["time"].dt.year.isin([2002, 2003])
    other = record.assign(riverflow=record["riverflow"].where(~is_tested, 3 * record["riverflow"] + 1))
    weights = []
    for name, part in (("one", record), ("other", other)):
        published.teach(part, tmp_path / name, 0, Console(file=StringIO()))
        weights.append(load(tmp_path / name / "whole" / "best", "cpu").network.state_dict())
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value.numpy(), weights[1][name].numpy(), err_msg=name)
    lstm = load(tmp_path / "one" / "lstm" / "best", "cpu").network.state_dict()
    is_same = {name: bool((lstm[name] == value).all()) for name, value in weights[0].items()}
    assert all(same for name, same in is_same.items() if name.startswith("rainfall_runoff."))
    assert not all(is_same.values()), "the rest is trained after the LSTMs"


def test_rivers_with_a_published_score_are_compared(
    record: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, store, scores = tmp_path / "raw.nc", tmp_path / "rivers.zarr", tmp_path / "scores.csv"
    record.to_netcdf(raw, engine="h5netcdf")
    prepare(raw, store, training_period=("2001-01-01", "2001-12-31"))
    names = load_store(store)["catchment"].values
    rows = {
        "id": [*names[:4], "99999"],
        "nse_lstm": [0.5, -9.0, np.nan, 0.7, 0.9],
        "nse_ealstm": [0.4, -9.0, 0.5, 0.6, 0.9],
    }
    pd.DataFrame(rows).to_csv(scores, index=False)
    command = ["published.py", "score", "--store", str(store), "--folder", str(tmp_path), "--model", "gb-rivers"]
    monkeypatch.setattr(sys, "argv", [*command, "--scores", str(scores)])
    published.main()
    table = pd.read_csv(tmp_path / "published.csv", dtype={"catchment": str}, index_col="catchment")
    assert table.index.tolist() == [str(name) for name in names[[0, 1, 3]]]
    own = published.simulated(load_store(store), "gb-rivers")
    np.testing.assert_allclose(table["hydromae"], own.values[[0, 1, 3]], rtol=1e-6)
    assert "3 rivers" in capsys.readouterr().out
    hidden = load_store(store)
    hidden["riverflow"] = hidden["riverflow"].where(hidden["time"].dt.year >= 2002, 0.0)
    np.testing.assert_array_equal(published.simulated(hidden, "gb-rivers").values, own.values)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        published.main()
