"""Gradient-boosted trees on donors, weather and the days beside a gap, for each river; needs LightGBM (`hydromae[peers]`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError
from hydromae.evaluate.answers import river_flow, with_predictions
from hydromae.evaluate.donor_regression import (
    MINIMUM_DAYS,
    RESIDUAL_DECAY,
    DonorRidge,
    autoregressive_mean,
    days_to_known,
    values_at,
)
from hydromae.inference.scenarios import WEATHER
from hydromae.progress import track
from hydromae.store.scaling import undo_transform

if TYPE_CHECKING:
    from lightgbm import Booster

TRAINING_DAYS = 20 * 365
"""The last training days, on which trees are fitted."""
SHIFTS = (-3, -2, -1, 0, 1)
"""Days, counted from the predicted one, whose weather is an input."""
SUMS = (7, 30)
"""Days up to the predicted one over which sums of weather are inputs."""
LONGEST_DISTANCE = 30
"""Days from an end of a gap beyond which its residual is not an input."""
SETTINGS = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "num_threads": 1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
ROUNDS = 150


def has_lightgbm() -> bool:
    """True if LightGBM is installed."""
    return find_spec("lightgbm") is not None


def _import_lightgbm() -> ModuleType:
    """Import LightGBM, or refuse with the way to install it."""
    try:
        import lightgbm
    except ImportError as error:
        raise InputError("donor-boosting needs LightGBM; pip install 'hydromae[peers]'") from error
    return lightgbm


@dataclass(frozen=True)
class BoostedDonors:
    """Donor regression plus boosted trees that predict its residual, in √(mm/day), on training days.

    The trees of a river are fitted when it is predicted, because its donors depend on the gauges that have flow on its
    missing days: they are the donors of most of these days. Inputs of the trees are the root of flow of the donors, the
    regression on the day and on the days beside it, the residuals at both ends of the gap with the distances to them, and the
    weather of the days around. On a training day, the distances are drawn from those of the missing days. Missing days
    without flow at one of the donors, and rivers with fewer than 3 years of training days, are predicted by the regression
    with residual.

    Attributes:
        ridge: Donor regression of the root of flow, with residual.
        weather (array (3, days, C)): Weather of the last days of the training record, on which trees are fitted.
        rivers (array): Names of the catchments with trees; None: all.
    """

    ridge: DonorRidge
    weather: np.ndarray = field(repr=False)
    rivers: np.ndarray | None = field(default=None, repr=False)
    name: str = "donor-boosting"

    @classmethod
    def fit(cls, training: xr.Dataset, ridge: DonorRidge) -> BoostedDonors:
        """Keep the weather of a training record; trees are fitted by `predict`.

        Args:
            training: The record on which `ridge` was fitted.
            ridge: Donor regression of the root of flow, with residual.

        Raises:
            InputError: LightGBM is not installed.
        """
        _import_lightgbm()
        return cls(ridge, _weather(training.isel(time=slice(-TRAINING_DAYS, None))))

    def only(self, rivers: np.ndarray) -> BoostedDonors:
        """The same method with trees for some rivers; the others are predicted by the regression with residual."""
        return replace(self, rivers=rivers)

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN of the rivers of the training record."""
        values, position = self.ridge.transformed(dataset)
        weather = _weather(dataset)
        predicted = np.full((len(values), dataset.sizes["catchment"]), np.nan)
        has_trees = self.rivers is None or np.isin(self.ridge.catchments, self.rivers)
        missing = np.flatnonzero(has_trees & (position >= 0) & np.isnan(values).any(axis=0))
        for river in track(missing, f"rivers, {self.name}", len(missing)):
            predicted[:, position[river]] = self._predict_river(values, weather[:, :, position[river]], int(river))
        fallback = river_flow(self.ridge.predict(dataset))
        flow = undo_transform("root", predicted)
        return with_predictions(dataset, np.where(np.isnan(flow), fallback, flow))

    def _predict_river(
        self, values: Float[np.ndarray, "T C"], weather: Float[np.ndarray, "3 T"], river: int
    ) -> Float[np.ndarray, " T"]:
        """Root of flow of one river on the missing days with its donors; NaN on other days."""
        predicted = np.full(len(values), np.nan)
        donors, days = max(self.ridge.donor_sets(values, river), key=lambda part: len(part[1]))
        training_values = self.ridge.values[:, -self.weather.shape[1] :].T
        trained = _Series.of(self.ridge, training_values, self.weather[:, :, river], donors, river)
        training_days = np.flatnonzero(np.isfinite(trained.residual))
        if len(donors) == 0 or len(training_days) < MINIMUM_DAYS:
            return predicted
        series = _Series.of(self.ridge, values, weather, donors, river)
        before, after = days_to_known(series.residual, days)
        drawn = np.random.default_rng(0).integers(len(days), size=len(training_days))
        inputs = trained.inputs(training_days, before[drawn], after[drawn])
        booster = _boost(inputs, trained.residual[training_days])
        predicted[days] = series.regressed[days] + booster.predict(series.inputs(days, before, after))
        return predicted


@dataclass(frozen=True)
class _Series:
    """What the trees of one river read, day by day.

    Attributes:
        donor_values (array (T, K)): Root of flow of the donors.
        regressed (array (T,)): Root of flow by the donor regression.
        residual (array (T,)): Root of observed flow minus `regressed`; NaN without flow.
        weather (array (T, W)): Weather of the days around each day.
    """

    donor_values: np.ndarray
    regressed: np.ndarray
    residual: np.ndarray
    weather: np.ndarray

    @classmethod
    def of(
        cls,
        ridge: DonorRidge,
        values: Float[np.ndarray, "T C"],
        weather: Float[np.ndarray, "3 T"],
        donors: Int[np.ndarray, " K"],
        river: int,
    ) -> _Series:
        """The series of a river in a record with transformed flow `values`."""
        donor_values = values[:, donors].astype(np.float64)
        regressed = ridge.regress(donor_values, donors, river)
        return cls(donor_values, regressed, values[:, river] - regressed, _surroundings(weather))

    def inputs(
        self, days: Int[np.ndarray, " N"], before: Int[np.ndarray, " N"], after: Int[np.ndarray, " N"]
    ) -> Float[np.ndarray, "N F"]:
        """Inputs of the trees on some days, with the residuals `before` days earlier and `after` days later."""
        ends = []
        for distance, day in ((before, days - before), (after, days + after)):
            end = np.where(distance <= LONGEST_DISTANCE, values_at(self.residual, day), np.nan)
            ends += [end, np.where(np.isfinite(end), distance, np.nan)]
        carried = autoregressive_mean(ends[0], before, ends[2], after, RESIDUAL_DECAY["root"])
        beside = [values_at(self.regressed, days + shift) for shift in (-1, 0, 1)]
        return np.column_stack([*ends, carried, *beside, self.donor_values[days], self.weather[days]])


def _boost(inputs: Float[np.ndarray, "N F"], target: Float[np.ndarray, " N"]) -> Booster:
    """Trees that predict `target`, fitted with fixed settings and seed."""
    lightgbm = _import_lightgbm()
    return lightgbm.train(SETTINGS, lightgbm.Dataset(inputs, target), ROUNDS)


def _weather(dataset: xr.Dataset) -> Float[np.ndarray, "3 T C"]:
    """The weather variables of a dataset; NaN if it does not have one."""
    shape = dataset.sizes["time"], dataset.sizes["catchment"]
    arrays = [
        dataset[name].transpose("time", "catchment").values.astype(np.float32)
        if name in dataset
        else np.full(shape, np.nan, np.float32)
        for name in WEATHER
    ]
    return np.stack(arrays)


def _surroundings(weather: Float[np.ndarray, "3 T"]) -> Float[np.ndarray, "T W"]:
    """Weather of each day and of the days around, and its sums over the days before; NaN outside the series."""
    days = np.arange(weather.shape[1])
    columns = [values_at(one, days + shift) for one in weather for shift in SHIFTS]
    columns += [np.asarray(pd.Series(one).rolling(length).sum()) for one in weather for length in SUMS]
    return np.column_stack(columns)
