"""From memory to answers: hidden tokens query what is visible (CrossMAE; Fu et al. 2025, TMLR), a head reads each value."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.config import ModelConfig
from hydromae.model.encoder import pack
from hydromae.model.layers import Attention


class CrossBlock(nn.Module):
    """Queries look at the memory (and, with `decoder_self_attn`, at each other first), then feed forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.decoder_dim, int(config.decoder_dim * config.mlp_ratio)
        self.self_norm = nn.LayerNorm(width) if config.decoder_self_attn else None
        self.self_attention = Attention(width, config.heads) if config.decoder_self_attn else None
        self.norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(config.d_model)
        self.attention = Attention(width, config.heads, config.d_model)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        query: Float[Tensor, "B Q D"],
        memory: Float[Tensor, "B M E"],
        query_real: Tensor | None,
        memory_real: Tensor | None,
    ) -> Float[Tensor, "B Q D"]:
        """Queries in and out; padding is never looked at."""
        if self.self_attention is not None and self.self_norm is not None:
            query = query + self.dropout(self.self_attention(self.self_norm(query), real=query_real))
        looked = self.attention(self.norm(query), self.memory_norm(memory), memory_real)
        query = query + self.dropout(looked)
        return query + self.dropout(self.feed(self.feed_norm(query)))


class Decoder(nn.Module):
    """Cross-attention blocks over a packed memory, or, on grids, over a day's sites and a site's days in turn."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.joint = config.mixers == ("joint",)
        self.blocks = nn.ModuleList(CrossBlock(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.decoder_dim)

    def forward(
        self,
        query: Float[Tensor, "B T S D"],
        asked: Bool[Tensor, "B T S"],
        memories: list[Tensor],
        real: Bool[Tensor, "B M"] | None,
        own: slice,
        lead: int,
    ) -> Float[Tensor, "N D"]:
        """One vector for each asked token, in the order of `asked.nonzero()`.

        `memories[l]` is what block l looks at, Float[B, M, E] with `real`, or a grid Float[B, lead + T, ΣS, E] whose
        first `lead` days are static tokens and whose sites `own` are the query's.
        """
        if self.joint:
            return self._packed(query, asked, memories, real)
        return self.norm(self._grid(query, memories, own, lead)[asked])

    def _packed(self, query: Tensor, asked: Tensor, memories: list[Tensor], real: Tensor | None) -> Tensor:
        packed, _, query_real = pack(query.flatten(1, 2), asked.flatten(1))
        for block, memory in zip(self.blocks, memories, strict=True):
            packed = block(packed, memory, query_real, real)
        return self.norm(packed.flatten(0, 1) if query_real is None else packed[query_real])

    def _grid(self, query: Tensor, memories: list[Tensor], own: slice, lead: int) -> Tensor:
        size = query.shape[0]
        for index, (block, memory) in enumerate(zip(self.blocks, memories, strict=True)):
            if index % 2 == 0:
                there = rearrange(memory[:, lead:], "b t s d -> (b t) s d")
                query = block(rearrange(query, "b t s d -> (b t) s d"), there, None, None)
                query = rearrange(query, "(b t) s d -> b t s d", b=size)
            else:
                there = rearrange(memory[:, :, own], "b t s d -> (b s) t d")
                query = block(rearrange(query, "b t s d -> (b s) t d"), there, None, None)
                query = rearrange(query, "(b s) t d -> b t s d", b=size)
        return query


class Head(nn.Module):
    """Reads each catchment's (or pixel's) value from a token and the catchment's own address.

    Parameters
    ----------
    width, channels : int
        Of the token, and values a slot.
    spread : int
        Numbers a value beside its mean (3 a Gaussian; 0 for maps).
    priors : int
        Priors that the mean may start from.
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
        self, token: Float[Tensor, "*batch D"], slots: Float[Tensor, "*slots V E"], priors: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Means Float[..., V×C] and spread numbers Float[..., V×C, L], or None for maps."""
        hidden = self.feed(token[..., None, :] + self.address(slots))
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
