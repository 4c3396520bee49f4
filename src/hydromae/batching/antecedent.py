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
    part = part if sites is None else part.take(sites, axis=1)
    flat = part.reshape(len(part), part.shape[1] * part.shape[2]).astype(np.float32)
    seen = np.isfinite(flat)
    clean = np.where(seen, flat, np.float32(0))
    memory = np.array(MEMORIES, dtype=np.float32)[:, None]
    weight = np.exp((np.arange(first, first + len(part), dtype=np.float32) - start) / memory)
    share = weight @ seen.astype(np.float32)
    longer = np.sqrt(memory / memory[0]) / np.maximum(share, 1e-6)  # where nothing was seen, the sums are 0, too
    whole = 1.0 / np.expm1(1.0 / memory)  # what all days before would weigh
    features = np.stack([weight @ clean * longer, weight @ np.square(clean) * longer, share / whole])
    what, memories, _ = features.shape
    features = features.reshape(what, memories, *part.shape[1:]).transpose(2, 1, 0, 3)
    return features.reshape(part.shape[1], -1).astype(np.float32)
