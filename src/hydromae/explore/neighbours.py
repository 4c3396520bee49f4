"""Neighbouring rivers that a prediction uses, with donor weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool

from hydromae.batching.batch import map_tensors
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.explore.session import Session
from hydromae.model.estimators import proximity
from hydromae.model.positional import nearest_context

SHOWN = 24
"""Number of listed rivers if the model uses all."""


def input_river_count(session: Session) -> int | None:
    """Return the number of rivers, itself included, that a prediction uses on the same day; None is all."""
    return session.model.config.model.neighbours


def neighbours(session: Session, river_index: int, is_requested: Bool[np.ndarray, " T"]) -> list[dict[str, Any]]:
    """Return the rivers that a prediction of the requested days may use, the nearest first.

    Returns:
        list of dict: `river`, `distance` [km], `observed` (share of the requested days) and `weight`: its weight in the donor
            estimate of the model (docs/design.md, section 5), among rivers observed on a requested day; null for a model
            without estimators. Later layers may weight neighbours differently.
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
    """Return donor weights of the other rivers for the first one; NaN for a model without estimators."""
    priors = session.model.network.estimators
    if priors is None:
        return np.full(len(river_indices) - 1, np.nan)
    part: xr.Dataset = session.record.isel(catchment=river_indices, time=slice(0, 1))
    arrays = to_record_arrays(part, session.model.config, session.model.scaling)
    slots = torch.from_numpy(np.flatnonzero(arrays.groups >= 0)[np.argsort(arrays.groups[arrays.groups >= 0])])
    places = map_tensors(arrays.site_metadata["series"].ungrouped(), lambda tensor: tensor[:, slots])
    with torch.inference_mode():
        separation = nearest_context(places, len(river_indices)).separation
        assert separation is not None
        return proximity(separation.to(priors.slope.device), priors.slope)[0, 0].cpu().numpy()[1:]
