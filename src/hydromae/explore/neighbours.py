"""Which rivers an answer looks at, and what the model's own prior makes of each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.explore.session import Session
from hydromae.model.estimators import proximity
from hydromae.model.positional import nearest_context

SHOWN = 24
"""Rivers that are listed where a model looks at all of them."""


def input_river_count(session: Session) -> int | None:
    """How many rivers, itself among them, a river looks at on the same day; None where it looks at all."""
    return session.model.config.model.neighbours


def neighbours(session: Session, river_index: int, is_requested: Bool[np.ndarray, " T"]) -> list[dict[str, Any]]:
    """Rivers that the answer for `asked` days may use: the nearest that the model looks at, the nearest first.

    Returns:
        list of dict: `river`, `distance` [km], `observed` (share of the asked days on which it was measured) and `weight`:
            its share, among those that were measured on an asked day, of the model's own weighting of neighbours by distance
            and traits (the prior `donors`, docs/design.md, section 5); null where the model has no such prior. What the
            layers after it make of a neighbour is not a number of this kind.
    """
    river_indices = session.nearest(river_index, min(input_river_count(session) or SHOWN, len(session.names)))
    is_observed = np.isfinite(session.flow[is_requested][:, river_indices[1:]])
    share = is_observed.mean(axis=0) if is_requested.any() else np.zeros(len(river_indices) - 1)
    weight = _weights(session, river_indices) * (share > 0)
    weight = weight / weight.sum() if weight.sum() > 0 else weight
    distance = np.linalg.norm(session.positions[river_indices[1:]] - session.positions[river_index], axis=1)
    return [
        {
            "river": session.names[other],
            "distance": round(float(distance_km), 1),
            "observed": round(float(part), 3),
            "weight": None if not np.isfinite(weight_value) else round(float(weight_value), 4),
        }
        for other, distance_km, part, weight_value in zip(river_indices[1:], distance, share, weight, strict=True)
    ]


def _weights(session: Session, river_indices: np.ndarray) -> np.ndarray:
    """Closeness of each of the other rivers to the first one, as the prior of donors has it; NaN without that prior."""
    priors = session.model.network.estimators
    if priors is None:
        return np.full(len(river_indices) - 1, np.nan)
    part: xr.Dataset = session.record.isel(catchment=river_indices, time=slice(0, 1))
    places = to_record_arrays(part, session.model.config, session.model.scaling).site_metadata["series"]
    with torch.inference_mode():
        separation = nearest_context(places, len(river_indices)).separation
        assert separation is not None
        return proximity(separation.to(priors.slope.device), priors.slope)[0, 0].cpu().numpy()[1:]
