r"""Training days with changed weather and the flow of GR4J, for what the observed years never show.

    hydromae prepare DATA rivers.zarr
    python benchmarks/counterfactual.py rivers.zarr counterfactual.zarr
    hydromae finetune counterfactual.zarr --model gb-rivers --out RUN --trainable lstm \
        --training-period 1950-10-01 2010-12-31 ...

In the observed record, potential evaporation follows temperature, both follow the season, and every winter has rain, so a
network may read one in place of another. Here the weather of 20 training years is changed, in blocks of 1.5 to 4 years: rain
and evaporation are multiplied and temperature is moved, independently of each other; a third of the blocks start at another
day of the year; evaporation and temperature have noise of their own; in most blocks no rain falls for months. GR4J with a
snow store, calibrated for each river on observed training days, gives the flow. These days are written before the first
observed day. They are for training only: a score on them says nothing about rivers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from hydromae.evaluate.gr4j import calibrate, calibration_score, simulate_gr4j
from hydromae.store.zarr_store import describe_source, load_store, scaling_of, sources_of, write_store

CHANGED_DAYS = 7305
"""20 years; a multiple of four, so that the calendar of the changed days has the leap years of the observed ones."""
CALIBRATION_DAYS, MINIMUM_FLOW_DAYS, RIVERS_AT_ONCE = 3650, 730, 50
MINIMUM_SCORE = 0.4
"""Rivers whose calibrated GR4J is worse (mean NSE of flow and its root) have no flow on the changed days."""
BLOCK_YEARS = (1.5, 4.0)
RAIN_SPREAD, EVAPORATION_SPREAD, WARMING_SPREAD = 0.2, 0.35, 3.5
"""Standard deviation of the logarithm of a block's factors, and of its change of temperature [°C]."""
SHIFTED_SHARE, SPELL_SHARE = 1 / 3, 0.7
"""Share of blocks from another day of the year, and with a spell without rain."""
SPELL_DAYS = (60, 450)
NOISE_DAYS, EVAPORATION_NOISE, TEMPERATURE_NOISE = 10, 0.3, 2.5
"""Correlation time of the daily noise [days]; its standard deviation in the logarithm of evaporation, and in °C."""
SNOW_BELOW, RAIN_ABOVE, MELT = -1.0, 2.0, 3.0
"""Temperature below which all precipitation is snow and above which none is [°C], and melt [mm/day/°C]."""

Days = Float[np.ndarray, "T C"]


def water_input(rain: Days, temperature: Days) -> Days:
    """Rain and snow melt [mm/day]: a degree-day snow store."""
    snow = rain * np.clip((RAIN_ABOVE - temperature) / (RAIN_ABOVE - SNOW_BELOW), 0, 1)
    melt, store, water = MELT * np.maximum(temperature, 0), np.zeros(rain.shape[1], np.float32), np.empty_like(rain)
    for day in range(len(rain)):
        store = store + snow[day]
        melted = np.minimum(store, melt[day])
        store = store - melted
        water[day] = rain[day] - snow[day] + melted
    return water


def calibrated(flow: Days, water: Days, evaporation: Days) -> Float[np.ndarray, "4 C"]:
    """Parameters of GR4J of each river on the last days; NaN with too little flow or too low a score."""
    flow, water, evaporation = (part[-CALIBRATION_DAYS:] for part in (flow, water, evaporation))
    parameters = np.full((4, flow.shape[1]), np.nan)
    usable = np.flatnonzero(np.isfinite(flow).sum(axis=0) >= MINIMUM_FLOW_DAYS)
    for rivers in np.array_split(usable, -(-len(usable) // RIVERS_AT_ONCE)):
        parts = flow[:, rivers], water[:, rivers], evaporation[:, rivers]
        found = calibrate(*parts)
        score = calibration_score(simulate_gr4j(found[:, :, None], *parts[1:]), parts[0])[:, 0]
        parameters[:, rivers] = np.where(score >= MINIMUM_SCORE, found, np.nan)
        print(f"{rivers[-1] + 1} of {flow.shape[1]} rivers, median score {np.nanmedian(score):.3f}", flush=True)
    return parameters


def changed_weather(
    rain: Days, temperature: Days, evaporation: Days, generator: np.random.Generator
) -> tuple[Days, Days, Days]:
    """`CHANGED_DAYS` days from `CHANGED_DAYS` observed ones, the same change for every river."""
    source: Int[np.ndarray, " T"] = np.arange(CHANGED_DAYS)
    factors, warming = np.ones((2, CHANGED_DAYS)), np.zeros(CHANGED_DAYS)
    start = 0
    while start < CHANGED_DAYS:
        block = slice(start, start + round(365.25 * generator.uniform(*BLOCK_YEARS)))
        factors[:, block] = np.exp(generator.normal(0, (RAIN_SPREAD, EVAPORATION_SPREAD)))[:, None]
        warming[block] = generator.normal(0, WARMING_SPREAD)
        if generator.random() < SHIFTED_SHARE:
            source[block] += generator.integers(60, 305)
        if generator.random() < SPELL_SHARE:
            first, length = block.start + generator.integers(0, 600), generator.integers(*SPELL_DAYS)
            factors[0, first : first + length] = 0
        start = block.stop
    source = source % CHANGED_DAYS
    changed_rain = rain[source] * factors[0][:, None]
    changed_evaporation = evaporation[source] * (factors[1] * np.exp(_noise(EVAPORATION_NOISE, generator)))[:, None]
    changed_temperature = temperature[source] + (warming + _noise(TEMPERATURE_NOISE, generator))[:, None]
    rain, temperature, evaporation = (
        part.astype(np.float32) for part in (changed_rain, changed_temperature, changed_evaporation)
    )
    return rain, temperature, evaporation


def _noise(spread: float, generator: np.random.Generator) -> Float[np.ndarray, " T"]:
    """Autoregressive noise of first order."""
    kept = np.exp(-1 / NOISE_DAYS)
    drawn = generator.normal(0, spread, CHANGED_DAYS)
    for day in range(1, CHANGED_DAYS):
        drawn[day] = kept * drawn[day - 1] + np.sqrt(1 - kept**2) * drawn[day]
    return drawn


def counterfactual(record: xr.Dataset, last_training_day: str, held_out: list[str]) -> xr.Dataset:
    """The record with changed days before its first day."""
    names = ("precipitation", "temperature", "potential_evaporation", "riverflow")
    days = record.transpose("time", "catchment", ...)
    training = days.isel(time=slice(CHANGED_DAYS, 2 * CHANGED_DAYS))  # the same days of the year as the changed ones
    if training["time"].values[-1] > np.datetime64(last_training_day) or training.sizes["time"] < CHANGED_DAYS:
        raise SystemExit("the training days have to be at least 40 years")
    rain, temperature, evaporation, flow = (training[name].values.astype(np.float32) for name in names)
    flow[:, np.isin(record["catchment"].values.astype(str), held_out)] = np.nan
    parameters = calibrated(flow, water_input(rain, temperature), evaporation)
    changed = changed_weather(rain, temperature, evaporation, np.random.default_rng(0))
    simulated = np.full_like(changed[0], np.nan)
    known = np.flatnonzero(np.isfinite(parameters[0]))
    water = water_input(changed[0], changed[1])
    for rivers in np.array_split(known, -(-len(known) // RIVERS_AT_ONCE)):
        flow_of = simulate_gr4j(parameters[:, rivers, None], water[:, rivers], changed[2][:, rivers])
        simulated[:, rivers] = flow_of[:, :, 0]
    first_day = days["time"].values[0]
    time = first_day + (np.arange(CHANGED_DAYS) - CHANGED_DAYS) * np.timedelta64(1, "D")
    observed = days[list(names)]
    before = observed.isel(time=slice(CHANGED_DAYS)).assign_coords(time=time)
    before = before.assign(
        {name: before[name].copy(data=values) for name, values in zip(names, (*changed, simulated), strict=True)}
    )
    static = days[[name for name in days.data_vars if "time" not in days[name].dims]]
    joined = xr.concat([before, observed], dim="time")
    return joined.assign({name: static[name] for name in static.data_vars}).assign_attrs(record.attrs)


def main() -> None:
    """Write the store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--last-training-day", default="2010-12-31", metavar="DAY")
    options = parser.parse_args()
    from hydromae.inference.predictor import load

    record = load_store(options.store)
    held_out = list(load("gb-rivers", "cpu").config.data.held_out)
    joined = counterfactual(record, options.last_training_day, held_out)
    sources = [*sources_of(record), describe_source(Path(__file__))]
    print(write_store(joined, options.out, scaling=scaling_of(record), sources=sources))


if __name__ == "__main__":
    main()
