"""Mixers and the one block: a norm-first residual step over days, sites, or all tokens at once.

Tokens are a flat list `tokens[N, D]` whose seats say where each is; some mixers lay them on their grid `[B, R, S, D]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from hydromae.config import Mixer as MixerName
from hydromae.config import ModelConfig
from hydromae.model.attention import look
from hydromae.model.fused_ops import feed, filmed, project, residual
from hydromae.model.kernels import attention
from hydromae.model.lstm import opened, run
from hydromae.model.packing import Direction, Seats


@dataclass(frozen=True)
class Neighbourhood:
    """Sites close together, and all sites that any of them looks at: one dense matrix of attention instead of many rows.

    Attributes:
        windows: Windows of the batch for which this holds.
        sites (Int[Q])
        seen (Int[U]): Ascending.
        place (Int[Q, K]): Where each of a site's K neighbours stands in `seen`.
    """

    windows: slice
    sites: Int[Tensor, " Q"]
    seen: Int[Tensor, " U"]
    place: Int[Tensor, "Q K"]


@dataclass(frozen=True)
class Context:
    """What a mixer may know beside the tokens.

    Attributes:
        neighbours (Int[B, S, K] or None): Grids: the sites that each site looks at; None means all.
        neighbourhoods: The same, gathered; every site of every window is in exactly one of them.
        separation (Float[B, S, K, G] or None): Distance [units of 50 km] and differences of traits to each of them.
    """

    neighbours: Int[Tensor, "B S K"] | None = None
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    separation: Float[Tensor, "B S K G"] | None = None


def taken_by(layer: nn.Module, values: Tensor) -> Tensor:
    """Values in the precision of a layer's weights, which are half where somebody has cast the model so."""
    return values.to(next(layer.parameters()).dtype)


class Mixer(nn.Module):
    """What a block mixes: a step from a list of tokens to a list of what is added to them.

    Attributes:
        across_days: Whether a token receives information from tokens of other days.
    """

    across_days = True

    def mix(
        self, tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, seats: Seats, context: Context
    ) -> Float[Tensor, "N D"]:
        """Norm first; on the grid of days and sites, unless a mixer has a way of its own."""
        return seats.of(self(seats.grid(norm(tokens)), context))


class LineMixer(Mixer):
    """Each token looks along its line: at all tokens of its window, at its site's days, or at its day's sites."""

    def __init__(self, width: int, heads: int, direction: Direction) -> None:
        super().__init__()
        self.heads = heads
        self.direction: Direction = direction
        self.across_days = direction != "space"
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def mix(
        self, tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, seats: Seats, context: Context
    ) -> Float[Tensor, "N D"]:
        """Attention along lines; whoever is not in the list is not looked at."""
        sight = seats.among(self.direction)
        return self.out(look(project(tokens, norm, self.query_key_value), None, sight, self.heads))


class RecurrentMixer(Mixer):
    """Each site runs along its own days in both directions (LSTM; Hochreiter and Schmidhuber 1997)."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.recurrence = opened(nn.LSTM(width, states, bidirectional=True))
        self.out = nn.Linear(2 * states, width)

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Recurrence over T, separately for each site."""
        size = tokens.shape[0]
        states = run(self.recurrence, rearrange(tokens, "b t s d -> t (b s) d"))
        return rearrange(self.out(states), "t (b s) d -> b t s d", b=size)


class SpaceMixer(Mixer):
    """Each day, every site looks at its neighbours, nearer and more alike ones first (learned slopes)."""

    across_days = False

    def __init__(self, width: int, heads: int, separations: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        start = torch.linspace(-2.0, 1.0, heads, device="cpu")[:, None].repeat(1, separations)
        self.slope = nn.Parameter(start)

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Attention over the K neighbours of a site on the same day; all sites where K is not limited."""
        mixed = self.query_key_value(tokens)
        bias = None
        if context.separation is not None:
            bias = -torch.einsum("b s k g, h g -> b h s k", context.separation, functional.softplus(self.slope.float()))
        if context.neighbours is None:
            query, pair = mixed.split((tokens.shape[-1], 2 * tokens.shape[-1]), dim=-1)
            return self.out(self._look(query, pair, bias))
        return self.out(self._nearest(mixed, bias, context))

    def _nearest(self, mixed: Float[Tensor, "B T S E"], bias: Tensor | None, context: Context) -> Tensor:
        """Block by block; rows of sites are gathered whole, all heads at once."""
        width = mixed.shape[-1] // 3
        query, pair = mixed.split((width, 2 * width), dim=-1)
        answers = torch.empty_like(query)
        for near in context.neighbourhoods:
            place = near.place.expand(self.heads, -1, -1)
            own = torch.zeros(place.shape, device=place.device)
            if bias is not None:
                own = bias[near.windows.start, :, near.sites]
            open_ = own.new_full((*place.shape[:2], len(near.seen)), float("-inf")).scatter(-1, place, own)
            there = pair[near.windows].index_select(2, near.seen)
            answers[near.windows, :, near.sites] = self._look(
                query[near.windows].index_select(2, near.sites), there, open_[None]
            )
        return answers

    def _look(
        self, query: Float[Tensor, "B T Q D"], pair: Float[Tensor, "B T U E"], bias: Tensor | None
    ) -> Float[Tensor, "B T Q D"]:
        """Attention of Q sites on U sites, each day by itself; `bias` Float[B or 1, H, Q, U] holds on every day."""
        size, days = query.shape[:2]
        query = rearrange(query, "b t q (h d) -> (b t) h q d", h=self.heads)
        key, value = rearrange(pair, "b t u (two h d) -> two (b t) h u d", two=2, h=self.heads)
        if bias is not None:
            bias = bias[:, None].expand(size, days, -1, -1, -1).flatten(0, 1).to(query.dtype)
        if bias is None or not bias.requires_grad:
            answers = attention(query, key, value, bias)
        else:  # fused attention has no gradient of a bias
            score = torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5
            answers = torch.matmul((score + bias).softmax(dim=-1).to(value.dtype), value)
        return rearrange(answers, "(b t) h q d -> b t q (h d)", b=size)


class FiLM(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018, AAAI): starts as the identity, computed in the tokens' dtype."""

    def __init__(self, condition: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(condition, 2 * width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, tokens: Float[Tensor, "N *V D"], condition: Float[Tensor, "B S *V E"], seats: Seats
    ) -> Float[Tensor, "N *V D"]:
        """(1 + γ) × tokens + β, with γ and β from the condition of each token's site."""
        return filmed(tokens, self.project(condition), seats)[0]


class Block(nn.Module):
    """One or two mixers and a feed-forward part, each norm-first and residual, with optional FiLM."""

    def __init__(
        self, config: ModelConfig, width: int, mixers: tuple[MixerName, ...], separations: int, film: bool
    ) -> None:
        super().__init__()
        hidden = int(width * config.mlp_ratio)
        self.dropout = config.dropout
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in mixers)
        self.mixers = nn.ModuleList(_mixer(name, config, width, separations) for name in mixers)
        self.norm = nn.LayerNorm(width)
        self.film = FiLM(width, width) if film else None
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self,
        tokens: Float[Tensor, "N D"],
        seats: Seats,
        context: Context,
        condition: Float[Tensor, "B S D"] | None = None,
        rows: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Tokens in and out.

        Args:
            tokens, seats, context: Tokens, their places, and what the mixers use beside them.
            condition: Modulates the tokens of each site.
            rows: Days of a whole grid whose tokens are returned; the other days are left out as soon as no mixer reads
                them. None returns all tokens.
        """
        dropout = self.dropout if self.training else 0.0
        last_across_days = max((i for i, m in enumerate(self.mixers) if cast(Mixer, m).across_days), default=-1)
        for index, (norm, mixer) in enumerate(zip(self.norms, self.mixers, strict=True)):
            assert isinstance(norm, nn.LayerNorm) and isinstance(mixer, Mixer)
            if rows is not None and index == last_across_days + 1:
                tokens, seats = seats.at_rows(tokens, rows)
            tokens = residual(tokens, mixer.mix(tokens, norm, seats, context), dropout)
        if rows is not None and last_across_days + 1 == len(self.mixers):
            tokens, seats = seats.at_rows(tokens, rows)
        film = None if self.film is None or condition is None else self.film.project(condition)
        return residual(tokens, feed(tokens, self.norm, film, seats, self.feed), dropout)


def _mixer(name: MixerName, config: ModelConfig, width: int, separations: int) -> Mixer:
    if name == "recurrent":
        return RecurrentMixer(width, config.recurrent_width or width)
    return (
        SpaceMixer(width, config.heads, separations)
        if name == "space" and separations
        else LineMixer(width, config.heads, name)
    )
