"""Scaling: what is fitted on what, and that it goes there and back."""

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hydromae.errors import InputError
from hydromae.store import scaling as module
from hydromae.store.scaling import Scaling, VariableScaling

TRAIN = ("2000-01-01", "2000-01-04")


def close(transform, mean, std):
    return transform, pytest.approx(mean), pytest.approx(std)


@pytest.fixture
def record():
    days = pd.date_range("2000-01-01", periods=6)
    flow = np.array([[1, 100], [4, 100], [9, np.nan], [16, np.nan], [1e3, 1e3], [np.nan, 1e3]])
    return xr.Dataset(
        {
            "riverflow": (("time", "catchment"), flow),
            "temperature": (("time", "catchment"), np.tile([7.0, 7.0], (6, 1))),
            "propwet": ("catchment", [0.2, 0.4]),
            "catchment-area": ("catchment", [np.nan, np.nan]),
        },
        {"time": days, "catchment": [1, 2]},
    )


def test_only_observed_training_days_count(record):
    """Roots 1, 2, 3, 4 and 10, 10: mean 5, variance (16 + 9 + 4 + 1 + 25 + 25) / 6."""
    scaling = Scaling.fit(record, TRAIN)
    assert astuple(scaling["riverflow"]) == close("root", 5.0, np.sqrt(80 / 6))
    assert astuple(scaling["propwet"]) == close("none", 0.3, 0.1)


def test_only_training_catchments_count(record):
    scaling = Scaling.fit(record, TRAIN, catchments=[1])
    assert astuple(scaling["riverflow"]) == close("root", 2.5, np.sqrt(1.25))
    assert scaling["propwet"].mean == pytest.approx(0.2)


def test_streaming_gives_what_one_pass_gives(record, monkeypatch):
    whole = Scaling.fit(record, TRAIN)
    monkeypatch.setattr(module, "FIT_DAYS", 1)
    pieces = Scaling.fit(record.chunk(time=1), TRAIN)
    assert pieces["riverflow"].mean == pytest.approx(whole["riverflow"].mean, rel=1e-12)
    assert pieces["riverflow"].std == pytest.approx(whole["riverflow"].std, rel=1e-12)


def test_constants_and_unknown_attributes_do_not_divide_by_zero(record):
    scaling = Scaling.fit(record, TRAIN)
    assert scaling["temperature"] == VariableScaling("none", 7.0, 1.0)
    assert scaling["catchment-area"].std == 1.0
    np.testing.assert_array_equal(scaling.scale("temperature", np.array([7.0, 8.0])), [0, 1])


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1000) | st.just(np.nan)))
def test_there_and_back(values):
    scaling = Scaling(
        {
            "riverflow": VariableScaling("root", 1.1, 0.8),
            "temperature": VariableScaling("none", 9.0, 5.0),
            "catchment-area": VariableScaling("log", 5.0, 1.3),
        }
    )
    for name in scaling.variables:
        scaled = scaling.scale(name, values)
        np.testing.assert_array_equal(np.isnan(scaled), np.isnan(values))
        np.testing.assert_allclose(scaling.unscale(name, scaled), values, rtol=1e-9, atol=1e-9)


def test_answers_below_the_root_of_zero_are_zero_and_dtype_is_kept():
    scaling = Scaling({"riverflow": VariableScaling("root", 1.0, 0.5)})
    back = scaling.unscale("riverflow", np.array([-5.0, 0.0, 2.0], np.float32))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, [0, 1, 4])
    assert scaling.scale("riverflow", np.array([4.0], np.float32)).dtype == np.float32


def test_json_there_and_back_and_refusals(record):
    scaling = Scaling.fit(record, TRAIN)
    assert Scaling.from_json(scaling.to_json()) == scaling
    assert "riverflow" in scaling
    for text in ("no json", "[1]", '{"riverflow": {"mean": 1}}'):
        with pytest.raises(InputError, match="not the JSON of a scaling"):
            Scaling.from_json(text)
    with pytest.raises(InputError, match="transform 'cube'"):
        Scaling.from_json('{"riverflow": {"transform": "cube", "mean": 1, "std": 1}}')
    with pytest.raises(InputError, match="snow is not in it"):
        scaling["snow"]


def test_training_period_must_hold_observations(record):
    with pytest.raises(InputError, match="no day of it is in the record, 2000-01-01 … 2000-01-06"):
        Scaling.fit(record, ("1990-01-01", "1990-12-31"))
    record["riverflow"][:4] = np.nan
    with pytest.raises(InputError, match="no riverflow was observed"):
        Scaling.fit(record, TRAIN)
