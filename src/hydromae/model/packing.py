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

from hydromae.runtime import widest

Direction = Literal["joint", "time", "space"]
FAR_BELOW = -3e4
"""Added to the score of a place without a token; its weight is then exactly 0, in half precision, too."""
SHRINK = 0.65
"""Lines of a stack hold at least this share of its longest, but for the last stack, which takes all that are left."""
STACKS = 4


@dataclass(frozen=True)
class Stack:
    """G lines of L places, laid flat behind other stacks from place `start` on.

    Attributes:
        start, count, length: Where it starts, G, and L.
        bias (Float[G, 1, 1, L] or None): 0 where a token is, far below where none is; None where every place has one.
    """

    start: int
    count: int
    length: int
    bias: Float[Tensor, "G 1 1 L"] | None

    def of(self, places: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "G L E"]:
        """Its lines, a view."""
        part = places[self.start : self.start + self.count * self.length]
        return part.view(self.count, self.length, places.shape[1])


@dataclass(frozen=True)
class Lines:
    """A list of N tokens lined up in stacks.

    Attributes:
        place (Int[N] or None): Place of each token, counted through all stacks; None where token n stands at place n.
        places: P, of all stacks, and one more where tokens stand in no line.
    """

    stacks: tuple[Stack, ...]
    place: Int[Tensor, " N"] | None
    places: int

    @classmethod
    def of(cls, line: Int[Tensor, " N"], held: Int[Tensor, " C"], groups: Sequence[Tensor]) -> Lines:
        """Line tokens up by their line, in the order of the list; `held` is how many each line has, a group a stack."""
        stacks, begin, start = [], torch.full_like(held, -1), 0
        for lines in groups:
            own = held[lines]
            length = max(1, int(own.max()))
            begin[lines] = start + torch.arange(len(lines), device=line.device) * length
            empty = torch.arange(length, device=line.device) >= own[:, None]
            bias = empty[:, None, None] * FAR_BELOW if bool(empty.any()) else None
            stacks.append(Stack(start, len(lines), length, bias))
            start += len(lines) * length
        each, order = torch.arange(len(line), device=line.device), line.argsort(stable=True)
        first = begin[line]
        place = torch.empty_like(line)
        place[order] = each - (torch.cumsum(held, 0) - held)[line[order]]
        place = torch.where(first >= 0, place + first, start)
        if len(line) == start and bool((place == each).all()):
            return cls(tuple(stacks), None, start)
        return cls(tuple(stacks), place, start + int(bool((first < 0).any())))

    def spread(self, held: Shaped[Tensor, "N E"]) -> Shaped[Tensor, "P E"]:
        """The tokens at their places, zeros elsewhere."""
        if self.place is None:
            return held
        return held.new_zeros(self.places, held.shape[1]).index_copy_(0, self.place, held)

    def collect(self, places: Shaped[Tensor, "P E"]) -> Shaped[Tensor, "N E"]:
        """The tokens of the places, in the order of the list."""
        return places if self.place is None else places.index_select(0, self.place)


@dataclass(frozen=True)
class Sight:
    """Who looks at whom: lines of those who look, and the same lines of what they look at."""

    own: Lines
    theirs: Lines

    @classmethod
    def of(cls, own: Int[Tensor, " N"], theirs: Int[Tensor, " M"], count: int) -> Sight:
        """Token n looks at all of `theirs` that stand in its line, one of `count`."""
        held, found = torch.bincount(own, minlength=count), torch.bincount(theirs, minlength=count)
        looking = held.nonzero()[:, 0]
        size = found[looking].clamp(min=1).to(widest(found.device))
        depth = size.new_zeros(0) if not len(looking) else torch.log(size.max() / size) / -math.log(SHRINK)
        depth = depth.long().clamp(max=STACKS - 1)
        groups = [looking[depth == level] for level in depth.unique().tolist()]
        lines = Lines.of(own, held, groups)
        return cls(lines, lines if own is theirs else Lines.of(theirs, found, groups))


@dataclass(frozen=True)
class Seats:
    """Where N tokens sit on a grid of B windows, R rows and S sites.

    Attributes:
        flat (Int[N]): Seat of each token, (window × R + row) × S + site.
        shape (B, R, S): Rows are days, behind `lead` rows of static tokens.
    """

    flat: Int[Tensor, " N"]
    shape: tuple[int, int, int]
    lead: int = 0

    @classmethod
    def where(cls, keep: Bool[Tensor, "B T S"]) -> Seats:
        """The seats that are kept, in order."""
        return cls(keep.flatten().nonzero()[:, 0], (keep.shape[0], keep.shape[1], keep.shape[2]))

    @classmethod
    def all(cls, size: int, rows: int, sites: int, device: torch.device) -> Seats:
        """Every seat of a grid."""
        return cls(torch.arange(size * rows * sites, device=device), (size, rows, sites))

    @cached_property
    def whole(self) -> bool:
        """Whether every seat is taken and tokens come in the order of the grid."""
        size, rows, sites = self.shape
        total = size * rows * sites
        return len(self.flat) == total and bool((self.flat == torch.arange(total, device=self.flat.device)).all())

    @cached_property
    def windows(self) -> Int[Tensor, " N"]:
        """Window of each token."""
        return self.flat // (self.shape[1] * self.shape[2])

    def lines(self, direction: Direction) -> tuple[Int[Tensor, " N"], int]:
        """The line of each token, and how many there are: a window's, a site's (its days), or a day's (its sites)."""
        size, rows, sites = self.shape
        if direction == "joint":
            return self.windows, size
        return (self.of_site, size * sites) if direction == "time" else (self.flat // sites, size * rows)

    @cached_property
    def of_site(self) -> Int[Tensor, " N"]:
        """Site of each token, counted through all windows."""
        return self.windows * self.shape[2] + self.flat % self.shape[2]

    @cached_property
    def by_site(self) -> Lines:
        """All tokens in one stack, a line a site."""
        held = torch.bincount(self.of_site, minlength=self.shape[0] * self.shape[2])
        return Lines.of(self.of_site, held, [torch.arange(len(held), device=held.device)])

    @cached_property
    def _sights(self) -> dict[Direction, Sight]:
        return {}

    def among(self, direction: Direction) -> Sight:
        """Each token looks at its own line."""
        if direction not in self._sights:
            line, count = self.lines(direction)
            self._sights[direction] = Sight.of(line, line, count)
        return self._sights[direction]

    def at(self, theirs: Seats, direction: Direction) -> Sight:
        """Each token looks at the same line of other tokens, on a grid of as many windows, rows and (along days) sites."""
        return Sight.of(self.lines(direction)[0], *theirs.lines(direction))

    def behind(self, lead: int) -> Seats:
        """The same tokens on a grid with `lead` more rows in front."""
        size, rows, sites = self.shape
        moved = self.flat + (self.windows + 1) * (lead * sites)
        return Seats(moved, (size, rows + lead, sites), self.lead + lead)

    def behind_statics(self) -> Seats:
        """Behind one more row, whose tokens, one a site, follow at the end of the list."""
        moved = self.behind(1)
        size, rows, sites = moved.shape
        window = torch.arange(size, device=self.flat.device)[:, None] * (rows * sites)
        static = (window + torch.arange(sites, device=self.flat.device)).flatten()
        return Seats(torch.cat([moved.flat, static]), moved.shape, moved.lead)

    def grid(self, tokens: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "B R S ..."]:
        """Tokens on their grid, zeros elsewhere."""
        if not self.whole:
            size, rows, sites = self.shape
            tokens = tokens.new_zeros(size * rows * sites, *tokens.shape[1:]).index_copy(0, self.flat, tokens)
        return tokens.view(*self.shape, *tokens.shape[1:])

    def of(self, grid: Shaped[Tensor, "B R S ..."]) -> Shaped[Tensor, "N ..."]:
        """What stands at the tokens' seats."""
        flat = grid.flatten(0, 2)
        return flat if self.whole else flat.index_select(0, self.flat)

    def at_rows(
        self, tokens: Shaped[Tensor, "N ..."], rows: Int[Tensor, " K"]
    ) -> tuple[Shaped[Tensor, "M ..."], Seats]:
        """The tokens of some rows of a whole grid, and their places on a grid of these rows alone."""
        size, _, sites = self.shape
        part = self.grid(tokens).index_select(1, rows).flatten(0, 2)
        return part, Seats.all(size, len(rows), sites, tokens.device)

    def of_sites(self, held: Shaped[Tensor, "B S ..."]) -> Shaped[Tensor, "N ..."]:
        """What belongs to the site of each token."""
        return held.flatten(0, 1).index_select(0, self.of_site)

    def over_sites(self, held: Shaped[Tensor, "N E"]) -> Shaped[Tensor, "B S E"]:
        """Sums over the tokens of each site."""
        size, rows, sites = self.shape
        if self.whole:
            return held.view(size, rows, sites, -1).sum(dim=1)
        lines = self.by_site
        return lines.stacks[0].of(lines.spread(held)).sum(dim=1).view(size, sites, -1)


def side_by_side(parts: Sequence[Seats]) -> Seats:
    """Lists of tokens laid end to end, their sites side by side on one grid."""
    size, rows, _ = parts[0].shape
    total, first, flat = sum(part.shape[2] for part in parts), 0, []
    for part in parts:
        row, site = part.flat // part.shape[2], part.flat % part.shape[2]
        flat.append(row * total + first + site)
        first += part.shape[2]
    return Seats(torch.cat(flat), (size, rows, total), parts[0].lead)
