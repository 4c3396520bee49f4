"""Antecedent weather: exponentially weighted means of the weather of the years before a window.

Groundwater depends on the weather of several years, and a window is one year long.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

DECAY_DAYS = (20.0, 60.0, 180.0, 540.0)
"""Time scales of the weights, exp(-days / decay)."""


def antecedent_width(channels: int) -> int:
    """Number of features of a site: mean, mean square and observed share of each channel at each time scale."""
    return 3 * len(DECAY_DAYS) * channels


def antecedent_features(
    values: Shaped[np.ndarray, "D S F"], start: int, antecedent_days: int, sites: Int[np.ndarray, " K"] | None
) -> Float[np.ndarray, "K E"]:
    """Features of the `antecedent_days` before day `start` that the record contains; 0 without observations.

    Means are multiplied by the square root of their time scale (in units of the shortest), because the means of longer time
    scales vary less.
    """
    first = min(max(start - antecedent_days, 0), len(values))
    part = values[first : max(first, min(start, len(values)))]
    part = part if sites is None else part.take(sites, axis=1)
    flat = part.reshape(len(part), part.shape[1] * part.shape[2]).astype(np.float32)
    is_finite = np.isfinite(flat)
    clean = np.where(is_finite, flat, np.float32(0))
    decay_days = np.array(DECAY_DAYS, dtype=np.float32)[:, None]
    weight = np.exp((np.arange(first, first + len(part), dtype=np.float32) - start) / decay_days)
    share = weight @ is_finite.astype(np.float32)
    sqrt_decay = np.sqrt(decay_days / decay_days[0]) / np.maximum(share, 1e-6)  # without observations the sums are 0
    full_weight = 1.0 / np.expm1(1.0 / decay_days)  # total weight of an infinite past
    features = np.stack([weight @ clean * sqrt_decay, weight @ np.square(clean) * sqrt_decay, share / full_weight])
    kinds, decays, _ = features.shape
    features = features.reshape(kinds, decays, *part.shape[1:]).transpose(2, 1, 0, 3)
    return features.reshape(part.shape[1], -1).astype(np.float32)
