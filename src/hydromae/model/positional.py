"""Addresses: where, when and what a token is, from coordinates and traits; nothing is learned for a single site."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from hydromae.batching.batch import Places
from hydromae.footprints import halved
from hydromae.model.blocks import Context, Neighbourhood, taken_by
from hydromae.runtime import widest
from hydromae.variables import ATTRIBUTES

WAVELENGTHS = (2000.0, 1000.0, 500.0, 250.0, 125.0, 60.0)
"""Wavelengths of the position features [km]."""
SEPARATIONS = 1 + len(ATTRIBUTES)
"""Distance, and the difference of each trait."""
UNIT_DISTANCE = 50.0
"""Distance that counts as one separation [km]."""
SITES_TOGETHER = 32
"""Sites of one neighbourhood in attention."""


def waves(position: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch G"]:
    """Sines and cosines of easting and northing [km] at fixed wavelengths (Fourier features)."""
    lengths = torch.tensor(WAVELENGTHS, device=position.device)
    angle = position[..., None] * (2 * math.pi / lengths)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def season(days: Int[Tensor, "B T"]) -> Float[Tensor, "B T 4"]:
    """First two harmonics of the year."""
    angle = (2 * math.pi / 365.2425) * days.to(widest(days.device))
    both = torch.stack([angle, 2 * angle], dim=-1)
    return torch.cat([both.sin(), both.cos()], dim=-1).to(torch.float32)


def order(days: int, width: int, device: torch.device) -> Float[Tensor, "T D"]:
    """Sinusoids of the place of a day in its window (Vaswani et al. 2017, section 3.5)."""
    step = torch.arange(days, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(1000.0) / width))
    return torch.cat([(step * rate).sin(), (step * rate).cos()], dim=-1)


def drawn(width: int) -> nn.Parameter:
    """A learned token, small at first.

    Drawn in memory also where `load` wants shapes alone: on torch's meta device, random numbers import its compiler.
    """
    return nn.Parameter(torch.randn(width, device="cpu") * 0.02)


class SiteAddress(nn.Module):
    """One vector a catchment or patch, from its position and traits, each trait with a flag that says whether it is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        features = 4 * len(WAVELENGTHS) + 2 * len(ATTRIBUTES)
        self.project = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, places: Places) -> Float[Tensor, "B S V D"]:
        """Address of every catchment slot; a padding slot has the address 0.

        A place that is not `placed` has position features of 0, the mean of a wave over all its phases.
        """
        traits = torch.where(places.known, places.traits, 0.0)
        position = waves(places.position)
        if places.placed is not None:
            position = torch.where(places.placed[..., None], position, 0.0)
        features = torch.cat([position, traits, places.known.to(traits.dtype)], dim=-1)
        return self.project(taken_by(self.project, features)) * places.present[..., None]


class Address(nn.Module):
    """Adds place, season, order of days and modality."""

    def __init__(self, width: int, slots: int, ordered: bool) -> None:
        super().__init__()
        self.ordered = ordered
        self.site = SiteAddress(width)
        self.merge = nn.Identity() if slots == 1 else nn.Linear(slots * width, width)
        self.season = nn.Linear(4, width)
        self.token = drawn(width)

    def forward(self, places: Places, days: Int[Tensor, "B T"]) -> tuple[Tensor, Tensor, Tensor]:
        """Slot addresses Float[B, S, V, D], site addresses Float[B, S, D], token addresses Float[B, T, S, D]."""
        slots = self.site(places)
        sites = self.merge(rearrange(slots, "b s v d -> b s (v d)"))
        when = self.season(taken_by(self.season, season(days)))
        if self.ordered:
            when = when + order(days.shape[1], when.shape[-1], when.device).to(self.token.dtype)
        return slots, sites, sites[:, None] + when[:, :, None] + self.token


def centre(places: Places) -> Float[Tensor, "B S 2"]:
    """Mean position of the catchments that share a site [km]."""
    weight = places.present.to(places.position.dtype)[..., None]
    return (places.position * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1)


def joined_places(parts: list[Places]) -> Places:
    """The sites of several modalities side by side, known by their position only."""
    position = torch.cat([centre(part) for part in parts], dim=1)[:, :, None]
    present = torch.cat([part.present.any(dim=2) for part in parts], dim=1)[:, :, None]
    traits = position.new_zeros(*position.shape[:3], len(ATTRIBUTES))
    return Places(position, present, traits, traits.bool())


def nearest(places: Places, count: int | None) -> Context:
    """The `count` nearest sites of each site (itself first) with their separations; an empty context where None.

    Sites of several catchments are placed at the mean of those that are present, and their traits are not compared.
    """
    if count is None:
        return Context()
    middle = centre(places)
    distance = torch.cdist(middle, middle, compute_mode="donot_use_mm_for_euclid_dist")
    single = places.present.shape[2] == 1
    if count >= middle.shape[1]:
        return Context(separation=_separation(places, distance, None, single))
    near, index = distance.topk(count, dim=-1, largest=False, sorted=True)
    return Context(
        neighbours=index,
        neighbourhoods=tuple(_neighbourhoods(middle, index)),
        separation=_separation(places, near, index, single),
    )


def _neighbourhoods(middle: Float[Tensor, "B S 2"], index: Int[Tensor, "B S K"]) -> Iterator[Neighbourhood]:
    """Cut the country in blocks of sites; windows over the same sites share them."""
    same = bool((middle == middle[:1]).all())
    for window in range(1 if same else middle.shape[0]):
        where = middle[window].T.cpu().double().numpy()
        for block in halved(where[0], where[1], SITES_TOGETHER):
            sites = torch.from_numpy(block).to(index.device)
            seen, place = index[window, sites].unique(return_inverse=True)
            windows = slice(0, middle.shape[0]) if same else slice(window, window + 1)
            yield Neighbourhood(windows, sites, seen, place)


def _separation(places: Places, distance: Tensor, index: Tensor | None, single: bool) -> Tensor:
    parts = distance[..., None] / UNIT_DISTANCE
    if not single:
        return torch.cat([parts, parts.new_zeros(*distance.shape, SEPARATIONS - 1)], dim=-1)
    traits, known = places.traits[:, :, 0], places.known[:, :, 0]
    if index is None:
        theirs, theirs_known = traits[:, None], known[:, None]
    else:
        window = torch.arange(traits.shape[0], device=traits.device)[:, None, None]
        theirs, theirs_known = traits[window, index], known[window, index]
    both = known[:, :, None] & theirs_known
    return torch.cat([parts, torch.where(both, (traits[:, :, None] - theirs).abs(), 0.0)], dim=-1)
