"""Data classes of the model: streams of tokens, and predictions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hydromae.model.mixture import GaussianMixture
from hydromae.model.packing import PackedLayout
from hydromae.model.rainfall_runoff import LSTMPrediction
from hydromae.variables import MODALITIES


@dataclass(frozen=True)
class Predictions:
    """Predictions in the scaled space, on the full grid of tokens; 0 for tokens that were not decoded.

    Attributes:
        mean (dict of Float[B, T, S, F])
        gaussians (dict of GaussianMixture with Float[B, T, S, F, K]): Of modalities with distributions.
        decoded (dict of Bool[B, T, S]): Tokens that were decoded.
        contrastive_loss (Float[] or None): Between modalities.
        lstm_predictions: Flow of every day, from the LSTMs.
    """

    mean: dict[str, Tensor]
    gaussians: dict[str, GaussianMixture]
    decoded: dict[str, Tensor]
    contrastive_loss: Tensor | None
    lstm_predictions: list[LSTMPrediction] = field(default_factory=list)


@dataclass(frozen=True)
class Estimates:
    """Standard estimates of the values of a modality, which a gate weights into the mean of each prediction.

    Attributes:
        value, exists ([B, T, S, V, C, E]): E estimates of C values in each of V slots, and where they exist: V catchments, or
            one slot with the C cells of a patch.
        features (Float[B, T, S, V, G]): Of each slot, for the gate.
    """

    value: Float[Tensor, "B T S V C E"]
    exists: Bool[Tensor, "B T S V C E"]
    features: Float[Tensor, "B T S V G"]


@dataclass(frozen=True)
class Stream:
    """Modalities that share tokens.

    Attributes:
        tokens (Float[N, D]): Embedded tokens.
        layout: Their positions on the grid.
        slot_encoding, site_encoding (Float[B, S, V, D], Float[B, S, D]): Encodings of every catchment (or patch) and site.
        is_visible (Bool[B]): Windows with visible values.
        estimates: By modality.
        lstm_predictions: From the LSTMs.
        rows (Int[K] or None): Days whose tokens the encoder returns; None means all.
    """

    names: tuple[str, ...]
    tokens: Float[Tensor, "N D"]
    layout: PackedLayout
    slot_encoding: Float[Tensor, "B S V D"]
    site_encoding: Float[Tensor, "B S D"]
    is_visible: Bool[Tensor, " B"]
    estimates: dict[str, Estimates] = field(default_factory=dict)
    lstm_predictions: list[LSTMPrediction] = field(default_factory=list)
    rows: Int[Tensor, " K"] | None = None

    @property
    def key(self) -> str:
        """Name of the stream's submodules."""
        return "+".join(self.names)

    @property
    def kind(self) -> str:
        """Map or series."""
        return MODALITIES[self.names[0]].kind


@dataclass(frozen=True)
class StreamSlice:
    """The tokens of one stream among those of all streams, and their layout on the sites of the stream."""

    tokens: slice
    layout: PackedLayout


def with_visible_maps(streams: list[Stream]) -> Bool[Tensor, " B"]:
    """Windows with visible values of any map."""
    maps = [stream.is_visible for stream in streams if stream.kind == "map"]
    return torch.stack(maps).any(dim=0) if maps else torch.zeros_like(streams[0].is_visible)


def slice_streams(streams: list[Stream], with_static: Collection[str]) -> list[StreamSlice]:
    """Slices of the concatenated streams, of which those with the keys `with_static` have static tokens."""
    slices, first = [], 0
    for stream in streams:
        layout = stream.layout
        if stream.rows is not None:
            size, _, sites = layout.shape
            layout = PackedLayout.dense(size, len(stream.rows), sites, layout.flat_index.device)
        if with_static:
            layout = layout.with_static_tokens() if stream.key in with_static else layout.with_leading_rows(1)
        slices.append(StreamSlice(slice(first, first + len(layout.flat_index)), layout))
        first = slices[-1].tokens.stop
    return slices
