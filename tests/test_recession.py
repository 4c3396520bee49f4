"""Predicted flow in a spell without rain."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import hydromae
from hydromae.inference.recession import days_without_rise, far_from_observed, recession_days, without_rises
from hydromae.inference.scenarios import simulate
from hydromae.virtual import virtual_catchments

DAYS = 420


def weather(rain: np.ndarray, temperature: np.ndarray) -> xr.Dataset:
    dims = ("time", "catchment")
    return xr.Dataset({"precipitation": (dims, rain), "temperature": (dims, temperature)})


def test_a_recession_starts_after_thirty_known_days_without_rain_and_ends_with_rain() -> None:
    rain, temperature = np.zeros((DAYS, 4), np.float32), np.full((DAYS, 4), 8.0, np.float32)
    rain[:200] = 2.0
    rain[300] = 1.0
    rain[210, 1] = np.nan
    temperature[199, 2], temperature[199, 3] = 2.9, np.nan
    days = recession_days(weather(rain, temperature))
    assert days is not None
    starts = [int(np.flatnonzero(one)[0]) for one in days.T]
    assert starts == [229, 240, 379, 379], "30 days; after the unknown day; 180 days after snow, or what may be snow"
    assert not days[300:330, 0].any() and days[330:, 0].all() and days[229:300, 0].all()
    young = weather(rain, temperature).isel(time=slice(200, 378))
    assert recession_days(young) is None, "snow that fell before the record may melt"
    rain[:] = 2.0
    assert recession_days(weather(rain, temperature)) is None
    assert recession_days(weather(rain, temperature).drop_vars("temperature")) is None
    assert recession_days(weather(rain, temperature).rename(catchment="cell")) is None


def test_flow_falls_or_stays_in_a_recession_from_one_predicted_day_to_the_next() -> None:
    flow = np.array([[5.0, 4.0, 6.0, 3.0, 9.0, 8.0, 9.0]] * 2).T
    recession = np.array([[0, 1, 1, 1, 1, 1, 0]] * 2, bool).T
    predicted = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1, 1]], bool).T
    limited = without_rises(
        np.stack([flow, 2 * flow]), days_without_rise(recession, np.zeros_like(predicted), predicted)
    )
    assert limited[0, :, 0].tolist() == [5, 4, 4, 3, 3, 3, 9]
    assert limited[0, :, 1].tolist() == [5, 4, 6, 3, 3, 3, 9], "a day that was not predicted neither changes nor limits"
    assert np.array_equal(limited[1], 2 * limited[0]) and flow[2, 0] == 6.0, "every quantile; the input is not changed"
    observed = np.zeros_like(predicted)
    observed[3] = True
    assert not days_without_rise(recession, observed, predicted).any(), "within a month of an observed day"


def test_flow_observed_within_a_month_says_more_than_the_weather() -> None:
    observed = np.zeros((100, 2), bool)
    observed[40, 0] = True
    assert np.flatnonzero(~far_from_observed(observed)[:, 0]).tolist() == list(range(10, 71))
    assert far_from_observed(observed)[:, 1].all()


@pytest.mark.parametrize("frost", [False, True])
def test_an_answer_does_not_rise_without_rain(frost: bool) -> None:
    record = virtual_catchments(DAYS, 4, "2001-03-01", 5, missing=False).load()
    record = record.isel(catchment=record["latitude"].values < 58)  # intervals are widened outside Great Britain
    stopped = record.assign(
        precipitation=record["precipitation"].where(record["time"] < record["time"][90], 0.0),
        temperature=xr.full_like(record["temperature"], 1.0 if frost else 12.0),
    )
    answer = hydromae.load("gb-rivers", "cpu", "fp32").predict(simulate(stopped))
    later = answer[["riverflow", "riverflow_quantile"]].isel(time=slice(180, 260)).diff("time")
    rises = [bool((values > 0).any()) for values in later.data_vars.values()]
    assert rises == [frost, frost], "snow may melt; without it, neither the mean nor a quantile rises"
    assert (np.diff(answer["riverflow_quantile"].values, axis=0) >= 0).all()
