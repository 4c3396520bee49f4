"""The benchmark of short records: what is hidden, the factor that an interval needs, and both commands on invented rivers."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import short_records
from short_records import Cell
from test_predict import MODEL, RIVERS


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Six rivers, of which a few days are enough."""
    days = RIVERS.indexes["time"]
    monkeypatch.setattr(short_records, "PERIODS", {"validation": (str(days[60])[:10], str(days[-1])[:10])})
    for name, value in (("LEAST_RECORDS", 2), ("MIN_RIVERS", 3), ("LEAST_DAYS", 6), ("RIVERS", (1, 3))):
        monkeypatch.setattr(short_records, name, value)
    return RIVERS


@pytest.mark.parametrize(("days", "last"), [(1, 1), (2, 1), (5, 2), (10, 3), (29, 10)])
def test_the_last_third_of_a_short_record_is_hidden_of_a_third_of_the_rivers(days: int, last: int) -> None:
    part = RIVERS.isel(time=slice(0, days))
    hidden = short_records.hidden_of(part, "gap", np.random.default_rng(0))
    assert hidden.sum(axis=0).tolist() == [last, 0, 0, last, 0, 0] and hidden[days - last :, [0, 3]].all()
    assert short_records.hidden_of(part, "gap-all", np.random.default_rng(0)).sum() == 6 * last
    assert short_records.hidden_of(part, "simulate", np.random.default_rng(0)).all()
    assert short_records.hidden_of(part, "ungauged", np.random.default_rng(0)).sum() == 2 * days
    assert short_records.hidden_of(part, "forecast", np.random.default_rng(0)).sum() == 6 * min(last, 7)


def test_the_factor_that_a_day_needs() -> None:
    """Roots: interval 1 to 5 around 2; truth 3.5 lies half of the way up, truth 0 twice the way down."""
    rows = pd.DataFrame({"0.05-0": [1.0, 1.0], "0.5-0": [4.0, 4.0], "0.95-0": [25.0, 25.0], "truth": [12.25, 0.0]})
    assert short_records.needed(rows, 0.9) == pytest.approx([0.5, 2.0])


def test_factors_are_fitted_and_cells_are_scored(record: xr.Dataset) -> None:
    printed = Console(file=StringIO(), width=200)
    found = short_records.fit(MODEL, record, [5, 20], printed)
    assert found.day == tuple(map(float, short_records.KNOTS))
    for by in (found.gauged, found.gauged_alone, found.ungauged, found.ungauged_alone):
        assert list(by) == sorted(by, reverse=True) and by[-1] == 1.0, "no day beyond 20 asks for a factor"
    with_factors = short_records.replace(MODEL, widening=found)
    short_records.score(with_factors, record, short_records.PERIODS["validation"], [Cell("gap", 5, 3)], printed)
    last = printed.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert last.startswith("| gap | 5 | 3 | ") and last.count("%") == 2
    scored = int(last.split("|")[4].split(", ")[1])
    cells = [Cell("gap", 5, 3)]
    short_records.score(with_factors, record, short_records.PERIODS["validation"], cells, printed, 3 * scored)
    more = printed.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert int(more.split("|")[4].split(", ")[1]) >= 3 * scored
