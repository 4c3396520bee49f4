"""Return levels: by hand, of a known distribution, and refused where the record is too short."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.return_levels import flow_thresholds
from hydromae.evaluate.thresholds import flood_level


def record(years: int, maxima: np.ndarray) -> xr.Dataset:
    """Water years of flow 1 mm/day with one higher day each."""
    time = pd.date_range("1950-10-01", f"{1950 + years}-09-30")
    flow = np.ones((len(time), 1))
    for number, value in enumerate(maxima):
        flow[time.get_loc(pd.Timestamp(f"{1950 + number}-12-25")), 0] = value
    return xr.Dataset({"riverflow": (("time", "catchment"), flow)}, {"time": time, "catchment": [7]})


def test_a_symmetric_sample_is_logistic() -> None:
    maxima = np.array([[5.0, 1.0, 4.0, 2.0, 3.0]])  # L-moments 3, 1, 0: the level is 3 + ln(T − 1)
    for years in (2, 10, 100):
        assert flood_level(maxima, years) == pytest.approx(3 + np.log(years - 1), abs=1e-4)


@pytest.mark.parametrize("shape", [-0.25, 0.15])
def test_levels_of_a_generalised_logistic_distribution(shape: float) -> None:
    distribution = stats.kappa4(-1, shape, loc=10.0, scale=2.0)  # h = −1 is the generalised logistic
    maxima = distribution.rvs((1, 40_000), random_state=0)
    for years in (2, 10, 100):
        assert flood_level(maxima, years)[0] == pytest.approx(distribution.ppf(1 - 1 / years), rel=0.02)


def test_the_two_year_flood_is_the_one_of_scored_events() -> None:
    training = record(40, np.random.default_rng(0).gumbel(20, 4, 40))
    levels, years = flow_thresholds(training)
    assert years == 40 and [level.return_period for level in levels] == [2, 10, 100, None]
    assert levels[0].flow == Thresholds.fit(training, np.array([7])).flood[0]
    assert levels[0].flow < levels[1].flow < levels[2].flow and levels[3].flow == 1.0
    for level in levels[:3]:
        assert level.interval[0] < level.flow < level.interval[1]
    width = [level.interval[1] - level.interval[0] for level in levels[:3]]
    assert width == sorted(width), "a rarer flood is less certain"


@pytest.mark.parametrize(("years", "computed"), [(34, [1, 1, 1, 1]), (33, [1, 1, 0, 1]), (9, [0, 0, 0, 0])])
def test_a_short_record_has_no_rare_flood(years: int, computed: list[int]) -> None:
    levels, found = flow_thresholds(record(years, np.linspace(5, 20, years)))
    assert found == years and [int(np.isfinite(level.flow)) for level in levels] == computed
    assert [level.years_needed for level in levels] == [10, 10, 34, 10]


def test_incomplete_years_do_not_count() -> None:
    training = record(12, np.full(12, 9.0))
    training["riverflow"][:60] = np.nan  # of the first year 305 days are left
    assert flow_thresholds(training)[1] == 11
    training["riverflow"][:] = np.nan
    levels, years = flow_thresholds(training)
    assert years == 0 and all(np.isnan(level.flow) for level in levels)
