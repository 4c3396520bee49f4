"""What a hydrologist would answer by hand, from visible values only: the river's own days, and its neighbours' flow.

Everything is in the scale of the square root of flow. Each prior has a flag that says where it exists.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.model.layers import Context, Neighbourhood

PRIORS = ("own", "donors", "alike", "alike_own")
"""Own days interpolated; neighbours by distance and traits; neighbours that moved alike; those plus own residual."""
FEATURES = 3 * len(PRIORS) + 4
LEAST_DAYS = 20
"""Common days from which two rivers are compared."""


class Priors(nn.Module):
    """The four priors and the features that say how far each can be trusted.

    Parameters
    ----------
    separations : int
        Number of separations in `Context.separation`.
    flow, rain, evaporation : (float, float)
        Mean and standard deviation of the scaled root of flow [mm/day], root of rain [mm/day] and evaporation [mm/day].
    """

    constants: Tensor

    def __init__(self, separations: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0] + [-2.0] * (separations - 1)))
        self.loss_to_air = nn.Parameter(torch.zeros(1))
        self.sharpness = nn.Parameter(torch.ones(1))
        self.memory = nn.Parameter(torch.tensor([math.log(5.0)]))
        self.register_buffer("constants", torch.tensor([[0.0, 1.0]] * 3))

    def forward(
        self,
        flow: Float[Tensor, "B T S"],
        seen: Bool[Tensor, "B T S"],
        rain: Float[Tensor, "B T S"],
        rain_seen: Bool[Tensor, "B T S"],
        evaporation: Float[Tensor, "B T S"],
        evaporation_seen: Bool[Tensor, "B T S"],
        context: Context,
    ) -> tuple[Float[Tensor, "B T S P"], Bool[Tensor, "B T S P"], Float[Tensor, "B T S G"]]:
        """Priors, whether each exists, and features; values that are not seen are never looked at."""
        flow, known = torch.where(seen, flow, 0.0), seen.to(flow.dtype)
        supply, watered = self._supply(rain, rain_seen, evaporation, evaporation_seen), rain_seen.any(dim=1)
        own, own_there, own_features = carry(flow, seen, decay=None)
        donors, alike, spread = (torch.zeros_like(flow) for _ in range(3))
        donors_there, alike_there = torch.zeros_like(seen), torch.zeros_like(seen)
        for near in _blocks(context, flow):
            here, pairs = (near.windows, slice(None), near.sites), _looked_at(near)
            donors[here], donors_there[here] = self._donors(flow, known, supply, watered, near, pairs, context)
            alike[here], alike_there[here], spread[here] = self._alike(flow, known, near, pairs)
        error, error_there, _ = carry(flow - alike, seen & alike_there, decay=torch.exp(self.memory))
        values = torch.stack([own, donors, alike, alike + error], dim=-1)
        there = torch.stack([own_there, donors_there, alike_there, alike_there & error_there], dim=-1)
        values = torch.where(there, values, 0.0)
        doubt = torch.stack([spread, error, own - alike, donors - alike], dim=-1)
        both = [alike_there, alike_there & error_there, alike_there & own_there, alike_there & donors_there]
        doubt = torch.where(torch.stack(both, dim=-1), doubt, 0.0)
        features = torch.cat([values, there.to(values.dtype), doubt, own_features], dim=-1)
        return values, there, features

    def _supply(self, rain: Tensor, rain_seen: Tensor, air: Tensor, air_seen: Tensor) -> Float[Tensor, "B S"]:
        """Water that is left for rivers, window mean [mm/day]: rain less a learned share of evaporation."""
        fallen = (rain * self.constants[1, 1] + self.constants[1, 0]).square()
        fallen = _mean(fallen, rain_seen, dim=1)
        lost = _mean(air * self.constants[2, 1] + self.constants[2, 0], air_seen, dim=1)
        return torch.maximum(fallen - torch.sigmoid(self.loss_to_air) * lost, 0.1 * fallen).clamp(min=0.05)

    def _donors(
        self,
        flow: Float[Tensor, "B T S"],
        known: Float[Tensor, "B T S"],
        supply: Float[Tensor, "B S"],
        watered: Bool[Tensor, "B S"],
        near: Neighbourhood,
        pairs: Bool[Tensor, "Q U"],
        context: Context,
    ) -> tuple[Tensor, Tensor]:
        """Neighbours weighted by distance and traits, their flow scaled by the water that is left for rivers.

        Where the rain of one of the two is not known (`watered`), the flow stays as it is.
        """
        assert context.separation is not None
        flow, known, supply, watered = (part[near.windows] for part in (flow, known, supply, watered))
        there = context.separation[near.windows, near.sites]
        weight = torch.exp(-(there * functional.softplus(self.slope)).sum(dim=-1)) + 1e-8
        weight = weight.new_zeros(len(weight), *pairs.shape).scatter(2, near.place.expand_as(weight), weight) * pairs
        ratio = torch.sqrt(supply[:, near.sites, None] / supply[:, None, near.seen]).clamp(0.2, 5.0)
        ratio = torch.where(watered[:, near.sites, None] & watered[:, None, near.seen], ratio, 1.0)
        theirs = known[:, :, near.seen]
        root = (flow[:, :, near.seen] * self.constants[0, 1] + self.constants[0, 0]) * theirs
        total = theirs @ weight.mT
        mixed = (root @ (weight * ratio).mT) / total.clamp(min=1e-12)
        return (mixed - self.constants[0, 0]) / self.constants[0, 1], total > 0

    def _alike(
        self,
        flow: Float[Tensor, "B T S"],
        known: Float[Tensor, "B T S"],
        near: Neighbourhood,
        pairs: Bool[Tensor, "Q U"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Regressions on each neighbour over the common visible days of the window, weighted by what they leave open.

        Sums over days are products of matrices; flow is less its mean over the window, so that squares keep their digits.
        """
        flow, known = flow[near.windows], known[near.windows]
        level = flow.sum(dim=1) / known.sum(dim=1).clamp(min=1)
        flow = (flow - level[:, None]) * known
        own, own_known = flow[:, :, near.sites].mT, known[:, :, near.sites].mT
        their, their_known = flow[:, :, near.seen], known[:, :, near.seen]
        count = (own_known @ their_known) * pairs
        days = count.clamp(min=1)
        mean_own, mean_their = own @ their_known / days, own_known @ their / days
        var_own = (own.square() @ their_known / days - mean_own.square()).clamp(min=0)
        var_their = (own_known @ their.square() / days - mean_their.square()).clamp(min=0)
        covariance = own @ their / days - mean_own * mean_their
        slope = covariance * count / (count + 10.0) / (var_their + 1e-3)
        left = (var_own - slope * covariance).clamp(min=0) + 0.02 * var_own + 1e-4
        usable = (count >= LEAST_DAYS) & (covariance > 0)
        weight = torch.where(usable, left, 1.0).pow(-functional.softplus(self.sharpness) * 2) * usable
        weight = weight / weight.amax(dim=-1, keepdim=True).clamp(min=1e-12)
        total = their_known @ weight.mT
        share = 1 / total.clamp(min=1e-12)
        mixed = their @ (weight * slope).mT + their_known @ (weight * (mean_own - slope * mean_their)).mT
        open_ = their_known @ (weight * left).mT * share
        there = total > 1e-6
        mixed = torch.where(there, mixed * share + level[:, None, near.sites], 0.0)
        return mixed, there, torch.log(open_.clamp(min=1e-4))


def carry(
    values: Float[Tensor, "B T S"], seen: Bool[Tensor, "B T S"], decay: Tensor | None
) -> tuple[Float[Tensor, "B T S"], Bool[Tensor, "B T S"], Float[Tensor, "B T S 4"]]:
    """Interpolate between the last and the next seen day, each weighted by the inverse of its distance.

    A seen day does not look at itself, so that it tells as much as a hidden one. With `decay` (days) the result also
    fades to 0 with the distance. Returns values, whether any day is seen, and four features.
    """
    days = values.shape[1]
    step = torch.arange(days, device=values.device)[None, :, None]
    marked = torch.where(seen, step, -1)
    before = functional.pad(marked.cummax(dim=1).values[:, :-1], (0, 0, 1, 0), value=-1)
    marked = torch.where(seen, step, 2 * days)
    after = functional.pad(marked.flip(1).cummin(dim=1).values.flip(1)[:, 1:], (0, 0, 0, 1), value=2 * days)
    has_before, has_after = before >= 0, after < days
    last = values.gather(1, before.clamp(min=0)) * has_before
    following = values.gather(1, after.clamp(max=days - 1)) * has_after
    back, ahead = (step - before).to(values.dtype), (after - step).to(values.dtype)
    from_last, from_next = has_before / back, has_after / ahead
    mixed = (from_last * last + from_next * following) / (from_last + from_next).clamp(min=1e-6)
    if decay is not None:
        mixed = mixed * torch.exp(-(torch.minimum(_far(back, has_before), _far(ahead, has_after)) - 1) / decay)
    features = torch.stack([from_last, from_next, from_last * last, from_next * following], dim=-1)
    return mixed, has_before | has_after, features


def _far(distance: Tensor, there: Tensor) -> Tensor:
    return torch.where(there, distance, 1e4)


def _blocks(context: Context, flow: Float[Tensor, "B T S"]) -> tuple[Neighbourhood, ...]:
    """Neighbourhoods that hold every site once; one where all look at all."""
    if context.neighbours is not None:
        return context.neighbourhoods
    sites = torch.arange(flow.shape[2], device=flow.device)
    return (Neighbourhood(slice(0, flow.shape[0]), sites, sites, sites.expand(len(sites), -1)),)


def _looked_at(near: Neighbourhood) -> Bool[Tensor, "Q U"]:
    """Whom each site looks at, among all that its block sees; never itself."""
    others = near.sites[:, None] != near.seen
    return torch.zeros_like(others).scatter(1, near.place, True) & others


def _mean(values: Tensor, seen: Tensor, dim: int) -> Tensor:
    count = seen.sum(dim=dim)
    return torch.where(seen, values, 0.0).sum(dim=dim) / count.clamp(min=1)
