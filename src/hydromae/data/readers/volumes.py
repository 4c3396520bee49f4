"""Flow of a table that does not say its units: taken as mm/day, unless what it does beside rain and area shows m³/s."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from hydromae.errors import InputError

UNTOLD = ("riverflow", "streamflow")
"""Names of columns that say nothing of units."""
LEAST_DAYS = 365
"""Days with rain and flow from which a catchment is judged: in a dry month many rivers carry more than falls."""
MOST_FLOW = 3.0
"""Flow in shares of rain over a record; of 599 British rivers 2.98 is the most (CAMELS-GB), 1.4 the next."""
LEAST_CATCHMENTS, SHRINKS = 12, 0.5
"""Catchments from which areas are looked at, and by what their shares of rain draw together where flow is m³/s."""


def refuse_volumes(record: xr.Dataset, column: str, where: str) -> None:
    """Refuse flow read as mm/day from a plain column that can only be m³/s.

    Either most catchments carry more than `MOST_FLOW` times their rain; or flow as a share of rain goes with the area, so
    that its spread among catchments (of logarithms) shrinks to less than `SHRINKS` of it if it is divided by the area.

    Parameters
    ----------
    record : Dataset (time, catchment)
        In canonical units.
    column : str
        The column of flow.
    where : str
        The table, for the message.

    Raises
    ------
    InputError
        It asks for units.
    """
    if column.strip() not in UNTOLD or not {"riverflow", "precipitation"} <= set(record.data_vars):
        return
    share = _shares(record)
    judged = np.isfinite(share)
    said = None
    if judged.any() and 2 * (share > MOST_FLOW).sum() > judged.sum():
        said = f"is {np.median(share[judged]):.3g} times the rain"
    elif "catchment-area" in record.variables and _go_with(share, record["catchment-area"].values):
        said = "grows with the catchments' areas, as m3/s does,"
    if said is not None:
        raise InputError(
            f"{where}: {column.strip()} says no units and, read as mm/day, {said} over the record; name the column "
            "'riverflow [m3/s]', or 'riverflow [mm/day]' where it is so"
        )


def _shares(record: xr.Dataset) -> Float[np.ndarray, " C"]:
    """Flow as a share of rain on the days with both, NaN where there are few."""
    flow, rain = (record[name].transpose("time", "catchment").values for name in ("riverflow", "precipitation"))
    both = np.isfinite(flow) & np.isfinite(rain)
    flows, rains = (np.where(both, held, 0).sum(axis=0, dtype=np.float64) for held in (flow, rain))
    known = (both.sum(axis=0) >= LEAST_DAYS) & (rains > 0) & (flows > 0)
    return np.where(known, flows / np.where(known, rains, 1), np.nan)


def _go_with(share: Float[np.ndarray, " C"], area: Float[np.ndarray, " C"]) -> bool:
    known = np.isfinite(share) & (area > 0)
    if known.sum() < LEAST_CATCHMENTS:
        return False
    logarithm, large = np.log(share[known]), np.log(area[known])
    return bool(np.std(logarithm - large) < SHRINKS * np.std(logarithm))
