"""Flow of a table that does not say its units: taken as mm/day, unless what it does beside rain and area shows m³/s."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError

UNITLESS_NAMES = ("riverflow", "streamflow")
"""Names of columns that say nothing of units."""
MIN_DAYS, YEAR = 30, 365
"""Days from which a catchment is judged, and from which by its share of rain: in a dry month many rivers carry more than
falls."""
MAX_RUNOFF_RATIO = 3.0
"""Flow in shares of rain over a year or more; of 599 British rivers 2.98 is the most (CAMELS-GB), 1.4 the next."""
MAX_DEPTH, MAX_EXCESS, RARE_EXCESS = (1350.0, 0.8), (900.0, 0.8), (260.0, 0.75)
"""Flow in 30 days [mm], its excess over rain that no river has, and the excess that 1 of 10,000 months has (CAMELS-GB, 599
rivers, 44 years), each with the power of the length of the record with which it grows."""
MIN_RIVERS, MIN_SHARE = 2, 0.1
"""Rivers, and share of rivers, that pass the last of these where flow is m³/s."""
GROWTH_DAYS = 730
"""Days after which these grow with the record."""
MIN_CATCHMENTS, MAX_SPREAD_RATIO = 12, 0.5
"""Catchments from which areas are looked at, and by what their shares of rain draw together where flow is m³/s."""


def check_flow_units(record: xr.Dataset, column: str, where: str) -> None:
    """Refuse flow read as mm/day from a plain column that can only be m³/s.

    Either a catchment carries what none can; or several carry much more than their rain; or flow, as a share of rain where
    that is known, goes with the area, so that its spread of logarithms shrinks to less than `MAX_SPREAD_RATIO` of
    it if it is divided by the area.

    Args:
        record (Dataset (time, catchment)): In canonical units.
        column: The column of flow.
        where: The table, for the message.

    Raises:
        InputError: It asks for units.
    """
    if column.strip() not in UNITLESS_NAMES or "riverflow" not in record.data_vars:
        return
    flow = record["riverflow"].transpose("time", "catchment").values
    rain = record["precipitation"].transpose("time", "catchment").values if "precipitation" in record else None
    complaint = _implausible_flow(flow, rain)
    if complaint is None and "catchment-area" in record.variables:
        area = record["catchment-area"].values
        if _grows_with_area(_runoff_ratio(flow, rain), area):
            complaint = "grows with the catchments' areas, as m3/s does,"
    if complaint is not None:
        raise InputError(
            f"{where}: {column.strip()} has no units and, read as mm/day, {complaint} over the record; name the column "
            "'riverflow [m3/s]', or 'riverflow [mm/day]' if that is correct"
        )


def _sums(
    flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"], Int[np.ndarray, " C"]]:
    """Flow, rain [mm] and number of the days with both, or with flow where rain is None; NaN where these are few."""
    is_known = np.isfinite(flow) if rain is None else np.isfinite(flow) & np.isfinite(rain)
    days = is_known.sum(axis=0)
    flows = np.where(is_known, flow, 0).sum(axis=0, dtype=np.float64)
    rains = np.zeros_like(flows) if rain is None else np.where(is_known, rain, 0).sum(axis=0, dtype=np.float64)
    has_enough = days >= MIN_DAYS
    return np.where(has_enough, flows, np.nan), np.where(has_enough, rains, np.nan), days


def _bound_for(bound: tuple[float, float], days: Int[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
    """A bound of 30 days [mm] for records of other lengths."""
    amount, power = bound
    bounded_days = np.clip(days, MIN_DAYS, GROWTH_DAYS)
    return amount * (bounded_days / MIN_DAYS) ** power * np.maximum(days, bounded_days) / bounded_days


def _implausible_flow(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None) -> str | None:
    """What flow is where rivers carry more than they can, None where they do not."""
    if rain is not None:
        flows, rains, days = _sums(flow, rain)
        excess, share = flows - rains, flows / np.where(rains > 0, rains, np.nan)
        is_long = (days >= YEAR) & (flows > 0)
        is_excessive = np.where(is_long, share > MAX_RUNOFF_RATIO, excess > _bound_for(RARE_EXCESS, days))
        is_judged = np.isfinite(flows)
        is_minority = (is_excessive & is_judged).sum() < max(MIN_RIVERS, MIN_SHARE * is_judged.sum())
        is_impossible = np.any(~is_long & (excess > _bound_for(MAX_EXCESS, days)))
        if is_impossible or not is_minority or 2 * (is_excessive & is_long).sum() > max(1, is_long.sum()):
            return f"is {np.nanmedian(share[is_judged]):.3g} times the rain"
    flows, _, days = _sums(flow, None)
    if np.any(flows > _bound_for(MAX_DEPTH, days)):
        return f"is up to {np.nanmax(flows / days):.3g} mm/day"
    return None


def _runoff_ratio(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None) -> Float[np.ndarray, " C"]:
    """Flow as a share of rain, or where rain is None its mean; NaN where days with it are few."""
    flows, rains, days = _sums(flow, rain)
    divisor = np.maximum(days, 1) if rain is None else rains
    is_known = (divisor > 0) & (flows > 0)
    return np.where(is_known, flows / np.where(is_known, divisor, 1), np.nan)


def _grows_with_area(share: Float[np.ndarray, " C"], area: Float[np.ndarray, " C"]) -> bool:
    is_known = np.isfinite(share) & (area > 0)
    if is_known.sum() < MIN_CATCHMENTS:
        return False
    logarithm, large = np.log(share[is_known]), np.log(area[is_known])
    return bool(np.std(logarithm - large) < MAX_SPREAD_RATIO * np.std(logarithm))
