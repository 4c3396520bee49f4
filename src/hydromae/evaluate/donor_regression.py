"""Donor regression: flow of a river from its best-correlated gauges, fitted on training days."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.evaluate.answers import DONOR_CANDIDATES, first_available, river_flow, with_predictions
from hydromae.progress import track
from hydromae.store.scaling import apply_transform, undo_transform

MINIMUM_DAYS = 3 * 365
RIDGE = 0.003
RESIDUAL_DECAY = {"log": 0.8, "root": 0.9}
"""Autocorrelation of the residual from day to day, by the transform of flow."""


def correlation(values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "C C"]:
    """Pearson correlation of each pair of columns over their common days; −1 if these are fewer than `MINIMUM_DAYS`."""
    has_flow = np.isfinite(values).astype(np.float32)
    mean = np.where(has_flow > 0, values, 0.0).sum(axis=0) / np.maximum(has_flow.sum(axis=0), 1)
    centred = (np.where(has_flow > 0, values - mean, 0.0)).astype(np.float32)
    days = np.maximum(has_flow.T @ has_flow, 1).astype(np.float64)
    first, second = (centred.T @ has_flow) / days, ((centred**2).T @ has_flow) / days
    covariance = (centred.T @ centred) / days - first * first.T
    deviation = np.sqrt(np.maximum(second - first**2, 0.0))
    scale = deviation * deviation.T
    usable = (days >= MINIMUM_DAYS) & (scale > 0)
    return np.where(usable, covariance / np.where(scale > 0, scale, 1.0), -1.0)


@dataclass(frozen=True)
class DonorRidge:
    """Ridge regression of transformed flow on the 8 best-correlated gauges that have flow on the day.

    The coefficients are fitted on the days of the training record with flow of the river and of all its donors. With
    `decay`, the residuals of the days before and after a gap are interpolated (`interpolated_residual`). It does not predict
    rivers outside the training record, or days without flow at the 40 best-correlated gauges.

    Attributes:
        catchments (array (C,)): Catchments of the training record.
        values (array (C, days)): Transformed flow of the training record.
        ranked (array (C, K)): Positions of the other rivers, best correlated first; padded with −1.
        donors: Number of donors of a day.
        transform: Of flow [mm/day] before the regression: log, ln(flow + 0.01), or root, √flow.
        decay: Autocorrelation of the residual from day to day; None does not use the residual.
    """

    catchments: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    ranked: np.ndarray = field(repr=False)
    donors: int = 8
    transform: Literal["log", "root"] = "log"
    decay: float | None = None
    name: str = "donor-ridge"

    @cached_property
    def has_flow(self) -> Bool[np.ndarray, "C days"]:
        """True for training days with flow."""
        return np.isfinite(self.values)

    @classmethod
    def fit(cls, training: xr.Dataset, donors: int = 8, transform: Literal["log", "root"] = "log") -> DonorRidge:
        """Rank the gauges of a training record by the correlation of transformed flow (at least 3 common years)."""
        values = apply_transform(transform, river_flow(training))
        strength = correlation(values)
        np.fill_diagonal(strength, -1.0)
        order = np.argsort(-strength, axis=1)[:, :DONOR_CANDIDATES]
        ranked = np.where(np.take_along_axis(strength, order, axis=1) > 0, order, -1)
        training_values = np.ascontiguousarray(values.T, dtype=np.float32)
        name = "donor-ridge" if transform == "log" else f"donor-ridge-{transform}"
        return cls(training["catchment"].values, training_values, ranked, donors, transform, name=name)

    def with_residual(self, decay: float | None = None) -> DonorRidge:
        """The same regression, with the residual of the days before and after a gap; default decay of the transform."""
        decay = RESIDUAL_DECAY[self.transform] if decay is None else decay
        return replace(self, decay=decay, name=f"{self.name}-residual")

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN of the rivers of the training record from the donors of the day."""
        values, position = self.transformed(dataset)
        predicted = np.full((len(values), dataset.sizes["catchment"]), np.nan)
        missing = np.flatnonzero((position >= 0) & np.isnan(values).any(axis=0))
        for river in track(missing, f"rivers, {self.name}", len(missing)):
            predicted[:, position[river]] = self._predict_river(values, int(river))
        return with_predictions(dataset, undo_transform(self.transform, predicted))

    def transformed(self, dataset: xr.Dataset) -> tuple[Float[np.ndarray, "T C"], Int[np.ndarray, " C"]]:
        """Transformed flow of a dataset in the order of the training catchments, and their positions in it (or −1)."""
        flow = river_flow(dataset)
        position = pd.Index(dataset["catchment"].values).get_indexer(pd.Index(self.catchments))
        values = np.full((len(flow), len(self.catchments)), np.nan)
        values[:, position >= 0] = apply_transform(self.transform, flow[:, position[position >= 0]])
        return values, position

    def donor_sets(
        self, values: Float[np.ndarray, "T C"], river: int
    ) -> list[tuple[Int[np.ndarray, " K"], Int[np.ndarray, " N"]]]:
        """The sets of donors of a river, each with the missing days on which it is used."""
        missing = np.flatnonzero(np.isnan(values[:, river]))
        ranked = self.ranked[river][self.ranked[river] >= 0]
        used = first_available(np.isfinite(values[np.ix_(missing, ranked)]), self.donors)
        sets, set_index = np.unique(used, axis=0, return_inverse=True)
        return [(ranked[chosen], missing[set_index.ravel() == index]) for index, chosen in enumerate(sets)]

    def _predict_river(self, values: Float[np.ndarray, "T C"], river: int) -> Float[np.ndarray, " T"]:
        """Transformed flow of one river on its missing days: one regression for each set of donors."""
        predicted = np.full(len(values), np.nan)
        for donors, days in self.donor_sets(values, river):
            regressed = self.regress(values[:, donors], donors, river)
            predicted[days] = regressed[days]
            if self.decay is not None:
                predicted[days] += interpolated_residual(values[:, river] - regressed, days, self.decay)
        return predicted

    def regress(
        self, donor_values: Float[np.ndarray, "T K"], donors: Int[np.ndarray, " K"], river: int
    ) -> Float[np.ndarray, " T"]:
        """Transformed flow of one river from its donors, fitted on common training days; NaN if these are too few."""
        complete = self.has_flow[river] & self.has_flow[donors].all(axis=0)
        if len(donors) == 0 or complete.sum() < MINIMUM_DAYS / 3:
            return np.full(len(donor_values), np.nan)
        target = self.values[river, complete].astype(np.float64)
        inputs = self.values[donors][:, complete].astype(np.float64)
        donor_means = inputs.mean(axis=1)
        centred = inputs - donor_means[:, None]
        gram = centred @ centred.T
        penalty = RIDGE * np.trace(gram) / len(donors) * np.eye(len(donors))
        slopes = np.linalg.solve(gram + penalty, centred @ (target - target.mean()))
        return (donor_values - donor_means) @ slopes + target.mean()


def interpolated_residual(
    residual: Float[np.ndarray, " T"], days: Int[np.ndarray, " N"], decay: float
) -> Float[np.ndarray, " N"]:
    """Expected residual on `days` from the nearest known residuals before and after (`autoregressive_mean`)."""
    before, after = days_to_known(residual, days)
    first, second = values_at(residual, days - before), values_at(residual, days + after)
    return autoregressive_mean(first, before, second, after, decay)


def days_to_known(
    residual: Float[np.ndarray, " T"], days: Int[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Days to the nearest known residual before and after; a day outside the series where none is known."""
    known = np.isfinite(residual)
    index = np.arange(len(residual))
    before = np.maximum.accumulate(np.where(known, index, -1))[days]
    after = np.minimum.accumulate(np.where(known, index, len(residual))[::-1])[::-1][days]
    return days - before, after - days


def values_at(series: Float[np.ndarray, " T"], days: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """A series on some days; NaN before its first and after its last day."""
    is_inside = (days >= 0) & (days < len(series))
    return np.where(is_inside, series[np.clip(days, 0, len(series) - 1)], np.nan)


def autoregressive_mean(
    first: Float[np.ndarray, " N"],
    before: Int[np.ndarray, " N"],
    second: Float[np.ndarray, " N"],
    after: Int[np.ndarray, " N"],
    decay: float,
) -> Float[np.ndarray, " N"]:
    """Mean of an AR(1) process with autocorrelation r = `decay`, between two known values.

    With d = `before`, the days since the first value, and e = `after`, the days to the second one, their weights are
    rᵈ(1 − r²ᵉ)/(1 − r²⁽ᵈ⁺ᵉ⁾) and rᵉ(1 − r²ᵈ)/(1 − r²⁽ᵈ⁺ᵉ⁾). If only one value is known, its weight is rᵈ; if none is known
    (NaN), the mean is 0.
    """
    left = np.where(np.isfinite(first), decay ** before.astype(np.float64), 0.0)
    right = np.where(np.isfinite(second), decay ** after.astype(np.float64), 0.0)
    weighted = left * (1 - right**2) * np.nan_to_num(first) + right * (1 - left**2) * np.nan_to_num(second)
    return weighted / (1 - (left * right) ** 2)
