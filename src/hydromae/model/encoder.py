"""From values to features: one embedding and one encoder class for every modality, and the fusion of them all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.batch import Batch
from hydromae.config import ModelConfig
from hydromae.modalities import MODALITIES
from hydromae.model.address import SEPARATIONS
from hydromae.model.layers import Block, Context, FiLM, taken_by


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
        values: Float[Tensor, "B T S F"],
        visible: Bool[Tensor, "B T S F"],
        extra: Float[Tensor, "B T S V E"] | None,
        slots: Float[Tensor, "B S V D"],
    ) -> Float[Tensor, "B T S D"]:
        """Embed what is visible; `extra` are features that come with it (footprint means, priors)."""
        both = torch.cat([_slotted(values, self.slots), _slotted(visible.to(values.dtype), self.slots)], dim=-1)
        if extra is not None:
            both = torch.cat([both, extra], dim=-1)
        tokens = self.project(taken_by(self.project, both))
        if self.film is not None:
            tokens = self.film(tokens, slots[:, None])
        return self.merge(rearrange(tokens, "b t s v d -> b t s (v d)"))


def _slotted(values: Tensor, slots: int) -> Tensor:
    return rearrange(values, "b t s (v f) -> b t s v f", v=slots)


class Stack(nn.Module):
    """Blocks one after another; gives the output of each of them."""

    def __init__(self, config: ModelConfig, depth: int, film: bool) -> None:
        super().__init__()
        separations = 0 if config.neighbours is None else SEPARATIONS
        self.blocks = nn.ModuleList(
            Block(config, config.d_model, config.mixers, separations, film) for _ in range(depth)
        )

    def forward(self, tokens: Tensor, context: Context, condition: Tensor | None = None) -> list[Tensor]:
        """Outputs of every block, the last one last; the input alone where there is no block."""
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, context, condition)
            outputs.append(tokens)
        return outputs or [tokens]


class Fusion(nn.Module):
    """Modality-specific normalisation, then a stream over all modalities together (CAV-MAE; Gong et al. 2023, ICLR)."""

    def __init__(self, config: ModelConfig, streams: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(streams))
        self.stack = Stack(config, config.fusion_layers, film=False)
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, streams: Sequence[Tensor], context: Context, dim: int) -> list[Tensor]:
        """Outputs of the joint stream over the streams laid end to end along `dim`, the last one normalised."""
        joint = torch.cat([norm(s) for norm, s in zip(self.norms, streams, strict=True)], dim=dim)
        outputs = self.stack(joint, context)
        return [*outputs[:-1], self.norm(outputs[-1])]

    def alone(self, tokens: Tensor, index: int, context: Context) -> Tensor:
        """One stream by itself through the same blocks, for the contrastive loss."""
        return self.norm(self.stack(self.norms[index](tokens), context)[-1])


def pack(tokens: Float[Tensor, "B N D"], keep: Bool[Tensor, "B N"]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bring the kept tokens of each sample to the front and cut to the longest.

    Returns
    -------
    packed : Float[B, K, D]
    place : Int[B, K]
        Where each packed token was.
    real : Bool[B, K] or None
        False at padding; None where no sample needs any.
    """
    counts = keep.sum(dim=1)
    longest = int(counts.max())
    place = keep.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :longest]
    packed = tokens.gather(1, place[..., None].expand(-1, -1, tokens.shape[-1]))
    if bool((counts == longest).all()):
        return packed, place, None
    return packed, place, torch.arange(longest, device=keep.device)[None] < counts[:, None]


def contrast(streams: Sequence[Tensor], temperature: float) -> Tensor:
    """Contrastive loss between modalities (CAV-MAE, equation 1): a day's summary should find its own in the others.

    Parameters
    ----------
    streams : sequence of Float[N, D]
        One summary a sample and modality, rows matching.
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
    maps, sites = [n for n in values if MODALITIES[n].kind == "map"], batch.places["series"].present.shape[1]
    if not maps:
        return None
    if batch.cells is None:
        return values[maps[0]].new_zeros(*batch.days.shape, sites, slots, 2 * len(maps))
    cells, features = batch.cells, []
    for name in maps:
        picked = values[name][:, :, cells.patch, cells.pixel] * cells.weight
        share = seen[name][:, :, cells.patch, cells.pixel] * cells.weight
        zeros = picked.new_zeros(*picked.shape[:2], sites * slots)
        total, weight = zeros.index_add(2, cells.slot, picked), zeros.index_add(2, cells.slot, share)
        features += [total / weight.clamp(min=1e-6), weight]
    return rearrange(torch.stack(features, dim=-1), "b t (s v) e -> b t s v e", v=slots)
