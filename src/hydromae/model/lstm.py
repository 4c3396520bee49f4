"""LSTM over days (Hochreiter and Schmidhuber 1997), initialised to retain its state for weeks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
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
    lstm: nn.LSTM,
    inputs: Float[Tensor, "T N E"],
    initial_state: tuple[Tensor, Tensor] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Float[Tensor, "T N H"]:
    """States of every day, from an initial state or zeros; in fp32 if the device has no LSTM for the dtype.

    `weights` replace those of the LSTM.
    """
    if initial_state is not None:
        initial_state = (initial_state[0].to(inputs.dtype), initial_state[1].to(inputs.dtype))
    device_type = inputs.device.type
    dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else inputs.dtype
    is_native = not is_unsupported("LSTM", device_type, dtype)
    if is_native and weights is None:
        return lstm(inputs, initial_state)[0]
    weights = dict(lstm.named_parameters()) if weights is None else weights
    if is_native:
        return torch.func.functional_call(lstm, dict(weights), (inputs, initial_state))[0]
    float_weights = {name: weight.float() for name, weight in weights.items()}
    float_state = None if initial_state is None else (initial_state[0].float(), initial_state[1].float())
    with torch.autocast(device_type, enabled=False):
        states, _ = torch.func.functional_call(lstm, float_weights, (inputs.float(), float_state))
    return states.to(inputs.dtype)


def run_lstm_rows(lstm: nn.LSTM, inputs: Float[Tensor, "T N E"], rows: Int[Tensor, " K"]) -> Float[Tensor, "K N H"]:
    """States of some days of a bidirectional LSTM; it reads backwards from the last day to the first of them only."""
    one_way = nn.LSTM(lstm.input_size, lstm.hidden_size, device="meta")
    first, names = int(rows.min()), [name for name, _ in one_way.named_parameters()]
    forwards, backwards = (
        {name: lstm.get_parameter(f"{name}{suffix}") for name in names} for suffix in ("", "_reverse")
    )
    before = run_lstm(one_way, inputs, weights=forwards).index_select(0, rows)
    after = run_lstm(one_way, inputs[first:].flip(0), weights=backwards).index_select(0, len(inputs) - 1 - rows)
    return torch.cat([before, after], dim=-1)
