"""Boosted trees on donors, weather and the ends of a gap."""

import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.evaluate import baselines, boosted_donors
from hydromae.evaluate.boosted_donors import BoostedDonors
from hydromae.evaluate.donor_regression import DonorRidge
from hydromae.inference.scenarios import fill_gaps, gap_pattern

NAN = float("nan")


def training_record(days: int = 1500) -> xr.Dataset:
    """Two donors, and a river that follows both, the first one more, and is higher on days with rain."""
    generator = np.random.default_rng(1)
    rain = generator.gamma(0.4, 8.0, (days, 3))
    donors = np.square(
        2 + 0.3 * generator.normal(size=(days, 2)).cumsum(axis=0) / np.sqrt(np.arange(1, days + 1))[:, None]
    )
    river = np.square(np.sqrt(donors) @ [[1.0], [0.3]] + 0.5 * (rain[:, 2:] > 3))
    coords = {"time": pd.date_range("2001-01-01", periods=days), "catchment": [1, 2, 3]}
    variables = {"riverflow": np.concatenate([donors, river], axis=1), "precipitation": rain}
    return xr.Dataset({name: (("time", "catchment"), values) for name, values in variables.items()}, coords)


def with_gaps(record: xr.Dataset) -> tuple[xr.Dataset, xr.DataArray]:
    """The last year of a record with gaps of the third river."""
    year = record.isel(time=slice(-365, None))
    pattern = gap_pattern(year["time"], year["catchment"]) & (year["catchment"] == 3)
    return fill_gaps(year, pattern), pattern


def fitted(training: xr.Dataset) -> BoostedDonors:
    return BoostedDonors.fit(training, DonorRidge.fit(training, transform="root").with_residual())


def test_trees_find_what_the_regression_does_not() -> None:
    pytest.importorskip("lightgbm")
    record = training_record()
    question, pattern = with_gaps(record)
    method = fitted(record.isel(time=slice(None, -365)))
    assert isinstance(method.ridge, DonorRidge)
    errors = [
        float(np.abs(m.predict(question)["riverflow"] - record["riverflow"]).where(pattern).mean())
        for m in (method.ridge, method)
    ]
    assert errors[1] < 0.3 * errors[0]


def test_predictions_do_not_depend_on_hidden_or_later_flow() -> None:
    pytest.importorskip("lightgbm")
    record = training_record()
    period = ("2004-02-10", "2005-02-08")
    changed = record.copy(deep=True)
    in_period = (record["time"] >= np.datetime64(period[0])).values
    changed["riverflow"][in_period, 2] *= 7
    answers = []
    for one in (record, changed):
        training = one.isel(time=np.flatnonzero(~in_period))
        question, pattern = with_gaps(one)
        question["riverflow"][:, 2] = np.where(question["riverflow"][:, 2].notnull(), 2.0, NAN)
        answers.append(fitted(training).predict(question)["riverflow"].where(pattern))
    assert pattern.any()
    np.testing.assert_array_equal(*(answer.values for answer in answers))


def test_days_without_a_donor_are_predicted_by_the_regression() -> None:
    pytest.importorskip("lightgbm")
    record = training_record()
    question, pattern = with_gaps(record)
    day = int(np.flatnonzero(pattern.values[:, 2])[4])
    question["riverflow"][day, 0] = NAN
    method = fitted(record)
    answers = [m.predict(question)["riverflow"].values[:, 2] for m in (method, method.ridge)]
    assert answers[0][day] == answers[1][day] and answers[0][day - 1] != answers[1][day - 1]
    outside = method.predict(question.assign_coords(catchment=[1, 2, 4]))["riverflow"]
    np.testing.assert_array_equal(outside.values[:, 2], question["riverflow"].values[:, 2])
    some = method.only(np.array([1, 2])).predict(question)["riverflow"].values[:, 2]
    np.testing.assert_array_equal(some, answers[1])


def test_inputs_of_a_day_by_hand() -> None:
    residual = np.array([NAN, 1.0, NAN, NAN, -2.0])
    regressed = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    series = boosted_donors._Series(np.zeros((5, 1)) + 9.0, regressed, residual, np.zeros((5, 1)) + 8.0)
    inputs = series.inputs(np.array([2, 0]), np.array([1, 1]), np.array([2, 1]))
    before, after = 0.9 * (1 - 0.81**2), -2 * 0.81 * (1 - 0.81)
    expected = [1.0, 1.0, -2.0, 2.0, (before + after) / (1 - 0.729**2), 2.0, 3.0, 4.0, 9.0, 8.0]
    np.testing.assert_allclose(inputs[0], expected)
    np.testing.assert_allclose(inputs[1], [NAN, NAN, 1.0, 1.0, 0.9, NAN, 1.0, 2.0, 9.0, 8.0])


def test_without_lightgbm_it_is_refused_and_omitted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = training_record(400)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.setattr(baselines, "has_lightgbm", lambda: False)
    with pytest.raises(InputError, match=r"hydromae\[peers\]"):
        fitted(record)
    names = [method.name for method in baselines.fitted_baselines(record, ("gap",))["gap"]]
    assert "donor-boosting" not in names and "donor-ridge-root-residual" in names
    assert caplog.messages == ["donor-boosting is not scored: LightGBM is not installed; pip install 'hydromae[peers]'"]
