"""The overlap of training and scored flow: by catchments and days, in an evaluation, its files and its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explored import MODEL
from hydromae.config.schema import DataConfig
from hydromae.evaluate.benchmark import run_protocol
from hydromae.evaluate.score import Evaluation
from hydromae.evaluate.summary import summarise
from hydromae.inference.training_overlap import seen_in_training
from hydromae.report.page import write_report
from synthetic import rivers

DATA = DataConfig(
    training_period=("2009-01-01", "2009-12-31"), validation_period=("2010-01-01", "2010-06-30"), held_out=("7", "b")
)
DAYS = np.arange("2009-12-22", "2010-01-06", dtype="datetime64[D]")  # ten of training, five of validation
SAID = "Training may have seen this flow, if it used rivers of these names: "
TRAINED = "its training period, 2009-01-01 to 2009-12-31, has 10 of the 10 days."


@pytest.mark.parametrize(
    ("names", "days", "said"),
    [
        (["a"], DAYS[:10], f"{SAID}a is not among the 2 that it held out; {TRAINED}"),
        (["a", 7, 8], DAYS[:10], f"{SAID}2 of 3 are not among the 2 that it held out; {TRAINED}"),
        (
            ["a", "b"],
            DAYS,
            f"{SAID}1 of 2 are not among the 2 that it held out; its training period, 2009-01-01 to 2009-12-31, has 10 of "
            "the 15 days and its validation period (which chooses the epoch), "
            "2010-01-01 to 2010-06-30, has 5 of the 15 days.",
        ),
        ([7, "b"], DAYS, ""),
        (["a"], DAYS[:0], ""),
        (["a"], DAYS + np.timedelta64(365, "D"), ""),
    ],
)
def test_overlap_is_of_catchments_that_were_not_held_out_in_both_periods(
    names: list, days: np.ndarray, said: str
) -> None:
    assert seen_in_training(DATA, names, days) == said


def test_overlap_without_held_out_catchments() -> None:
    assert seen_in_training(replace(DATA, held_out=()), ["a"], DAYS[:10]) == f"{SAID}it held none out; {TRAINED}"


def test_overlap_is_in_the_evaluation_its_files_and_its_page(tmp_path: Path) -> None:
    period, record = ("2001-05-01", "2001-05-31"), rivers(6, 200, seed=5)
    found = run_protocol(MODEL, record, period, ("gap",), 30, True, {})
    line = f"hydromae: {SAID}it held none out; its training period, 2001-01-01 to 2001-10-27, has 31 of the 31 days."
    assert found.settings["seen_in_training"] == [line] and "never" not in str(found.settings)
    found.save(tmp_path / "scores")
    loaded = Evaluation.load(tmp_path / "scores")
    assert loaded.settings["seen_in_training"] == [line] and loaded.scores.attrs["comment"] == line
    page = write_report(loaded, None, tmp_path / "page.html", title="Mine", model_card={}).read_text(encoding="utf-8")
    assert page.count(line) == 1 and "never seen" not in page

    config = MODEL.config.having(data={"held_out": tuple(str(1001 + k) for k in range(6))})
    held = run_protocol(replace(MODEL, config=config), record, period, ("gap",), 30, False, {})
    assert "seen_in_training" not in held.settings and "comment" not in held.scores.attrs
    beside = run_protocol(None, record, period, ("gap",), 30, True, {}, more_data={"LSTMs": MODEL.config.data})
    assert beside.settings["seen_in_training"] == [line.replace("hydromae:", "LSTMs:")]


def test_a_baseline_is_not_fitted_on_scored_days() -> None:
    """1 mm/day in 2009, then 4 and 6 in turn: 2009 says 1, and NSE is 1 − (3² + 5²)/2 / 1 = −16 (of both years it was −4)."""
    time = pd.date_range("2009-01-01", "2010-12-30")
    flow = np.where(np.arange(len(time)) < 365, 1.0, 4.0 + 2.0 * (np.arange(len(time)) % 2))
    record = xr.Dataset(
        {"riverflow": (("time", "catchment"), np.stack([flow] * 3, axis=1))}, {"time": time, "catchment": [1, 2, 3]}
    )
    found = run_protocol(None, record, ("2010-01-01", "2010-12-30"), ("simulate",), 30, True, {})
    nse = found.scores["nse"].sel({"question": "simulate", "method": "day-of-year-mean"})
    np.testing.assert_allclose(nse, -16.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("nse", "days", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], [40, 31, 30, 40], (0, 30, False)),
        ([0.1, 0.2, 0.3, 0.4], [40, 31, 29, 40], (0, 29, True)),
        ([0.1, np.nan, 0.3, 0.4], [40, 5, 30, 40], (1, 30, False)),
        ([0.1, np.nan, np.nan, 0.4], [40, 0, 0, 40], (2, 40, True)),
        ([np.nan] * 4, [0, 0, 0, 0], (4, 0, True)),
    ],
)
def test_scores_from_few_rivers_or_days_are_marked(nse: list[float], days: list[float], expected: tuple) -> None:
    from hydromae.cli.scores import scores_table
    from hydromae.evaluate.score import SCORES

    dims = ("question", "method", "catchment")
    values = dict.fromkeys(SCORES, np.zeros((1, 1, 4))) | {
        "nse": np.array([[nse]]),
        "answered_days": np.array([[days]]),
    }
    values["target_days"] = np.full((1, 1, 4), 40.0)
    scores = xr.Dataset(
        {name: (dims, array) for name, array in values.items()},
        {"question": ["gap"], "method": ["mine"], "catchment": [1, 2, 3, 4]},
    )
    found = summarise(scores)
    row = found.loc[("gap", "mine")]
    assert (row["unanswered"], row["days"], row["few"]) == expected and row["catchments"] == 4
    table = scores_table(found)
    assert "".join(map(str, table.columns[2].cells)).endswith("*") is (expected[2] and expected[0] < 2)
    assert [list(table.columns[k].cells) for k in (7, 8, 9)] == [["4"], [str(expected[0])], [str(expected[1])]]
