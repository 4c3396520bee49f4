"""Predictive distributions: mixtures of Gaussians in the scaled space (Klotz et al. 2022, HESS 26, 1673)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MIN_STD = 0.01
CHUNK_SIZE = 4096
"""Values in one block of the quantile search, which fits the processor's cache."""


@dataclass(frozen=True)
class GaussianMixture:
    """K weighted Gaussians for every value.

    Attributes:
        weight, centre, spread (Float[..., K]): Weights (with sum 1), means and standard deviations.
    """

    weight: Float[Tensor, "*batch K"]
    centre: Float[Tensor, "*batch K"]
    spread: Float[Tensor, "*batch K"]

    def log_likelihood(self, value: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log density at `value`."""
        standard = (value[..., None] - self.centre) / self.spread
        density = -0.5 * standard.square() - self.spread.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(density + self.weight.clamp(min=1e-12).log(), dim=-1)

    @property
    def variance(self) -> Float[Tensor, "*batch"]:
        """Variance of the mixture."""
        mean = (self.weight * self.centre).sum(dim=-1)
        second = (self.weight * (self.centre.square() + self.spread.square())).sum(dim=-1)
        return (second - mean.square()).clamp(min=0.0)

    def cumulative(self, value: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Probability of a value of at most `value`."""
        standard = (value[..., None] - self.centre) / (self.spread * math.sqrt(2))
        return (self.weight * 0.5 * (1 + torch.erf(standard))).sum(dim=-1)

    def quantiles(self, levels: Sequence[float], steps: int = 24) -> Float[Tensor, "Q ..."]:
        """Quantiles at `levels`, by bisection between the quantiles of the components."""
        weight, centre, spread = (
            part.reshape(-1, part.shape[-1]).T.split(CHUNK_SIZE, dim=1)
            for part in (self.weight, self.centre, self.spread)
        )
        pieces = zip(weight, centre, spread, strict=True)
        values = torch.cat([_quantile_by_bisection(w, c, s, levels, steps) for w, c, s in pieces], dim=1)
        return values.view(len(levels), *self.weight.shape[:-1])


def _quantile_by_bisection(
    weight: Float[Tensor, "K N"],
    centre: Float[Tensor, "K N"],
    spread: Float[Tensor, "K N"],
    levels: Sequence[float],
    steps: int,
) -> Float[Tensor, "Q N"]:
    level = weight.new_tensor(levels)[:, None]
    weight, centre, spread = (part.contiguous()[:, None] for part in (weight, centre, spread))
    component_quantiles = centre + spread * torch.special.ndtri(level)
    low, high = component_quantiles.amin(dim=0), component_quantiles.amax(dim=0)
    rate, wanted = math.sqrt(0.5) / spread, 2 * level - weight.sum(dim=0)
    start = centre * rate
    for _ in range(steps):
        middle = 0.5 * (low + high)
        below = (weight * torch.erf(middle * rate - start)).sum(dim=0) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def mixture_around(mean: Float[Tensor, "*batch"], raw: Float[Tensor, "*batch L"]) -> GaussianMixture:
    """A mixture whose mean is exactly `mean`, from 3K unbounded parameters."""
    share, offset, spread = raw.float().chunk(3, dim=-1)
    weight = share.softmax(dim=-1)
    offset = offset - (weight * offset).sum(dim=-1, keepdim=True)
    return GaussianMixture(weight, mean[..., None] + offset, torch.nn.functional.softplus(spread - 1.0) + MIN_STD)


def scatter_mixture(mixture: GaussianMixture, index: Tensor, shape: torch.Size) -> GaussianMixture:
    """Mixtures of some tokens on the grid of all values, Float[*shape, K], with weight 0 and spread 1 elsewhere."""

    def scatter(part: Tensor, fill: float) -> Tensor:
        return part.new_full((*shape, part.shape[-1]), fill).index_put((index,), part)

    return GaussianMixture(scatter(mixture.weight, 0.0), scatter(mixture.centre, 0.0), scatter(mixture.spread, 1.0))
