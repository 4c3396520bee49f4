"""Floods and droughts: thresholds of training days, probabilities between quantiles, counts by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from hydromae.evaluate import events
from hydromae.evaluate.events import Thresholds, event_counts, event_scores, exceedance

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def record(first: str, last: str, flow: np.ndarray) -> xr.Dataset:
    times = pd.date_range(first, last)
    return xr.Dataset(
        {"riverflow": (("time", "catchment"), np.broadcast_to(flow, (len(times), flow.shape[-1])).copy())},
        {"time": times, "catchment": [f"c{i}" for i in range(flow.shape[-1])]},
    )


def test_a_flood_is_above_the_median_annual_maximum() -> None:
    training = record("1990-10-01", "2001-09-30", np.array([1.0, 1.0]))
    for number, year in enumerate(range(1990, 2001)):  # water years: maxima 10 to 20 on the first of November
        training["riverflow"].loc[f"{year}-11-01", "c0"] = 10.0 + number
    training["riverflow"].loc["1991-10-01":"1993-09-30", "c1"] = np.nan  # nine years are too few
    found = Thresholds.fit(training, np.array(["c1", "c0", "new"]))
    assert found.flood[1] == 15.0 and np.isnan(found.flood[[0, 2]]).all()


def test_a_drought_is_below_the_driest_fifth_of_its_month() -> None:
    training = record("1990-01-01", "2000-12-31", np.array([5.0]))
    for number, year in enumerate(range(1990, 2001)):
        training["riverflow"].loc[f"{year}-06", "c0"] = float(number)
    found = Thresholds.fit(training, np.array(["c0"]))
    assert found.drought[5, 0] == 2.0 and found.drought[6, 0] == 5.0  # the 20th percentile of 0 … 10


def test_deciles_are_those_of_ten_years_of_days() -> None:
    training = record("1990-10-01", "2001-09-30", np.array([1.0, 1.0]))
    days = training.sizes["time"]
    training["riverflow"][:, 0] = np.random.default_rng(0).permutation(np.linspace(0, 10, days))
    training["riverflow"][3299:, 1] = np.nan  # a day less than ten years of 330
    found = Thresholds.fit(training, np.array(["c1", "c0", "new"]))
    assert found.deciles.shape == (9, 3) and np.isnan(found.deciles[:, [0, 2]]).all()
    np.testing.assert_allclose(found.deciles[:, 1], np.arange(1, 10), rtol=1e-5)


def test_probabilities_of_an_exponential_distribution() -> None:
    quantiles = stats.expon.ppf(LEVELS)[:, None] * np.array([1.0, 3.0])
    for above in (0.02, 0.4, 1.0, 2.0, 4.0, 6.0):
        chance = exceedance(LEVELS, quantiles, np.array([above, 3 * above]))
        assert chance == pytest.approx(np.exp(-above), abs=0.03) and chance[0] == pytest.approx(chance[1])
    assert exceedance(LEVELS, quantiles, np.array([9.0, 27.0])) == pytest.approx(np.exp(-9.0), rel=1e-6)


def test_probabilities_at_edges() -> None:
    quantiles = np.tile(np.array([2.0]), (len(LEVELS), 1))  # sure of 2 mm/day
    assert exceedance(LEVELS, quantiles, np.array([1.99]))[0] > 0.94
    assert exceedance(LEVELS, quantiles, np.array([2.01]))[0] < 1e-6
    assert np.isnan(exceedance(LEVELS, quantiles, np.array([np.nan]))[0])
    assert np.isnan(exceedance(LEVELS, quantiles * np.nan, np.array([1.0]))[0])


def arrays(days: int = 59) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray, np.ndarray, Thresholds]:
    """January and February of two rivers: flow 1 mm/day, a flood of 9 on three days of the first."""
    time = pd.date_range("2011-01-01", periods=days)
    truth = np.ones((days, 2))
    truth[[3, 10, 40], 0] = 9.0
    return (
        time,
        truth,
        np.ones_like(truth, dtype=bool),
        truth.copy(),
        Thresholds(np.array([5.0, np.nan]), np.full((12, 2), 0.9), np.full((9, 2), np.nan)),
    )


def test_floods_by_hand() -> None:
    time, truth, target, mean, thresholds = arrays()
    target[40] = False
    mean[10, 0], mean[20, 0] = 4.0, 6.0  # one missed, one false
    mean[30] = np.nan
    found = event_counts(time, truth, target, mean, None, None, thresholds)
    counts = [found[f"flood_{name}"].tolist() for name in events.COUNTS]
    assert counts == [[57, 0], [2, 0], [1, 0], [1, 0], [2, 0]]  # a river without a threshold does not count
    told = event_scores({name: float(value.sum()) for name, value in found.items()}, "flood")
    assert told == {"flood_events": 2, "flood_csi": 1 / 3, "flood_pod": 0.5, "flood_far": 0.5, "flood_brier": 2 / 57}


def test_a_distribution_warns_before_its_mean_does() -> None:
    time, truth, target, mean, thresholds = arrays()
    mean[10, 0] = 4.0
    spread = np.array([0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0])[:, None, None]
    found = event_counts(time, truth, target, mean, LEVELS, mean * spread, thresholds)
    assert found["flood_hits"][0] == 3  # 5 lies halfway from the median, 4, to the upper quartile, 6: a chance of 0.375
    assert 0 < found["flood_brier"][0] < 1
    sure = event_counts(time, truth, target, mean, None, None, thresholds)
    assert sure["flood_hits"][0] == 2


def test_droughts_are_of_months_of_the_completed_record() -> None:
    time, truth, target, mean, thresholds = arrays()
    truth[:31, 1] = 0.5  # a dry January
    mean[:31, 1] = 0.7
    found = event_counts(time, truth, target, mean, None, None, thresholds)
    counts = [found[f"drought_{name}"].tolist() for name in events.COUNTS]
    assert counts == [[2, 2], [0, 1], [0, 1], [0, 0], [0, 0]]
    target[:25] = False  # six of 31 days asked: not a third
    assert event_counts(time, truth, target, mean, None, None, thresholds)["drought_cases"].tolist() == [1, 1]
    target[:] = True
    truth[:10, 1] = np.nan  # 21 days of truth are too few
    assert event_counts(time, truth, target, mean, None, None, thresholds)["drought_cases"].tolist() == [2, 1]
    target[5:] = False
    assert event_counts(time, truth, target, mean, None, None, thresholds)["drought_cases"].tolist() == [0, 0]


def test_without_events_there_is_no_score() -> None:
    time, truth, target, _, thresholds = arrays()
    calm = np.minimum(truth, 1.0)
    found = event_counts(time, calm, target, calm, None, None, thresholds)
    told = event_scores({name: float(value.sum()) for name, value in found.items()}, "flood")
    assert np.isnan([told["flood_csi"], told["flood_pod"], told["flood_far"]]).all() and told["flood_brier"] == 0
