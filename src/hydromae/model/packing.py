"""Seats: where each token of a flat list sits, and how tokens line up to look at each other.

Tokens travel as a flat list Float[N, D]: what nobody may see is not in it. A mixer lines them up by window, by site or by
day. Lines of about the same length make a stack, filled up with zeros to the longest; a line that finds nothing to look at
answers 0. So the cost grows with the tokens that are there, whatever was hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from hydromae.runtime import widest_dtype

Direction = Literal["joint", "time", "space"]
MASK_VALUE = -3e4
"""Added to the score of a place without a token; its weight is then exactly 0, in half precision, too."""
MIN_BUCKET_FILL = 0.65
"""Lines of a stack hold at least this share of its longest, but for the last stack, which takes all that are left."""
MAX_BUCKETS = 4


@dataclass(frozen=True)
class PaddedBucket:
    """G lines of L places, laid flat behind other stacks from place `start` on.

    Attributes:
        start, count, length: Where it starts, G, and L.
        bias (Float[G, 1, 1, L] or None): 0 where a token is, far below where none is; None where every place has one.
    """

    start: int
    count: int
    length: int
    bias: Float[Tensor, "G 1 1 L"] | None

    def view(self, padded: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "G L E"]:
        """Its lines, a view."""
        part = padded[self.start : self.start + self.count * self.length]
        return part.view(self.count, self.length, padded.shape[1])


@dataclass(frozen=True)
class AttentionGroups:
    """A list of N tokens lined up in stacks.

    Attributes:
        place (Int[N] or None): Place of each token, counted through all stacks; None where token n stands at place n.
        places: P, of all stacks, and one more where tokens stand in no line.
    """

    buckets: tuple[PaddedBucket, ...]
    padded_index: Int[Tensor, " N"] | None
    padded_size: int

    @classmethod
    def of(cls, group_index: Int[Tensor, " N"], counts: Int[Tensor, " C"], groups: Sequence[Tensor]) -> AttentionGroups:
        """Line tokens up by their line, in the order of the list; `held` is how many each line has, a group a stack."""
        buckets, group_start, start = [], torch.full_like(counts, -1), 0
        for members in groups:
            sizes = counts[members]
            length = max(1, int(sizes.max()))
            group_start[members] = start + torch.arange(len(members), device=group_index.device) * length
            empty = torch.arange(length, device=group_index.device) >= sizes[:, None]
            bias = empty[:, None, None] * MASK_VALUE if bool(empty.any()) else None
            buckets.append(PaddedBucket(start, len(members), length, bias))
            start += len(members) * length
        each, sort_index = torch.arange(len(group_index), device=group_index.device), group_index.argsort(stable=True)
        first = group_start[group_index]
        padded_index = torch.empty_like(group_index)
        padded_index[sort_index] = each - (torch.cumsum(counts, 0) - counts)[group_index[sort_index]]
        padded_index = torch.where(first >= 0, padded_index + first, start)
        if len(group_index) == start and bool((padded_index == each).all()):
            return cls(tuple(buckets), None, start)
        return cls(tuple(buckets), padded_index, start + int(bool((first < 0).any())))

    def pad(self, values: Shaped[Tensor, "N E"]) -> Shaped[Tensor, "P E"]:
        """The tokens at their places, zeros elsewhere."""
        if self.padded_index is None:
            return values
        return values.new_zeros(self.padded_size, values.shape[1]).index_copy_(0, self.padded_index, values)

    def unpad(self, padded: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "N E"]:
        """The tokens of the places, in the order of the list."""
        return padded if self.padded_index is None else padded.index_select(0, self.padded_index)


@dataclass(frozen=True)
class AttentionPattern:
    """Who looks at whom: lines of those who look, and the same lines of what they look at."""

    queries: AttentionGroups
    keys: AttentionGroups

    @classmethod
    def of(cls, query_groups: Int[Tensor, " N"], key_groups: Int[Tensor, " M"], count: int) -> AttentionPattern:
        """Token n looks at all of `keys` that stand in its line, one of `count`."""
        counts, key_counts = torch.bincount(query_groups, minlength=count), torch.bincount(key_groups, minlength=count)
        occupied = counts.nonzero()[:, 0]
        size = key_counts[occupied].clamp(min=1).to(widest_dtype(key_counts.device))
        level_of = size.new_zeros(0) if not len(occupied) else torch.log(size.max() / size) / -math.log(MIN_BUCKET_FILL)
        level_of = level_of.long().clamp(max=MAX_BUCKETS - 1)
        groups = [occupied[level_of == level] for level in level_of.unique().tolist()]
        query_side = AttentionGroups.of(query_groups, counts, groups)
        return cls(
            query_side, query_side if query_groups is key_groups else AttentionGroups.of(key_groups, key_counts, groups)
        )


@dataclass(frozen=True)
class PackedLayout:
    """Where N tokens sit on a grid of B windows, R rows and S sites.

    Attributes:
        flat (Int[N]): Seat of each token, (window × R + row) × S + site.
        shape (B, R, S): Rows are days, behind `static_rows` rows of static tokens.
    """

    flat_index: Int[Tensor, " N"]
    shape: tuple[int, int, int]
    static_rows: int = 0

    @classmethod
    def of_mask(cls, mask: Bool[Tensor, "B T S"]) -> PackedLayout:
        """The seats that are kept, in order."""
        return cls(mask.flatten().nonzero()[:, 0], (mask.shape[0], mask.shape[1], mask.shape[2]))

    @classmethod
    def dense(cls, size: int, rows: int, sites: int, device: torch.device) -> PackedLayout:
        """Every seat of a grid."""
        return cls(torch.arange(size * rows * sites, device=device), (size, rows, sites))

    @cached_property
    def is_dense(self) -> bool:
        """Whether every seat is taken and tokens come in the order of the grid."""
        size, rows, sites = self.shape
        total = size * rows * sites
        return len(self.flat_index) == total and bool(
            (self.flat_index == torch.arange(total, device=self.flat_index.device)).all()
        )

    @cached_property
    def window_index(self) -> Int[Tensor, " N"]:
        """Window of each token."""
        return self.flat_index // (self.shape[1] * self.shape[2])

    def group_index(self, direction: Direction) -> tuple[Int[Tensor, " N"], int]:
        """The line of each token, and how many there are: a window's, a site's (its days), or a day's (its sites)."""
        size, rows, sites = self.shape
        if direction == "joint":
            return self.window_index, size
        return (self.site_index, size * sites) if direction == "time" else (self.flat_index // sites, size * rows)

    @cached_property
    def site_index(self) -> Int[Tensor, " N"]:
        """Site of each token, counted through all windows."""
        return self.window_index * self.shape[2] + self.flat_index % self.shape[2]

    @cached_property
    def site_groups(self) -> AttentionGroups:
        """All tokens in one stack, a line a site."""
        counts = torch.bincount(self.site_index, minlength=self.shape[0] * self.shape[2])
        return AttentionGroups.of(self.site_index, counts, [torch.arange(len(counts), device=counts.device)])

    @cached_property
    def _patterns(self) -> dict[Direction, AttentionPattern]:
        return {}

    def self_attention(self, direction: Direction) -> AttentionPattern:
        """Each token looks at its own line."""
        if direction not in self._patterns:
            group_index, count = self.group_index(direction)
            self._patterns[direction] = AttentionPattern.of(group_index, group_index, count)
        return self._patterns[direction]

    def cross_attention(self, keys: PackedLayout, direction: Direction) -> AttentionPattern:
        """Each token looks at the same line of other tokens, on a grid of as many windows, rows and (along days) sites."""
        return AttentionPattern.of(self.group_index(direction)[0], *keys.group_index(direction))

    def with_leading_rows(self, static_rows: int) -> PackedLayout:
        """The same tokens on a grid with `static_rows` more rows in front."""
        size, rows, sites = self.shape
        shifted = self.flat_index + (self.window_index + 1) * (static_rows * sites)
        return PackedLayout(shifted, (size, rows + static_rows, sites), self.static_rows + static_rows)

    def with_static_tokens(self) -> PackedLayout:
        """Behind one more row, whose tokens, one a site, follow at the end of the list."""
        shifted = self.with_leading_rows(1)
        size, rows, sites = shifted.shape
        window = torch.arange(size, device=self.flat_index.device)[:, None] * (rows * sites)
        static = (window + torch.arange(sites, device=self.flat_index.device)).flatten()
        return PackedLayout(torch.cat([shifted.flat_index, static]), shifted.shape, shifted.static_rows)

    def unpack(self, tokens: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "B R S ..."]:
        """Tokens on their grid, zeros elsewhere."""
        if not self.is_dense:
            size, rows, sites = self.shape
            tokens = tokens.new_zeros(size * rows * sites, *tokens.shape[1:]).index_copy(0, self.flat_index, tokens)
        return tokens.view(*self.shape, *tokens.shape[1:])

    def pack(self, grid: Shaped[Tensor, "B R S ..."]) -> Shaped[Tensor, "N ..."]:
        """What stands at the tokens' seats."""
        flat = grid.flatten(0, 2)
        return flat if self.is_dense else flat.index_select(0, self.flat_index)

    def at_rows(
        self, tokens: Shaped[Tensor, "N ..."], rows: Int[Tensor, " K"]
    ) -> tuple[Shaped[Tensor, "M ..."], PackedLayout]:
        """The tokens of some rows of a whole grid, and their places on a grid of these rows alone."""
        size, _, sites = self.shape
        part = self.unpack(tokens).index_select(1, rows).flatten(0, 2)
        return part, PackedLayout.dense(size, len(rows), sites, tokens.device)

    def expand_sites(self, values: Shaped[Tensor, "B S ..."]) -> Shaped[Tensor, "N ..."]:
        """What belongs to the site of each token."""
        return values.flatten(0, 1).index_select(0, self.site_index)

    def sum_over_days(self, values: Shaped[Tensor, "N E"]) -> Shaped[Tensor, "B S E"]:
        """Sums over the tokens of each site."""
        size, rows, sites = self.shape
        if self.is_dense:
            return values.view(size, rows, sites, -1).sum(dim=1)
        groups = self.site_groups
        return groups.buckets[0].view(groups.pad(values)).sum(dim=1).view(size, sites, -1)


def concat_sites(parts: Sequence[PackedLayout]) -> PackedLayout:
    """Lists of tokens laid end to end, their sites side by side on one grid."""
    size, rows, _ = parts[0].shape
    total, first, flat = sum(part.shape[2] for part in parts), 0, []
    for part in parts:
        row, site = part.flat_index // part.shape[2], part.flat_index % part.shape[2]
        flat.append(row * total + first + site)
        first += part.shape[2]
    return PackedLayout(torch.cat(flat), (size, rows, total), parts[0].static_rows)
