"""What a hydrologist would answer by hand, from visible values only: the river's own days, and its neighbours' flow.

Everything is in the scale of the square root of flow. Each prior has a flag that says where it exists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from hydromae.model.blocks import Context

PRIORS = ("own", "donors", "alike", "alike_own")
"""Own days interpolated; neighbours by distance and traits; neighbours that moved alike; those plus own residual."""
CORRECTED = ("runoff", "runoff_own", "runoff_donors", "runoff_alike", "runoff_both")
"""What a memory makes of the river; that with its own error of other days, its neighbours' error of the day by distance and
traits, that corrected by how the two errors went together, and the latter with what it left of its own error."""
AHEAD = ("ahead",)
"""What a memory makes of the river that also saw its earlier flow."""
LEAST_DAYS = 20
"""Common days from which two rivers are compared."""


class Priors(nn.Module):
    """The four priors and the features that say how far each can be trusted.

    Args:
        separations: Number of separations in `Context.separation`.
        flow, rain, evaporation (float, float): Mean and standard deviation of the scaled root of flow [mm/day], root of rain
            [mm/day] and evaporation [mm/day].
    """

    constants: Tensor

    def __init__(self, separations: int, runoff: bool = False, ahead: bool = False) -> None:
        super().__init__()
        self.names = PRIORS + CORRECTED * runoff + AHEAD * ahead
        self.features = 2 * len(self.names) + 8
        self.correction = Correction(separations) if runoff else None
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
        told: Sequence[Float[Tensor, "B T S"]] = (),
    ) -> tuple[Float[Tensor, "B T S P"], Bool[Tensor, "B T S P"], Float[Tensor, "B T S G"]]:
        """Priors, whether each exists, and features; values that are not seen are never looked at.

        `told` is what the model's memories make of the rivers: of the weather alone, then with earlier flow.
        """
        flow = torch.where(seen, flow, 0.0)
        near = _neighbours(context, flow.shape[2], flow.device)
        others = near != torch.arange(flow.shape[2], device=flow.device)[:, None]
        their_flow, their_seen = _gather(flow, near), _gather(seen, near) & others[:, None]
        supply, watered = self._supply(rain, rain_seen, evaporation, evaporation_seen), rain_seen.any(dim=1)
        own, own_there, own_features = carry(flow, seen, decay=None)
        donors, donors_there = self._donors(their_flow, their_seen, supply, watered, near, context)
        alike, alike_there, spread = self._alike(flow, seen, their_flow, their_seen)
        error, error_there, _ = carry(flow - alike, seen & alike_there, decay=torch.exp(self.memory))
        priors = [own, donors, alike, alike + error]
        exist = [own_there, donors_there, alike_there, alike_there & error_there]
        if self.correction is not None:
            runoff, *ahead = told
            more, there = self.correction(flow, seen, their_seen, runoff, near, context)
            priors, exist = priors + more + ahead, exist + there + [torch.ones_like(seen) for _ in ahead]
        there = torch.stack(exist, dim=-1)
        values = torch.where(there, torch.stack(priors, dim=-1), 0.0)
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
        self, flow: Tensor, seen: Tensor, supply: Tensor, watered: Tensor, near: Int[Tensor, "B S K"], context: Context
    ) -> tuple[Tensor, Tensor]:
        """Neighbours weighted by distance and traits, their flow scaled by the water that is left for rivers.

        Where the rain of one of the two is not known (`watered`), the flow stays as it is.
        """
        assert context.separation is not None
        weight = closeness(context.separation, self.slope)
        window = torch.arange(near.shape[0], device=near.device)[:, None, None]
        theirs = supply[:, None].expand(-1, supply.shape[1], -1).gather(2, near)
        ratio = torch.sqrt(supply[:, :, None] / theirs).clamp(0.2, 5.0)
        ratio = torch.where(watered[:, :, None] & watered[window, near], ratio, 1.0)
        root = flow * self.constants[0, 1] + self.constants[0, 0]
        weight = (weight + 1e-8)[:, None] * seen
        total = weight.sum(dim=-1)
        mixed = (weight * root * ratio[:, None]).sum(dim=-1) / total.clamp(min=1e-12)
        return (mixed - self.constants[0, 0]) / self.constants[0, 1], total > 0

    def _alike(self, flow: Tensor, seen: Tensor, theirs: Tensor, their_seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Regressions on each neighbour over the common visible days of the window, weighted by what they leave open."""
        both = (their_seen & seen[..., None]).to(flow.dtype)
        count = both.sum(dim=1)
        share = both / count.clamp(min=1)[:, None]
        mean_own, mean_their = (share * flow[..., None]).sum(dim=1), (share * theirs).sum(dim=1)
        own, their = flow[..., None] - mean_own[:, None], theirs - mean_their[:, None]
        var_own, var_their = (share * own.square()).sum(dim=1), (share * their.square()).sum(dim=1)
        covariance = (share * own * their).sum(dim=1)
        shrunk = covariance * count / (count + 10.0)
        slope = shrunk / (var_their + 1e-3)
        left = (var_own - slope * covariance).clamp(min=0) + 0.02 * var_own + 1e-4
        usable = (count >= LEAST_DAYS) & (covariance > 0)
        weight = torch.where(usable, left, 1.0).pow(-functional.softplus(self.sharpness) * 2) * usable
        weight = weight / weight.amax(dim=-1, keepdim=True).clamp(min=1e-12)
        weight = weight[:, None] * their_seen
        total = weight.sum(dim=-1)
        guess = mean_own[:, None] + slope[:, None] * their
        mixed = (weight * guess).sum(dim=-1) / total.clamp(min=1e-12)
        open_ = (weight * left[:, None]).sum(dim=-1) / total.clamp(min=1e-12)
        there = total > 1e-6
        return torch.where(there, mixed, 0.0), there, torch.log(open_.clamp(min=1e-4))


class Correction(nn.Module):
    """Runoff with what it lately got wrong: at the river itself, and at its neighbours on the same day."""

    def __init__(self, separations: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0] + [-2.0] * (separations - 1)))
        self.doubt = nn.Parameter(torch.tensor([-1.0]))
        self.stiffness = nn.Parameter(torch.tensor([math.log(0.3)]))
        self.memory = nn.Parameter(torch.tensor([math.log(10.0)]))

    def forward(
        self,
        flow: Float[Tensor, "B T S"],
        seen: Bool[Tensor, "B T S"],
        their_seen: Bool[Tensor, "B T S K"],
        runoff: Float[Tensor, "B T S"],
        near: Int[Tensor, "B S K"],
        context: Context,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The priors `CORRECTED` and where they exist.

        Errors are carried in units of each river's own swing (the standard deviation of its runoff), so that a lively
        neighbour does not shout.
        """
        swing = runoff.std(dim=1, keepdim=True, correction=0).clamp(min=0.05)
        error = torch.where(seen, (flow - runoff) / swing, 0.0)
        own, own_there, _ = carry(error, seen, decay=torch.exp(self.memory))
        theirs = self._theirs(error, their_seen, near, context)
        alike = theirs + self._alike(error, seen, theirs, their_seen, near)
        left, left_there, _ = carry(torch.where(seen, error - alike, 0.0), seen, decay=torch.exp(self.memory))
        their_there = their_seen.any(dim=-1)
        corrected = [runoff, *(runoff + swing * part for part in (own, theirs, alike, alike + left))]
        everywhere = torch.ones_like(own_there)
        return corrected, [everywhere, own_there, their_there, their_there, their_there & left_there]

    def _alike(
        self, error: Tensor, seen: Tensor, theirs: Tensor, their_seen: Tensor, near: Int[Tensor, "B S K"]
    ) -> Float[Tensor, "B T S"]:
        """Ridge regression, over the visible days, of what `theirs` leaves of a river's error on its neighbours' errors.

        Hidden neighbours are guessed from their own neighbours; a river without visible days has nothing to regress.
        """
        guessed = _gather(torch.where(seen, error, theirs.detach()), near)
        others = (near != torch.arange(near.shape[1], device=near.device)[:, None])[:, None]
        known = torch.where(their_seen & seen[..., None], guessed, 0.0).transpose(1, 2)
        left = torch.where(seen, error - theirs.detach(), 0.0).transpose(1, 2)
        gram = known.transpose(-1, -2) @ known
        strength = gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None] + 1.0
        ridge = torch.exp(self.stiffness) * strength * torch.eye(gram.shape[-1], device=gram.device)
        slope = torch.linalg.solve(gram + ridge, known.transpose(-1, -2) @ left[..., None])[..., 0]
        return (torch.where(others, guessed, 0.0) * slope[:, None]).sum(dim=-1)

    def _theirs(self, error: Tensor, their_seen: Tensor, near: Tensor, context: Context) -> Float[Tensor, "B T S"]:
        """Mean error of the neighbours by distance and traits, drawn to 0 where they are few and far."""
        assert context.separation is not None
        weight = closeness(context.separation, self.slope)[:, None] * their_seen
        total = weight.sum(dim=-1) + functional.softplus(self.doubt)
        return (weight * _gather(error, near)).sum(dim=-1) / total


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


def closeness(separation: Float[Tensor, "B S K G"], slope: Float[Tensor, " G"]) -> Float[Tensor, "B S K"]:
    """Weight of each neighbour: it falls with distance and differences of traits."""
    return torch.exp(-(separation * functional.softplus(slope)).sum(dim=-1))


def _far(distance: Tensor, there: Tensor) -> Tensor:
    return torch.where(there, distance, 1e4)


def _neighbours(context: Context, sites: int, device: torch.device) -> Int[Tensor, "B S K"]:
    if context.neighbours is not None:
        return context.neighbours
    assert context.separation is not None
    return torch.arange(sites, device=device).expand(context.separation.shape[0], sites, sites)


def _gather(values: Shaped[Tensor, "B T S"], near: Int[Tensor, "B S K"]) -> Shaped[Tensor, "B T S K"]:
    size, sites, count = near.shape
    index = near.reshape(size, 1, sites * count).expand(-1, values.shape[1], -1)
    return values.gather(2, index).view(size, values.shape[1], sites, count)


def _mean(values: Tensor, seen: Tensor, dim: int) -> Tensor:
    count = seen.sum(dim=dim)
    return torch.where(seen, values, 0.0).sum(dim=dim) / count.clamp(min=1)
