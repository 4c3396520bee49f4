"""Tallies for the formula of `flops.py`: what a batch holds, how tokens lie, and what products over them cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, visible
from hydromae.config import ModelConfig
from hydromae.model.attention import MAX_MATMUL_LENGTH
from hydromae.model.positional import NEIGHBOURHOOD_SIZE
from hydromae.variables import MODALITIES

WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Bytes of a value that goes into a product."""


def drops(model: ModelConfig) -> bool:
    """Whether hidden tokens are left out of encoders and fusion, as in `HydroMAE.packs_tokens`."""
    return bool(model.decoder_layers) and "recurrent" not in model.mixers and model.neighbours is None


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
    kept : float or dict
        Share of the tokens that encoder and fusion work on (0.6 where what is hidden drops out at once); one number for all
        streams, or by the names of a stream's modalities and, of all of them, by ().
    asked : float or dict
        Share of each modality's tokens that are answered; one number for all, or by name.
    """

    windows: int
    days: int
    patches: int
    sites: int
    pixels: int = 100
    kept: float | Mapping[tuple[str, ...], float] = 1.0
    asked: float | Mapping[str, float] = 0.4

    @classmethod
    def of(cls, batch: Batch, hidden: Hidden, model: ModelConfig) -> Sizes:
        """Sizes of a batch under its masks: tokens of which nothing is visible are kept only where a grid must be whole."""
        size, days = batch.days.shape
        maps = [value for name, value in batch.values.items() if MODALITIES[name].kind == "map"]
        kept: float | dict[tuple[str, ...], float] = 1.0
        if drops(model):
            seen = {name: part.any(dim=-1) for name, part in visible(batch, hidden).items()}
            any_ = {
                names: torch.stack([seen[name] for name in names]).any(dim=0).float().flatten()
                for names in model.shared
            }
            kept = {names: float(part.mean()) for names, part in any_.items()} | {
                (): float(torch.cat([*any_.values()]).mean())
            }
        return cls(
            size,
            days,
            maps[0].shape[2] if maps else 0,
            batch.site_metadata["series"].valid.shape[1],
            maps[0].shape[3] if maps else 0,
            kept,
            {name: float(part.float().mean()) for name, part in hidden.items()},
        )

    def of_kind(self, kind: str) -> int:
        """Sites of a kind, map or series."""
        return self.patches if kind == "map" else self.sites

    def kept_of(self, names: tuple[str, ...] = ()) -> float:
        """Share of the tokens of a stream, or of all streams together, that encoder and fusion work on."""
        return self.kept[names] if isinstance(self.kept, Mapping) else self.kept

    def share(self, name: str) -> float:
        """Share of a modality's tokens that are answered."""
        return self.asked[name] if isinstance(self.asked, Mapping) else self.asked


@dataclass
class Flops:
    """FLOPs of one step, and the values that forward keeps for backward; filled by its own methods."""

    dropout: bool = False
    """Whether dropout keeps its flags."""
    forward: float = 0.0
    backward: float = 0.0
    again: float = 0.0
    """Of forward, made again on the way back instead of kept; no part of `total`, for the answer does not need them."""
    recurrent: float = 0.0
    """Of LSTMs, forward and backward, which torch's counter does not see."""
    whole: float = 0.0
    """Values kept in fp32: what norms read."""
    halved: float = 0.0
    """Values kept in the precision of products: what went into them, and what attention looked at and returned."""
    flags: float = 0.0
    """Flags of dropout kept, a byte each."""
    parts: dict[str, float] = field(default_factory=dict)
    """All FLOPs of each part: embed, encode, fuse, decode."""

    @property
    def counted(self) -> float:
        """What torch's counter would see if nothing were made again and no line filled up."""
        return self.forward + self.backward

    @property
    def total(self) -> float:
        """Forward and backward."""
        return self.counted + self.recurrent

    def saved_bytes(self, precision: str) -> float:
        """Bytes that forward keeps for backward."""
        return 4 * self.whole + WIDTHS[precision] * self.halved + self.flags

    def products(self, rows: float, *widths: int, learns: bool = True) -> None:
        """Layers one after another; where nothing below the first one learns, its input needs no gradient."""
        for index, (into, out) in enumerate(pairwise(widths)):
            product = 2 * rows * into * out
            self.forward += product
            self.backward += product * (2 if learns or index else 1)

    def linear(self, rows: float, *widths: int, learns: bool = True) -> None:
        """The same of plain torch: kept is what each layer read, and what a GELU between two of them read."""
        self.products(rows, *widths, learns=learns)
        self.halved += rows * (widths[0] + 2 * sum(widths[1:-1]))

    def project(self, rows: float, into: int, out: int) -> None:
        """`fused_ops.project`: a norm and a layer; only what the norm read is kept."""
        self.norm(rows, into)
        self.products(rows, into, out)

    def feed(self, rows: float, width: int, inner: int) -> None:
        """`fused_ops.feed_forward` and its residual: only the input of the norm is kept; the first layer is recomputed."""
        self.norm(rows, width)
        self.products(rows, width, inner, width)
        self.again += 2 * rows * width * inner
        self.residual(rows, width)

    def attention(self, pairs: float, tokens: float, memory: float, width: int, fused: bool) -> None:
        """Scores and their sums over `pairs`; kept are queries, keys, values and answers; fused makes the scores again."""
        self.forward += 4 * pairs * width
        self.backward += 8 * pairs * width
        self.again += 2 * pairs * width * fused
        self.halved += (2 * tokens + 2 * memory) * width

    def look(self, pairs: float, tokens: float, memory: float, width: int, heads: int, length: float) -> None:
        """`attention.packed_attention` on a CPU: the fused kernel above `attention.MAX_MATMUL_LENGTH`,
        else plain products that keep weights."""
        fused = length > MAX_MATMUL_LENGTH
        self.attention(pairs, tokens, memory, width, fused)
        self.halved += 0 if fused else pairs * heads

    def lstm(self, tokens: float, width: int, states: int, directions: int) -> None:
        """Over `tokens` in each direction."""
        self.recurrent += 3 * directions * tokens * 2 * 4 * states * (width + states)
        self.halved += tokens * directions * (width + 6 * states)  # input, gates, cell and output

    def norm(self, rows: float, width: int) -> None:
        """What a norm reads is kept, with its mean and rate; it has no products."""
        self.whole += rows * (width + 2)

    def residual(self, rows: float, width: int) -> None:
        """What a branch adds, after dropout."""
        self.flags += rows * width * self.dropout

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
    """Static tokens of a window that looks at all its tokens."""
    static: int = 0
    """Rows of static tokens before the first day, where it looks along days and sites."""

    @property
    def tokens(self) -> float:
        """Kept tokens of a window."""
        return round(self.kept * self.days * self.sites) + self.static * self.sites + self.extra

    def length(self, mixer: str) -> float:
        """Tokens of a line."""
        if mixer == "joint":
            return self.tokens
        return self.kept * self.days + self.static if mixer == "time" else self.kept * self.sites

    def pairs(self, mixer: str, neighbours: int | None) -> float:
        """Pairs of tokens of a window that look at each other."""
        if mixer == "joint":
            return self.tokens**2
        if mixer == "time":
            return self.sites * self.length(mixer) ** 2
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
    return min(sites, NEIGHBOURHOOD_SIZE + 4 * math.sqrt(NEIGHBOURHOOD_SIZE) * seam + math.pi * seam**2)
