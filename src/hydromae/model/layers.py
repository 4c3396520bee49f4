"""Mixers and the one block: a norm-first residual step over days, sites, or all tokens at once.

A grid is `tokens[B, T, S, D]`; a packed sequence is `tokens[B, N, D]` with `real[B, N]` False at padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hydromae.config import Mixer, ModelConfig


@dataclass(frozen=True)
class Neighbourhood:
    """Sites close together, and all sites that any of them looks at: one dense matrix of attention instead of many rows.

    Attributes
    ----------
    windows : slice
        Windows of the batch for which this holds.
    sites : Int[Q]
    seen : Int[U]
        Ascending.
    place : Int[Q, K]
        Where each of a site's K neighbours stands in `seen`.
    """

    windows: slice
    sites: Int[Tensor, " Q"]
    seen: Int[Tensor, " U"]
    place: Int[Tensor, "Q K"]


@dataclass(frozen=True)
class Context:
    """What a mixer may know beside the tokens.

    Attributes
    ----------
    real : Bool[B, N] or None
        Packed sequences: False at padding; None where there is none.
    neighbours : Int[B, S, K] or None
        Grids: the sites that each site looks at; None means all.
    neighbourhoods : tuple of Neighbourhood
        The same, gathered; every site of every window is in exactly one of them.
    separation : Float[B, S, K, G] or None
        Distance [units of 50 km] and differences of traits to each of them.
    """

    real: Bool[Tensor, "B N"] | None = None
    neighbours: Int[Tensor, "B S K"] | None = None
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    separation: Float[Tensor, "B S K G"] | None = None


def taken_by(layer: nn.Module, values: Tensor) -> Tensor:
    """Values in the precision of a layer's weights, which are half where an engine has cast the model so."""
    return values.to(next(layer.parameters()).dtype)


class Attention(nn.Module):
    """Multi-head attention with fused scaled-dot-product; queries may come from elsewhere (`decoder`)."""

    def __init__(self, width: int, heads: int, memory_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "B N D"],
        memory: Float[Tensor, "B M E"] | None = None,
        real: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B N D"]:
        """Each token looks at the real tokens of `memory` (itself and its fellows where None)."""
        query = rearrange(self.query(tokens), "b n (h d) -> b h n d", h=self.heads)
        pair = self.key_value(tokens if memory is None else memory)
        key, value = rearrange(pair, "b m (two h d) -> two b h m d", two=2, h=self.heads)
        allowed = None if real is None else real[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(rearrange(mixed, "b h n d -> b n (h d)"))


class JointMixer(nn.Module):
    """All tokens of a packed sequence look at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, tokens: Float[Tensor, "B N D"], context: Context) -> Float[Tensor, "B N D"]:
        """Dense attention; padding is never looked at."""
        return self.attention(tokens, real=context.real)


class TimeMixer(nn.Module):
    """Each site looks along its own days."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Attention over T, separately for each site."""
        size = tokens.shape[0]
        mixed = self.attention(rearrange(tokens, "b t s d -> (b s) t d"))
        return rearrange(mixed, "(b s) t d -> b t s d", b=size)


class RecurrentMixer(nn.Module):
    """Each site runs along its own days in both directions (LSTM; Hochreiter and Schmidhuber 1997)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.recurrence = nn.LSTM(width, width, bidirectional=True)
        self.out = nn.Linear(2 * width, width)
        with torch.no_grad():
            for name, bias in self.recurrence.named_parameters():
                if name.startswith("bias_ih"):
                    bias[width : 2 * width] = 3.0  # a forget gate that starts open remembers weeks

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Recurrence over T, separately for each site."""
        size = tokens.shape[0]
        states = self._run(rearrange(tokens, "b t s d -> t (b s) d"))
        return rearrange(self.out(states), "t (b s) d -> b t s d", b=size)

    def _run(self, along: Float[Tensor, "T N D"]) -> Float[Tensor, "T N E"]:
        """The recurrence; what would be fp16 on a CPU runs in fp32, for oneDNN has no such LSTM."""
        cast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16
        if along.device.type != "cpu" or not (cast or along.dtype == torch.float16):
            return self.recurrence(along)[0]
        weights = {name: weight.float() for name, weight in self.recurrence.named_parameters()}
        with torch.autocast("cpu", enabled=False):
            states, _ = torch.func.functional_call(self.recurrence, weights, (along.float(),))
        return states.to(along.dtype)


class SpaceMixer(nn.Module):
    """Each day, every site looks at its neighbours, nearer and more alike ones first (learned slopes).

    With `separations` 0 it looks at all sites alike, and knows them by their addresses only.
    """

    def __init__(self, width: int, heads: int, separations: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        start = torch.linspace(-2.0, 1.0, heads, device="cpu")[:, None].repeat(1, separations)
        self.slope = nn.Parameter(start) if separations else None

    def forward(self, tokens: Float[Tensor, "B T S D"], context: Context) -> Float[Tensor, "B T S D"]:
        """Attention over the K neighbours of a site on the same day; all sites where K is not limited."""
        mixed = self.query_key_value(tokens)
        bias = None
        if context.separation is not None and self.slope is not None:
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
            answers = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
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

    def forward(self, tokens: Float[Tensor, "... D"], condition: Float[Tensor, "... E"]) -> Float[Tensor, "... D"]:
        """(1 + γ) × tokens + β, with γ and β from the condition; the two broadcast."""
        gamma, beta = self.project(condition).to(tokens.dtype).chunk(2, dim=-1)
        return torch.addcmul(tokens + beta, tokens, gamma)


class Block(nn.Module):
    """One or two mixers and a feed-forward part, each norm-first and residual, with optional FiLM."""

    def __init__(
        self, config: ModelConfig, width: int, mixers: tuple[Mixer, ...], separations: int, film: bool
    ) -> None:
        super().__init__()
        hidden = int(width * config.mlp_ratio)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in mixers)
        self.mixers = nn.ModuleList(_mixer(name, width, config.heads, separations) for name in mixers)
        self.norm = nn.LayerNorm(width)
        self.film = FiLM(width, width) if film else None
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, context: Context, condition: Tensor | None = None) -> Tensor:
        """Tokens of any layout that the mixers take, in and out; `condition` broadcasts against them."""
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            tokens = tokens + self.dropout(mixer(norm(tokens), context))
        inner = self.norm(tokens)
        if self.film is not None and condition is not None:
            inner = self.film(inner, condition)
        return tokens + self.dropout(self.feed(inner))


def _mixer(name: Mixer, width: int, heads: int, separations: int) -> nn.Module:
    if name == "space":
        return SpaceMixer(width, heads, separations)
    return {"joint": JointMixer, "time": TimeMixer, "recurrent": RecurrentMixer}[name](width, heads)
