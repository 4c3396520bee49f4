"""What travels through the model: streams of tokens on the way in, predictions on the way out."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from hydromae.model.mixture import GaussianMixture
from hydromae.model.packing import PackedLayout
from hydromae.model.rainfall_runoff import LSTMPrediction
from hydromae.variables import MODALITIES


@dataclass(frozen=True)
class Predictions:
    """Answers in the scaled space, on the full grid of tokens; what was not wanted is 0.

    Attributes:
        mean (dict of Float[B, T, S, F])
        gaussians (dict of Gaussians with Float[B, T, S, F, K]): Series modalities only.
        decoded (dict of Bool[B, T, S]): Tokens that were decoded.
        contrast (Float[] or None): Contrastive loss between modalities, where it is on.
        told: Flow as the model's memories say it, on every day, where it has any.
    """

    mean: dict[str, Tensor]
    gaussians: dict[str, GaussianMixture]
    decoded: dict[str, Tensor]
    contrastive_loss: Tensor | None
    lstm_predictions: list[LSTMPrediction] = field(default_factory=list)


@dataclass(frozen=True)
class Stream:
    """Modalities that share tokens, on their way into the model.

    Attributes:
        tokens (Float[N, D]): Embedded.
        seats: Where they are.
        rows (Int[K] or None): Days whose tokens the encoder returns; None means all.
        slots, sites (Float[B, S, V, D], Float[B, S, D]): Addresses of every catchment (or patch), and of every site.
        priors (Float[B, T, S, P], Bool[B, T, S, P]) or None: Values and whether they exist.
        told: What the model's memories say.
    """

    names: tuple[str, ...]
    tokens: Float[Tensor, "N D"]
    layout: PackedLayout
    slot_encoding: Float[Tensor, "B S V D"]
    site_encoding: Float[Tensor, "B S D"]
    estimates: tuple[Tensor, Tensor] | None = None
    lstm_predictions: list[LSTMPrediction] = field(default_factory=list)
    rows: Int[Tensor, " K"] | None = None

    @property
    def key(self) -> str:
        """Name of the stream's parts in the model."""
        return "+".join(self.names)

    @property
    def kind(self) -> str:
        """Map or series."""
        return MODALITIES[self.names[0]].kind


@dataclass(frozen=True)
class StreamSlice:
    """A stream's part of the memory: which of its tokens, and where these sit among the stream's own sites."""

    tokens: slice
    layout: PackedLayout
