"""LSTM over days (Hochreiter and Schmidhuber 1997), initialised to retain its state for weeks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hydromae.runtime import is_unsupported

FORGET_GATE_BIAS = 3.0
"""Initial bias of the forget gates."""


def open_forget_gates(lstm: nn.LSTM) -> nn.LSTM:
    """Initialise the forget gates of an LSTM open."""
    width = lstm.hidden_size
    with torch.no_grad():
        for name, bias in lstm.named_parameters():
            if name.startswith("bias_ih"):
                bias[width : 2 * width] = FORGET_GATE_BIAS
    return lstm


def run_lstm(
    lstm: nn.LSTM, inputs: Float[Tensor, "T N E"], initial_state: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, "T N H"]:
    """States of every day, from an initial state or zeros; in fp32 if the device has no LSTM for the dtype."""
    if initial_state is not None:
        initial_state = (initial_state[0].to(inputs.dtype), initial_state[1].to(inputs.dtype))
    device_type = inputs.device.type
    dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else inputs.dtype
    if not is_unsupported("LSTM", device_type, dtype):
        return lstm(inputs, initial_state)[0]
    weights = {name: weight.float() for name, weight in lstm.named_parameters()}
    float_state = None if initial_state is None else (initial_state[0].float(), initial_state[1].float())
    with torch.autocast(device_type, enabled=False):
        states, _ = torch.func.functional_call(lstm, weights, (inputs.float(), float_state))
    return states.to(inputs.dtype)
