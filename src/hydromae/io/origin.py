"""Origin of each value of an answer, for the model and all baselines."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import xarray as xr
from jaxtyping import Bool


class Origin(IntEnum):
    """Origin of a value; `MISSING` is a gap that was left unfilled on request."""

    OBSERVED = 0
    FILLED = 1
    FORECAST = 2
    UNGAUGED = 3
    MISSING = 4


PREDICTION_ORIGINS = (Origin.OBSERVED, Origin.FILLED, Origin.FORECAST, Origin.UNGAUGED)
"""Origins in a prediction of every NaN."""


def flag_attributes(kinds: tuple[Origin, ...]) -> dict[str, object]:
    """CF attributes of a variable with these origins."""
    return {
        "flag_values": np.array(kinds, dtype=np.int8),
        "flag_meanings": " ".join(kind.name.lower() for kind in kinds),
    }


def origin_of(
    observed: Bool[np.ndarray, "T S"], dims: tuple[str, str] = ("time", "catchment"), name: str = "riverflow"
) -> xr.DataArray:
    """Return the origin of values: forecast after the last observed day of a site, ungauged if it has none."""
    later = np.maximum.accumulate(observed[::-1], axis=0)[::-1]
    origin = np.where(later, Origin.FILLED, Origin.FORECAST)
    origin = np.where(observed.any(axis=0), origin, Origin.UNGAUGED)
    return xr.DataArray(
        np.where(observed, Origin.OBSERVED, origin).astype(np.int8),
        dims=dims,
        attrs={"long_name": f"what the value of {name} is", **flag_attributes(PREDICTION_ORIGINS)},
    )
