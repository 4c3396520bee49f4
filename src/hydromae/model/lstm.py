"""Running along days: torch's LSTM (Hochreiter and Schmidhuber 1997), started so that it remembers weeks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hydromae.runtime import lacks

OPEN = 3.0
"""Bias of a forget gate that starts open."""


def opened(recurrence: nn.LSTM) -> nn.LSTM:
    """An LSTM whose forget gates start open."""
    width = recurrence.hidden_size
    with torch.no_grad():
        for name, bias in recurrence.named_parameters():
            if name.startswith("bias_ih"):
                bias[width : 2 * width] = OPEN
    return recurrence


def run(
    recurrence: nn.LSTM, along: Float[Tensor, "T N E"], start: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, "T N H"]:
    """States of every day, from `start` or from nothing; in fp32 where the device has no LSTM in the dtype."""
    if start is not None:
        start = (start[0].to(along.dtype), start[1].to(along.dtype))
    kind = along.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else along.dtype
    if not lacks("LSTM", kind, dtype):
        return recurrence(along, start)[0]
    weights = {name: weight.float() for name, weight in recurrence.named_parameters()}
    begin = None if start is None else (start[0].float(), start[1].float())
    with torch.autocast(kind, enabled=False):
        states, _ = torch.func.functional_call(recurrence, weights, (along.float(), begin))
    return states.to(along.dtype)
