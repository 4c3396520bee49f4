"""What a window does not see: the weather of the years before it, as exponentially weighted means.

An aquifer remembers years, a window is one; so each window brings sums of what fell and evaporated before its first day.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

MEMORIES = (20.0, 60.0, 180.0, 540.0)
"""Days in which the weight of a day falls to 1/e."""


def width(channels: int) -> int:
    """Features a site: mean, mean square and observed share of each channel and memory."""
    return 3 * len(MEMORIES) * channels


def antecedent(
    held: Shaped[np.ndarray, "D S F"], start: int, look_back: int, sites: Int[np.ndarray, " K"] | None
) -> Float[np.ndarray, "K E"]:
    """Features of the `look_back` days before day `start`, as far as the record holds them; 0 where nothing was observed.

    A mean spreads less the longer its memory, so means are multiplied by the root of it (in units of the shortest).
    """
    first = min(max(start - look_back, 0), len(held))
    part = held[first : max(first, min(start, len(held)))]
    part = (part if sites is None else part[:, sites]).astype(np.float32)
    seen = np.isfinite(part)
    part = np.where(seen, part, 0.0)
    age = start - np.arange(first, first + len(part), dtype=np.float32)
    memory = np.array(MEMORIES, dtype=np.float32)
    weight = np.exp(-age[None] / memory[:, None])
    whole = 1.0 / np.expm1(1.0 / memory)  # what all days before would weigh
    stacked = np.stack([part, np.square(part), seen.astype(np.float32)])
    sums = np.tensordot(weight, stacked, axes=(1, 1))  # memory, what, site, channel
    share = sums[:, 2:]
    means = sums[:, :2] / np.maximum(share, 1e-6) * np.sqrt(memory / memory[0])[:, None, None, None]
    features = np.concatenate([np.where(share > 0, means, 0.0), share / whole[:, None, None, None]], axis=1)
    return features.transpose(2, 0, 1, 3).reshape(part.shape[1], -1).astype(np.float32)
