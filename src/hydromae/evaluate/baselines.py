"""Baselines that use one river at a time, and the baselines of each task.

Donor methods are in `donor_regression` (fitted on training days) and `donors` (for ungauged rivers).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hydromae.evaluate.answers import river_flow, with_predictions
from hydromae.evaluate.donor_regression import DonorRidge
from hydromae.evaluate.donors import WeightedDonors, nearest_gauge, two_attribute_donors
from hydromae.inference.own_record import interpolate_log
from hydromae.inference.scenarios import Method

DAYS_OF_YEAR = 366


@dataclass(frozen=True)
class LogInterpolation:
    """Linear interpolation of ln(flow + 0.01 mm/day) between the days before and after a gap.

    It does not predict days before the first or after the last observed flow.
    """

    name: str = "log-interpolation"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict each gap between two observed days."""
        return with_predictions(dataset, interpolate_log(river_flow(dataset))[0])


@dataclass(frozen=True)
class Persistence:
    """The last observed flow of the river. It does not predict days before the first observed flow."""

    name: str = "persistence"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN after an observed day."""
        return with_predictions(dataset, pd.DataFrame(river_flow(dataset)).ffill().to_numpy())


@dataclass(frozen=True)
class Climatology:
    """Mean flow of each day of the year, over the training days within 15 days of it.

    It does not use the flow of the dataset, and does not predict rivers outside the training record.

    Attributes:
        catchments (array (C,)): Catchments of the training record.
        mean (array (366, C)): Mean flow of each day of the year [mm/day].
    """

    catchments: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    name: str = "day-of-year-mean"

    @classmethod
    def fit(cls, training: xr.Dataset, window: int = 31) -> Climatology:
        """Fit the means over `window` days around each day of the year (odd; circular)."""
        flow = river_flow(training)
        total, count = np.zeros((2, DAYS_OF_YEAR, flow.shape[1]))
        row = training["time"].dt.dayofyear.values - 1
        np.add.at(total, row, np.nan_to_num(flow))
        np.add.at(count, row, np.isfinite(flow))
        total, count = _circular_sum(total, window), _circular_sum(count, window)
        mean = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        return cls(training["catchment"].values, mean)

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN by the mean of its day of the year."""
        position = pd.Index(self.catchments).get_indexer(pd.Index(dataset["catchment"].values))
        by_day = self.mean[dataset["time"].dt.dayofyear.values - 1]
        return with_predictions(dataset, np.where(position >= 0, by_day[:, position], np.nan))


def _circular_sum(values: Float[np.ndarray, "Y C"], window: int) -> Float[np.ndarray, "Y C"]:
    """Sum of `window` rows centred on each row; the first row follows the last."""
    half = window // 2
    wrapped = np.concatenate([values[-half:], values, values[:half]]) if half else values
    total = np.concatenate([np.zeros((1, values.shape[1])), wrapped.cumsum(axis=0)])
    return total[window:] - total[:-window]


def fitted_baselines(training: xr.Dataset) -> dict[str, list[Method]]:
    """Baselines of each task, fitted on a training record; those of `ungauged` use the dataset of the question alone."""
    climatology, ridge = Climatology.fit(training), DonorRidge.fit(training)
    return {
        "gap": [LogInterpolation(), ridge, ridge.with_residual(), climatology],
        "ungauged": [WeightedDonors(), two_attribute_donors(), nearest_gauge()],
        "ungauged-limited": [WeightedDonors(), two_attribute_donors(), nearest_gauge()],
        "simulate": [climatology],
        "forecast": [Persistence(), climatology],
        "forecast-blind": [Persistence(), climatology],
    }
