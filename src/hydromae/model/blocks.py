"""Mixers and blocks: pre-norm residual steps over days, sites, or all tokens.

Tokens are packed, `tokens[N, D]` with a `PackedLayout`; some mixers use the grid `[B, R, S, D]`.
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
from hydromae.model.attention import packed_attention
from hydromae.model.fused_ops import apply_film, feed_forward, project, residual
from hydromae.model.kernels import attention
from hydromae.model.lstm import open_forget_gates, run_lstm, run_lstm_rows
from hydromae.model.packing import Direction, PackedLayout


@dataclass(frozen=True)
class Neighbourhood:
    """Sites close to each other and all their neighbours, for one dense attention matrix.

    Attributes:
        windows: Windows of the batch with this neighbourhood.
        query_sites (Int[Q])
        key_sites (Int[U]): Ascending.
        neighbour_index (Int[Q, K]): Index in `key_sites` of each of a site's K neighbours.
    """

    windows: slice
    query_sites: Int[Tensor, " Q"]
    key_sites: Int[Tensor, " U"]
    neighbour_index: Int[Tensor, "Q K"]


@dataclass(frozen=True)
class Context:
    """Inputs of the mixers beside the tokens.

    Attributes:
        neighbours (Int[B, S, K] or None): The sites to which each site attends; None means all.
        neighbourhoods: The same in groups; every site of every window is in exactly one of them.
        separation (Float[B, S, K, G] or None): Distance [units of 50 km] and differences of static attributes to each
            neighbour.
    """

    neighbours: Int[Tensor, "B S K"] | None = None
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    separation: Float[Tensor, "B S K G"] | None = None


def cast_for(layer: nn.Module, values: Tensor) -> Tensor:
    """Values in the dtype of a layer's weights."""
    return values.to(next(layer.parameters()).dtype)


class Mixer(nn.Module):
    """A step of a block, from packed tokens to the increments of a residual connection.

    Attributes:
        across_days: Whether a token receives information from other days.
    """

    across_days = True

    def mix(
        self,
        tokens: Float[Tensor, "N D"],
        norm: nn.LayerNorm,
        layout: PackedLayout,
        context: Context,
        rows: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Normalise and mix, on the grid of days and sites; with `rows`, return the tokens of these days of a dense grid."""
        mixed = self.mix_all(tokens, norm, layout, context)
        return mixed if rows is None else layout.at_rows(mixed, rows)[0]

    def mix_all(
        self, tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, layout: PackedLayout, context: Context
    ) -> Float[Tensor, "N D"]:
        """Normalise and mix all tokens."""
        return layout.pack(self(layout.unpack(norm(tokens)), context))


class AttentionMixer(Mixer):
    """Attention over all tokens of a window, over the days of a site, or over the sites of a day."""

    def __init__(self, width: int, heads: int, direction: Direction) -> None:
        super().__init__()
        self.heads = heads
        self.direction: Direction = direction
        self.across_days = direction != "space"
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def mix_all(
        self, tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, layout: PackedLayout, context: Context
    ) -> Float[Tensor, "N D"]:
        """Normalise and mix the packed tokens."""
        pattern = layout.self_attention(self.direction)
        return self.out(packed_attention(project(tokens, norm, self.query_key_value), None, pattern, self.heads))


class RecurrentMixer(Mixer):
    """Bidirectional LSTM over the days of each site (Hochreiter and Schmidhuber 1997)."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.lstm = open_forget_gates(nn.LSTM(width, states, bidirectional=True))
        self.out = nn.Linear(2 * states, width)

    def forward(
        self, tokens: Float[Tensor, "B T S D"], context: Context, rows: Int[Tensor, " K"] | None = None
    ) -> Float[Tensor, "B K S D"]:
        """Mix along T; with `rows`, return these days only."""
        size = tokens.shape[0]
        inputs = rearrange(tokens, "b t s d -> t (b s) d")
        states = run_lstm(self.lstm, inputs) if rows is None else run_lstm_rows(self.lstm, inputs, rows)
        return rearrange(self.out(states), "t (b s) d -> b t s d", b=size)

    def mix(
        self,
        tokens: Float[Tensor, "N D"],
        norm: nn.LayerNorm,
        layout: PackedLayout,
        context: Context,
        rows: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Normalise and mix; the days before the first of `rows` are not read backwards."""
        if rows is None:
            return super().mix(tokens, norm, layout, context)
        return self(layout.unpack(norm(tokens)), context, rows).flatten(0, 2)


class SpaceMixer(Mixer):
    """Attention to the neighbours of a site on the same day, with a learned bias by distance and attributes."""

    across_days = False

    def __init__(self, width: int, heads: int, separations: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        start = torch.linspace(-2.0, 1.0, heads, device="cpu")[:, None].repeat(1, separations)
        self.slope = nn.Parameter(start)

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Mix along S."""
        mixed = self.query_key_value(tokens)
        bias = None
        if context.separation is not None:
            bias = -torch.einsum("b s k g, h g -> b h s k", context.separation, functional.softplus(self.slope.float()))
        if context.neighbours is None:
            query, key_value = mixed.split((tokens.shape[-1], 2 * tokens.shape[-1]), dim=-1)
            return self.out(self._attend(query, key_value, bias))
        return self.out(self._attend_neighbours(mixed, bias, context))

    def _attend_neighbours(self, mixed: Float[Tensor, "B T S E"], bias: Tensor | None, context: Context) -> Tensor:
        width = mixed.shape[-1] // 3
        query, key_value = mixed.split((width, 2 * width), dim=-1)
        output = torch.empty_like(query)
        for neighbourhood in context.neighbourhoods:
            neighbour_index = neighbourhood.neighbour_index.expand(self.heads, -1, -1)
            neighbour_bias = torch.zeros(neighbour_index.shape, device=neighbour_index.device)
            if bias is not None:
                neighbour_bias = bias[neighbourhood.windows.start, :, neighbourhood.query_sites]
            dense_bias = neighbour_bias.new_full(
                (*neighbour_index.shape[:2], len(neighbourhood.key_sites)), float("-inf")
            ).scatter(-1, neighbour_index, neighbour_bias)
            neighbour_key_value = key_value[neighbourhood.windows].index_select(2, neighbourhood.key_sites)
            output[neighbourhood.windows, :, neighbourhood.query_sites] = self._attend(
                query[neighbourhood.windows].index_select(2, neighbourhood.query_sites),
                neighbour_key_value,
                dense_bias[None],
            )
        return output

    def _attend(
        self, query: Float[Tensor, "B T Q D"], key_value: Float[Tensor, "B T U E"], bias: Tensor | None
    ) -> Float[Tensor, "B T Q D"]:
        """Attention of Q sites to U sites on each day, with one `bias` Float[B or 1, H, Q, U] for all days."""
        size, days = query.shape[:2]
        query = rearrange(query, "b t q (h d) -> (b t) h q d", h=self.heads)
        key, value = rearrange(key_value, "b t u (two h d) -> two (b t) h u d", two=2, h=self.heads)
        if bias is not None:
            bias = bias[:, None].expand(size, days, -1, -1, -1).flatten(0, 1).to(query.dtype)
        if bias is None or not bias.requires_grad:
            output = attention(query, key, value, bias)
        else:  # fused attention has no gradient of a bias
            score = torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5
            output = torch.matmul((score + bias).softmax(dim=-1).to(value.dtype), value)
        return rearrange(output, "(b t) h q d -> b t q (h d)", b=size)


class FiLM(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018, AAAI), initialised as the identity."""

    def __init__(self, condition: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(condition, 2 * width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, tokens: Float[Tensor, "N *V D"], condition: Float[Tensor, "B S *V E"], layout: PackedLayout
    ) -> Float[Tensor, "N *V D"]:
        """Return (1 + γ) × tokens + β, with γ and β from the condition of each token's site."""
        return apply_film(tokens, self.project(condition), layout)[0]


class Block(nn.Module):
    """Mixers and a feed-forward network, each pre-norm and residual, with optional FiLM."""

    def __init__(
        self, config: ModelConfig, width: int, mixers: tuple[MixerName, ...], separations: int, film: bool
    ) -> None:
        super().__init__()
        hidden = int(width * config.mlp_ratio)
        self.dropout = config.dropout
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in mixers)
        self.mixers = nn.ModuleList(_make_mixer(name, config, width, separations) for name in mixers)
        self.norm = nn.LayerNorm(width)
        self.film = FiLM(width, width) if film else None
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self,
        tokens: Float[Tensor, "N D"],
        layout: PackedLayout,
        context: Context,
        condition: Float[Tensor, "B S D"] | None = None,
        rows: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Apply the block.

        Args:
            condition: Input of FiLM for each site.
            rows: Days of a dense grid whose tokens are returned; other days are removed after the last mixer that reads them.
                None returns all tokens.
        """
        dropout = self.dropout if self.training else 0.0
        last_across_days = max((i for i, m in enumerate(self.mixers) if cast(Mixer, m).across_days), default=-1)
        for index, (norm, mixer) in enumerate(zip(self.norms, self.mixers, strict=True)):
            assert isinstance(norm, nn.LayerNorm) and isinstance(mixer, Mixer)
            kept = rows if index == last_across_days else None
            mixed = mixer.mix(tokens, norm, layout, context, kept)
            if kept is not None:
                tokens, layout = layout.at_rows(tokens, kept)
            tokens = residual(tokens, mixed, dropout)
        if rows is not None and last_across_days < 0:
            tokens, layout = layout.at_rows(tokens, rows)
        film = None if self.film is None or condition is None else self.film.project(condition)
        return residual(tokens, feed_forward(tokens, self.norm, film, layout, self.mlp), dropout)


def _make_mixer(name: MixerName, config: ModelConfig, width: int, separations: int) -> Mixer:
    if name == "recurrent":
        return RecurrentMixer(width, config.recurrent_width or width)
    return (
        SpaceMixer(width, config.heads, separations)
        if name == "space" and separations
        else AttentionMixer(width, config.heads, name)
    )
