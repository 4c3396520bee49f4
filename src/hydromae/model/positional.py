"""Positional encodings from coordinates, static attributes and dates; no parameter belongs to a single site."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from hydromae.batching.batch import SiteMetadata
from hydromae.footprints import bisect_sites
from hydromae.model.blocks import Context, Neighbourhood, cast_for
from hydromae.runtime import widest_dtype
from hydromae.variables import ATTRIBUTES

WAVELENGTHS = (2000.0, 1000.0, 500.0, 250.0, 125.0, 60.0)
"""Wavelengths of the position features [km]."""
SEPARATIONS = 1 + len(ATTRIBUTES)
"""Distance, and the difference of each static attribute."""
UNIT_DISTANCE = 50.0
"""Unit of distance in a separation [km]."""
NEIGHBOURHOOD_SIZE = 32
"""Sites of a neighbourhood."""


def fourier_features(position: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch G"]:
    """Sines and cosines of easting and northing [km] at `WAVELENGTHS`."""
    lengths = torch.tensor(WAVELENGTHS, device=position.device)
    angle = position[..., None] * (2 * math.pi / lengths)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def season_features(days: Int[Tensor, "B T"]) -> Float[Tensor, "B T 4"]:
    """The first two annual harmonics."""
    angle = (2 * math.pi / 365.2425) * days.to(widest_dtype(days.device))
    both = torch.stack([angle, 2 * angle], dim=-1)
    return torch.cat([both.sin(), both.cos()], dim=-1).to(torch.float32)


def sinusoidal_encoding(days: int, width: int, device: torch.device) -> Float[Tensor, "T D"]:
    """Sinusoids of the index of a day in the window (Vaswani et al. 2017, section 3.5)."""
    step = torch.arange(days, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(1000.0) / width))
    return torch.cat([(step * rate).sin(), (step * rate).cos()], dim=-1)


def random_token(width: int) -> nn.Parameter:
    """A learned token with small initial values.

    It is drawn on the CPU, because random numbers on the meta device (`load_model`) import torch's compiler.
    """
    return nn.Parameter(torch.randn(width, device="cpu") * 0.02)


class SiteEncoding(nn.Module):
    """Encoding of a catchment or patch from its position and static attributes, with a flag for each known attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        features = 4 * len(WAVELENGTHS) + 2 * len(ATTRIBUTES)
        self.project = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, metadata: SiteMetadata) -> Float[Tensor, "B S V D"]:
        """Encoding of every catchment slot, 0 for padding.

        A position outside the training domain has features of 0, the mean of a wave over its period.
        """
        attributes = torch.where(metadata.is_known, metadata.static_attributes, 0.0)
        position = fourier_features(metadata.position)
        if metadata.is_located is not None:
            position = torch.where(metadata.is_located[..., None], position, 0.0)
        features = torch.cat([position, attributes, metadata.is_known.to(attributes.dtype)], dim=-1)
        return self.project(cast_for(self.project, features)) * metadata.valid[..., None]


class PositionalEncoding(nn.Module):
    """Encoding of site, season, order of days and modality."""

    def __init__(self, width: int, slots: int, ordered: bool) -> None:
        super().__init__()
        self.ordered = ordered
        self.site = SiteEncoding(width)
        self.merge = nn.Identity() if slots == 1 else nn.Linear(slots * width, width)
        self.season = nn.Linear(4, width)
        self.token = random_token(width)

    def forward(self, metadata: SiteMetadata, days: Int[Tensor, "B T"]) -> tuple[Tensor, Tensor, Tensor]:
        """Encodings of slots Float[B, S, V, D], sites Float[B, S, D] and tokens Float[B, T, S, D]."""
        slots = self.site(metadata)
        sites = self.merge(rearrange(slots, "b s v d -> b s (v d)"))
        day_encoding = self.season(cast_for(self.season, season_features(days)))
        if self.ordered:
            day_encoding = day_encoding + sinusoidal_encoding(
                days.shape[1], day_encoding.shape[-1], day_encoding.device
            ).to(self.token.dtype)
        return slots, sites, sites[:, None] + day_encoding[:, :, None] + self.token


def mean_position(metadata: SiteMetadata) -> Float[Tensor, "B S 2"]:
    """Mean position of the catchments that share a site [km]."""
    weight = metadata.valid.to(metadata.position.dtype)[..., None]
    return (metadata.position * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1)


def concat_metadata(parts: list[SiteMetadata]) -> SiteMetadata:
    """Metadata of the sites of several modalities, with positions only."""
    position = torch.cat([mean_position(part) for part in parts], dim=1)[:, :, None]
    valid = torch.cat([part.valid.any(dim=2) for part in parts], dim=1)[:, :, None]
    attributes = position.new_zeros(*position.shape[:3], len(ATTRIBUTES))
    return SiteMetadata(position, valid, attributes, attributes.bool())


def nearest_context(metadata: SiteMetadata, count: int | None) -> Context:
    """The `count` nearest sites of each site (itself first) with their separations; an empty context if None.

    Sites of several catchments have the mean position of these, and their attributes are not compared.
    """
    if count is None:
        return Context()
    centre = mean_position(metadata)
    distance = torch.cdist(centre, centre, compute_mode="donot_use_mm_for_euclid_dist")
    single = metadata.valid.shape[2] == 1
    if count >= centre.shape[1]:
        return Context(separation=_separation(metadata, distance, None, single))
    near_distance, index = distance.topk(count, dim=-1, largest=False, sorted=True)
    return Context(
        neighbours=index,
        neighbourhoods=tuple(_neighbourhoods(centre, index)),
        separation=_separation(metadata, near_distance, index, single),
    )


def _neighbourhoods(centre: Float[Tensor, "B S 2"], index: Int[Tensor, "B S K"]) -> Iterator[Neighbourhood]:
    """Blocks of close sites with their neighbours, shared by windows of the same sites."""
    same = bool((centre == centre[:1]).all())
    for window in range(1 if same else centre.shape[0]):
        position_of_sites = centre[window].T.cpu().double().numpy()
        for block in bisect_sites(position_of_sites[0], position_of_sites[1], NEIGHBOURHOOD_SIZE):
            sites = torch.from_numpy(block).to(index.device)
            key_sites, neighbour_index = index[window, sites].unique(return_inverse=True)
            windows = slice(0, centre.shape[0]) if same else slice(window, window + 1)
            yield Neighbourhood(windows, sites, key_sites, neighbour_index)


def _separation(metadata: SiteMetadata, distance: Tensor, index: Tensor | None, single: bool) -> Tensor:
    parts = distance[..., None] / UNIT_DISTANCE
    if not single:
        return torch.cat([parts, parts.new_zeros(*distance.shape, SEPARATIONS - 1)], dim=-1)
    attributes, known = metadata.static_attributes[:, :, 0], metadata.is_known[:, :, 0]
    if index is None:
        neighbour_attributes, neighbour_known = attributes[:, None], known[:, None]
    else:
        window = torch.arange(attributes.shape[0], device=attributes.device)[:, None, None]
        neighbour_attributes, neighbour_known = attributes[window, index], known[window, index]
    both = known[:, :, None] & neighbour_known
    return torch.cat([parts, torch.where(both, (attributes[:, :, None] - neighbour_attributes).abs(), 0.0)], dim=-1)
