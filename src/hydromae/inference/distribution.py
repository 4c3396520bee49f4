"""Distributions of flow given by quantiles: probability above a value, and mixtures of several distributions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

BISECTIONS = 40


def exceedance(
    levels: Float[np.ndarray, " Q"], quantiles: Float[np.ndarray, "Q ..."], above: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Probability of flow above a value, from quantiles in ascending order.

    The distribution function is linear between the quantiles, and 0 at no flow. Above the highest quantile the exceedance
    probability decreases exponentially, at the rate between the last two quantiles.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        position = (quantiles <= above).sum(axis=0)
        values = np.concatenate([np.zeros_like(quantiles[:1]), quantiles])
        shares = np.concatenate([[0.0], levels])
        low, high = position, np.minimum(position + 1, len(levels))
        first, second = (np.take_along_axis(values, index[None], axis=0)[0] for index in (low, high))
        within = np.where(second > first, (above - first) / (second - first), 0.0)
        inside = 1 - shares[low] - (shares[high] - shares[low]) * np.clip(within, 0.0, 1.0)
        scale = (quantiles[-1] - quantiles[-2]) / np.log((1 - levels[-2]) / (1 - levels[-1]))
        beyond = (1 - levels[-1]) * np.exp(-np.maximum(above - quantiles[-1], 0) / np.maximum(scale, 1e-9))
        probability = np.where(position == len(levels), beyond, inside)
    return np.where(np.isfinite(quantiles).all(axis=0) & np.isfinite(above), probability, np.nan)


def mixture_quantiles(
    levels: Float[np.ndarray, " Q"], quantiles: Float[np.ndarray, "Q M ..."]
) -> Float[np.ndarray, "Q ..."]:
    """Quantiles of the mixture of M distributions with equal weights.

    The distribution function of the mixture is the mean of those of its members (`exceedance`), which is not the mean of
    their quantiles. At each level, the quantile of the mixture lies between the smallest and the largest of the members;
    bisection finds it. NaN where a member is NaN.

    Args:
        levels: Levels of the quantiles, ascending.
        quantiles: Quantiles of each member at these levels [mm/day].
    """
    members = quantiles.astype(np.float64)
    mixed = np.empty_like(members[:, 0])
    for index, level in enumerate(levels):
        low, high = members[index].min(axis=0), members[index].max(axis=0)
        for _ in range(BISECTIONS if (high > low).any() else 0):
            middle = 0.5 * (low + high)
            above = np.broadcast_to(middle, members[0].shape)
            is_below = 1 - exceedance(levels, members, above).mean(axis=0) < level
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        mixed[index] = 0.5 * (low + high)
    return np.maximum.accumulate(mixed, axis=0)
