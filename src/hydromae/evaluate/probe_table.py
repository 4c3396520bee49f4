"""The physical probes with their bounds, their results by river, and the summary of these.

A response passes if at least `REQUIRED_SHARE` of the rivers are within the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hydromae.errors import InputError
from hydromae.evaluate import probes
from hydromae.evaluate.answers import catchment_weather
from hydromae.evaluate.baselines import Climatology
from hydromae.evaluate.probes import PROBE_DAYS, Simulator
from hydromae.evaluate.protocol import Period
from hydromae.inference import scenarios
from hydromae.inference.scenarios import Method
from hydromae.progress import track, warn_once

PROBE_RIVERS = 60
"""Most rivers of a probe; of more, as many are drawn with the seed 0."""
REQUIRED_SHARE = 0.9
PROBE_COLUMNS = ("method", "probe", "quantity", "catchment", "value")
"""Columns of the values by river."""
OBSERVED = "observed"
"""Name of the observed flow, which has a mass balance."""
NO_BOUND = np.inf
MASS, LIMITS = (
    "conservation of mass",
    "Budyko 1974, Climate and Life: limits of water and energy; 5 to 10 % for storage",
)
RECESSION = "storage that is not recharged drains (Tallaksen 1995, J. Hydrol. 165, 349)"
ELASTICITY = (
    "1 to 2.5 (Sankarasubramanian et al. 2001, WRR 37, 1771); 2 to 3.5 in dry country (Chiew 2006, HSJ 51, 613)"
)
BUDYKO = "half to twice the change of the Budyko curve (Pike 1964; Roderick and Farquhar 2011, WRR 47, W00G07)"


@dataclass(frozen=True)
class Quantity:
    """A quantity of a probe, and what is expected of it.

    Attributes:
        name, units: Column of the table of the probe, and its units.
        meaning: What it is, in words.
        low, high: Bounds of a physical response; infinite where there is none.
        source: Where the bounds come from.
    """

    name: str
    units: str
    meaning: str
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Probe:
    """A probe.

    Attributes:
        name: Name in tables.
        measure: Table by river, from a record of `PROBE_DAYS` days and a simulator.
        needs: Weather of the catchments without which the probe is omitted.
        quantities: Columns of the table.
    """

    name: str
    measure: Callable[[xr.Dataset, Simulator], pd.DataFrame]
    needs: tuple[str, ...]
    quantities: tuple[Quantity, ...]


_RAIN, _AIR, _HEAT = ("precipitation",), ("precipitation", "potential_evaporation"), ("temperature",)
_CHANGE = Quantity("flow_change", "1", "relative change of flow", -NO_BOUND, NO_BOUND, "")
_RAIN_QUANTITIES = (
    _CHANGE,
    Quantity("elasticity", "1", "relative change of flow per relative change of rain", 1.0, 3.0, ELASTICITY),
    Quantity("flow_per_rain", "mm/mm", "change of flow per change of rain", 0.0, 1.0, MASS),
    Quantity("opposite_days", "1", "share of days on which flow changes against rain", 0.0, 0.01, MASS),
)
_SHARE_OF_BUDYKO = Quantity("share_of_budyko", "1", "change of flow over that of the Budyko curve", 0.5, 2.0, BUDYKO)
PROBES: tuple[Probe, ...] = (
    Probe(
        "mass balance",
        probes.mass_balance,
        _AIR,
        (
            Quantity("runoff_ratio", "1", "flow over rain", 0.0, 1.05, LIMITS),
            Quantity("loss_ratio", "1", "(rain − flow) over potential evaporation", -0.1, 1.1, LIMITS),
        ),
    ),
    Probe("rain × 1.2", probes.more_rain, _RAIN, _RAIN_QUANTITIES),
    Probe("rain × 0.8", probes.less_rain, _RAIN, _RAIN_QUANTITIES),
    Probe(
        "evaporation × 1.2",
        probes.more_evaporation,
        _AIR,
        (
            _CHANGE,
            Quantity("flow_per_evaporation", "mm/mm", "loss of flow per increase of evaporation", 0.0, 1.0, MASS),
            _SHARE_OF_BUDYKO,
        ),
    ),
    Probe(
        "+4 °C",
        probes.warmer,
        _HEAT,
        (
            Quantity(
                "flow_change",
                "1",
                "relative change of flow",
                -0.05,
                0.05,
                "with the evaporation given, temperature acts through snow only",
            ),
        ),
    ),
    Probe("+4 °C, evaporation × 1.12", probes.warmer_and_drier, (*_AIR, *_HEAT), (_CHANGE, _SHARE_OF_BUDYKO)),
    Probe(
        "no rain from day 300",
        probes.dry_spell,
        _RAIN,
        (
            Quantity("rise", "1", "largest rise above the lowest flow before it", 0.0, 0.1, RECESSION),
            Quantity("remaining", "1", "flow after 180 days over mean flow", -NO_BOUND, NO_BOUND, ""),
            Quantity("remaining_to_q95", "1", "flow after 180 days over Q95", 0.0, 1.0, RECESSION),
            Quantity("end_to_lowest", "1", "flow after 429 days over lowest flow with rain", 0.0, 1.0, RECESSION),
            Quantity("lowest", "mm/day", "lowest flow", 0.0, NO_BOUND, "flow is not negative"),
            Quantity("earlier_days", "1", "share of days before the spell that change", 0.0, 0.01, "causality"),
        ),
    ),
    Probe(
        "weather 7 days later",
        probes.delayed,
        _RAIN,
        (
            Quantity("lag", "days", "lag of highest correlation", 7.0, 7.0, "time invariance"),
            Quantity("nse", "1", "NSE against flow moved by 7 days", 0.95, 1.0, "time invariance, but for the season"),
        ),
    ),
    Probe(
        "+15 °C, evaporation × 2",
        probes.extreme_heat,
        _HEAT,
        (
            Quantity("finite_days", "1", "share of days with a finite flow", 1.0, 1.0, "definition"),
            Quantity("lowest", "mm/day", "lowest flow", 0.0, NO_BOUND, "flow is not negative"),
            Quantity("flow_change", "1", "relative change of flow", -1.0, 0.0, "more evaporation leaves less flow"),
        ),
    ),
)


def probe_record(record: xr.Dataset, period: Period) -> xr.Dataset:
    """The last `PROBE_DAYS` days up to the end of a period, for at most `PROBE_RIVERS` rivers.

    Raises:
        InputError: The record has fewer days, or no series of rain.
    """
    days = record.sel(time=slice(None, period[1])).isel(time=slice(-PROBE_DAYS, None))
    if days.sizes["time"] < PROBE_DAYS:
        raise InputError(
            f"probes: the record has {days.sizes['time']} days up to {period[1]}; give {PROBE_DAYS} days, or omit --probes"
        )
    if not np.isfinite(catchment_weather(days, "precipitation")).any():
        raise InputError("probes: the record has no rain of the catchments on these days; omit --probes")
    rivers = record.sizes["catchment"]
    drawn = np.random.default_rng(0).permutation(rivers)[:PROBE_RIVERS]
    return days.isel(catchment=np.sort(drawn)).load()


def simulator_of(method: Method) -> Simulator:
    """A method as a simulator: all flow is hidden, and predicted from the weather."""
    return lambda record: method.predict(scenarios.simulate(record))


def probed_methods(methods: Sequence[Method]) -> dict[str, Simulator]:
    """Methods of the task `simulate` by name, without those that read no weather."""
    return {method.name: simulator_of(method) for method in methods if not isinstance(method, Climatology)}


def run_probes(simulators: Mapping[str, Simulator], record: xr.Dataset) -> pd.DataFrame:
    """Apply the probes to simulators.

    Args:
        simulators: Any functions from record to flow, by name.
        record: A canonical record of `PROBE_DAYS` days (`probe_record`).

    Returns:
        DataFrame: Columns `method`, `probe`, `quantity`, `catchment`, `value`: a row for each river, NaN where a quantity is
            not defined. Probes whose weather the record lacks are omitted. The observed flow has a mass balance.
    """
    applicable = [p for p in PROBES if all(np.isfinite(catchment_weather(record, name)).any() for name in p.needs)]
    pairs = [(OBSERVED, lambda record: record, probe) for probe in applicable if probe.measure is probes.mass_balance]
    for name, simulator in simulators.items():
        simulate = _with_memory(record, simulator)
        pairs += [(name, simulate, probe) for probe in applicable]
    parts = []
    with warn_once():
        for name, simulate, probe in track(pairs, "probes", len(pairs)):
            by_river = probe.measure(record, simulate)[[quantity.name for quantity in probe.quantities]]
            rows = by_river.melt(var_name="quantity", value_name="value", ignore_index=False).reset_index()
            parts.append(rows.assign(method=name, probe=probe.name))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(PROBE_COLUMNS))


def _with_memory(record: xr.Dataset, simulate: Simulator) -> Simulator:
    """The simulator, which computes the flow of `record` once."""
    kept: list[xr.Dataset] = []

    def answer(asked: xr.Dataset) -> xr.Dataset:
        if asked is not record:
            return simulate(asked)
        if not kept:
            kept.append(simulate(asked))
        return kept[0]

    return answer


def summarise_probes(by_river: pd.DataFrame) -> pd.DataFrame:
    """A row for each method and quantity, from the table of `run_probes`.

    Returns:
        DataFrame: `method`, `probe`, `quantity`, `units`, `rivers` (with a value), `p10`, `median`, `p90`, `low`, `high` (the
            bounds; NaN: none), `within` (share of rivers inside), `passed` (None without bounds or rivers), `meaning`,
            `source`.
    """
    rows = []
    for probe in PROBES:
        for quantity in probe.quantities:
            is_part = (by_river["probe"] == probe.name) & (by_river["quantity"] == quantity.name)
            for method in by_river.loc[is_part, "method"].unique():
                values = by_river.loc[is_part & (by_river["method"] == method), "value"].to_numpy(dtype=np.float64)
                rows.append({"method": method, "probe": probe.name, **_summary_row(values, quantity)})
    return pd.DataFrame(rows)


def bounds_text(low: float, high: float) -> str:
    """Bounds of a summary in words, such as "1 to 3", "≤ 0.1" or "7"; empty without bounds."""
    if np.isnan(low) and np.isnan(high):
        return ""
    if np.isnan(high) or np.isnan(low):
        return f"≥ {low:g}" if np.isnan(high) else f"≤ {high:g}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}".replace("-", "−")


def _summary_row(values: Float[np.ndarray, " C"], quantity: Quantity) -> dict[str, object]:
    values = values[np.isfinite(values)]
    p10, median, p90 = np.quantile(values, [0.1, 0.5, 0.9]) if len(values) else [np.nan] * 3
    rounded = values.round(6)  # a bound of 0 or 1 is not missed by rounding
    is_within = (rounded >= quantity.low) & (rounded <= quantity.high)
    has_verdict = len(values) > 0 and bool(np.isfinite([quantity.low, quantity.high]).any())
    low, high = (bound if np.isfinite(bound) else np.nan for bound in (quantity.low, quantity.high))
    return {
        "quantity": quantity.name,
        "units": quantity.units,
        "rivers": len(values),
        "p10": p10,
        "median": median,
        "p90": p90,
        "low": low,
        "high": high,
        "within": float(is_within.mean()) if has_verdict else np.nan,
        "passed": bool(is_within.mean() >= REQUIRED_SHARE) if has_verdict else None,
        "meaning": quantity.meaning,
        "source": quantity.source,
    }
