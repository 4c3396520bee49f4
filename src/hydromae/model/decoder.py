"""Decoder: hidden tokens query the encoded ones (CrossMAE; Fu et al. 2025, TMLR), and a head maps tokens to values."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hydromae.config import ModelConfig
from hydromae.model.attention import packed_attention
from hydromae.model.blocks import AttentionMixer, Context
from hydromae.model.fused_ops import expand_sites, feed_forward, project, residual
from hydromae.model.outputs import StreamSlice
from hydromae.model.packing import AttentionPattern, Direction, PackedLayout


class CrossAttention(nn.Module):
    """Cross-attention of queries to encoded tokens (the memory)."""

    def __init__(self, width: int, memory_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.memory_norm = nn.LayerNorm(width), nn.LayerNorm(memory_width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(memory_width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, query: Float[Tensor, "Q D"], memory: Float[Tensor, "M E"], pattern: AttentionPattern
    ) -> Float[Tensor, "Q D"]:
        """Normalise both, and attend."""
        pair = project(memory, self.memory_norm, self.key_value)
        return self.out(packed_attention(project(query, self.norm, self.query), pair, pattern, self.heads))


class CrossBlock(nn.Module):
    """Self-attention (with `decoder_self_attn`), cross-attention and a feed-forward network."""

    def __init__(self, config: ModelConfig, direction: Direction) -> None:
        super().__init__()
        width, hidden = config.decoder_dim, int(config.decoder_dim * config.mlp_ratio)
        self.dropout = config.dropout
        self.self_norm = nn.LayerNorm(width) if config.decoder_self_attn else None
        self.self_attention = AttentionMixer(width, config.heads, direction) if config.decoder_self_attn else None
        self.cross = CrossAttention(width, config.d_model, config.heads)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self, query: Float[Tensor, "Q D"], layout: PackedLayout, memory: Float[Tensor, "M E"], pattern: AttentionPattern
    ) -> Float[Tensor, "Q D"]:
        """Apply the block to the queries."""
        dropout = self.dropout if self.training else 0.0
        if self.self_attention is not None and self.self_norm is not None:
            query = residual(query, self.self_attention.mix(query, self.self_norm, layout, Context()), dropout)
        query = residual(query, self.cross(query, memory, pattern), dropout)
        return residual(query, feed_forward(query, self.norm, None, layout, self.mlp), dropout)


class Decoder(nn.Module):
    """Cross-attention blocks to the whole memory, or in turn to the sites of a day and to the days of a site."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.directions: tuple[Direction, ...] = ("joint",) if config.mixers == ("joint",) else ("space", "time")
        self.blocks = nn.ModuleList(
            CrossBlock(config, self.directions[index % len(self.directions)]) for index in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.decoder_dim)

    def forward(
        self,
        query: Float[Tensor, "Q D"],
        layout: PackedLayout,
        memories: list[Float[Tensor, "M E"]],
        memory_layout: PackedLayout,
        stream_slice: StreamSlice,
    ) -> Float[Tensor, "Q D"]:
        """One vector for each query.

        Args:
            query, layout: Query tokens.
            memories, memory_layout: Encoded tokens for each block.
            stream_slice: The part of them that is of the queries' stream.
        """
        patterns = [
            layout.cross_attention(stream_slice.layout if direction == "time" else memory_layout, direction)
            for direction in self.directions
        ]
        for index, (block, memory) in enumerate(zip(self.blocks, memories, strict=True)):
            turn = index % len(self.directions)
            attended = memory[stream_slice.tokens] if self.directions[turn] == "time" else memory
            query = block(query, layout, attended, patterns[turn])
        return self.norm(query)


class Head(nn.Module):
    """Values of each catchment (or pixel) from a token and the positional encoding of the catchment.

    Args:
        width, position_width: Of the token and of the positional encoding.
        channels: Values of a slot.
        spread: Parameters of a distribution beside its mean (3 for each Gaussian; 0 for none).
        estimates: Number of estimates that a gate weights into the mean.
        is_shared: Whether the values of a token share the parameters of their distributions, except for one width each
            (the cells of a patch).
    """

    def __init__(
        self, width: int, position_width: int, channels: int, spread: int, estimates: int, is_shared: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.spread, self.estimates = channels, spread, estimates
        self.position = nn.Linear(position_width, width)
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(width, 2 * width), nn.GELU())
        self.mean = nn.Linear(2 * width, channels)
        self.shape = nn.Linear(2 * width, (1 if is_shared else channels) * spread) if spread else None
        self.scale = nn.Linear(2 * width, channels) if spread and is_shared else None
        self.gate = nn.Linear(2 * width, estimates + 1) if estimates else None

    def forward(
        self,
        token: Float[Tensor, "N D"],
        slots: Float[Tensor, "B S V E"],
        layout: PackedLayout,
        estimates: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Means Float[N, V×C], and parameters of the distributions Float[N, V×C, L] (None without distributions).

        `estimates` are values and whether they exist, [N, V, C, E].
        """
        hidden = self.mlp(token[:, None] + expand_sites(self.position(slots), layout))
        mean = self.mean(hidden).float()
        if self.gate is not None and estimates is not None:
            value, exists = estimates
            logit = self.gate(hidden).float()[:, :, None]
            available = torch.cat([exists, torch.ones_like(exists[..., :1])], dim=-1)
            gate = torch.where(available, logit, -1e9).softmax(dim=-1)
            mean = mean + (gate[..., :-1] * value).sum(dim=-1)
        mean = mean.flatten(-2)
        if self.shape is None:
            return mean, None
        raw = rearrange(self.shape(hidden).float(), "... v (c l) -> ... (v c) l", l=self.spread)
        if self.scale is None:
            return mean, raw
        spread = torch.cat([raw.new_zeros(2 * self.spread // 3), raw.new_ones(self.spread // 3)])
        return mean, raw + self.scale(hidden).float().flatten(-2)[..., None] * spread
