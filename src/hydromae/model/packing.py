"""Packing: visible tokens as one list without padding, and the groups in which they attend to each other.

Tokens are a list Float[N, D] without the hidden ones. Attention is within groups: the tokens of a window, of a site or of
a day. Groups of similar length form a bucket, padded with zeros to the longest; queries of a group without keys give 0.
The cost therefore grows with the number of visible tokens.
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
"""Added to the score of padding, whose weight is then exactly 0, also in half precision."""
MIN_BUCKET_FILL = 0.65
"""Shortest group of a bucket as a share of the longest, except in the last bucket."""
MAX_BUCKETS = 4


@dataclass(frozen=True)
class PaddedBucket:
    """G groups padded to L tokens, from index `start` of the padded list.

    Attributes:
        start, count, length: First index, G, and L.
        bias (Float[G, 1, 1, L] or None): 0 at tokens and `MASK_VALUE` at padding; None without padding.
    """

    start: int
    count: int
    length: int
    bias: Float[Tensor, "G 1 1 L"] | None

    def view(self, padded: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "G L E"]:
        """The groups of the bucket, a view."""
        part = padded[self.start : self.start + self.count * self.length]
        return part.view(self.count, self.length, padded.shape[1])


@dataclass(frozen=True)
class AttentionGroups:
    """N tokens arranged in padded buckets.

    Attributes:
        padded_index (Int[N] or None): Index of each token in the padded list; None for the identity.
        padded_size: Length P of the padded list, with one further element if some tokens are in no group.
    """

    buckets: tuple[PaddedBucket, ...]
    padded_index: Int[Tensor, " N"] | None
    padded_size: int

    @classmethod
    def of(cls, group_index: Int[Tensor, " N"], counts: Int[Tensor, " C"], groups: Sequence[Tensor]) -> AttentionGroups:
        """Arrange tokens.

        Args:
            group_index: Group of each token.
            counts: Tokens in each group.
            groups: Groups of each bucket.
        """
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
        """The padded list, zeros at padding."""
        if self.padded_index is None:
            return values
        return values.new_zeros(self.padded_size, values.shape[1]).index_copy_(0, self.padded_index, values)

    def unpad(self, padded: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "N E"]:
        """The inverse of `pad`."""
        return padded if self.padded_index is None else padded.index_select(0, self.padded_index)


@dataclass(frozen=True)
class AttentionPattern:
    """Groups of queries, and the groups of keys to which they attend."""

    queries: AttentionGroups
    keys: AttentionGroups

    @classmethod
    def of(cls, query_groups: Int[Tensor, " N"], key_groups: Int[Tensor, " M"], count: int) -> AttentionPattern:
        """Each query attends to all keys of its group, one of `count`."""
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
    """Positions of N tokens on a grid of B windows, R rows and S sites.

    Attributes:
        flat_index (Int[N]): Position of each token, (window × R + row) × S + site.
        shape (B, R, S)
        static_rows: Rows of static tokens before the first day.
    """

    flat_index: Int[Tensor, " N"]
    shape: tuple[int, int, int]
    static_rows: int = 0

    @classmethod
    def of_mask(cls, mask: Bool[Tensor, "B T S"]) -> PackedLayout:
        """Layout of the tokens where the mask is True."""
        return cls(mask.flatten().nonzero()[:, 0], (mask.shape[0], mask.shape[1], mask.shape[2]))

    @classmethod
    def dense(cls, size: int, rows: int, sites: int, device: torch.device) -> PackedLayout:
        """Layout of all tokens of a grid."""
        return cls(torch.arange(size * rows * sites, device=device), (size, rows, sites))

    @cached_property
    def is_dense(self) -> bool:
        """Whether the list contains every token of the grid in order."""
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
        """Group of each token, and the number of groups: a window (joint), a site (time), or a day (space)."""
        size, rows, sites = self.shape
        if direction == "joint":
            return self.window_index, size
        return (self.site_index, size * sites) if direction == "time" else (self.flat_index // sites, size * rows)

    @cached_property
    def site_index(self) -> Int[Tensor, " N"]:
        """Window × S + site of each token."""
        return self.window_index * self.shape[2] + self.flat_index % self.shape[2]

    @cached_property
    def site_groups(self) -> AttentionGroups:
        """The days of each site as a group, in one bucket."""
        counts = torch.bincount(self.site_index, minlength=self.shape[0] * self.shape[2])
        return AttentionGroups.of(self.site_index, counts, [torch.arange(len(counts), device=counts.device)])

    @cached_property
    def _patterns(self) -> dict[Direction, AttentionPattern]:
        return {}

    def self_attention(self, direction: Direction) -> AttentionPattern:
        """Each token attends to its group."""
        if direction not in self._patterns:
            group_index, count = self.group_index(direction)
            self._patterns[direction] = AttentionPattern.of(group_index, group_index, count)
        return self._patterns[direction]

    def cross_attention(self, keys: PackedLayout, direction: Direction) -> AttentionPattern:
        """Each token attends to the same group of other tokens, on a grid of the same windows, rows and (for time) sites."""
        return AttentionPattern.of(self.group_index(direction)[0], *keys.group_index(direction))

    def with_leading_rows(self, static_rows: int) -> PackedLayout:
        """The same tokens on a grid with `static_rows` more rows in front."""
        size, rows, sites = self.shape
        shifted = self.flat_index + (self.window_index + 1) * (static_rows * sites)
        return PackedLayout(shifted, (size, rows + static_rows, sites), self.static_rows + static_rows)

    def with_static_tokens(self) -> PackedLayout:
        """The layout with a leading row of one static token per site; these are at the end of the list."""
        shifted = self.with_leading_rows(1)
        size, rows, sites = shifted.shape
        window = torch.arange(size, device=self.flat_index.device)[:, None] * (rows * sites)
        static = (window + torch.arange(sites, device=self.flat_index.device)).flatten()
        return PackedLayout(torch.cat([shifted.flat_index, static]), shifted.shape, shifted.static_rows)

    def unpack(self, tokens: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "B R S ..."]:
        """Tokens on the grid, zeros elsewhere."""
        if not self.is_dense:
            size, rows, sites = self.shape
            tokens = tokens.new_zeros(size * rows * sites, *tokens.shape[1:]).index_copy(0, self.flat_index, tokens)
        return tokens.view(*self.shape, *tokens.shape[1:])

    def pack(self, grid: Shaped[Tensor, "B R S ..."]) -> Shaped[Tensor, "N ..."]:
        """The values of a grid at the tokens."""
        flat = grid.flatten(0, 2)
        return flat if self.is_dense else flat.index_select(0, self.flat_index)

    def at_rows(
        self, tokens: Shaped[Tensor, "N ..."], rows: Int[Tensor, " K"]
    ) -> tuple[Shaped[Tensor, "M ..."], PackedLayout]:
        """The tokens of some rows, and their dense layout on a grid of these rows."""
        size, _, sites = self.shape
        part = self.unpack(tokens).index_select(1, rows).flatten(0, 2)
        return part, PackedLayout.dense(size, len(rows), sites, tokens.device)

    def expand_sites(self, values: Shaped[Tensor, "B S ..."]) -> Shaped[Tensor, "N ..."]:
        """The values of each token's site."""
        return values.flatten(0, 1).index_select(0, self.site_index)

    def sum_over_days(self, values: Shaped[Tensor, "N E"]) -> Shaped[Tensor, "B S E"]:
        """Sums over the tokens of each site."""
        size, rows, sites = self.shape
        if self.is_dense:
            return values.view(size, rows, sites, -1).sum(dim=1)
        groups = self.site_groups
        return groups.buckets[0].view(groups.pad(values)).sum(dim=1).view(size, sites, -1)


def concat_sites(parts: Sequence[PackedLayout]) -> PackedLayout:
    """Layout of concatenated lists of tokens, with the sites of all on one grid."""
    size, rows, _ = parts[0].shape
    total, first, flat = sum(part.shape[2] for part in parts), 0, []
    for part in parts:
        row, site = part.flat_index // part.shape[2], part.flat_index % part.shape[2]
        flat.append(row * total + first + site)
        first += part.shape[2]
    return PackedLayout(torch.cat(flat), (size, rows, total), parts[0].static_rows)
