"""Donor regression: flow of a river from its best-correlated gauges, fitted on training days."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.evaluate.answers import (
    DONOR_CANDIDATES,
    first_available,
    flow_of_log,
    log_flow,
    river_flow,
    with_predictions,
)
from hydromae.progress import track

MINIMUM_DAYS = 3 * 365
RIDGE = 0.003


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
    """Ridge regression of ln(flow + 0.01 mm/day) on the 8 best-correlated gauges that have flow on the day.

    The coefficients are fitted on the days of the training record with flow of the river and of all its donors. With
    `decay`, the residuals of the days before and after a gap are interpolated (`interpolated_residual`). It does not predict
    rivers outside the training record, or days without flow at the 40 best-correlated gauges.

    Attributes:
        catchments (array (C,)): Catchments of the training record.
        logs (array (C, days)): Log flow of the training record.
        ranked (array (C, K)): Positions of the other rivers, best correlated first; padded with −1.
        donors: Number of donors of a day.
        decay: Autocorrelation of the residual from day to day; None does not use the residual.
    """

    catchments: np.ndarray = field(repr=False)
    logs: np.ndarray = field(repr=False)
    ranked: np.ndarray = field(repr=False)
    donors: int = 8
    decay: float | None = None
    name: str = "donor-ridge"

    @cached_property
    def has_flow(self) -> Bool[np.ndarray, "C days"]:
        """True for training days with flow."""
        return np.isfinite(self.logs)

    @classmethod
    def fit(cls, training: xr.Dataset, donors: int = 8) -> DonorRidge:
        """Rank the gauges of a training record by the correlation of their log flow (at least 3 common years)."""
        logs = log_flow(river_flow(training))
        strength = correlation(logs)
        np.fill_diagonal(strength, -1.0)
        order = np.argsort(-strength, axis=1)[:, :DONOR_CANDIDATES]
        ranked = np.where(np.take_along_axis(strength, order, axis=1) > 0, order, -1)
        return cls(training["catchment"].values, np.ascontiguousarray(logs.T, dtype=np.float32), ranked, donors)

    def with_residual(self, decay: float = 0.8) -> DonorRidge:
        """The same regression, with the residual of the days before and after a gap."""
        return replace(self, decay=decay, name=f"{self.name}-residual")

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN of the rivers of the training record from the donors of the day."""
        flow = river_flow(dataset)
        position = pd.Index(dataset["catchment"].values).get_indexer(pd.Index(self.catchments))
        logs = np.full((len(flow), len(self.catchments)), np.nan)
        logs[:, position >= 0] = log_flow(flow[:, position[position >= 0]])
        predicted = np.full_like(flow, np.nan)
        missing = np.flatnonzero((position >= 0) & np.isnan(logs).any(axis=0))
        for river in track(missing, f"rivers, {self.name}", len(missing)):
            predicted[:, position[river]] = self._predict_river(logs, int(river))
        return with_predictions(dataset, flow_of_log(predicted))

    def _predict_river(self, logs: Float[np.ndarray, "T C"], river: int) -> Float[np.ndarray, " T"]:
        """Log flow of one river on its missing days: one regression for each set of donors."""
        predicted = np.full(len(logs), np.nan)
        missing = np.flatnonzero(np.isnan(logs[:, river]))
        ranked = self.ranked[river][self.ranked[river] >= 0]
        used = first_available(np.isfinite(logs[np.ix_(missing, ranked)]), self.donors)
        sets, set_index = np.unique(used, axis=0, return_inverse=True)
        for index, chosen in enumerate(sets):
            donors = ranked[chosen]
            days = missing[set_index.ravel() == index]
            regressed = self._regress(logs[:, donors], donors, river)
            predicted[days] = regressed[days]
            if self.decay is not None:
                predicted[days] += interpolated_residual(logs[:, river] - regressed, days, self.decay)
        return predicted

    def _regress(
        self, donor_logs: Float[np.ndarray, "T K"], donors: Int[np.ndarray, " K"], river: int
    ) -> Float[np.ndarray, " T"]:
        """Log flow of one river from its donors, fitted on their common training days; NaN if these are too few."""
        complete = self.has_flow[river] & self.has_flow[donors].all(axis=0)
        if len(donors) == 0 or complete.sum() < MINIMUM_DAYS / 3:
            return np.full(len(donor_logs), np.nan)
        target = self.logs[river, complete].astype(np.float64)
        inputs = self.logs[donors][:, complete].astype(np.float64)
        donor_means = inputs.mean(axis=1)
        centred = inputs - donor_means[:, None]
        gram = centred @ centred.T
        penalty = RIDGE * np.trace(gram) / len(donors) * np.eye(len(donors))
        slopes = np.linalg.solve(gram + penalty, centred @ (target - target.mean()))
        return (donor_logs - donor_means) @ slopes + target.mean()


def interpolated_residual(
    residual: Float[np.ndarray, " T"], days: Int[np.ndarray, " N"], decay: float
) -> Float[np.ndarray, " N"]:
    """Expected residual on `days` from the nearest known residuals before and after.

    The mean of an AR(1) process with autocorrelation r = `decay` that is known at both ends of a gap: d days after the first
    and e days before the second residual, their weights are rᵈ(1 − r²ᵉ)/(1 − r²⁽ᵈ⁺ᵉ⁾) and rᵉ(1 − r²ᵈ)/(1 − r²⁽ᵈ⁺ᵉ⁾). If only
    one end is known, its weight is rᵈ; if none is known, the residual is 0.
    """
    known = np.isfinite(residual)
    index = np.arange(len(residual))
    before = np.maximum.accumulate(np.where(known, index, -1))[days]
    after = np.minimum.accumulate(np.where(known, index, len(residual))[::-1])[::-1][days]
    left = np.where(before >= 0, decay ** (days - before).astype(np.float64), 0.0)
    right = np.where(after < len(residual), decay ** (after - days).astype(np.float64), 0.0)
    first = np.where(before >= 0, residual[np.maximum(before, 0)], 0.0)
    second = np.where(after < len(residual), residual[np.minimum(after, len(residual) - 1)], 0.0)
    weighted = left * (1 - right**2) * first + right * (1 - left**2) * second
    return weighted / (1 - (left * right) ** 2)
