"""From values to features: one embedding and one encoder class for every modality, and the fusion of them all."""

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
from hydromae.model.packing import PackedLayout
from hydromae.model.positional import SEPARATIONS
from hydromae.variables import MODALITIES


class Embedding(nn.Module):
    """Values and their visible flags become one vector a catchment, modulated by its own traits, merged into a token."""

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
        """Embed what is visible; `extra` are features that come with it (footprint means, priors)."""
        both = [_split_slots(values, self.slots), _split_slots(visible.to(values.dtype), self.slots)]
        features = torch.cat(both if extra is None else [*both, extra], dim=-1)
        if self.slots == 1:
            return self._embed(features, slots, layout)
        # A vector a catchment is eight times what becomes of it: it is made again in the backward pass, not kept.
        return checkpoint(self._embed, features, slots, layout, use_reentrant=False, preserve_rng_state=False)

    def _embed(self, features: Tensor, slots: Tensor, layout: PackedLayout) -> Tensor:
        tokens = self.project(cast_for(self.project, features))
        if self.film is not None:
            tokens = self.film(tokens, slots, layout)
        return self.merge(tokens.flatten(1))


def _split_slots(values: Shaped[Tensor, "N F"], slots: int) -> Shaped[Tensor, "N V C"]:
    return values.unflatten(1, (slots, -1))


class BlockStack(nn.Module):
    """Blocks one after another; gives the output of each of them."""

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
        """Outputs of every block, the last one last; the input alone where there is no block.

        The last output holds the tokens of `rows` alone, where these are given (`Block.forward`).
        """
        if not len(self.blocks):
            return [tokens if rows is None else layout.at_rows(tokens, rows)[0]]
        outputs = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, layout, context, condition, rows if index == len(self.blocks) - 1 else None)
            outputs.append(tokens)
        return outputs


class Fusion(nn.Module):
    """Modality-specific normalisation, then a stream over all modalities together (CAV-MAE; Gong et al. 2023, ICLR)."""

    def __init__(self, config: ModelConfig, streams: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(streams))
        # Streams meet over the sites of a day: where mixers take turns, that comes first.
        fusion_config = replace(config, mixers=config.mixers[::-1]) if config.alternate_mixers else config
        self.stack = BlockStack(fusion_config, config.fusion_layers, film=False)
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, streams: Sequence[Tensor], layout: PackedLayout, context: Context) -> list[Tensor]:
        """Outputs of the joint stream over the streams laid end to end, the last one normalised."""
        joint = torch.cat([norm(s) for norm, s in zip(self.norms, streams, strict=True)])
        outputs = self.stack(joint, layout, context)
        return [*outputs[:-1], self.norm(outputs[-1])]

    def encode_single(self, tokens: Tensor, index: int, layout: PackedLayout, context: Context) -> Tensor:
        """One stream by itself through the same blocks, for the contrastive loss."""
        return self.norm(self.stack(self.norms[index](tokens), layout, context)[-1])


def contrastive_loss(streams: Sequence[Tensor], temperature: float) -> Tensor:
    """Contrastive loss between modalities (CAV-MAE, equation 1): a day's summary should find its own in the others.

    Args:
        streams (sequence of Float[N, D]): One summary a sample and modality, rows matching.
    """
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
    """Mean of the visible map cells above each catchment, and the visible share of its footprint, for each map modality.

    `values` are 0 where they are not `seen`. None where the model reads no maps; 0 where the record has no cells.
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
