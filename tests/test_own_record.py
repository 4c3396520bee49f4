"""Rivers outside the training area: pseudo-gaps in their own record correct the mean and the intervals in gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hydromae
from hydromae.inference.own_record import (
    CHECK_LEVELS,
    PRIOR_DAYS,
    UNGAUGED_FACTOR,
    adjust_to_own_record,
    fit_adjustment,
    interpolate_log,
    pseudo_gaps,
)
from hydromae.inference.single_pass import predict_once
from hydromae.inference.windows import no_progress
from hydromae.virtual import virtual_catchments

DAYS = 480


def test_pseudo_gaps_lie_inside_segments_of_observed_days() -> None:
    """60 observed days are five segments; the first river hides the fourth, the fourth river the first and the last."""
    observed = np.ones((60, 4), bool)
    observed[50:, 0] = False
    hidden = pseudo_gaps(observed)
    assert np.flatnonzero(hidden[:, 0]).tolist() == list(range(37, 47))
    assert np.flatnonzero(hidden[:, 3]).tolist() == [*range(1, 11), *range(49, 59)]
    runs = np.tile([True] * 8 + [False] * 3, 8)[:, None]
    assert np.flatnonzero(pseudo_gaps(runs)[:, 0]).tolist() == [*range(34, 40), *range(78, 84)], (
        "a short run keeps its ends"
    )


def test_interpolation_is_linear_in_the_logarithm() -> None:
    flow = np.array([[np.nan], [0.99], [np.nan], [np.nan], [7.99], [np.nan]])
    values, gap = interpolate_log(flow)
    np.testing.assert_allclose(values[:, 0], [np.nan, 0.99, 1.99, 3.99, 7.99, np.nan], rtol=1e-12)
    assert gap[2:4, 0].tolist() == [2, 2]


@pytest.mark.parametrize(("share", "offset"), [(0.0, 3.0), (1.0, 3.0), (0.5, 3.0)])
def test_weights_are_those_of_least_squares(share: float, offset: float) -> None:
    """The truth is `share` of the way from interpolation to the model, 3 mm/day apart on each of 100 hidden days."""
    hidden = np.zeros((400, 1), bool)
    hidden[(np.arange(400) % 40) // 10 == 1] = True
    base = np.where(np.arange(400)[:, None] % 40 < 20, 5.0, 5.0)
    flow = base + np.where(hidden, share * offset, 0.0)
    quantiles = np.stack([flow, flow, flow]) + np.array([-1.0, 0.0, 1.0])[:, None, None]
    result = fit_adjustment(flow, hidden, np.where(hidden, np.nan, flow), base + offset, quantiles)
    assert result.weight[0] == pytest.approx(share, abs=1e-6), "hidden flow does not vary, so the prior has no weight"


def test_a_varying_river_keeps_the_model_longer() -> None:
    """100 hidden days whose flow has the variance 1; the interpolation is right, the model 1 mm/day above it."""
    hidden = np.zeros((400, 1), bool)
    hidden[(np.arange(400) % 40) // 10 == 1] = True
    flow = np.where(np.arange(400)[:, None] // 40 % 2 == 0, 4.0, 6.0)
    quantiles = np.stack([flow + shift for shift in (0.0, 1.0, 2.0)])
    result = fit_adjustment(flow, hidden, np.where(hidden, np.nan, flow), flow + 1, quantiles)
    assert result.weight[0] == pytest.approx(PRIOR_DAYS / (100 + PRIOR_DAYS), rel=1e-6)


def test_factors_make_ninety_percent_of_the_pseudo_gaps_lie_inside() -> None:
    """Intervals of ±0.1 in the root of flow; 100 errors from −1 to 1: 90 % of them are below 0.9, a factor of 9."""
    hidden = np.zeros((400, 1), bool)
    hidden[(np.arange(400) % 40) // 10 == 1] = True
    error = np.zeros((400, 1))
    error[hidden] = np.linspace(-1, 1, 100)
    root = np.full((400, 1), 5.0)
    quantiles = np.stack([(root + shift) ** 2 for shift in (-0.1, 0.0, 0.1)])
    flow = (root + error) ** 2
    result = fit_adjustment(flow, hidden, np.where(hidden, np.nan, 25.0), root**2, quantiles)
    assert result.factor[0] == pytest.approx(9, rel=0.02)


def abroad(count: int = 3) -> tuple[xr.Dataset, np.ndarray]:
    """Rivers in Chile whose flow is a slow wave without any relation to their weather; gaps of ten days every forty."""
    record = virtual_catchments(DAYS, 7, "2001-01-01", count, missing=False)
    record = record.drop_vars([n for n in record.variables if "northing" in str(n) or "easting" in str(n)])
    flow = 20 + 10 * np.sin(np.arange(DAYS) / 40)[:, None] + np.arange(count)
    gap = (np.arange(DAYS)[:, None] + 13 * np.arange(count)) % 40 < 10
    place = {"latitude": ("catchment", -33.4 + 0.1 * np.arange(count)), "longitude": ("catchment", [-70.6] * count)}
    attrs = record["riverflow"].attrs
    asked = record.assign(place | {"riverflow": (("time", "catchment"), np.where(gap, np.nan, flow), attrs)})
    return asked, flow


def test_a_river_that_the_model_misses_is_interpolated_and_its_intervals_hold() -> None:
    model = hydromae.load("gb-rivers", "cpu", "fp32")
    asked, flow = abroad()
    levels = [0.05, 0.95]
    plain = predict_once(model, asked, [*levels], no_progress)
    answer = model.predict(asked, quantiles=levels)
    gap = np.isnan(asked["riverflow"].values)
    inner = gap & (interpolate_log(asked["riverflow"].values)[1] < 30)
    before, after = (np.abs(one["riverflow"].values - flow)[inner].mean() for one in (plain, answer))
    assert after < 0.5 * before, (before, after)
    low, high = answer["riverflow_quantile"].transpose("quantile", "time", "catchment").values
    assert ((flow >= low) & (flow <= high))[inner].mean() > 0.8
    assert answer["quantile"].values.tolist() == levels
    np.testing.assert_array_equal(answer["riverflow"].values[~gap], asked["riverflow"].values[~gap])
    note = answer["riverflow_quantile"].attrs["processing"]
    assert note.startswith("gaps of 3 rivers outside the training area are adjusted by pseudo-gaps in their records")


def test_rivers_inside_the_training_area_are_predicted_once() -> None:
    record, _ = abroad()
    seen: list[pd.Index] = []

    def predict(dataset: xr.Dataset, levels: list[float]) -> xr.Dataset:
        seen.append(dataset.indexes["catchment"])
        quantile = xr.DataArray(np.ones(len(levels)), {"quantile": levels}, "quantile") * dataset["riverflow"].fillna(
            1.0
        )
        return dataset.assign(riverflow=dataset["riverflow"].fillna(1.0), riverflow_quantile=quantile)

    adjust_to_own_record(record, [0.5], np.zeros(3, bool), predict)
    assert len(seen) == 1
    one_of_three = np.array([False, False, True])
    answer = adjust_to_own_record(record, [0.5], one_of_three, predict)
    assert len(seen) == 3 and set(CHECK_LEVELS) > set(answer["quantile"].values)
    changed = (answer["riverflow"].values != predict(record, [0.5])["riverflow"].values).any(axis=0)
    assert changed.tolist() == [False, False, True], "only the river outside"
    adjust_to_own_record(record.isel(time=slice(0, 40)), [0.5], one_of_three, predict)
    assert len(seen) == 5, "too few days for a check: predicted once"


def test_intervals_of_a_river_without_flow_are_wider_outside_the_training_area() -> None:
    """Its distances from the median, in the root of flow, are multiplied; mean and median stay."""
    model = hydromae.load("gb-rivers", "cpu", "fp32")
    record, _ = abroad(2)
    asked = record.isel(time=slice(0, 400)).assign(riverflow=record["riverflow"].isel(time=slice(0, 400)) * np.nan)
    levels = [0.05, 0.5, 0.95]
    plain, answer = predict_once(model, asked, [*levels], no_progress), model.predict(asked, quantiles=[0.05, 0.95])
    np.testing.assert_array_equal(answer["riverflow"], plain["riverflow"])
    low, median, high = np.sqrt(plain["riverflow_quantile"].transpose("quantile", "time", "catchment").values)
    wider = np.sqrt(answer["riverflow_quantile"].transpose("quantile", "time", "catchment").values)
    np.testing.assert_allclose(wider[1] - median, UNGAUGED_FACTOR * (high - median), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(wider[0], np.maximum(median - UNGAUGED_FACTOR * (median - low), 0), rtol=1e-3, atol=1e-3)
    note = f"intervals of 2 rivers outside the training area without flow are × {UNGAUGED_FACTOR}"
    assert answer["riverflow_quantile"].attrs["processing"].endswith(note)
