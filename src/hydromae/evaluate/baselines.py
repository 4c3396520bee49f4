"""Baselines that use one river at a time, and the baselines of each task.

Donor methods are in `donor_regression` and `boosted_donors` (fitted on training days) and `donors` (for ungauged rivers), the
rainfall-runoff model is in `gr4j`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hydromae.evaluate.answers import catchment_weather, river_flow, with_predictions
from hydromae.evaluate.boosted_donors import BoostedDonors, has_lightgbm
from hydromae.evaluate.donor_regression import DonorRidge
from hydromae.evaluate.donors import WeightedDonors, nearest_gauge, two_attribute_donors
from hydromae.evaluate.gr4j import GR4J, GR4J_WEATHER
from hydromae.evaluate.protocol import QUESTION_NAMES
from hydromae.inference.own_record import interpolate_log
from hydromae.inference.scenarios import Method
from hydromae.progress import warn_user

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


def fitted_baselines(training: xr.Dataset, questions: Sequence[str] = QUESTION_NAMES) -> dict[str, list[Method]]:
    """Baselines of some tasks, fitted on a training record; those of `ungauged` use the dataset of the question alone.

    A baseline that needs a package or a variable that is absent is omitted with a warning.
    """
    climatology = Climatology.fit(training)
    methods: dict[str, list[Method]] = {
        "gap": [LogInterpolation(), climatology],
        "ungauged": [WeightedDonors(), two_attribute_donors(), nearest_gauge()],
        "ungauged-limited": [WeightedDonors(), two_attribute_donors(), nearest_gauge()],
        "simulate": [climatology],
        "forecast": [Persistence(), climatology],
        "forecast-blind": [Persistence(), climatology],
    }
    if "gap" in questions:
        methods["gap"] += _fitted_donor_methods(training)
    if "simulate" in questions:
        methods["simulate"] += _fitted_rainfall_runoff(training)
    return {name: methods[name] for name in questions}


def _fitted_donor_methods(training: xr.Dataset) -> list[Method]:
    """Donor regressions, and the boosted trees on the better of them."""
    ridge, root_ridge = DonorRidge.fit(training), DonorRidge.fit(training, transform="root").with_residual()
    fitted: list[Method] = [ridge, ridge.with_residual(), root_ridge]
    if has_lightgbm():
        return [*fitted, BoostedDonors.fit(training, root_ridge)]
    warn_user("lightgbm", "donor-boosting is not scored: LightGBM is not installed; pip install 'hydromae[peers]'")
    return fitted


def _fitted_rainfall_runoff(training: xr.Dataset) -> list[Method]:
    """GR4J, if the record has its weather."""
    missing_names = [name for name in GR4J_WEATHER if np.isnan(catchment_weather(training, name)).all()]
    if missing_names:
        warn_user("gr4j", f"gr4j is not scored: the record has no {' and no '.join(missing_names)}")
        return []
    return [GR4J.fit(training)]
