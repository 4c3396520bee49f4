"""What travels through the model: streams of tokens on the way in, predictions on the way out."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hydromae.modalities import MODALITIES
from hydromae.model.distribution import Gaussians


@dataclass(frozen=True)
class Predictions:
    """Answers in the scaled space, on the full grid of tokens; what was not wanted is 0.

    Attributes
    ----------
    mean : dict of Float[B, T, S, F]
    gaussians : dict of Gaussians with Float[B, T, S, F, K]
        Series modalities only.
    decoded : dict of Bool[B, T, S]
        Tokens that were decoded.
    contrast : Float[] or None
        Contrastive loss between modalities, where it is on.
    """

    mean: dict[str, Tensor]
    gaussians: dict[str, Gaussians]
    decoded: dict[str, Tensor]
    contrast: Tensor | None


@dataclass
class Stream:
    """Modalities that share tokens, on their way through the model.

    `tokens` is Float[B, T, S, D], or Float[B, K, D] once `place` (Int[B, K], 0 is the register) says what was kept.
    """

    names: tuple[str, ...]
    tokens: Tensor
    slots: Float[Tensor, "B S V D"]
    sites: Float[Tensor, "B S D"]
    keep: Bool[Tensor, "B T S"]
    priors: tuple[Tensor, Tensor] | None = None
    place: Int[Tensor, "B K"] | None = None
    real: Bool[Tensor, "B K"] | None = None

    @property
    def key(self) -> str:
        """Name of the stream's parts in the model."""
        return "+".join(self.names)

    @property
    def kind(self) -> str:
        """Map or series."""
        return MODALITIES[self.names[0]].kind
