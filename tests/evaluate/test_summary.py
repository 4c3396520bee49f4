"""Summaries over catchments, with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hydromae.evaluate.score import EVENTS
from hydromae.evaluate.summary import counts_catchment, minimum_days, percentile, scored_questions, summarise

NAN = float("nan")


def scores_of(nse: list[list[float]], target_days: list[float], **other: list[list[float]]) -> xr.Dataset:
    """Scores of one question: a row of NSE for each method; a method whose row is empty was not asked."""
    count = len(target_days)
    was_asked = np.array([[bool(row)] for row in nse])
    values = {"nse": np.array([row or [NAN] * count for row in nse])}
    values |= {name: np.array(rows) for name, rows in other.items()}
    values["target_days"] = np.where(was_asked, target_days, NAN)
    answered = np.where(np.isfinite(values["nse"]), target_days, 0.0)
    values.setdefault("answered_days", np.where(was_asked, answered, NAN))
    for name in ("kge", "crps", "coverage50", "coverage90", *EVENTS):
        values.setdefault(name, np.where(was_asked, 0.0, NAN) * np.ones(count))
    dims = ("question", "method", "catchment")
    coords = {"question": ["gap"], "method": [f"m{k}" for k in range(len(nse))], "catchment": np.arange(count)}
    return xr.Dataset({name: (dims, value[None]) for name, value in values.items()}, coords)


def test_a_missing_score_ranks_below_every_score() -> None:
    assert percentile(np.array([0.9, NAN, 0.5]), 50.0) == 0.5
    assert percentile(np.array([0.8, 0.4]), 25.0) == pytest.approx(0.5)
    assert np.isnan(percentile(np.array([0.9, NAN, 0.5]), 10.0))
    assert np.isnan(percentile(np.array([]), 50.0))


@pytest.mark.parametrize(
    ("most", "expected"), [(1400.0, 365), (730.0, 365), (729.0, 364), (400.0, 200), (3.0, 1), (1.0, 1), (0.0, 1)]
)
def test_the_minimum_is_365_days_or_half_of_the_most(most: float, expected: int) -> None:
    assert minimum_days(scores_of([[0.5, 0.5]], [most, 0.0]), "gap") == expected


def test_every_method_is_summarised_over_the_same_catchments() -> None:
    """The last catchment has 199 of at least 200 days; the second method leaves the second catchment without a score."""
    scores = scores_of([[0.9, 0.8, 0.7, 0.2], [0.95, NAN, 0.5, 0.1], []], [400.0, 400.0, 400.0, 199.0])
    assert counts_catchment(scores, "gap").tolist() == [True, True, True, False]
    table = summarise(scores)
    assert table.index.tolist() == [("gap", "m0"), ("gap", "m1")], "the third method was not asked"
    first, second = table.loc[("gap", "m0")], table.loc[("gap", "m1")]
    assert (first["minimum_days"], first["catchments"], first["unanswered"], first["few"]) == (200, 3, 0, False)
    assert [first["nse_median"], first["nse_p25"], first["nse_p10"]] == pytest.approx([0.8, 0.75, 0.72])
    assert (second["catchments"], second["unanswered"], second["few"]) == (3, 1, True)
    assert second["nse_median"] == 0.5, "of no score, 0.5 and 0.95"
    assert np.isnan(second["nse_p25"]) and np.isnan(second["nse_p10"])
    assert second["answered"] == pytest.approx(800 / 1200) and second["days"] == 400


def test_a_method_without_any_score_keeps_its_row() -> None:
    row = summarise(scores_of([[0.9, 0.8], [NAN, NAN]], [400.0, 400.0])).loc[("gap", "m1")]
    assert (row["catchments"], row["unanswered"], row["days"], row["answered"]) == (2, 2, 0, 0.0)
    assert np.isnan(row["nse_median"])


def test_a_catchment_that_the_only_method_left_without_an_answer_counts() -> None:
    row = summarise(scores_of([[0.9, 0.6, NAN]], [400.0] * 3)).loc[("gap", "m0")]
    assert (row["catchments"], row["unanswered"], row["nse_median"]) == (3, 1, 0.6)


def test_a_catchment_whose_score_is_not_defined_does_not_count() -> None:
    """The observations of the second catchment do not vary: it was answered, but no method has a score."""
    scores = scores_of([[0.9, NAN], [0.7, NAN]], [400.0, 400.0], answered_days=[[400.0, 400.0], [400.0, 0.0]])
    assert summarise(scores)["catchments"].tolist() == [1, 1] and scored_questions(scores) == ["gap"]


def test_a_missing_crps_is_the_worst_and_coverage_is_of_what_has_a_distribution() -> None:
    nse = [[0.9, 0.8, NAN], [0.9, 0.8, 0.7]]
    crps, coverage = [[0.1, 0.3, NAN], [NAN] * 3], [[0.8, 0.9, NAN], [NAN] * 3]
    table = summarise(scores_of(nse, [400.0] * 3, crps=crps, coverage90=coverage))
    assert table["crps"].tolist() == pytest.approx([0.3, NAN], nan_ok=True)
    assert table["coverage90"].tolist() == pytest.approx([0.85, NAN], nan_ok=True)


def test_events_are_counted_over_the_catchments_that_count() -> None:
    """2 hits of 4 events and 1 false alarm: CSI 2/5, POD 2/4, FAR 1/3; the third catchment has too few days."""
    counts = {"cases": [50, 50, 9], "events": [3, 1, 9], "hits": [1, 1, 9], "false_alarms": [0, 1, 9]}
    scores = scores_of(
        [[0.9, 0.8, 0.7]], [400.0, 400.0, 1.0], **{f"flood_{name}": [list(map(float, v))] for name, v in counts.items()}
    )
    row = summarise(scores).loc[("gap", "m0")]
    names = [f"flood_{name}" for name in ("events", "csi", "pod", "far", "brier")]
    assert [row[name] for name in names] == pytest.approx([4, 0.4, 0.5, 1 / 3, 0.0])
