"""Origin: what each river flow of an answer is, said the same way by the model and by every baseline."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import xarray as xr
from jaxtyping import Bool


class Origin(IntEnum):
    """What a value of `riverflow` is."""

    OBSERVED = 0
    FILLED = 1
    FORECAST = 2
    UNGAUGED = 3


def origin_of(observed: Bool[np.ndarray, "T C"]) -> xr.DataArray:
    """`riverflow_origin` (time, catchment): forecast after a river's last observed day, ungauged where it has none."""
    later = np.maximum.accumulate(observed[::-1], axis=0)[::-1]
    origin = np.where(later, Origin.FILLED, Origin.FORECAST)
    origin = np.where(observed.any(axis=0), origin, Origin.UNGAUGED)
    return xr.DataArray(
        np.where(observed, Origin.OBSERVED, origin).astype(np.int8),
        dims=("time", "catchment"),
        attrs={
            "long_name": "what the value of riverflow is",
            "flag_values": np.array(list(Origin), dtype=np.int8),
            "flag_meanings": " ".join(kind.name.lower() for kind in Origin),
        },
    )
