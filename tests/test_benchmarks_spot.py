"""The benchmark of spot gaugings: which days are read, and that all others are scored."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import hydromae
import spot_gaugings
from hydromae.evaluate import protocol
from synthetic import rivers


def test_days_are_drawn_among_observed_ones() -> None:
    truth = np.ones((50, 3))
    truth[::2, 1] = np.nan
    single, block = (spot_gaugings.draw_days(truth, 6, is_block) for is_block in (False, True))
    assert (single.sum(axis=0) == 6).all() and (block.sum(axis=0) == 6).all()
    assert not single[::2, 1].any() and not block[::2, 1].any()
    assert np.ptp(np.flatnonzero(block[:, 0])) == 5 and np.ptp(np.flatnonzero(single[:, 0])) > 5
    assert np.array_equal(single, spot_gaugings.draw_days(truth, 6, False))


def test_methods_are_scored_on_the_same_other_days(monkeypatch: pytest.MonkeyPatch) -> None:
    record = rivers(12, 800).transpose("time", "catchment", ...)
    record = record.assign_coords(time=pd.date_range("2010-08-01", periods=800, unit="ns"))
    held, asked, text = protocol.held_out(record["catchment"].values), list[xr.Dataset](), StringIO()
    plain = spot_gaugings.answers

    def noted(model: hydromae.Model, question: xr.Dataset) -> dict[str, xr.Dataset]:
        asked.append(question)
        return plain(model, question)

    monkeypatch.setattr(spot_gaugings, "answers", noted)
    period = ("2011-08-01", "2012-09-30")
    spot_gaugings.score(
        hydromae.load("gb-rivers", "cpu"), record, period, [(3, False), (5, True)], Console(file=text, width=200)
    )
    read = [question["riverflow"].sel(catchment=held).notnull().sum("time").values for question in asked]
    assert [set(counts.tolist()) for counts in read] == [{3}, {5}]
    rows = [line.strip("| ").split(" | ") for line in text.getvalue().splitlines()[2:]]
    assert [row[:2] for row in rows] == [[days, m] for days in ("3", "5 in a row") for m in spot_gaugings.METHODS]
    assert rows[0][5] == "–" and rows[1][2] != rows[2][2] != rows[0][2]
