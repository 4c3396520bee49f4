"""Rivers with a few observed days are scaled to them; all others, and records with more days, stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import hydromae
from hydromae.inference.single_pass import predict_once
from hydromae.inference.spot_gaugings import (
    MAX_DAYS,
    NEAR_DAYS,
    PRIOR_DAYS,
    adjust_to_spot_gaugings,
    days_to_nearest,
    fit_factor,
)
from hydromae.inference.windows import no_progress
from synthetic import rivers

LEVELS = [0.05, 0.5, 0.95]


def record_of(flow: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"riverflow": (("time", "catchment"), flow)},
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(len(flow)) * np.timedelta64(1, "D"),
            "catchment": [7, 8, 9],
        },
    )


def constant(record: xr.Dataset, levels: list[float]) -> xr.Dataset:
    """1 mm/day where no flow of the river is read, 2 where some is; quantiles around it."""
    flow = record["riverflow"].values
    mean = np.where(np.isfinite(flow).any(axis=0), 2.0, 1.0) * np.ones_like(flow)
    answer = record.assign(riverflow=record["riverflow"].copy(data=np.where(np.isfinite(flow), flow, mean)))
    return answer.assign(
        riverflow_quantile=(("quantile", "time", "catchment"), np.stack([level + mean for level in levels]) - 0.5)
    ).assign_coords(quantile=levels)


def test_the_factor_is_least_squares_of_roots_with_a_prior() -> None:
    flow, root = np.full((40, 2), np.nan), np.ones((40, 2))
    flow[[3, 19, 35], 0] = 4.0
    expected = (3 * 2.0 + PRIOR_DAYS) / (3 + PRIOR_DAYS)
    assert fit_factor(flow, root) == pytest.approx([expected, 1.0])
    flow[[1, 2], 0] = 4.0  # three days in a row count as one
    assert fit_factor(flow, root) == pytest.approx([expected, 1.0])
    flow[:, 0] = 1e6
    assert fit_factor(flow, root)[0] ** 2 == pytest.approx(10.0), "it is limited"


def test_days_to_the_nearest_observed_day() -> None:
    observed = np.zeros((6, 2), bool)
    observed[[1, 5], 0] = True
    assert days_to_nearest(observed).T.tolist() == [[1, 0, 1, 2, 1, 0], [np.inf] * 6]


def test_a_river_with_a_few_days_is_scaled_and_others_stay() -> None:
    flow = np.full((400, 3), np.nan)
    flow[[50, 300], 0] = 4.0  # two gaugings, of twice the root of the prediction without flow
    flow[: MAX_DAYS + 1, 1] = 4.0  # one day more than a few; the last river has none
    record = record_of(flow)
    plain, answer = constant(record, LEVELS), adjust_to_spot_gaugings(record, LEVELS, constant)
    for name in ("riverflow", "riverflow_quantile"):
        assert np.array_equal(answer[name][..., 1:], plain[name][..., 1:])
    factor = (2 * 2.0 + PRIOR_DAYS) / (2 + PRIOR_DAYS)
    assert answer["riverflow"].values[[50, 300], 0].tolist() == [4.0, 4.0]
    assert answer["riverflow"].values[150, 0] == pytest.approx(factor**2, rel=1e-6)
    near = np.exp(-1 / NEAR_DAYS)
    assert answer["riverflow"].values[51, 0] == pytest.approx((near * np.sqrt(2) + (1 - near) * factor) ** 2)
    assert answer["riverflow_quantile"].values[:, 150, 0] == pytest.approx(
        factor**2 * np.array([0.55, 1.0, 1.45]), rel=1e-6
    )
    assert answer["riverflow_quantile"].attrs["processing"] == (
        "rivers with 2 observed days, 1 in all: flow of an ungauged river × 1.78, from them"
    )


def test_a_short_record_and_one_without_flow_stay_as_they_are() -> None:
    flow = np.full((20, 3), np.nan)
    flow[[3, 7], 0] = 4.0  # a tenth of the days
    record = record_of(flow)
    assert adjust_to_spot_gaugings(record, LEVELS, constant).identical(constant(record, LEVELS))
    empty = record.drop_vars("riverflow")
    assert adjust_to_spot_gaugings(empty, LEVELS, lambda one, _: one).identical(empty)


def test_gaugings_of_the_shipped_model_move_the_other_days_towards_the_truth() -> None:
    model, record = hydromae.load("gb-rivers", "cpu"), rivers(4, 400, seed=3)
    record["riverflow"] = record["riverflow"].transpose("time", "catchment").copy()
    record["riverflow"][:, 0] = np.nan
    ungauged = model.predict(record)["riverflow"].transpose("time", "catchment").values[:, 0]
    days, truth = [40, 130, 220, 310, 370], 4 * ungauged  # a river that the model misses by a factor
    record["riverflow"][days, 0] = truth[days]
    answer = model.predict(record)["riverflow"].transpose("time", "catchment").values[:, 0]
    once = predict_once(model, record, [0.5], no_progress)["riverflow"].transpose("time", "catchment").values[:, 0]
    others = np.setdiff1d(np.arange(60, 400), days)
    errors = [np.abs(np.log(one[others] / truth[others])).mean() for one in (answer, once, ungauged)]
    assert errors[0] < 0.8 * errors[1] and errors[0] < 0.8 * errors[2]
