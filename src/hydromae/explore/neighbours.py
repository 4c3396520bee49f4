"""Which rivers an answer looks at, and what the model's own prior makes of each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool

from hydromae.batching.record_arrays import record_of
from hydromae.explore.session import Country
from hydromae.model.estimators import closeness
from hydromae.model.positional import nearest

SHOWN = 24
"""Rivers that are listed where a model looks at all of them."""


def looked_at(country: Country) -> int | None:
    """How many rivers, itself among them, a river looks at on the same day; None where it looks at all."""
    return country.model.config.model.neighbours


def neighbours(country: Country, place: int, asked: Bool[np.ndarray, " T"]) -> list[dict[str, Any]]:
    """Rivers that the answer for `asked` days may use: the nearest that the model looks at, the nearest first.

    Returns:
        list of dict: `river`, `distance` [km], `observed` (share of the asked days on which it was measured) and `weight`:
            its share, among those that were measured on an asked day, of the model's own weighting of neighbours by distance
            and traits (the prior `donors`, docs/design.md, section 5); null where the model has no such prior. What the
            layers after it make of a neighbour is not a number of this kind.
    """
    chosen = country.near(place, min(looked_at(country) or SHOWN, len(country.names)))
    seen = np.isfinite(country.flow[asked][:, chosen[1:]])
    share = seen.mean(axis=0) if asked.any() else np.zeros(len(chosen) - 1)
    weight = _weights(country, chosen) * (share > 0)
    weight = weight / weight.sum() if weight.sum() > 0 else weight
    distance = np.linalg.norm(country.positions[chosen[1:]] - country.positions[place], axis=1)
    return [
        {
            "river": country.names[other],
            "distance": round(float(km), 1),
            "observed": round(float(part), 3),
            "weight": None if not np.isfinite(by) else round(float(by), 4),
        }
        for other, km, part, by in zip(chosen[1:], distance, share, weight, strict=True)
    ]


def _weights(country: Country, chosen: np.ndarray) -> np.ndarray:
    """Closeness of each of the other rivers to the first one, as the prior of donors has it; NaN without that prior."""
    priors = country.model.network.priors
    if priors is None:
        return np.full(len(chosen) - 1, np.nan)
    part: xr.Dataset = country.record.isel(catchment=chosen, time=slice(0, 1))
    places = record_of(part, country.model.config, country.model.scaling).places["series"]
    with torch.inference_mode():
        separation = nearest(places, len(chosen)).separation
        assert separation is not None
        return closeness(separation.to(priors.slope.device), priors.slope)[0, 0].cpu().numpy()[1:]
