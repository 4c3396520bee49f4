"""Flow without units is read as mm/day, unless rain and area show that it is in m³/s."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError

UNITLESS_NAMES = ("riverflow", "streamflow")
"""Names of columns without units."""
MIN_DAYS, YEAR = 30, 365
"""Minimum days of a check, and of a check of the runoff ratio, which exceeds 1 in many dry months."""
MAX_RUNOFF_RATIO = 3.0
"""Runoff ratio over a year or more; the maximum of 599 British rivers is 2.98 (CAMELS-GB), the next 1.4."""
MAX_DEPTH, MAX_EXCESS, RARE_EXCESS = (1350.0, 0.8), (900.0, 0.8), (260.0, 0.75)
"""Flow in 30 days [mm], its excess over rain that no river has, and the excess of 1 in 10,000 months (CAMELS-GB, 599
rivers, 44 years), each with its exponent for longer records."""
MIN_RIVERS, MIN_SHARE = 2, 0.1
"""Number and share of rivers beyond `RARE_EXCESS` that indicate m³/s."""
GROWTH_DAYS = 730
"""Days after which the bounds grow linearly."""
MIN_CATCHMENTS, MAX_SPREAD_RATIO = 12, 0.5
"""Minimum catchments for the check of areas, and the ratio of spreads of flow in m³/s."""


def check_flow_units(record: xr.Dataset, column: str, where: str) -> None:
    """Refuse flow without units that is impossible in mm/day and must be in m³/s.

    That is flow beyond the bounds of British rivers, or a runoff ratio (or flow) that is proportional to the area: division
    by the area reduces the spread of its logarithms to less than `MAX_SPREAD_RATIO`.

    Args:
        record (Dataset (time, catchment)): In canonical units.
        column: The column of flow.
        where: Name of the table, for the message.

    Raises:
        InputError: The flow needs units.
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
    """Return sums of flow and rain [mm] and the number of days with both (with flow if rain is None); NaN for few days."""
    is_known = np.isfinite(flow) if rain is None else np.isfinite(flow) & np.isfinite(rain)
    days = is_known.sum(axis=0)
    flows = np.where(is_known, flow, 0).sum(axis=0, dtype=np.float64)
    rains = np.zeros_like(flows) if rain is None else np.where(is_known, rain, 0).sum(axis=0, dtype=np.float64)
    has_enough = days >= MIN_DAYS
    return np.where(has_enough, flows, np.nan), np.where(has_enough, rains, np.nan), days


def _bound_for(bound: tuple[float, float], days: Int[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
    """Scale a bound of 30 days [mm] to other lengths."""
    amount, power = bound
    bounded_days = np.clip(days, MIN_DAYS, GROWTH_DAYS)
    return amount * (bounded_days / MIN_DAYS) ** power * np.maximum(days, bounded_days) / bounded_days


def _implausible_flow(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None) -> str | None:
    """Return a description of impossible flow, or None."""
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
    """Return the runoff ratio, or mean flow if rain is None; NaN for few days."""
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
