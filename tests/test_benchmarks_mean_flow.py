"""The benchmark of mean flow from attributes."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import hydromae
import mean_flow
from synthetic import rivers


def test_the_ratio_uses_days_with_flow_and_rain() -> None:
    flow = np.array([[1.0, np.nan], [3.0, np.nan], [100.0, np.nan]])
    rain = np.array([[4.0, 1.0], [4.0, 1.0], [np.nan, 1.0]])
    found = mean_flow.log_ratio(flow, rain)
    assert found[0] == pytest.approx(np.log(0.5)) and np.isnan(found[1])


def test_the_regression_learns_from_other_catchments() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(120, len(mean_flow.ATTRIBUTES) + 2))
    target = 0.5 * table[:, 0] - 0.3 * table[:, 3]
    wanted = np.arange(10)
    hidden = target.copy()
    hidden[wanted] = np.nan
    found = mean_flow.estimate(table, hidden, wanted)
    assert np.corrcoef(found, target[wanted])[0, 1] > 0.8
    assert np.array_equal(found, mean_flow.estimate(table, target, wanted)), "their own flow is not read"


def test_each_share_is_scored_beside_the_model() -> None:
    record, text = rivers(30, 800).transpose("time", "catchment", ...), StringIO()
    record = record.assign_coords(time=pd.date_range("2010-08-01", periods=800, unit="ns"))
    model = hydromae.load("gb-rivers", "cpu")
    mean_flow.score(model, record, ("2011-08-01", "2012-09-30"), Console(file=text, width=200))
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("error of ln(mean flow): model ")
    rows = [line.strip("| ").split(" | ") for line in lines[3:]]
    assert [row[0] for row in rows] == ["0", *(f"{share:g}" for share in mean_flow.SHARES)]
    assert rows[0][2].startswith("+0.000 (+0.000 to +0.000)") and rows[-1][1] != rows[0][1]
