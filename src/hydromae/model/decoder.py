"""From memory to answers: hidden tokens query what is visible (CrossMAE; Fu et al. 2025, TMLR), a head reads each value."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hydromae.config import ModelConfig
from hydromae.model.attention import look
from hydromae.model.blocks import Context, LineMixer
from hydromae.model.fused_ops import feed, of_sites, project, residual
from hydromae.model.outputs import Own
from hydromae.model.packing import Direction, Seats, Sight


class CrossAttention(nn.Module):
    """Queries look at a memory along lines."""

    def __init__(self, width: int, memory_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.memory_norm = nn.LayerNorm(width), nn.LayerNorm(memory_width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(memory_width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, query: Float[Tensor, "Q D"], memory: Float[Tensor, "M E"], sight: Sight) -> Float[Tensor, "Q D"]:
        """Norm first, of both."""
        pair = project(memory, self.memory_norm, self.key_value)
        return self.out(look(project(query, self.norm, self.query), pair, sight, self.heads))


class CrossBlock(nn.Module):
    """Queries look at the memory (and, with `decoder_self_attn`, at each other first), then feed forward."""

    def __init__(self, config: ModelConfig, direction: Direction) -> None:
        super().__init__()
        width, hidden = config.decoder_dim, int(config.decoder_dim * config.mlp_ratio)
        self.dropout = config.dropout
        self.own_norm = nn.LayerNorm(width) if config.decoder_self_attn else None
        self.own = LineMixer(width, config.heads, direction) if config.decoder_self_attn else None
        self.cross = CrossAttention(width, config.d_model, config.heads)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self, query: Float[Tensor, "Q D"], seats: Seats, memory: Float[Tensor, "M E"], sight: Sight
    ) -> Float[Tensor, "Q D"]:
        """Queries in and out."""
        dropout = self.dropout if self.training else 0.0
        if self.own is not None and self.own_norm is not None:
            query = residual(query, self.own.mix(query, self.own_norm, seats, Context()), dropout)
        query = residual(query, self.cross(query, memory, sight), dropout)
        return residual(query, feed(query, self.norm, None, seats, self.feed), dropout)


class Decoder(nn.Module):
    """Cross-attention blocks: at the whole memory, or at a day's sites of every stream and a site's own days in turn."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.turns: tuple[Direction, ...] = ("joint",) if config.mixers == ("joint",) else ("space", "time")
        self.blocks = nn.ModuleList(
            CrossBlock(config, self.turns[index % len(self.turns)]) for index in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.decoder_dim)

    def forward(
        self, query: Float[Tensor, "Q D"], seats: Seats, memories: list[Float[Tensor, "M E"]], theirs: Seats, own: Own
    ) -> Float[Tensor, "Q D"]:
        """One vector for each query.

        `memories[l]` is what block l looks at; `own` says which of its tokens are of the queries' own stream, and where they
        sit among their own sites.
        """
        sights = [seats.at(own.seats if turn == "time" else theirs, turn) for turn in self.turns]
        for index, (block, memory) in enumerate(zip(self.blocks, memories, strict=True)):
            turn = index % len(self.turns)
            there = memory[own.tokens] if self.turns[turn] == "time" else memory
            query = block(query, seats, there, sights[turn])
        return self.norm(query)


class Head(nn.Module):
    """Reads each catchment's (or pixel's) value from a token and the catchment's own address.

    Args:
        width, channels: Of the token, and values a slot.
        spread: Numbers a value beside its mean (3 a Gaussian; 0 for maps).
        priors: Priors that the mean may start from.
    """

    def __init__(self, width: int, address: int, channels: int, spread: int, priors: int) -> None:
        super().__init__()
        self.channels, self.spread, self.priors = channels, spread, priors
        self.address = nn.Linear(address, width)
        self.feed = nn.Sequential(nn.GELU(), nn.Linear(width, 2 * width), nn.GELU())
        self.mean = nn.Linear(2 * width, channels)
        self.shape = nn.Linear(2 * width, channels * spread) if spread else None
        self.gate = nn.Linear(2 * width, priors + 1) if priors else None

    def forward(
        self,
        token: Float[Tensor, "N D"],
        slots: Float[Tensor, "B S V E"],
        seats: Seats,
        priors: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Means Float[N, V×C] and spread numbers Float[N, V×C, L], or None for maps."""
        hidden = self.feed(token[:, None] + of_sites(self.address(slots), seats))
        mean = self.mean(hidden).float()
        if self.gate is not None and priors is not None:
            value, there = priors
            logit = self.gate(hidden).float()[..., 0, :]
            open_ = torch.cat([there, torch.ones_like(there[..., :1])], dim=-1)
            gate = logit.masked_fill(~open_, -1e9).softmax(dim=-1)
            mean = mean + (gate[..., :-1] * value).sum(dim=-1)[..., None, None]
        mean = mean.flatten(-2)
        if self.shape is None:
            return mean, None
        raw = rearrange(self.shape(hidden).float(), "... v (c l) -> ... (v c) l", l=self.spread)
        return mean, raw
