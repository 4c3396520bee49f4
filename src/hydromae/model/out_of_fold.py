"""Stand-ins: memories that speak for rivers which they never saw, while the rest of the model is taught.

A memory knows the rivers that it was taught on better than others. Whatever learns on those rivers to read it will trust it
too much where nobody gauged. So a memory that was taught without a river speaks for it, as in stacking: what combines
predictors learns from predictions of cases to which they were not fitted (Wolpert 1992, Neural Networks 5, 241, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hydromae.model.rainfall_runoff import LSTMPrediction, RainfallRunoff

SUBSTITUTED_FRACTION = 0.3
"""Share of the other rivers for which a stand-in speaks, too: a user's own rivers were not in the training either."""


class OutOfFoldLSTMs:
    """Frozen memories, each taught without some rivers. They are no part of the model: its weights do not hold them."""

    def __init__(self, lstms: Sequence[RainfallRunoff]) -> None:
        self.lstms = [lstm.requires_grad_(False).eval() for lstm in lstms]

    def substitute(
        self,
        predictions: list[LSTMPrediction],
        inputs: Sequence[Any],
        seen: Bool[Tensor, "B T S"],
        fold_index: Int[Tensor, "B S"],
    ) -> list[LSTMPrediction]:
        """What is told, where a stand-in speaks by the one that was taught without the river.

        Args:
            told: What the model's own memories say.
            given: What they were given.
            seen (Bool[B, T, S]): Whose flow is seen.
            whose (Int[B, S]): Which of the stand-ins was taught without the river.
        """
        is_substituted = _is_substituted(seen)[:, None]
        with torch.no_grad():
            out_of_fold = [lstm(*inputs) for lstm in self.lstms]
        substituted = []
        for head, prediction in enumerate(predictions):
            alternatives = torch.stack([one[head].mean for one in out_of_fold])
            index = fold_index[None, :, None].expand(1, *prediction.mean.shape)
            substituted.append(
                replace(prediction, mean=torch.where(is_substituted, alternatives.gather(0, index)[0], prediction.mean))
            )
        return substituted


def _is_substituted(seen: Bool[Tensor, "B T S"]) -> Bool[Tensor, "B S"]:
    """For which rivers a stand-in speaks: of which no flow is seen while that of others is, and a share of the others."""
    unseen = ~seen.any(dim=1)
    ungauged = unseen & ~unseen.all(dim=1, keepdim=True)
    return ungauged | (torch.rand(unseen.shape, device=seen.device) < SUBSTITUTED_FRACTION)
