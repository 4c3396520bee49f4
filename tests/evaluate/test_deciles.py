"""Scores by decile of flow: by hand, and of a calibrated forecast."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from hydromae import metrics
from hydromae.evaluate.flow_deciles import by_decile, decile_index

EDGES = np.arange(1.0, 10.0)[:, None] * np.ones(2)


def dataset(**values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({name: (("time", "catchment"), value) for name, value in values.items()})


def test_the_decile_of_a_day_is_that_of_its_river() -> None:
    edges = EDGES * np.array([1.0, 10.0])
    edges = np.column_stack([edges, np.full(9, np.nan)])
    flow = np.array([[0.5, 0.5, 1.0], [9.5, 95.0, 1.0], [1.0, np.nan, 1.0]])
    assert decile_index(flow, edges).tolist() == [[0, 0, -1], [9, 9, -1], [0, -1, -1]]


def test_scores_by_hand() -> None:
    observed = np.array([[0.5, 0.5], [0.2, 9.5], [9.5, 0.1]])
    said = np.array([[0.5, np.nan], [9.9, 9.5], [9.5, 0.1]])
    crps = np.array([[1.0, np.nan], [3.0, 7.0], [5.0, 6.0]])
    inside = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 1.0]])
    days = dataset(crps=crps, coverage50=inside * 0, coverage90=inside)
    found = by_decile(dataset(observed=observed, predicted=said), days, EDGES)
    low, high = found.sel(by="observed", decile=1), found.sel(by="observed", decile=10)
    assert float(low["decile_days"]) == 3 and float(high["decile_days"]) == 2, "what was not answered does not count"
    assert float(low["decile_coverage90"]) == pytest.approx(2 / 3) and float(low["decile_coverage50"]) == 0
    assert float(low["decile_crps"]) == pytest.approx(np.median([(1 + 3) / 2, 6.0]))
    assert float(high["decile_crps"]) == pytest.approx(np.median([5.0, 7.0]))
    said_high = found.sel(by="predicted", decile=10)
    assert float(said_high["decile_days"]) == 3 and float(said_high["decile_coverage90"]) == pytest.approx(2 / 3)
    assert found["decile_crps"].sel(decile=5).isnull().all() and (found["decile_days"].sel(decile=5) == 0).all()


def test_a_calibrated_forecast_is_calibrated_by_predicted_flow_only() -> None:
    generator = np.random.default_rng(1)
    mean = generator.gamma(2.0, 2.0, size=(20000, 2))
    observed = mean * generator.gamma(4.0, 0.25, size=mean.shape)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    coords = {"quantile": levels, "time": pd.date_range("1900-01-01", periods=len(mean))}
    shape = stats.gamma.ppf(levels, 4.0, scale=0.25)[:, None, None]
    quantiles = xr.DataArray(shape * mean, coords, ("quantile", "time", "catchment"))
    truth = xr.DataArray(observed, {"time": coords["time"]}, ("time", "catchment"))
    crps = metrics.crps_of_days(quantiles, truth)
    held = {f"coverage{share}": metrics.covered(quantiles, truth, share / 100) for share in (50, 90)}
    days = xr.Dataset({"crps": crps, **held})
    edges = np.quantile(observed, np.arange(1, 10) / 10, axis=0)
    found = by_decile(dataset(observed=observed, predicted=mean), days, edges)
    np.testing.assert_allclose(found["decile_coverage90"].sel(by="predicted"), 0.9, atol=0.02)
    np.testing.assert_allclose(found["decile_coverage50"].sel(by="predicted"), 0.5, atol=0.03)
    assert found["decile_coverage90"].sel(by="observed", decile=10) < 0.8
    assert float(found["decile_days"].sel(by="predicted").sum()) == mean.size
