"""Baselines against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.evaluate import baselines
from hydromae.evaluate.donor_regression import DonorRidge, interpolated_residual
from hydromae.evaluate.donors import WeightedDonors, gauge_positions, nearest_gauge
from hydromae.io.origin import Origin

NAN = float("nan")


def record(flow: np.ndarray, first: str = "2001-01-01", **variables) -> xr.Dataset:
    """A record of flow (time, catchment) with gauges 10 km apart along a line."""
    days, rivers = flow.shape
    coords = {
        "time": pd.date_range(first, periods=days),
        "catchment": np.arange(rivers) + 1,
        "easting": ("catchment", 10_000.0 * np.arange(rivers)),
        "northing": ("catchment", np.zeros(rivers)),
    }
    return xr.Dataset({"riverflow": (("time", "catchment"), flow), **variables}, coords=coords)


def test_interpolation_is_linear_in_the_logarithm_and_does_not_extrapolate():
    # ln(q + 0.01) from ln(0.01) to ln(0.16) in four steps: the factor of q + 0.01 is 2 a day.
    flow = np.array([NAN, 0.0, NAN, NAN, NAN, 0.15, NAN])[:, None]
    answer = baselines.LogInterpolation().predict(record(flow))
    np.testing.assert_allclose(answer["riverflow"].values[:, 0], [NAN, 0.0, 0.01, 0.03, 0.07, 0.15, NAN], atol=1e-12)
    kinds = [Origin.FILLED, Origin.OBSERVED, *[Origin.FILLED] * 3, Origin.OBSERVED, Origin.FORECAST]
    assert answer["riverflow_origin"].values[:, 0].tolist() == kinds


def test_persistence_repeats_the_last_observed_flow():
    answer = baselines.Persistence().predict(record(np.array([[NAN, 1], [2, NAN], [NAN, NAN]])))
    np.testing.assert_array_equal(answer["riverflow"].values, [[NAN, 1], [2, 1], [2, 1]])


def test_persistence_does_not_predict_an_ungauged_river():
    answer = baselines.Persistence().predict(record(np.full((2, 1), NAN)))
    assert answer["riverflow"].isnull().all()
    assert (answer["riverflow_origin"] == Origin.UNGAUGED).all()


def test_climatology_is_a_circular_mean_over_days_of_the_year():
    # Two years of 0, but 31 mm/day on 1 January of both. A window of 31 days that holds it has 62/62 mm/day, or 62/60
    # where it reaches over the end of the year, since neither year has a day 366.
    times = pd.date_range("2001-01-01", "2002-12-31")
    flow = np.where((times.month == 1) & (times.day == 1), 31.0, 0.0)[:, None]
    climatology = baselines.Climatology.fit(record(flow))
    asked = record(np.full((730, 1), NAN), first="2005-01-01")
    answer = climatology.predict(asked)["riverflow"].values[:, 0]
    np.testing.assert_allclose(answer[:15], 62 / 60)
    np.testing.assert_allclose(answer[15], 1.0)
    np.testing.assert_allclose(answer[364], 62 / 60)
    assert answer[16:340].max() == 0.0


def test_climatology_does_not_predict_rivers_outside_the_training_record():
    climatology = baselines.Climatology.fit(record(np.ones((400, 2))))
    answer = climatology.predict(record(np.full((3, 3), NAN)))
    np.testing.assert_allclose(answer["riverflow"].values, [[1, 1, NAN]] * 3)


def ridge_record(days: int = 1500) -> xr.Dataset:
    """Three rivers: the second is the first doubled (with the log offset), the third follows the first loosely."""
    generator = np.random.default_rng(1)
    logs = generator.normal(size=days)
    first, other = np.exp(logs), np.exp(0.5 * logs + generator.normal(size=days))
    return record(np.stack([first, 2 * (first + 0.01) - 0.01, other], axis=1))


def test_donor_ridge_finds_a_relation_that_is_exact_in_the_logarithm():
    training = ridge_record()
    ridge = DonorRidge.fit(training, donors=1)
    asked = training.copy(deep=True)
    asked["riverflow"][100:110, 1] = NAN
    answer = ridge.predict(asked)["riverflow"].values
    # The penalty of 0.003 shrinks the slope to 1/1.003.
    np.testing.assert_allclose(answer[100:110, 1], training["riverflow"].values[100:110, 1], rtol=0.02)
    np.testing.assert_array_equal(answer[:100], training["riverflow"].values[:100])


def test_donor_ridge_uses_the_next_gauge_with_flow_and_needs_at_least_one():
    training = ridge_record()
    ridge = DonorRidge.fit(training, donors=1)
    asked = training.copy(deep=True)
    asked["riverflow"][100:110, :2] = NAN
    asked["riverflow"][105:110, 2] = NAN
    answer = ridge.predict(asked)["riverflow"].values
    logs = np.log(training["riverflow"].values + 0.01)
    slope = np.cov(logs[:, 1], logs[:, 2])[0, 1] / logs[:, 2].var(ddof=1) / 1.003
    expected = np.exp(logs[:, 1].mean() + slope * (logs[100:105, 2] - logs[:, 2].mean())) - 0.01
    np.testing.assert_allclose(answer[100:105, 1], expected, rtol=1e-4)
    assert np.isnan(answer[105:110]).all()


def test_the_residual_is_interpolated_into_the_gap():
    # The river runs 50 % above what its donor says from day 90 on: the regression misses that, the residual does not.
    training = ridge_record()
    changed = training.copy(deep=True)
    changed["riverflow"][90:120, 1] *= 1.5
    asked = changed.copy(deep=True)
    asked["riverflow"][100:103, 1] = NAN
    plain = DonorRidge.fit(training, donors=1)
    error = [
        np.log(method.predict(asked)["riverflow"].values[101, 1] / changed["riverflow"].values[101, 1])
        for method in (plain, plain.with_residual(0.8))
    ]
    np.testing.assert_allclose(error[0], -np.log(1.5), atol=0.03)
    np.testing.assert_allclose(error[1], -np.log(1.5) * (1 - 2 * 0.64 / (1 + 0.64**2)), atol=0.03)


def test_donor_ridge_does_not_predict_rivers_outside_the_training_record():
    training = ridge_record()
    ridge = DonorRidge.fit(training.isel(catchment=[0, 1]))
    asked = training.copy(deep=True)
    asked["riverflow"][5, :] = [1.0, NAN, NAN]
    answer = ridge.predict(asked)["riverflow"].values[5]
    assert np.isfinite(answer[:2]).all()
    assert np.isnan(answer[2])


def test_residual_decays_from_both_ends_of_a_gap():
    # One end known: 0.8 a day. Both known with residual 1: symmetric, and the middle of 3 days is 2a/(1 + a²), where a
    # is 0.64.
    one = np.array([1.0, NAN, NAN])
    np.testing.assert_allclose(interpolated_residual(one, np.array([1, 2]), 0.8), [0.8, 0.64])
    np.testing.assert_allclose(interpolated_residual(one[::-1], np.array([0, 1]), 0.8), [0.64, 0.8])
    both = np.array([1.0, NAN, NAN, NAN, 1.0])
    inside = interpolated_residual(both, np.array([1, 2, 3]), 0.8)
    np.testing.assert_allclose(inside[1], 2 * 0.64 / (1 + 0.64**2))
    np.testing.assert_allclose(inside[0], inside[2])
    np.testing.assert_array_equal(interpolated_residual(np.full(3, NAN), np.array([0, 1, 2]), 0.8), [0, 0, 0])


def transfer_record() -> xr.Dataset:
    """Four gauges on a line; the first has no flow, rain is 2, 1, 1 and 4 mm/day."""
    flow = np.array([[NAN, 1.0, 4.0, 8.0], [NAN, NAN, 4.0, 8.0], [NAN, NAN, NAN, NAN]])
    rain = np.broadcast_to(np.array([2.0, 1.0, 1.0, 4.0]), flow.shape)
    return record(flow, precipitation=(("time", "catchment"), rain))


def test_nearest_gauge_scales_by_rain_and_skips_gauges_without_flow():
    answer = nearest_gauge().predict(transfer_record())["riverflow"].values[:, 0]
    # Day 0: gauge 2 (1 mm, rain 1 to 2); day 1: gauge 3 (4 mm); day 2: nobody.
    np.testing.assert_allclose(answer, [2.0, 8.0, NAN])


def test_weighted_donors_by_hand():
    answer = WeightedDonors(donors=2, attributes=()).predict(transfer_record())["riverflow"].values[:, 0]
    # Distances 1, 2, 3: day 0 takes 2 (weight 1) and 8 (1/4); day 1 takes 8 (1/4) and 4 (1/9).
    np.testing.assert_allclose(answer, [4 / 1.25, (8 / 4 + 4 / 9) / (1 / 4 + 1 / 9), NAN])


def test_attributes_are_in_the_separation_and_unknown_ones_are_not():
    dataset = transfer_record().assign({"bfihost": ("catchment", [0.0, 1.0, 0.0, 1.0])})
    donors = WeightedDonors(donors=1, attributes=("bfihost", "propwet"), length=1e6)
    # Gauge 3 has the same trait: 4 mm scaled by 2.
    np.testing.assert_allclose(donors.predict(dataset)["riverflow"].values[0, 0], 8.0)
    unknown = dataset.assign({"bfihost": ("catchment", [0.0, 1.0, NAN, 1.0])})
    near = donors.predict(unknown)["riverflow"].values[0, 0]
    np.testing.assert_allclose(near, 8.0)


def test_centroids_are_used_where_both_are_known():
    dataset = transfer_record().assign_coords(
        centroid_easting=("catchment", [0.0, 90_000.0, NAN, 5_000.0]),
        centroid_northing=("catchment", [0.0, 0.0, NAN, 0.0]),
    )
    # Centroid of gauge 4 is 5 km away; gauge 3, without one, stays 20 km away. 8 mm scaled by 2/4.
    np.testing.assert_allclose(nearest_gauge().predict(dataset)["riverflow"].values[0, 0], 4.0)


def test_rivers_without_rain_are_not_scaled():
    dataset = transfer_record().drop_vars("precipitation")
    np.testing.assert_allclose(nearest_gauge().predict(dataset)["riverflow"].values[0, 0], 1.0)


def test_positions_are_computed_from_latitude_and_longitude():
    # The Ordnance Survey's worked example: 52°39'27.2531" N, 1°43'4.5177" E (OSGB36) is TG 51409 13177; WGS 84 differs
    # from OSGB36 by about 100 m, which EPSG:27700 from EPSG:4326 accounts for.
    bare = transfer_record().drop_vars(["easting", "northing"])
    dataset = bare.assign(latitude=("catchment", [52.657977] * 4), longitude=("catchment", [1.716038] * 4))
    np.testing.assert_allclose(gauge_positions(dataset)[0], [651_409.8, 313_177.4], atol=10)
    with pytest.raises(InputError, match="neither easting and northing nor latitude and longitude"):
        gauge_positions(bare)


def test_every_question_has_baselines_and_names_are_unique():
    chosen = baselines.fitted_baselines(ridge_record())
    assert set(chosen) == {"gap", "ungauged", "ungauged-limited", "simulate", "forecast", "forecast-blind"}
    for methods in chosen.values():
        names = [method.name for method in methods]
        assert len(set(names)) == len(names) > 0
