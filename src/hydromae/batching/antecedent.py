"""What a window does not see: the weather of the years before it, as exponentially weighted means.

An aquifer remembers years, a window is one; so each window brings sums of what fell and evaporated before its first day.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

DECAY_DAYS = (20.0, 60.0, 180.0, 540.0)
"""Days in which the weight of a day falls to 1/e."""


def antecedent_width(channels: int) -> int:
    """Features a site: mean, mean square and observed share of each channel and memory."""
    return 3 * len(DECAY_DAYS) * channels


def antecedent_features(
    values: Shaped[np.ndarray, "D S F"], start: int, antecedent_days: int, sites: Int[np.ndarray, " K"] | None
) -> Float[np.ndarray, "K E"]:
    """Features of the `look_back` days before day `start`, as far as the record holds them; 0 where nothing was observed.

    A mean spreads less the longer its memory, so means are multiplied by the root of it (in units of the shortest).
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
    sqrt_decay = np.sqrt(decay_days / decay_days[0]) / np.maximum(
        share, 1e-6
    )  # where nothing was seen, the sums are 0, too
    full_weight = 1.0 / np.expm1(1.0 / decay_days)  # what all days before would weigh
    features = np.stack([weight @ clean * sqrt_decay, weight @ np.square(clean) * sqrt_decay, share / full_weight])
    kinds, decays, _ = features.shape
    features = features.reshape(kinds, decays, *part.shape[1:]).transpose(2, 1, 0, 3)
    return features.reshape(part.shape[1], -1).astype(np.float32)
