"""Derived quantities against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.datasets.derived import (
    BlockKriging,
    Bucket,
    day_of_year_mean,
    oudin_evaporation,
    rain_maps,
    temperature_maps,
)
from hydromae.footprints import disc_footprints


def temperature(values, days):
    return xr.DataArray(np.asarray(values, float), {"time": days, "catchment": [1]}, ("time", "catchment"))


def test_evaporation_follows_temperature():
    """Constant 10 °C in training: E = 3 × (T + 5) / 15, so 25 °C doubles it and −5 °C or colder stops it."""
    days = pd.date_range("2000-01-01", "2001-01-04")
    values = np.full((len(days), 1), 10.0)
    values[-4:, 0] = [10, 25, -5, -20]
    clim = np.full((365, 1), 3.0)
    result = oudin_evaporation(temperature(values, days), clim, ("2000-01-01", "2000-12-31"))
    np.testing.assert_allclose(result.values[-4:, 0], [3, 6, 0, 0], rtol=1e-6)
    assert result.values[365, 0] == pytest.approx(3.0)
    assert "not measured" in result.attrs["derived"]


def test_day_of_year_mean_is_smoothed_around_the_year_and_skips_nan():
    values = np.zeros((365, 2))
    values[0, 0] = 31.0
    values[:, 1] = np.nan
    values[100, 1] = 4.0
    mean = day_of_year_mean(values, np.arange(365))
    np.testing.assert_allclose(mean[[0, 15, 350, 364], 0], 1.0)
    np.testing.assert_allclose(mean[[16, 349], 0], 0.0, atol=1e-12)
    np.testing.assert_allclose(mean[[85, 115], 1], 4.0)


@pytest.fixture(scope="module")
def kriging():
    """A line of 40 cells of 5 km, and 5 catchments on it of 25 km² (the last of 75)."""
    east, north = 5000.0 * np.arange(40), np.zeros(40)
    places = np.array([10e3, 50e3, 100e3, 150e3, 180e3])
    area = np.array([25.0, 25.0, 25.0, 25.0, np.pi * 36])
    footprints = disc_footprints(east, north, places, np.zeros(5), area, 5000.0)
    return BlockKriging.build(footprints, east, north, 5, noise=1e-6), places


def test_kriging_is_exact_where_there_is_a_catchment_and_keeps_a_constant(kriging):
    krig, places = kriging
    np.testing.assert_allclose(krig.weights.sum(1), 1.0, atol=2e-3)
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    maps = krig.maps(values)
    cells = (places[:4] / 5000).astype(int)
    np.testing.assert_allclose(maps[0, cells], values[0, :4], atol=5e-3)
    np.testing.assert_allclose(maps[1], 7.0, atol=2e-2)
    # the large catchment sees the mean of its three cells
    assert maps[0, 35:38].mean() == pytest.approx(5.0, abs=5e-3)


def test_kriging_from_two_points_by_hand():
    """Two gauges on a line: the cell halfway weighs them equally, a cell at a gauge is the gauge."""
    east = np.array([0.0, 75e3, 150e3])
    footprints = disc_footprints(east, np.zeros(3), east[[0, 2]], np.zeros(2), np.array([1.0, 1.0]), 5000.0)
    krig = BlockKriging.build(footprints, east, np.zeros(3), 2, length=150e3, noise=0.0)
    np.testing.assert_allclose(krig.weights, [[1, 0], [0.5, 0.5], [0, 1]], atol=2e-3)


def test_an_unobserved_catchment_changes_nothing_that_kriging_without_it_says(kriging):
    krig, places = kriging
    east = 5000.0 * np.arange(40)
    area = np.array([25.0, 25.0, 25.0, np.pi * 36])
    fewer = disc_footprints(east, np.zeros(40), np.delete(places, 1), np.zeros(4), area, 5000.0)
    without = BlockKriging.build(fewer, east, np.zeros(40), 4, noise=1e-6)
    values = np.array([[1.0, np.nan, 4.0, 2.0, 3.0]])
    np.testing.assert_allclose(krig.maps(values), without.maps(np.delete(values, 1, axis=1)), atol=5e-3)
    assert np.isnan(krig.maps(np.full((1, 5), np.nan))).all()


def test_maps_follow_the_normals(kriging):
    krig, _ = kriging
    normal = np.linspace(1, 5, 40)
    rain = rain_maps(krig, np.full((2, 5), 4.0) * [[1], [0]], normal, np.full(5, 2.0))
    np.testing.assert_allclose(rain[0], 2 * normal, rtol=2e-3)
    assert (rain >= 0).all()
    warm = temperature_maps(krig, np.full((1, 5), 9.0), -normal, np.full(5, 8.0))
    np.testing.assert_allclose(warm[0], 1 - normal, atol=5e-3)


def test_bucket_by_hand():
    """A bucket of 100 mm, no drainage: half full, 10 mm of rain, then 2 mm/day at full supply; NaN keeps it."""
    bucket = Bucket(depth=200.0, residual=0.1, saturation=0.6, stress=0.5, drainage=0.0, power=1.0)
    rain = np.array([[10.0], [0.0], [np.nan], [200.0]])
    content, storage = bucket.run(rain, np.full((4, 1), 2.0), np.array([50.0], np.float32))
    np.testing.assert_allclose(content[:, 0], [0.1 + 58 / 200, 0.1 + 56 / 200, np.nan, 0.1 + 98 / 200], rtol=1e-6)
    assert storage[0] == pytest.approx(98.0)


def test_bucket_stress_and_drainage_by_hand():
    """At a quarter full with stress 0.5 half the demand is met; at full, drainage takes its maximum."""
    bucket = Bucket(depth=200.0, residual=0.1, saturation=0.6, stress=0.5, drainage=0.0, power=1.0)
    _, dry = bucket.run(np.zeros((1, 1)), np.full((1, 1), 4.0), np.array([25.0], np.float32))
    assert dry[0] == pytest.approx(23.0)
    draining = Bucket(depth=200.0, residual=0.1, saturation=0.6, stress=0.5, drainage=8.0, power=3.0)
    _, wet = draining.run(np.zeros((1, 2)), np.zeros((1, 2)), np.array([100.0, 50.0], np.float32))
    np.testing.assert_allclose(wet, [92.0, 49.0])


def test_bucket_carries_on_where_it_stopped():
    generator = np.random.default_rng(3)
    rain, demand = generator.gamma(0.5, 6, (200, 4)), generator.uniform(0, 4, (200, 4))
    bucket = Bucket()
    whole, end = bucket.run(rain, demand, bucket.start(4))
    first, storage = bucket.run(rain[:90], demand[:90], bucket.start(4))
    second, last = bucket.run(rain[90:], demand[90:], storage)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(last, end)
    assert whole.min() >= bucket.residual
    assert whole.max() <= bucket.saturation
