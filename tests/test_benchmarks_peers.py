"""The benchmark of peers: the same rivers and days for all, and a peer that is absent is named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console

import peers
from hydromae.evaluate import protocol
from hydromae.evaluate.answers import with_predictions
from synthetic import rivers


def long_record() -> xr.Dataset:
    """20 rivers from 2009 to 2014; the last one has no flow in the test period."""
    record = rivers(20, 2100)
    record = record.assign_coords(time=pd.date_range("2009-01-01", periods=2100, unit="ns"))
    record["riverflow"][1400:, 19] = np.nan
    return record.transpose("time", "catchment", ...)


def constant(factor: float) -> Callable:
    """A peer that learns the mean flow of every river, and predicts a multiple of it."""

    def fit(training: xr.Dataset, names: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
        assert training["time"].values[-1] <= np.datetime64("2010-12-31")
        mean = training["riverflow"].mean("time")

        def predict(dataset: xr.Dataset) -> xr.Dataset:
            assert dataset["riverflow"].sel(catchment=names).isnull().any()
            return with_predictions(dataset, np.zeros((dataset.sizes["time"], 20)) + factor * mean.values)

        return predict

    return fit


def test_peers_are_scored_on_the_same_rivers() -> None:
    record, text = long_record(), StringIO()
    every = [
        peers.Peer("hydromae", "hydromae", peers.QUESTIONS, constant(1.0)),
        peers.Peer("the same", "numpy", ("simulate",), constant(1.0)),
        peers.Peer("worse", "numpy", ("simulate",), constant(9.0)),
        peers.Peer("absent", "no_such_package", ("gap",), constant(1.0)),
    ]
    options = argparse.Namespace(peers=[], questions=peers.QUESTIONS, keep=None)
    scored = peers.draw_rivers(record, np.array([1003, 1004]), 5)
    peers.run(record, scored, every, options, Console(file=text, soft_wrap=True))
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("5 rivers: ")
    assert set(peers.draw_rivers(record, np.array([1003, 1004]), 20).tolist()) == {*range(1001, 1020)} - {1003, 1004}
    assert [line.split(" | ")[:2] for line in lines[3:]] == [
        ["| `gap`", "hydromae"],
        ["| `gap`", "absent"],
        ["| `simulate`", "hydromae"],
        ["| `simulate`", "the same"],
        ["| `simulate`", "worse"],
        *(["| `forecast-" + lead + "`", "hydromae"] for lead in "137"),
    ]
    assert "no_such_package is not installed" in lines[4]
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert cells[5][4] == "–" and cells[6][4] == "+0.000 (+0.000 to +0.000), 0 of 5" and cells[6][2] == cells[5][2]
    assert cells[7][4].startswith("-") and cells[7][4].endswith("0 of 5")


def test_paired_differences_by_hand() -> None:
    found = peers.paired(np.array([0.5, 0.9, 0.7]), np.array([0.4, 0.7, 0.8]))
    assert found == "+0.100 (-0.100 to +0.200), 2 of 3"


def test_lines_of_code_are_counted_without_comments_and_docstrings() -> None:
    source = '"""Two\nlines."""\n\n# why\nvalue = (\n    1\n)\n\ndef f():\n    """What."""\n    return "text"\n'
    assert peers.code_lines(source) == 5


def test_every_installed_peer_has_code() -> None:
    every = peers.peers(500, 10)
    assert [peer.package for peer in every] == ["hydromae", "lightgbm", "pypots", "hydromae", *2 * ["neuralhydrology"]]
    assert every[0].lines < 5 < every[3].lines


def test_forecasts_are_scored_at_their_lead_only() -> None:
    record, issues = long_record(), protocol.forecast_questions(long_record(), protocol.PERIODS["test"], every=200)
    questions, names = list(issues), record["catchment"].values[:2]

    def fit(training: xr.Dataset, names: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
        def predict(dataset: xr.Dataset) -> xr.Dataset:
            true = record["riverflow"].sel(time=dataset["time"], catchment=names).transpose("time", "catchment").values
            true[-5] += 100.0  # three days ahead
            return with_predictions(dataset.sel(catchment=names), true)

        return predict

    found = peers.score(peers.Peer("true", "numpy", ("forecast",), fit), questions, record, names, 2)
    assert list(found) == ["forecast-1", "forecast-3", "forecast-7"]
    assert (found["forecast-1"].nse == 1).all() and (found["forecast-7"].nse == 1).all()
    assert (found["forecast-3"].nse < 0).all()


def test_scores_of_a_trained_peer_are_kept_for_its_rivers_and_settings(tmp_path: Path) -> None:
    names, trained = np.array([1, 2]), list[int]()

    def train(updates: int) -> peers.Rows:
        trained.append(updates)
        return {"simulate": peers.Scored(np.array([0.5, np.nan]), np.array([0.6, 0.7]), 3.0, 1.0, 4.0)}

    def kept(updates: int | None, rivers: np.ndarray = names) -> peers.Scored:
        peer = peers.Peer("a network", "numpy", ("simulate",), constant(1.0), setting=updates)
        return peers.kept_or(tmp_path, peer, "simulate", rivers, lambda: train(updates or 0))["simulate"]

    first, again = kept(500), kept(500)
    assert trained == [500] and again.training_seconds == first.training_seconds
    assert np.array_equal(again.nse, first.nse, equal_nan=True) and np.array_equal(again.log_nse, first.log_nse)
    kept(1000), kept(500, names[:1]), kept(None), kept(None)
    assert trained == [500, 1000, 500, 0, 0], "another setting, other rivers, and a method that is not trained"


def test_the_forecast_network_reads_flow_up_to_the_issue_day() -> None:
    record = long_record().isel(catchment=[0], time=slice(-372, None))
    record["riverflow"][[100, *range(365, 372)]] = np.nan
    network = peers.HandoffLSTM(500)
    past = network._series(record.isel(catchment=0))["past_flow"].values
    assert past[100] == past[99] and (past[365:] == past[364]).all() and np.isfinite(past).all()
    settings = network._settings(Path("folder"), record)
    assert set(settings["hindcast_inputs"]) - set(settings["forecast_inputs"]) == {"past_flow"}
    first_day = pd.Timestamp(record["time"].values[365])
    assert settings["test_start_date"] == f"{first_day:%d/%m/%Y}", "the day after the issue day"
    assert (settings["seq_length"], settings["predict_last_n"]) == (372, 7)
