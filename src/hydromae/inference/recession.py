"""Recession without rain: predicted flow does not rise after a month without rain and without snow to melt.

The rule is for simulations and long gaps: flow that was observed within a month says more than the weather. In the training
record such spells are rare and short, so a model does not learn from it how a river recedes for months (docs/experiments.md,
"Rise of flow without rain").
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batching.shared_arrays import series_name

DRY_DAYS, DRY_RAIN = 30, 1.0
"""Days before which rain no longer raises flow, and most rain in them [mm]."""
SNOW_DAYS, SNOW_BELOW = 180, 3.0
"""Days for which snow may remain, and temperature of a day below which precipitation may be snow [°C]."""


def recession_days(dataset: xr.Dataset) -> Bool[np.ndarray, "T C"] | None:
    """Days that end `DRY_DAYS` known days with less than `DRY_RAIN`, without snowfall in `SNOW_DAYS`; None without any.

    In 1970 to 2014, 1,404 of 9.6 million days of British catchments were such days. In 70 % of their 314 spells observed flow
    rose by at most 10 %.
    """
    names = [series_name(dataset, name) for name in ("precipitation", "temperature")]
    if any(name not in dataset or set(dataset[name].dims) != {"time", "catchment"} for name in names):
        return None
    rain, temperature = (dataset[name].transpose("time", "catchment").values for name in names)
    is_dry = _rolling_sum(rain, DRY_DAYS, DRY_DAYS) < DRY_RAIN  # False with an unknown day
    if not is_dry.any():
        return None
    may_snow = (rain > 0) & ~(temperature >= SNOW_BELOW)
    is_dry &= _rolling_sum(may_snow.astype(np.float32), SNOW_DAYS, SNOW_DAYS) < 0.5
    return is_dry if is_dry.any() else None


def far_from_observed(is_observed: Bool[np.ndarray, "T C"]) -> Bool[np.ndarray, "T C"]:
    """Days without an observed flow in the `DRY_DAYS` days before and after."""
    counts = pd.DataFrame(is_observed.astype(np.float32)).rolling(2 * DRY_DAYS + 1, min_periods=1, center=True).sum()
    return np.asarray(counts) < 0.5


def _rolling_sum(values: Float[np.ndarray, "T C"], days: int, least: int) -> Float[np.ndarray, "T C"]:
    """Sum over the last days; NaN where fewer than `least` of them exist and are known."""
    return np.asarray(pd.DataFrame(values).rolling(days, min_periods=least).sum())


def days_without_rise(
    is_recession: Bool[np.ndarray, "T C"], is_observed: Bool[np.ndarray, "T C"], is_predicted: Bool[np.ndarray, "T C"]
) -> Bool[np.ndarray, "T C"]:
    """Days of recession that follow a predicted day; both are predicted and far from an observed flow."""
    is_free = far_from_observed(is_observed) & is_predicted
    may_not_rise = is_recession & is_free
    may_not_rise[1:] &= is_free[:-1]
    may_not_rise[0] = False
    return may_not_rise


def without_rises(
    values: Float[np.ndarray, "*levels T C"], may_not_rise: Bool[np.ndarray, "T C"]
) -> Float[np.ndarray, "*levels T C"]:
    """Flow, or quantiles of it, that is not above that of the day before on some days."""
    limited = values.copy()
    for day in np.flatnonzero(may_not_rise.any(axis=1)):
        lowest = np.minimum(limited[..., day, :], limited[..., day - 1, :])
        limited[..., day, :] = np.where(may_not_rise[day], lowest, limited[..., day, :])
    return limited
