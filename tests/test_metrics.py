"""Metrics against values worked out by hand."""

import numpy as np
import pytest
import xarray as xr

from hydromae import metrics

NAN = float("nan")


def series(*columns: list[float]) -> xr.DataArray:
    """Columns of daily values as (time, catchment)."""
    return xr.DataArray(np.array(columns).T, dims=("time", "catchment"))


def test_nse_by_hand_and_only_on_days_known_to_both():
    # Paired days of column 0: truth 1, 2, 3 and answers 1, 3, 3: error 1, spread 2. Column 1: as good as the mean.
    truth = series([1, 2, 3, NAN, 9], [1, 2, 3, NAN, 9])
    answer = series([1, 3, 3, 50, NAN], [2, 2, 2, 50, NAN])
    np.testing.assert_allclose(metrics.nse(answer, truth), [0.5, 0.0])


def test_nse_is_nan_where_the_river_never_changes_or_is_unknown():
    truth = series([1, 1, 1], [NAN, NAN, NAN], [1, NAN, 2])
    answer = series([1, 2, 1], [1, 2, 3], [1, 1, NAN])
    assert metrics.nse(answer, truth).isnull().all()


def test_kge_by_hand():
    # Doubling: r = 1, alpha = beta = 2, so 1 - sqrt(2). Reversing: r = -1, alpha = beta = 1, so 1 - 2.
    truth = series([1, 2, 3], [1, 2, 3], [1, 2, 3])
    answer = series([2, 4, 6], [3, 2, 1], [1, 2, 3])
    np.testing.assert_allclose(metrics.kge(answer, truth), [1 - np.sqrt(2), -1.0, 1.0])


def test_kge_is_nan_for_a_constant_prediction():
    assert np.isnan(metrics.kge(series([2, 2, 2]), series([1, 2, 3]))).all()


def test_crps_of_one_quantile_is_the_absolute_error():
    # The median alone stands for all levels: 2 * 1 * pinball(0.5) = |q - o|; errors 1, 2 and 0.
    quantiles = xr.DataArray(
        [[[2.0], [4.0], [5.0]]], dims=("quantile", "time", "catchment"), coords={"quantile": [0.5]}
    )
    np.testing.assert_allclose(metrics.crps(quantiles, series([1, 6, 5])), [1.0])


def test_crps_of_many_levels_reaches_the_closed_form_of_a_uniform_distribution():
    # CRPS of U(0, 1) at o is o^3/3 + (1 - o)^3/3: at 0.5 it is 1/12, at 0 it is 1/3; mean of the two is 5/24.
    levels = (np.arange(200) + 0.5) / 200
    quantiles = xr.DataArray(levels, dims="quantile", coords={"quantile": levels})
    quantiles = quantiles.expand_dims(time=2, catchment=1).transpose("quantile", "time", "catchment")
    np.testing.assert_allclose(metrics.crps(quantiles, series([0.5, 0.0])), [5 / 24], atol=1e-5)


def test_crps_does_not_depend_on_the_order_of_levels():
    quantiles = xr.DataArray(
        [[[1.0]], [[2.0]], [[4.0]]], dims=("quantile", "time", "catchment"), coords={"quantile": [0.1, 0.5, 0.9]}
    )
    # Levels stand for 0-0.3, 0.3-0.7, 0.7-1; pinball at o = 3: 0.1*2, 0.5*1, 0.1*1.
    expected = 2 * (0.3 * 0.2 + 0.4 * 0.5 + 0.3 * 0.1)
    truth = series([3])
    np.testing.assert_allclose(metrics.crps(quantiles, truth), [expected])
    np.testing.assert_allclose(metrics.crps(quantiles.isel(quantile=[2, 0, 1]), truth), [expected])


def test_coverage_counts_observed_days_inside():
    bounds = np.array([[1.0] * 5, [2.0] * 5, [3.0] * 5])[:, :, None]
    quantiles = xr.DataArray(bounds, dims=("quantile", "time", "catchment"), coords={"quantile": [0.25, 0.5, 0.75]})
    truth = series([1.0, 3.0, 3.1, 0.9, NAN])
    np.testing.assert_allclose(metrics.coverage(quantiles, truth, 0.5), [0.5])
    with pytest.raises(KeyError):
        metrics.coverage(quantiles, truth, 0.9)


def test_contingency_by_hand():
    # Column 0: 2 hits, 1 miss, 1 false alarm, 1 quiet day, 1 unknown. Column 1: nothing happened, nothing warned of.
    happened = series([1, 1, 1, 0, 0, NAN], [0] * 6)
    warned = series([1, 1, 0, 1, 0, 1], [0] * 6)
    scores = metrics.contingency(warned, happened)
    np.testing.assert_allclose(scores["csi"], [0.5, NAN])
    np.testing.assert_allclose(scores["pod"], [2 / 3, NAN])
    np.testing.assert_allclose(scores["far"], [1 / 3, NAN])


def test_brier_by_hand():
    # (0.8 - 1)^2, (0.3 - 0)^2 and one unknown day.
    np.testing.assert_allclose(metrics.brier(series([0.8, 0.3, 0.5]), series([1, 0, NAN])), [(0.04 + 0.09) / 2])
