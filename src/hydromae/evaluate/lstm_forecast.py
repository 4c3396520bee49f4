"""Forecasts by LSTMs: a network with lagged flow for each lead, or a simulation with error correction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.evaluate.answers import river_flow, with_predictions
from hydromae.inference.scenarios import Method
from hydromae.store.scaling import apply_transform, undo_transform

FLOW, QUANTILE = "riverflow", "riverflow_quantile"
_root_flow, _to_flow = (partial(transform, "root") for transform in (apply_transform, undo_transform))


@dataclass(frozen=True)
class LSTMByLead:
    """Networks for several leads: a day is predicted by the network of the shortest lead from the last observed flow.

    Attributes:
        members: Networks by the number of days from the newest flow in their input to the predicted day.
    """

    members: Mapping[int, Method]
    name: str = "lstm-lagged"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN; days after the longest lead by the network of the longest lead."""
        days_since_flow = _days_since_flow(np.isfinite(river_flow(dataset)))
        leads = sorted(self.members)
        chosen = np.array(leads)[np.searchsorted(leads, days_since_flow).clip(max=len(leads) - 1)]
        answers = {lead: self.members[lead].predict(dataset) for lead in leads if (chosen == lead).any()}
        first = next(iter(answers.values()))
        flow, quantile = first[FLOW].values.copy(), first[QUANTILE].values.copy()
        for lead, answer in answers.items():
            flow = np.where(chosen == lead, answer[FLOW].values, flow)
            quantile = np.where(chosen == lead, answer[QUANTILE].values, quantile)
        return first.assign({FLOW: first[FLOW].copy(data=flow), QUANTILE: first[QUANTILE].copy(data=quantile)})


@dataclass(frozen=True)
class ErrorCorrectedLSTM:
    """A simulation plus the decaying error of the last day with observed flow: an AR(1) process of the root of flow.

    The variance that the error explains is removed from the distribution.

    Attributes:
        simulator: Method that predicts flow from weather and attributes.
        catchments (array (C,)): Catchments of the training record.
        decay (array (C,)): Autocorrelation of the errors of successive training days.
    """

    simulator: Method
    catchments: np.ndarray = field(repr=False)
    decay: Float[np.ndarray, " C"] = field(repr=False)
    name: str = "lstm-corrected"

    @classmethod
    def fit(cls, simulator: Method, training: xr.Dataset, name: str = "lstm-corrected") -> ErrorCorrectedLSTM:
        """Fit the autocorrelation of the errors on training days; the median for a river without flow."""
        error = _root_flow(river_flow(training)) - _root_flow(_simulate_all(simulator, training)[FLOW].values)
        is_pair = np.isfinite(error[1:]) & np.isfinite(error[:-1])
        error_today, error_before = (np.where(is_pair, part, 0.0) for part in (error[1:], error[:-1]))
        spread = np.square(error_before).sum(axis=0)
        decay = np.where(spread > 0, (error_today * error_before).sum(axis=0) / np.maximum(spread, 1e-9), np.nan)
        return cls(simulator, training["catchment"].values, np.where(np.isnan(decay), np.nanmedian(decay), decay), name)

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN; a river without observed flow is simulated."""
        flow = river_flow(dataset)
        simulation = _simulate_all(self.simulator, dataset)
        simulated, quantiles = (simulation[name].values.astype(np.float64) for name in (FLOW, QUANTILE))
        days_since_flow = _days_since_flow(np.isfinite(flow))
        catchment_index = {name: index for index, name in enumerate(self.catchments.tolist())}
        decay_index = np.array([catchment_index.get(name, -1) for name in dataset["catchment"].values.tolist()])
        decay = np.where(decay_index >= 0, self.decay[decay_index], np.median(self.decay)).clip(0.0, 0.999)
        error_weight = np.where(days_since_flow < len(flow) + 1, decay ** days_since_flow.clip(max=len(flow)), 0.0)
        error = np.nan_to_num(_last_valid(_root_flow(flow) - _root_flow(simulated)))
        mean = _root_flow(simulated) + error_weight * error
        deviation = _root_flow(quantiles) - _root_flow(simulated)
        corrected = _to_flow(mean + deviation * np.sqrt(1 - error_weight**2))
        corrected = np.where(np.isfinite(flow), flow, corrected).astype(np.float32)
        answer = with_predictions(dataset, _to_flow(mean))
        return answer.assign({QUANTILE: simulation[QUANTILE].copy(data=corrected)})


def _simulate_all(simulator: Method, dataset: xr.Dataset) -> xr.Dataset:
    """Simulation of every day, also of those with observed flow."""
    return simulator.predict(dataset.assign({FLOW: xr.full_like(dataset[FLOW], np.nan)})).transpose(
        "quantile", "time", "catchment", ...
    )


def _days_since_flow(has_flow: Bool[np.ndarray, "T C"]) -> Int[np.ndarray, "T C"]:
    """Days since the last day with flow of a river; one more than the days of the record before the first such day."""
    day = np.arange(len(has_flow))[:, None]
    last = np.maximum.accumulate(np.where(has_flow, day, -1), axis=0)
    return np.where(last >= 0, day - last, len(has_flow) + 1)


def _last_valid(values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    """The last value that is not NaN, up to each day."""
    day = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(values), day, 0), axis=0)
    return np.take_along_axis(values, last, axis=0)
