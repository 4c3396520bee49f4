"""The protocol: catchments, days, and hidden targets."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.evaluate import protocol

PERIOD = ("2011-02-01", "2011-03-31")


def record(rivers: int = 12) -> xr.Dataset:
    """Flow and rain from 2010 to mid 2011, with some days of one river unobserved."""
    times = pd.date_range("2010-01-01", "2011-06-30")
    generator = np.random.default_rng(3)
    dims = ("time", "catchment")
    flow = generator.gamma(1.0, size=(len(times), rivers))
    flow[400:410, 1] = np.nan
    rain = generator.gamma(1.0, size=flow.shape)
    coords = {"time": times, "catchment": np.arange(rivers) + 1}
    return xr.Dataset({"riverflow": (dims, flow), "precipitation": (dims, rain)}, coords=coords)


def test_held_out_catchments_are_those_of_the_protocol():
    numbers = np.arange(599) + 1000
    expected = np.sort(numbers[np.random.default_rng(0).permutation(599)[:60]])
    np.testing.assert_array_equal(protocol.held_out(numbers), expected)


def test_every_catchment_is_in_one_fold():
    parts = protocol.folds(np.arange(599))
    assert sorted(len(part) for part in parts) == [59] + [60] * 9
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(599))


def test_targets_are_hidden_and_observed():
    full = record()
    questions = list(protocol.questions(full, PERIOD))
    assert len(questions) == protocol.question_count(full, PERIOD, protocol.QUESTION_NAMES, 5)
    for question in questions:
        for row, target in question.targets.items():
            assert row.startswith(question.name)
            days = {"time": target["time"]}
            assert not (target & question.dataset["riverflow"].sel(days).notnull()).any()
            assert not (target & question.truth.sel(days).isnull()).any()
            assert target["time"].values[target.any("catchment")].min() >= np.datetime64(PERIOD[0])
            assert target["time"].values[target.any("catchment")].max() <= np.datetime64(PERIOD[1])


def test_gaps_are_in_a_third_of_the_catchments_at_a_time():
    full = record()
    asked = list(protocol.gap_questions(full, PERIOD))
    assert len(asked) == 3
    hidden = [question.targets["gap"].any("time").values for question in asked]
    assert [np.flatnonzero(one).tolist() for one in hidden] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    # 59 days: whole gaps open on days 0 and 20 and 40.
    assert int(asked[0].targets["gap"].sel(catchment=1).sum()) == 30
    # Flow before the period stays, and so does the weather.
    assert asked[0].dataset["riverflow"].sel(time=slice(None, "2011-01-31")).notnull().sel(catchment=1).all()
    xr.testing.assert_identical(asked[0].dataset["precipitation"], protocol.with_context(full, PERIOD)["precipitation"])


def test_limited_attributes_are_area_and_a_shifted_position():
    full, names = record(), ("catchment-area", "bfihost", "latitude", "longitude")
    full = full.assign({name: ("catchment", 50.0 + np.arange(12)) for name in names})
    places = ("easting", "northing", "centroid_easting")
    full = full.assign_coords({name: ("catchment", np.full(12, 3e5)) for name in places})
    (whole,), (bare,) = protocol.ungauged_questions(full, PERIOD), protocol.ungauged_limited_questions(full, PERIOD)
    xr.testing.assert_identical(bare.targets["ungauged-limited"], whole.targets["ungauged"])
    out = np.isin(full["catchment"].values, protocol.held_out(full["catchment"].values))
    before, after = whole.dataset, bare.dataset
    assert np.isnan(after["bfihost"].values[out]).all() and np.isnan(after["centroid_easting"].values[out]).all()
    np.testing.assert_array_equal(after["catchment-area"], before["catchment-area"])
    for name, km in (("easting", 1e-3), ("northing", 1e-3), ("latitude", 111.2)):
        moved = np.abs((after[name] - before[name]).values) * km
        assert (moved[out] > 0).all() and (moved <= 5.0001).all() and (moved[~out] == 0).all(), name
    east = (after["easting"] - before["easting"]).values[out] / 1e3
    degrees = (after["longitude"] - before["longitude"]).values[out]
    np.testing.assert_allclose(degrees * 111.2 * np.cos(np.deg2rad(50.0 + np.flatnonzero(out))), east)
    untouched = ["riverflow", "precipitation"]
    xr.testing.assert_identical(after[untouched].drop_vars(places), before[untouched].drop_vars(places))


def test_ungauged_and_simulate_hide_the_context_too():
    full = record()
    (question,) = protocol.ungauged_questions(full, PERIOD)
    out = protocol.held_out(full["catchment"].values)
    lost = question.dataset["riverflow"].isnull().all("time")
    assert question.dataset["catchment"].values[lost].tolist() == out.tolist()
    assert int(question.targets["ungauged"].sum()) == 59 * len(out)
    (question,) = protocol.simulate_questions(full, PERIOD)
    assert question.dataset["riverflow"].isnull().all()
    assert question.dataset["time"].values[0] == np.datetime64("2010-02-01")
    # 59 days of 12 rivers, less the 10 days (from 2011-02-05) on which one was not observed.
    assert int(question.targets["simulate"].sum()) == 59 * 12 - 10


@pytest.mark.parametrize("future_weather", ["observed", "none"])
def test_forecast_targets_are_at_their_lead(future_weather):
    asked = list(protocol.forecast_questions(record(), PERIOD, future_weather, every=10, leads=(1, 3)))
    # 59 days: the last issue with 3 days after it is day 55, so issues on days 0, 10, 20, 30, 40, 50.
    assert len(asked) == 6
    name = "forecast" if future_weather == "observed" else "forecast-blind"
    for turn, question in enumerate(asked):
        issue = np.datetime64("2011-02-01") + 10 * turn
        for lead in (1, 3):
            target = question.targets[f"{name}-{lead}"]
            assert target["time"].values == [issue + lead]
        after = question.dataset.sel(time=slice(issue + 1, None))
        assert after["riverflow"].isnull().all()
        assert bool(after["precipitation"].isnull().all()) == (future_weather == "none")


def test_the_first_day_of_gaps_is_drawn_for_each_catchment():
    full = record()
    long = ("2010-03-01", "2011-06-30")
    rows = {
        row: target
        for question in protocol.gap_length_questions(full, long, (3, 10, 30), 100)
        for row, target in question.targets.items()
    }
    assert list(rows) == ["gap-3", "gap-10", "gap-30"]
    first = rows["gap-10"].argmax("time").values
    assert len(set(first.tolist())) > 6
    days = rows["gap-10"].sel(catchment=1).values
    assert set(np.diff(np.flatnonzero(np.diff(days.astype(int)) == 1))) <= {100}


def test_gaps_of_every_length_hide_a_fifth_of_the_days():
    full = record().ffill("time")
    long = ("2010-03-01", "2011-06-30")
    asked = list(protocol.gap_length_questions(full, long, protocol.parse_gap_lengths((), full, long)))
    assert [row for question in asked for row in question.targets] == [f"gap-{gap}" for gap in (1, 3, 10, 30, 90)]
    for question, gap in zip(asked, (1, 3, 10, 30, 90), strict=True):
        hidden = question.targets[f"gap-{gap}"].values
        assert hidden.mean() == pytest.approx(0.2, abs=0.03 if gap < 90 else 0.1) and hidden.any(axis=0).all()
        for river in hidden.T:
            edges = np.flatnonzero(np.diff(np.concatenate([[0], river.astype(int), [0]])))
            assert set(np.diff(edges)[::2]) == {gap}
    assert len({tuple(column) for column in asked[2].targets["gap-10"].values.T}) > 6, "drawn for each catchment"


def test_lengths_that_do_not_fit_are_refused_or_left_out():
    full = record()
    assert protocol.parse_gap_lengths(None, full, PERIOD) == []
    assert protocol.parse_gap_lengths((), full, PERIOD) == [1, 3, 10], "59 days"
    assert protocol.parse_gap_lengths((29, 2, 2), full, PERIOD) == [2, 29]
    for gaps, days in (((3, 0), 0), ((30, 1), 30)):
        with pytest.raises(InputError, match=f"gap length of {days} days: give lengths of 1 day to less than half"):
            protocol.parse_gap_lengths(gaps, full, PERIOD)


def test_a_period_outside_the_record_is_refused():
    with pytest.raises(InputError, match="2015-01-01 to 2015-12-31 is outside the record"):
        next(protocol.simulate_questions(record(), ("2015-01-01", "2015-12-31")))
