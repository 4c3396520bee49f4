"""Embedding, encoder blocks, and the fusion of all modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hydromae.batching.batch import Batch
from hydromae.config import Mixer, ModelConfig
from hydromae.model.blocks import Block, Context, FiLM, cast_for
from hydromae.model.outputs import StreamSlice
from hydromae.model.packing import PackedLayout
from hydromae.model.positional import SEPARATIONS
from hydromae.variables import MODALITIES


class Embedding(nn.Module):
    """Values and visibility flags of each catchment to a vector, modulated by static attributes, merged into a token."""

    def __init__(self, channels: int, slots: int, extra: int, width: int, film: bool) -> None:
        super().__init__()
        self.slots = slots
        self.project = nn.Linear(2 * channels // slots + extra, width)
        self.film = FiLM(width, width) if film else None
        self.merge = nn.Identity() if slots == 1 else nn.Linear(slots * width, width)

    def forward(
        self,
        values: Float[Tensor, "N F"],
        visible: Bool[Tensor, "N F"],
        extra: Float[Tensor, "N V E"] | None,
        slots: Float[Tensor, "B S V D"],
        layout: PackedLayout,
    ) -> Float[Tensor, "N D"]:
        """Embed packed values; `extra` are further features (footprint means, estimates)."""
        both = [_split_slots(values, self.slots), _split_slots(visible.to(values.dtype), self.slots)]
        features = torch.cat(both if extra is None else [*both, extra], dim=-1)
        if self.slots == 1:
            return self._embed(features, slots, layout)
        # The vectors of the catchments are `slots` times the size of the tokens: recompute them in the backward pass.
        return checkpoint(self._embed, features, slots, layout, use_reentrant=False, preserve_rng_state=False)

    def _embed(self, features: Tensor, slots: Tensor, layout: PackedLayout) -> Tensor:
        tokens = self.project(cast_for(self.project, features))
        if self.film is not None:
            tokens = self.film(tokens, slots, layout)
        return self.merge(tokens.flatten(1))


def _split_slots(values: Shaped[Tensor, "N F"], slots: int) -> Shaped[Tensor, "N V C"]:
    return values.unflatten(1, (slots, -1))


class BlockStack(nn.Module):
    """A sequence of blocks that returns the output of each."""

    def __init__(self, config: ModelConfig, depth: int, film: bool) -> None:
        super().__init__()
        separations = 0 if config.neighbours is None else SEPARATIONS
        mixers_of_blocks: list[tuple[Mixer, ...]] = (
            [(name,) for name in config.mixers] if config.alternate_mixers else [config.mixers]
        )
        self.blocks = nn.ModuleList(
            Block(config, config.d_model, mixers_of_blocks[index % len(mixers_of_blocks)], separations, film)
            for index in range(depth)
        )

    def forward(
        self,
        tokens: Float[Tensor, "N D"],
        layout: PackedLayout,
        context: Context,
        condition: Tensor | None = None,
        rows: Int[Tensor, " K"] | None = None,
    ) -> list[Tensor]:
        """Outputs of all blocks, or the input if there are none; the last one is restricted to `rows` (`Block.forward`)."""
        if not len(self.blocks):
            return [tokens if rows is None else layout.at_rows(tokens, rows)[0]]
        outputs = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, layout, context, condition, rows if index == len(self.blocks) - 1 else None)
            outputs.append(tokens)
        return outputs


class Fusion(nn.Module):
    """Modality-specific normalisation, then joint blocks over all modalities (CAV-MAE; Gong et al. 2023, ICLR).

    With `fusion_gates` the result is the stream itself plus the joint blocks times tanh of a gate of the stream, which is 0
    at the start (Alayrac et al. 2022, NeurIPS), in the windows with visible maps; other windows are not fused. If a block has
    a space mixer, these blocks have only that: the encoders of the streams mix the days.
    """

    def __init__(self, config: ModelConfig, streams: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(streams))
        # With alternating mixers, the space mixer, which exchanges information between streams, is first.
        fusion_config = replace(config, mixers=config.mixers[::-1]) if config.alternate_mixers else config
        if config.fusion_gates and "space" in config.mixers:
            fusion_config = replace(config, mixers=("space",), alternate_mixers=False)
        self.stack = BlockStack(fusion_config, config.fusion_layers, film=False)
        self.norm = nn.LayerNorm(config.d_model)
        self.temperature = config.contrastive_temperature
        self.gates = nn.Parameter(torch.zeros(streams, config.d_model)) if config.fusion_gates else None

    def forward(
        self,
        streams: Sequence[Tensor],
        slices: Sequence[StreamSlice],
        layout: PackedLayout,
        context: Context,
        has_maps: Bool[Tensor, " B"],
    ) -> list[Tensor]:
        """Outputs of the joint blocks over the concatenated streams, the last one normalised (and gated)."""
        if self.gates is not None and not has_maps.any():
            return [torch.cat(list(streams))] * len(self.stack.blocks)
        joint = torch.cat([norm(s) for norm, s in zip(self.norms, streams, strict=True)])
        outputs = self.stack(joint, layout, context)
        last = self.norm(outputs[-1])
        if self.gates is None:
            return [*outputs[:-1], last]
        gated = [
            stream + torch.tanh(gate) * last[part.tokens] * has_maps[part.layout.window_index][:, None]
            for stream, gate, part in zip(streams, self.gates, slices, strict=True)
        ]
        return [*outputs[:-1], torch.cat(gated)]

    def encode_single(self, tokens: Tensor, index: int, layout: PackedLayout, context: Context) -> Tensor:
        """Output of the same blocks for a single stream, for the contrastive loss."""
        return self.norm(self.stack(self.norms[index](tokens), layout, context)[-1])

    def contrastive_loss(self, streams: Sequence[Tensor], slices: Sequence[StreamSlice]) -> Tensor:
        """Contrastive loss between the mean tokens of the streams in each window."""
        summaries = []
        for index, (part, stream_slice) in enumerate(zip(streams, slices, strict=True)):
            layout = stream_slice.layout
            tokens = self.encode_single(part, index, layout, Context()).float()  # for the sum
            windows, size = layout.window_index, layout.shape[0]
            total = tokens.new_zeros(size, tokens.shape[1]).index_add(0, windows, tokens)
            summaries.append(total / torch.bincount(windows, minlength=size).clamp(min=1)[:, None])
        return contrastive_loss(summaries, self.temperature)


def contrastive_loss(streams: Sequence[Tensor], temperature: float) -> Tensor:
    """Contrastive loss between the summaries of modalities, Float[N, D] each with matching rows (CAV-MAE, equation 1)."""
    unit = [nn.functional.normalize(s.float(), dim=-1) for s in streams]
    label = torch.arange(unit[0].shape[0], device=unit[0].device)
    losses = [
        nn.functional.cross_entropy(a @ b.T / temperature, label)
        for i, a in enumerate(unit)
        for j, b in enumerate(unit)
        if i != j
    ]
    return torch.stack(losses).mean()


def footprint_features(
    values: dict[str, Tensor], seen: dict[str, Tensor], batch: Batch, slots: int
) -> Float[Tensor, "B T S V E"] | None:
    """Mean of the visible map cells in each footprint, and the visible share of the footprint, for each map modality.

    `values` are 0 where `seen` is False. None if the model has no maps; 0 if the record has no cells.
    """
    maps, sites = [n for n in values if MODALITIES[n].kind == "map"], batch.site_metadata["series"].valid.shape[1]
    if not maps:
        return None
    if batch.cells is None:
        return values[maps[0]].new_zeros(*batch.days.shape, sites, slots, 2 * len(maps))
    cells, features = batch.cells, []
    for name in maps:
        visible_values = values[name][:, :, cells.patch, cells.pixel] * cells.weight
        share = seen[name][:, :, cells.patch, cells.pixel] * cells.weight
        zeros = visible_values.new_zeros(*visible_values.shape[:2], sites * slots)
        total, weight = zeros.index_add(2, cells.slot, visible_values), zeros.index_add(2, cells.slot, share)
        features += [total / weight.clamp(min=1e-6), weight]
    return rearrange(torch.stack(features, dim=-1), "b t (s v) e -> b t s v e", v=slots)
