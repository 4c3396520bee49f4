"""Out-of-fold LSTMs: predictions for catchments that were not in their training, while the rest of the model is trained.

An LSTM is more accurate for the catchments of its training than for others, so the weights that use it there would rely
on it too much at ungauged catchments. As in stacked generalisation (Wolpert 1992, Neural Networks 5, 241, section 2),
they are trained on predictions of LSTMs that were fitted without the catchment.
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
"""Share of the gauged catchments whose LSTM is also substituted, because a user's catchments are not in the training set."""


class OutOfFoldLSTMs:
    """Frozen LSTMs, each trained without some catchments; they are not part of the model's weights."""

    def __init__(self, lstms: Sequence[RainfallRunoff]) -> None:
        self.lstms = [lstm.requires_grad_(False).eval() for lstm in lstms]

    def substitute(
        self,
        predictions: list[LSTMPrediction],
        inputs: Sequence[Any],
        seen: Bool[Tensor, "B T S"],
        fold_index: Int[Tensor, "B S"],
    ) -> list[LSTMPrediction]:
        """Replace predictions of some catchments by those of the LSTM that was trained without them.

        Args:
            predictions, inputs: Predictions of the model's LSTMs, and their inputs.
            seen: Visible flow.
            fold_index: Index of the LSTM that was trained without each catchment.
        """
        is_substituted = _is_substituted(seen)[:, None]
        with torch.no_grad():
            out_of_fold = [lstm(*inputs) for lstm in self.lstms]
        substituted = []
        for head, prediction in enumerate(predictions):
            alternatives = torch.stack([outputs[head].mean for outputs in out_of_fold])
            index = fold_index[None, :, None].expand(1, *prediction.mean.shape)
            substituted.append(
                replace(prediction, mean=torch.where(is_substituted, alternatives.gather(0, index)[0], prediction.mean))
            )
        return substituted


def _is_substituted(seen: Bool[Tensor, "B T S"]) -> Bool[Tensor, "B S"]:
    """Catchments without visible flow, unless no catchment has any; and a random share of the others."""
    unseen = ~seen.any(dim=1)
    ungauged = unseen & ~unseen.all(dim=1, keepdim=True)
    return ungauged | (torch.rand(unseen.shape, device=seen.device) < SUBSTITUTED_FRACTION)
