"""GR4J, a conceptual rainfall-runoff model with four parameters, calibrated for each river on training days.

Source: Perrin, Michel and Andréassian 2003, J. Hydrol. 279, 275–289, doi:10.1016/S0022-1694(03)00225-7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.evaluate.answers import catchment_weather, river_flow, with_predictions
from hydromae.progress import track

PARAMETER_BOUNDS = np.array([[10.0, 3000.0], [-10.0, 10.0], [1.0, 1500.0], [0.5, 8.0]])
"""Production store [mm], groundwater exchange [mm/day], routing store [mm], time base of the unit hydrograph [days]."""
SPIN_UP_DAYS = 730
"""Days of weather that are simulated before the first day: the first year of the record, repeated."""
CALIBRATION_DAYS = 10 * 365
"""The last training days, on which parameters are calibrated."""
MINIMUM_FLOW_DAYS = 365
SIMULATIONS_AT_ONCE = 2048
CANDIDATES, GENERATIONS = 40, 16
GR4J_WEATHER = ("precipitation", "potential_evaporation")


@dataclass(frozen=True)
class GR4J:
    """Flow of each river from its precipitation and potential evaporation.

    It does not predict rivers outside the training record, rivers with fewer than 365 days of flow in the last 10 years of
    it, and rivers whose weather has missing days.

    Attributes:
        catchments (array (C,)): Catchments of the training record.
        parameters (array (4, C)): In the order of `PARAMETER_BOUNDS`; NaN for a river that is not calibrated.
    """

    catchments: np.ndarray = field(repr=False)
    parameters: np.ndarray = field(repr=False)
    name: str = "gr4j"

    @classmethod
    def fit(cls, training: xr.Dataset, days: int = CALIBRATION_DAYS) -> GR4J:
        """Calibrate the parameters of every river on the last `days` days of a training record.

        The score is the mean of NSE of flow and NSE of the root of flow. It is maximised by differential evolution (Storn and
        Price 1997, J. Global Optim. 11, 341–359).

        Args:
            training: Water record with `riverflow`, `precipitation` and `potential_evaporation` [mm/day].
        """
        recent = training.isel(time=slice(-days, None))
        flow, (rain, evaporation) = river_flow(recent), _weather(recent)
        usable = _is_complete(rain, evaporation) & (np.isfinite(flow).sum(axis=0) >= MINIMUM_FLOW_DAYS)
        parameters = np.full((len(PARAMETER_BOUNDS), flow.shape[1]), np.nan)
        block = max(1, SIMULATIONS_AT_ONCE // CANDIDATES)
        blocks = np.split(np.flatnonzero(usable), range(block, int(usable.sum()), block))
        for rivers in track(blocks, "rivers calibrated, gr4j", len(blocks)):
            if len(rivers):
                parameters[:, rivers] = calibrate(flow[:, rivers], rain[:, rivers], evaporation[:, rivers])
        return cls(training["catchment"].values, parameters)

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN of the calibrated rivers; flow of the dataset is not used."""
        position = pd.Index(self.catchments).get_indexer(pd.Index(dataset["catchment"].values))
        rain, evaporation = _weather(dataset)
        parameters = self.parameters[:, position]
        rivers = np.flatnonzero((position >= 0) & np.isfinite(parameters[0]) & _is_complete(rain, evaporation))
        simulated = np.full(rain.shape, np.nan)
        if len(rivers):
            simulation = simulate_gr4j(parameters[:, rivers, None], rain[:, rivers], evaporation[:, rivers])
            simulated[:, rivers] = simulation[:, :, 0]
        return with_predictions(dataset, simulated)


def _weather(dataset: xr.Dataset) -> tuple[Float[np.ndarray, "T C"], Float[np.ndarray, "T C"]]:
    """Precipitation and potential evaporation [mm/day]; NaN where the dataset lacks the variable."""
    rain, evaporation = (catchment_weather(dataset, name).astype(np.float32) for name in GR4J_WEATHER)
    return rain, evaporation


def _is_complete(rain: Float[np.ndarray, "T C"], evaporation: Float[np.ndarray, "T C"]) -> Bool[np.ndarray, " C"]:
    """True for rivers with weather on every day, at least one."""
    return np.asarray(np.isfinite(rain + evaporation).all(axis=0) & (len(rain) > 0))


def simulate_gr4j(
    parameters: Float[np.ndarray, "4 C K"], rain: Float[np.ndarray, "T C"], evaporation: Float[np.ndarray, "T C"]
) -> Float[np.ndarray, "T C K"]:
    """Flow of K sets of parameters for each of C rivers.

    Args:
        parameters: In the order of `PARAMETER_BOUNDS`.
        rain, evaporation: Precipitation and potential evaporation without NaN [mm/day].

    Returns:
        array (T, C, K): Flow [mm/day]. Stores start at 0.3 (production) and 0.5 (routing) of their capacity, `SPIN_UP_DAYS`
            before the first day.
    """
    year = np.arange(min(365, len(rain)))
    days = np.concatenate([np.resize(year, SPIN_UP_DAYS), np.arange(len(rain))])
    capacity, exchange, routing_capacity, time_base = parameters.astype(np.float32)
    net = (rain[days] - evaporation[days]).astype(np.float32)
    routed_share, direct_share = unit_hydrographs(time_base)
    taps = len(routed_share)
    effective = np.zeros((len(days) + taps, *capacity.shape), np.float32)
    for day, rainfall in enumerate(_effective_rainfall(net, capacity)):
        effective[day + taps] = rainfall
    flow = np.empty((len(rain), *capacity.shape), np.float32)
    level = np.full(capacity.shape, 0.5, np.float32)
    for day in range(len(days)):
        past = effective[day + 1 : day + 1 + taps]
        routed, direct = (np.einsum("jck,jck->ck", share, past) for share in (routed_share, direct_share))
        gain = exchange * level**3 * np.sqrt(level)
        level = np.maximum(level + (routed + gain) / routing_capacity, 0)
        outflow = level * _released(level)
        level = level - outflow
        if day >= SPIN_UP_DAYS:
            flow[day - SPIN_UP_DAYS] = routing_capacity * outflow + np.maximum(direct + gain, 0)
    return flow


def _effective_rainfall(
    net: Float[np.ndarray, "T C"], capacity: Float[np.ndarray, "C K"]
) -> Iterator[Float[np.ndarray, "C K"]]:
    """Yield the water that leaves the production store each day [mm], from net rain (rain − evaporation) [mm].

    Both equations of the store are one in the level s (full: 1) on wet days and in 1 − s on dry days: with w = tanh(|net| /
    capacity), s → (s + w) / (1 + s w).
    """
    level = np.full(capacity.shape, 0.3, np.float32)
    for net_today in net[:, :, None]:
        wet = net_today > 0
        share = np.tanh(np.abs(net_today) / capacity)
        before = np.where(wet, level, 1 - level)
        after = (before + share) / (1 + before * share)
        stored = np.where(wet, capacity * (after - before), 0)
        level = np.where(wet, after, 1 - after)
        percolation = level * _released(level * np.float32(4 / 9))
        level = level - percolation
        yield capacity * percolation + np.maximum(np.maximum(net_today, 0) - stored, 0)


def _released(level: Float[np.ndarray, "C K"]) -> Float[np.ndarray, "C K"]:
    """1 − (1 + level⁴)^(−1/4), the share of a store that leaves it in a day."""
    squared = level * level
    return 1 - 1 / np.sqrt(np.sqrt(1 + squared * squared))


def unit_hydrographs(
    time_base: Float[np.ndarray, "C K"],
) -> tuple[Float[np.ndarray, "J C K"], Float[np.ndarray, "J C K"]]:
    """Shares of effective rainfall by its age: 0.9 to the routing store, 0.1 to direct flow; the oldest day first."""
    age = np.arange(int(np.ceil(2 * time_base.max())) + 1, dtype=np.float32)[:, None, None] / time_base
    rising = np.minimum(age, 1) ** 2.5
    slow_rise = np.where(age <= 1, 0.5 * rising, 1 - 0.5 * np.maximum(2 - age, 0) ** 2.5)
    routed, direct = (np.diff(curve, axis=0)[::-1].astype(np.float32) for curve in (rising, slow_rise))
    return np.float32(0.9) * routed, np.float32(0.1) * direct


def calibrate(
    flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"], evaporation: Float[np.ndarray, "T C"]
) -> Float[np.ndarray, "4 C"]:
    """Parameters of each river by differential evolution; NaN of `flow` are not scored."""
    generator = np.random.default_rng(0)
    rivers = np.arange(flow.shape[1])
    position = generator.random((len(rivers), CANDIDATES, len(PARAMETER_BOUNDS)))
    score = calibration_score(simulate_gr4j(_parameters_at(position), rain, evaporation), flow)
    for _ in range(GENERATIONS):
        best = position[rivers, score.argmax(axis=1)][:, None]
        trial = _recombine(position, best, generator)
        trial_score = calibration_score(simulate_gr4j(_parameters_at(trial), rain, evaporation), flow)
        better = trial_score > score
        position, score = np.where(better[:, :, None], trial, position), np.where(better, trial_score, score)
    best = position[rivers, score.argmax(axis=1)][:, None]
    return _parameters_at(best)[:, :, 0]


def _recombine(
    position: Float[np.ndarray, "C K 4"], best: Float[np.ndarray, "C 1 4"], generator: np.random.Generator
) -> Float[np.ndarray, "C K 4"]:
    """Candidates moved towards the best one and by the difference of two others; a value out of bounds is drawn anew."""
    first, second = (position[:, generator.permutation(CANDIDATES)] for _ in range(2))
    step = generator.uniform(0.4, 0.9, (*position.shape[:2], 1))
    trial = position + step * (best - position) + step * (first - second)
    trial = np.where(generator.random(trial.shape) < 0.9, trial, position)
    return np.where((trial < 0) | (trial > 1), generator.random(trial.shape), trial)


def _parameters_at(position: Float[np.ndarray, "C K 4"]) -> Float[np.ndarray, "4 C K"]:
    """Parameters at positions from 0 to 1 between their bounds: logarithmic, and by the inverse of sinh for the exchange."""
    low, high = PARAMETER_BOUNDS.T
    positive = low > 0
    to_line = [np.where(positive, np.log(np.where(positive, bound, 1)), np.arcsinh(bound)) for bound in (low, high)]
    line = to_line[0] + position * (to_line[1] - to_line[0])
    return np.where(positive, np.exp(line), np.sinh(np.minimum(line, 10))).transpose(2, 0, 1)


def calibration_score(
    simulated: Float[np.ndarray, "T C K"], flow: Float[np.ndarray, "T C"]
) -> Float[np.ndarray, "C K"]:
    """Mean of NSE of flow and NSE of the root of flow over the days with flow."""
    observed = np.isfinite(flow)
    total = np.zeros(simulated.shape[1:])
    for transform in (np.asarray, np.sqrt):
        truth = np.where(observed, transform(np.maximum(np.where(observed, flow, 0), 0)), np.nan).astype(np.float32)
        error = np.where(observed[:, :, None], transform(simulated) - truth[:, :, None], 0)
        variance = np.square(truth - np.nanmean(truth, axis=0)).astype(np.float64)
        total += 1 - np.einsum("tck,tck->ck", error, error) / np.maximum(np.nansum(variance, axis=0), 1e-9)[:, None]
    return total / 2
