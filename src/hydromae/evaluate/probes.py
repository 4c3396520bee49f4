"""Physical probes: how simulated flow responds to changed weather, and bounds that a response must keep.

A probe is a function of a record and of a function from record to flow, so every model and every baseline that simulates can
be probed. It returns a table with a row for each river and a column for each of its quantities. Flow of the first
`WARM_UP_DAYS` days does not count, and a day counts where the flow is known with and without the change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae import metrics
from hydromae.evaluate.answers import catchment_weather, river_flow
from hydromae.evaluate.changed_weather import delay_weather, scale_weather, stop_rain, warm_weather

Simulator = Callable[[xr.Dataset], xr.Dataset]
"""From a record to a dataset with the simulated `riverflow` (time, catchment) [mm/day]; NaN where it has none."""
PROBE_DAYS = 730
"""Days of the record of a probe."""
WARM_UP_DAYS = 90
SPELL_START, SPELL_DAYS = 300, 180
"""First day without rain, and days after it on which the remaining flow is measured."""
ROUTING_DAYS = 14
"""Days after the last rain on which flow may still rise."""
FROST_DAYS = 60
"""Days before a dry spell whose frost may leave snow."""
DELAY_DAYS = 7
WARMING, EVAPORATION_PER_DEGREE = 4.0, 0.03
"""Warming [°C], and relative increase of potential evaporation with each degree: 1.5 to 4 % (Scheff and Frierson 2014, J.
Climate 27, 1539)."""
HEAT, HEAT_EVAPORATION = 15.0, 2.0
"""Warming of extreme heat [°C], and factor of potential evaporation."""
FLOW_TOLERANCE, RELATIVE_TOLERANCE = 0.01, 0.01
"""Changes of flow below 0.01 mm/day or 1 % do not count."""


def mass_balance(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Flow as a share of rain, and the rest as a share of potential evaporation, over the whole record."""
    flow = river_flow(simulate(record))
    flow[:WARM_UP_DAYS] = np.nan
    depths = [catchment_weather(record, name) for name in ("precipitation", "potential_evaporation")]
    water, rain, evaporation = (_total(part, np.isfinite(flow)) for part in (flow, *depths))
    return _table(record, runoff_ratio=_ratio(water, rain), loss_ratio=_ratio(rain - water, evaporation))


def more_rain(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 20 % more rain."""
    return _rain_response(record, simulate, 1.2)


def less_rain(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 20 % less rain."""
    return _rain_response(record, simulate, 0.8)


def _rain_response(record: xr.Dataset, simulate: Simulator, factor: float) -> pd.DataFrame:
    before, after, counts = _flows(record, scale_weather(record, "precipitation", factor), simulate)
    rain = _total(catchment_weather(record, "precipitation"), counts)
    water = [_total(flow, counts) for flow in (before, after)]
    opposite = np.sign(1 - factor) * (after - before) > _tolerance(before)
    return _table(
        record,
        flow_change=_ratio(water[1], water[0]) - 1,
        elasticity=_log(_ratio(water[1], water[0])) / np.log(factor),
        flow_per_rain=_ratio(water[1] - water[0], (factor - 1) * rain),
        opposite_days=_share(opposite, counts),
    )


def more_evaporation(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 20 % more potential evaporation at unchanged temperature."""
    factor = 1.2
    before, after, counts = _flows(record, scale_weather(record, "potential_evaporation", factor), simulate)
    water = [_total(flow, counts) for flow in (before, after)]
    evaporation = _total(catchment_weather(record, "potential_evaporation"), counts)
    return _table(
        record,
        flow_change=_ratio(water[1], water[0]) - 1,
        flow_per_evaporation=_ratio(water[0] - water[1], (factor - 1) * evaporation),
        share_of_budyko=_ratio(water[1] - water[0], _budyko_change(record, counts, factor)),
    )


def warmer(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 4 °C more at unchanged potential evaporation."""
    before, after, counts = _flows(record, warm_weather(record, WARMING), simulate)
    return _table(record, flow_change=_ratio(_total(after, counts), _total(before, counts)) - 1)


def warmer_and_drier(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 4 °C more with the potential evaporation that belongs to it (`EVAPORATION_PER_DEGREE`)."""
    factor = 1 + WARMING * EVAPORATION_PER_DEGREE
    changed = warm_weather(scale_weather(record, "potential_evaporation", factor), WARMING)
    before, after, counts = _flows(record, changed, simulate)
    water = [_total(flow, counts) for flow in (before, after)]
    expected = _budyko_change(record, counts, factor)
    return _table(
        record,
        flow_change=_ratio(water[1], water[0]) - 1,
        share_of_budyko=_ratio(water[1] - water[0], expected),
    )


def dry_spell(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to no rain from day 300 to the end of the record, more than a year.

    The first `ROUTING_DAYS` days of the spell may still rise. `rise` is NaN for rivers with frost in the `FROST_DAYS` days
    before the spell, whose snow may melt in it.
    """
    before, dry = (river_flow(simulate(part)) for part in (record, stop_rain(record, SPELL_START)))
    spell = dry[SPELL_START + ROUTING_DAYS :]
    lowest_so_far = np.fmin.accumulate(spell, axis=0)
    rise = np.fmax.reduce(_ratio(spell + FLOW_TOLERANCE, lowest_so_far + FLOW_TOLERANCE), axis=0) - 1
    frost = (catchment_weather(record, "temperature")[SPELL_START - FROST_DAYS : SPELL_START] < 0).any(axis=0)
    ordinary = pd.DataFrame(before[WARM_UP_DAYS:])
    remaining, lowest = dry[SPELL_START + SPELL_DAYS], ordinary.min().to_numpy()
    earlier, unchanged = (flow[WARM_UP_DAYS:SPELL_START] for flow in (dry, before))
    return _table(
        record,
        rise=np.where(frost, np.nan, rise),
        remaining=_ratio(remaining, ordinary.mean().to_numpy()),
        remaining_to_q95=_ratio(remaining + FLOW_TOLERANCE, ordinary.quantile(0.05).to_numpy() + FLOW_TOLERANCE),
        end_to_lowest=_ratio(spell[-1] + FLOW_TOLERANCE, lowest + FLOW_TOLERANCE),
        lowest=np.fmin.reduce(spell, axis=0),
        earlier_days=_share(abs(earlier - unchanged) > _tolerance(unchanged), np.isfinite(earlier - unchanged)),
    )


def delayed(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to weather that comes 7 days later, compared with the unchanged flow 7 days earlier."""
    before, after, _ = _flows(record, delay_weather(record, DELAY_DAYS), simulate)
    first = WARM_UP_DAYS + 2 * DELAY_DAYS
    parts = [before[first - lag : len(before) - lag] for lag in range(2 * DELAY_DAYS + 1)]
    correlations = np.stack([_correlation(part, after[first:]) for part in parts])
    known = np.isfinite(correlations).all(axis=0)
    lag = np.where(known, np.nan_to_num(correlations).argmax(axis=0), np.nan)
    return _table(record, lag=lag, nse=_efficiency(after[first:], parts[DELAY_DAYS]))


def extreme_heat(record: xr.Dataset, simulate: Simulator) -> pd.DataFrame:
    """Response to 15 °C more with twice the potential evaporation."""
    hot = warm_weather(scale_weather(record, "potential_evaporation", HEAT_EVAPORATION), HEAT)
    before, after = (river_flow(simulate(part))[WARM_UP_DAYS:] for part in (record, hot))
    counts = np.isfinite(before)
    return _table(
        record,
        finite_days=_share(np.isfinite(after), counts),
        lowest=np.fmin.reduce(after, axis=0),
        flow_change=_ratio(_total(after, counts), _total(before, counts)) - 1,
    )


def budyko_flow(
    rain: Float[np.ndarray, "*shape"], evaporation: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Flow of the Turc–Pike form of the Budyko curve, P − P E / √(P² + E²), in the units of rain P and evaporation E.

    Source: Pike 1964, J. Hydrol. 2, 116.
    """
    return rain - _ratio(rain * evaporation, np.hypot(rain, evaporation))


def _budyko_change(record: xr.Dataset, counts: Bool[np.ndarray, "T C"], factor: float) -> Float[np.ndarray, " C"]:
    """Change of the total flow of the Budyko curve if potential evaporation is multiplied by `factor` [mm]."""
    rain, evaporation = (
        _total(catchment_weather(record, name), counts) for name in ("precipitation", "potential_evaporation")
    )
    return budyko_flow(rain, factor * evaporation) - budyko_flow(rain, evaporation)


def _flows(
    record: xr.Dataset, changed: xr.Dataset, simulate: Simulator
) -> tuple[Float[np.ndarray, "T C"], Float[np.ndarray, "T C"], Bool[np.ndarray, "T C"]]:
    """Flow without and with a change [mm/day], and the days that count; NaN on other days."""
    before, after = (river_flow(simulate(part)) for part in (record, changed))
    counts = np.isfinite(before) & np.isfinite(after)
    counts[:WARM_UP_DAYS] = False
    return np.where(counts, before, np.nan), np.where(counts, after, np.nan), counts


def _table(record: xr.Dataset, **columns: Float[np.ndarray, " C"]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(record["catchment"].values, name="catchment"))


def _tolerance(flow: np.ndarray) -> np.ndarray:
    return np.maximum(RELATIVE_TOLERANCE * flow, FLOW_TOLERANCE)


def _total(values: Float[np.ndarray, "T C"], counts: Bool[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Sum over the days that count; NaN without any."""
    known = counts & np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def _share(is_true: Bool[np.ndarray, "T C"], counts: Bool[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Share of the days that count; NaN without any."""
    return _ratio((is_true & counts).sum(axis=0).astype(float), counts.sum(axis=0).astype(float))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below; NaN where `below` is 0 or NaN."""
    usable = np.isfinite(below) & (below != 0)
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=usable)


def _log(values: np.ndarray) -> np.ndarray:
    """Natural logarithm; NaN where it has none."""
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)


def _correlation(one: Float[np.ndarray, "T C"], other: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Correlation over the days with both; NaN without variation."""
    return pd.DataFrame(one).corrwith(pd.DataFrame(other)).to_numpy()


def _efficiency(flow: Float[np.ndarray, "T C"], reference: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """Nash–Sutcliffe efficiency over the days with both."""
    both = [
        xr.DataArray(np.where(np.isfinite(flow + reference), part, np.nan), dims=("time", "river"))
        for part in (flow, reference)
    ]
    return metrics.nse(*both).to_numpy()
