"""Tasks: the hidden values, and forecasts that use nothing after the issue day."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hydromae.errors import InputError
from hydromae.inference import scenarios

DAYS = pd.date_range("2010-01-01", periods=30)


def record() -> xr.Dataset:
    """30 days of three rivers: flow counts days, with weather, an evaporation that is no forcing, and a flag."""
    shape = (len(DAYS), 3)
    day = np.broadcast_to(np.arange(30.0, dtype=np.float32)[:, None], shape)
    dims = ("time", "catchment")
    return xr.Dataset(
        {
            "riverflow": (dims, day + np.array([0, 100, 200], dtype=np.float32), {"units": "mm day-1"}),
            "precipitation": (dims, day.copy()),
            "evaporation": (dims, day.copy()),
            "riverflow_origin": (dims, np.zeros(shape, dtype=np.uint8)),
            "catchment-area": ("catchment", [1.0, 2.0, 3.0]),
        },
        coords={"time": DAYS, "catchment": [11, 22, 33]},
    )


class Spy:
    """A method that keeps what it was shown, and answers with the last flow it sees plus the days since."""

    name = "spy"

    def __init__(self):
        self.shown: list[xr.Dataset] = []

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        self.shown.append(dataset)
        flow = dataset["riverflow"].values
        last = int(np.flatnonzero(np.isfinite(flow).any(axis=1))[-1])
        ahead = flow[last] + np.maximum(np.arange(len(flow)) - last, 0)[:, None]
        answer = dataset["riverflow"].copy(data=np.where(np.isfinite(flow), flow, ahead))
        quantiles = xr.concat([answer - 1, answer, answer + 1], dim=pd.Index([0.05, 0.5, 0.95], name="quantile"))
        return dataset.assign(riverflow=answer, riverflow_quantile=quantiles)


def test_gap_pattern_by_hand():
    start = np.array([0, 4, 18])
    pattern = scenarios.gap_pattern(record()["time"], record()["catchment"], gap=3, every=10, start=start)
    opened = [np.flatnonzero(pattern.values[:, river]).tolist() for river in range(3)]
    assert opened[0] == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert opened[1] == [4, 5, 6, 14, 15, 16, 24, 25, 26]
    # Openings at 8, 18 and 28; the one at 28 would end with the record, so no day after it could close it.
    assert opened[2] == [8, 9, 10, 18, 19, 20]


def test_gaps_without_a_day_between_them_are_refused():
    with pytest.raises(InputError, match="gap of 10 days every 10 days"):
        scenarios.gap_pattern(record()["time"], record()["catchment"], gap=10, every=10)


def test_fill_gaps_hides_the_flow_of_the_pattern_alone():
    full = record()
    hidden = scenarios.gap_pattern(full["time"][5:15], full["catchment"][:2], gap=2, every=5)
    asked = scenarios.fill_gaps(full, hidden)
    lost = asked["riverflow"].isnull().values
    assert np.flatnonzero(lost[:, 0]).tolist() == [5, 6, 10, 11]
    assert not lost[:, 2].any()
    np.testing.assert_array_equal(asked["riverflow"].values[~lost], full["riverflow"].values[~lost])
    xr.testing.assert_identical(asked.drop_vars("riverflow"), full.drop_vars("riverflow"))
    assert asked["riverflow"].attrs == full["riverflow"].attrs


def test_ungauged_and_simulate_hide_all_flow():
    asked = scenarios.ungauged(record(), [22])
    assert asked["riverflow"].isnull().all("time").values.tolist() == [False, True, False]
    assert asked["precipitation"].notnull().all()
    assert scenarios.simulate(record())["riverflow"].isnull().all()
    with pytest.raises(InputError, match="catchment 44 is not in the record"):
        scenarios.ungauged(record(), [11, 44])


@pytest.mark.parametrize(
    ("period", "interval", "expected"),
    [
        (("2014-10-05", "2014-10-20"), 5, ["2014-10-05", "2014-10-10", "2014-10-15", "2014-10-20"]),
        (("2014-10-05", "2014-10-07"), 1, ["2014-10-05", "2014-10-06", "2014-10-07"]),
        (("2014-10-05", "2014-10-05"), 1, ["2014-10-05"]),
        (("2014", "2015"), 364, ["2014-01-01", "2014-12-31", "2015-12-30"]),
    ],
)
def test_hindcast_issues(period, interval, expected):
    assert scenarios.hindcast_issues(period, interval).strftime("%Y-%m-%d").tolist() == expected


@pytest.mark.parametrize(
    ("first", "last", "interval", "words"),
    [
        ("2014-10-05", "2014-13-01", 1, "write each as YYYY-MM-DD"),
        ("2014-10-05", "2014-10-01", 5, "swap them"),
        ("2014-10-05", "2014-10-09", 0, "give 1 day or more"),
        ("2014-10-05", "", 1, "a date is empty"),
        ("x", "2014-10-05", 1, "is not two dates"),
    ],
)
def test_hindcast_issues_refuses_invalid_periods(first, last, interval, words):
    with pytest.raises(InputError, match=words):
        scenarios.hindcast_issues((first, last), interval)


def test_forecast_counts_leads_from_one_and_runs_past_the_end():
    answer = scenarios.forecast(Spy(), record(), scenarios.hindcast_issues(("2010-01-10", "2010-01-30"), 10), days=3)
    assert answer["riverflow"].dims == ("issue_time", "lead", "catchment")
    assert answer["riverflow_quantile"].dims == ("quantile", "issue_time", "lead", "catchment")
    assert answer["lead"].values.tolist() == [1, 2, 3]
    # Flow counts days from 0 on the 1st; the spy adds a day each lead, so lead L of day d is d + L.
    np.testing.assert_array_equal(answer["riverflow"].values[:, :, 0], [[10, 11, 12], [20, 21, 22], [30, 31, 32]])
    upper = answer["riverflow_quantile"].values[2, :, :, 1]
    np.testing.assert_array_equal(upper, [[111, 112, 113], [121, 122, 123], [131, 132, 133]])
    assert answer["valid_time"].values[2, 2] == np.datetime64("2010-02-02")
    assert answer["riverflow"].attrs["units"] == "mm day-1"


@settings(max_examples=25, deadline=None)
@given(
    issue=st.integers(0, 29),
    days=st.integers(1, 9),
    context=st.integers(1, 40),
    future_weather=st.sampled_from(["observed", "none"]),
)
def test_only_weather_after_the_issue_day_may_be_visible(issue, days, context, future_weather):
    day = DAYS[issue]
    asked = scenarios.forecast_input(record(), day, days, future_weather, context)
    assert asked.sizes["time"] == min(context, issue + 1) + days
    assert asked["time"].values[-1] == (day + pd.Timedelta(days=days)).to_datetime64()
    after = asked.sel(time=slice(day + pd.Timedelta(days=1), None))
    assert after["riverflow"].isnull().all()
    assert after["evaporation"].isnull().all()
    assert "riverflow_origin" not in asked
    inside = min(days, 29 - issue)
    assert int(after["precipitation"].notnull().sum()) == (3 * inside if future_weather == "observed" else 0)
    before = asked.sel(time=slice(None, day))
    xr.testing.assert_equal(before["riverflow"], record()["riverflow"].sel(time=before["time"]))


def test_changing_the_future_never_changes_a_forecast():
    changed = record()
    changed["riverflow"][20:] = -999.0
    changed["evaporation"][20:] = -999.0
    issues = pd.DatetimeIndex([DAYS[19]])
    xr.testing.assert_identical(
        scenarios.forecast(Spy(), record(), issues, 4), scenarios.forecast(Spy(), changed, issues, 4)
    )


def test_invalid_forecasts_are_refused():
    with pytest.raises(InputError, match="2010-02-01 is outside the record, 2010-01-01 to 2010-01-30"):
        scenarios.forecast(Spy(), record(), pd.DatetimeIndex(["2010-02-01"]), 3)
    with pytest.raises(InputError, match="at least 1"):
        scenarios.forecast_input(record(), DAYS[3], 0)
    with pytest.raises(InputError, match="neither observed nor none"):
        scenarios.forecast_input.__wrapped__(record(), DAYS[3], 1, "some")  # without the tests' own checks of types
    with pytest.raises(InputError, match="no issue day"):
        scenarios.forecast(Spy(), record(), pd.DatetimeIndex([]), 3)
