"""Tallies for the formula of `flops.py`: what a batch holds, how tokens lie, and what products over them cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from hydromae.batch import Batch
from hydromae.config import ModelConfig
from hydromae.masking import Hidden, visible
from hydromae.modalities import MODALITIES
from hydromae.model.address import SITES_TOGETHER


@dataclass(frozen=True)
class Sizes:
    """What a batch holds.

    Attributes
    ----------
    windows, days : int
    patches, sites : int
        Land patches, and groups of catchments.
    pixels : int
        Cells of a patch.
    kept : float
        Share of the tokens that encoder and fusion work on (0.6 where what is hidden drops out at once).
    asked : float or dict
        Share of each modality's tokens that are answered; one number for all, or by name.
    decoded : float
        Share of the tokens that a decoder on a grid works on.
    """

    windows: int
    days: int
    patches: int
    sites: int
    pixels: int = 100
    kept: float = 1.0
    asked: float | Mapping[str, float] = 0.4
    decoded: float = 1.0

    @classmethod
    def of(cls, batch: Batch, hidden: Hidden, model: ModelConfig) -> Sizes:
        """Sizes of a batch under its masks, for the model as it is: `joint` keeps what is visible, a grid keeps all."""
        size, days = batch.days.shape
        maps = [value for name, value in batch.values.items() if MODALITIES[name].kind == "map"]
        kept, decoded = 1.0, 1.0
        if model.mixers == ("joint",):
            seen = [visible(batch, hidden)[names[0]].any(dim=-1).float().flatten() for names in model.shared]
            kept = float(torch.cat(seen).mean())
        return cls(
            size,
            days,
            maps[0].shape[2] if maps else 0,
            batch.places["series"].present.shape[1],
            maps[0].shape[3] if maps else 0,
            kept,
            {name: float(part.float().mean()) for name, part in hidden.items()},
            decoded,
        )

    def of_kind(self, kind: str) -> int:
        """Sites of a kind, map or series."""
        return self.patches if kind == "map" else self.sites

    def share(self, name: str) -> float:
        """Share of a modality's tokens that are answered."""
        return self.asked[name] if isinstance(self.asked, Mapping) else self.asked


@dataclass
class Flops:
    """FLOPs of one step, and the values that forward keeps for backward; filled by its own methods."""

    forward: float = 0.0
    backward: float = 0.0
    recurrent: float = 0.0
    """Of LSTMs, forward and backward, which torch's counter does not see."""
    saved: float = 0.0
    """Values kept for backward: inputs of products, norms and activations, and what attention returned."""
    parts: dict[str, float] = field(default_factory=dict)
    """All FLOPs of each part: embed, encode, fuse, decode."""

    @property
    def counted(self) -> float:
        """What torch's counter would see."""
        return self.forward + self.backward

    @property
    def total(self) -> float:
        """Forward and backward."""
        return self.counted + self.recurrent

    def linear(self, rows: float, *widths: int, learns: bool = True) -> None:
        """Layers one after another; where nothing below the first one learns, its input needs no gradient."""
        for index, (into, out) in enumerate(pairwise(widths)):
            product = 2 * rows * into * out
            self.forward += product
            self.backward += product * (2 if learns or index else 1)
            self.saved += rows * into + (rows * into if index else 0)  # and what a GELU between two of them read

    def attention(self, pairs: float, tokens: float, memory: float, width: int, fused: bool = True) -> None:
        """Scores and their sums over `pairs` of tokens; fused attention computes the scores again on the way back."""
        self.forward += 4 * pairs * width
        self.backward += (10 if fused else 8) * pairs * width
        self.saved += (2 * tokens + 2 * memory) * width

    def lstm(self, tokens: float, width: int) -> None:
        """Both directions over `tokens`."""
        self.recurrent += 3 * 2 * tokens * 2 * 4 * width * 2 * width
        self.saved += tokens * 2 * 7 * width  # input, gates, cell and output of each direction

    def norm(self, rows: float, width: int) -> None:
        """What a norm reads is kept; it has no products."""
        self.saved += rows * width

    def close(self, part: str) -> None:
        """What was added since the last part belongs to this one."""
        self.parts[part] = self.total - sum(self.parts.values())


@dataclass(frozen=True)
class Grid:
    """Tokens of one stream or of several side by side: `sites` on `days`, of which a share is kept, and static tokens."""

    windows: int
    days: int
    sites: int
    kept: float
    extra: int = 0
    """Tokens a window that are always kept (a register, static tokens of a packed sequence)."""
    static: int = 0
    """Days of static tokens before the first (grids)."""

    @property
    def tokens(self) -> float:
        """Kept tokens of a window."""
        return round(self.kept * self.days * self.sites) + self.static * self.sites + self.extra

    def pairs(self, mixer: str, neighbours: int | None) -> float:
        """Pairs of tokens of a window that look at each other."""
        if mixer == "joint":
            return self.tokens**2
        if mixer == "time":
            return self.sites * (self.kept * self.days + self.static) ** 2
        seen = near_sites(self.sites, neighbours)
        return self.days * self.sites * seen * self.kept**2 + self.static * self.sites * seen


def near_sites(sites: int, neighbours: int | None) -> float:
    """Sites that one site meets in a space mixer: all, or those that its block of 32 sites looks at together.

    In a country of even density the K nearest of a site fill a disc of radius √(K/π) site widths. A square block of n sites
    looks at itself and a seam around it, as wide as that less half a width r, for its outer sites do not stand on its edge:
    n + 4 √n r + π r².
    """
    if neighbours is None or neighbours >= sites:
        return sites
    seam = max(0.0, math.sqrt(neighbours / math.pi) - 0.5)
    return min(sites, SITES_TOGETHER + 4 * math.sqrt(SITES_TOGETHER) * seam + math.pi * seam**2)
