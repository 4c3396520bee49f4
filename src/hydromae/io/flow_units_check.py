"""Flow of a table that does not say its units: taken as mm/day, unless what it does beside rain and area shows m³/s."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError

UNTOLD = ("riverflow", "streamflow")
"""Names of columns that say nothing of units."""
LEAST_DAYS, YEAR = 30, 365
"""Days from which a catchment is judged, and from which by its share of rain: in a dry month many rivers carry more than
falls."""
MOST_FLOW = 3.0
"""Flow in shares of rain over a year or more; of 599 British rivers 2.98 is the most (CAMELS-GB), 1.4 the next."""
MOST_SUM, MOST_EXCESS, FEW_EXCESS = (1350.0, 0.8), (900.0, 0.8), (260.0, 0.75)
"""Flow in 30 days [mm], its excess over rain that no river has, and the excess that 1 of 10,000 months has (CAMELS-GB, 599
rivers, 44 years), each with the power of the length of the record with which it grows."""
LEAST_RIVERS, LEAST_SHARE = 2, 0.1
"""Rivers, and share of rivers, that pass the last of these where flow is m³/s."""
LONGEST = 730
"""Days after which these grow with the record."""
LEAST_CATCHMENTS, SHRINKS = 12, 0.5
"""Catchments from which areas are looked at, and by what their shares of rain draw together where flow is m³/s."""


def refuse_volumes(record: xr.Dataset, column: str, where: str) -> None:
    """Refuse flow read as mm/day from a plain column that can only be m³/s.

    Either a catchment carries what none can; or several carry much more than their rain; or flow, as a share of rain where
    that is known, goes with the area, so that its spread among catchments (of logarithms) shrinks to less than `SHRINKS` of
    it if it is divided by the area.

    Args:
        record (Dataset (time, catchment)): In canonical units.
        column: The column of flow.
        where: The table, for the message.

    Raises:
        InputError: It asks for units.
    """
    if column.strip() not in UNTOLD or "riverflow" not in record.data_vars:
        return
    flow = record["riverflow"].transpose("time", "catchment").values
    rain = record["precipitation"].transpose("time", "catchment").values if "precipitation" in record else None
    said = _too_much(flow, rain)
    if said is None and "catchment-area" in record.variables:
        area = record["catchment-area"].values
        if _go_with(_means(flow, rain), area):
            said = "grows with the catchments' areas, as m3/s does,"
    if said is not None:
        raise InputError(
            f"{where}: {column.strip()} says no units and, read as mm/day, {said} over the record; name the column "
            "'riverflow [m3/s]', or 'riverflow [mm/day]' where it is so"
        )


def _sums(
    flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"], Int[np.ndarray, " C"]]:
    """Flow, rain [mm] and number of the days with both, or with flow where rain is None; NaN where these are few."""
    known = np.isfinite(flow) if rain is None else np.isfinite(flow) & np.isfinite(rain)
    days = known.sum(axis=0)
    flows = np.where(known, flow, 0).sum(axis=0, dtype=np.float64)
    rains = np.zeros_like(flows) if rain is None else np.where(known, rain, 0).sum(axis=0, dtype=np.float64)
    many = days >= LEAST_DAYS
    return np.where(many, flows, np.nan), np.where(many, rains, np.nan), days


def _most(bound: tuple[float, float], days: Int[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
    """A bound of 30 days [mm] for records of other lengths."""
    amount, power = bound
    short = np.clip(days, LEAST_DAYS, LONGEST)
    return amount * (short / LEAST_DAYS) ** power * np.maximum(days, short) / short


def _too_much(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None) -> str | None:
    """What flow is where rivers carry more than they can, None where they do not."""
    if rain is not None:
        flows, rains, days = _sums(flow, rain)
        excess, share = flows - rains, flows / np.where(rains > 0, rains, np.nan)
        long = (days >= YEAR) & (flows > 0)
        much = np.where(long, share > MOST_FLOW, excess > _most(FEW_EXCESS, days))
        judged = np.isfinite(flows)
        few = (much & judged).sum() < max(LEAST_RIVERS, LEAST_SHARE * judged.sum())
        beyond = np.any(~long & (excess > _most(MOST_EXCESS, days)))
        if beyond or not few or 2 * (much & long).sum() > max(1, long.sum()):
            return f"is {np.nanmedian(share[judged]):.3g} times the rain"
    flows, _, days = _sums(flow, None)
    if np.any(flows > _most(MOST_SUM, days)):
        return f"is up to {np.nanmax(flows / days):.3g} mm/day"
    return None


def _means(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"] | None) -> Float[np.ndarray, " C"]:
    """Flow as a share of rain, or where rain is None its mean; NaN where days with it are few."""
    flows, rains, days = _sums(flow, rain)
    below = np.maximum(days, 1) if rain is None else rains
    known = (below > 0) & (flows > 0)
    return np.where(known, flows / np.where(known, below, 1), np.nan)


def _go_with(share: Float[np.ndarray, " C"], area: Float[np.ndarray, " C"]) -> bool:
    known = np.isfinite(share) & (area > 0)
    if known.sum() < LEAST_CATCHMENTS:
        return False
    logarithm, large = np.log(share[known]), np.log(area[known])
    return bool(np.std(logarithm - large) < SHRINKS * np.std(logarithm))
