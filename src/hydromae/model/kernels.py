"""Private operators of torch, each with a public equivalent for a version that lacks it or a device that lacks the dtype.

The private operators avoid a second forward pass in the backward pass; values and gradients agree within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from hydromae.runtime import is_unsupported

FLASH, FLASH_BACKWARD = (f"_scaled_dot_product_flash_attention_for_cpu{end}" for end in ("", "_backward"))


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, device="cpu")


def _probe_calls() -> dict[str, Callable[[Any], object]]:
    row_of_four, four, square = _zeros(1, 4), _zeros(4), _zeros(1, 1, 4, 4)
    norm_arguments = (row_of_four, row_of_four, (4,), _zeros(1, 1), _zeros(1, 1), four, four, [True] * 3)
    five_squares, logsumexp = [square] * 5, _zeros(1, 1, 4)
    return {
        FLASH: lambda call: call(square, square, square, attn_mask=square)[1].shape,
        FLASH_BACKWARD: lambda call: call(*five_squares, logsumexp, 0.0, False, attn_mask=square)[2].shape,
        "native_layer_norm": lambda call: call(row_of_four, (4,), four, four, 1e-5)[2].shape,
        "native_layer_norm_backward": lambda call: call(*norm_arguments)[2].shape,
        "gelu_backward": lambda call: call(row_of_four, row_of_four).shape,
        "_softmax_backward_data": lambda call: call(row_of_four, row_of_four, -1, torch.float32).shape,
    }


def _private_operator(name: str, probe_call: Callable[[Any], object]) -> Any | None:
    try:
        operator = getattr(torch.ops.aten, name)
        probe_call(operator)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return operator


PRIVATE: dict[str, Any | None] = {
    name: _private_operator(name, probe_call) for name, probe_call in _probe_calls().items()
}
"""Private operators of torch by name; None where this version lacks one or has another signature."""


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention Float[G, H, L, d], in fp32 if the device has no kernel for the dtype."""
    if not is_unsupported("attention", query.device.type, query.dtype):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    wide = None if bias is None else bias.float()
    mixed = functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=wide)
    return mixed.to(query.dtype)


def attention_with_logsumexp(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """`attention` on a CPU and its log-sum-exp for the backward pass; call it without gradients."""
    flash = PRIVATE[FLASH] if PRIVATE[FLASH_BACKWARD] else None
    if flash is None or is_unsupported("attention", q.device.type, q.dtype):
        return attention(q, k, v, bias), None
    return flash(q, k, v, attn_mask=bias)


def attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mixed: Tensor, logsumexp: Tensor | None, bias: Tensor | None
) -> Sequence[Tensor]:
    """Gradients of queries, keys and values, from the results of `attention_with_logsumexp`."""
    if logsumexp is None:
        return _gradients(lambda q, k, v: attention(q, k, v, bias), (q, k, v), grad)
    back = PRIVATE[FLASH_BACKWARD]
    assert back is not None
    return back(grad, q, k, v, mixed, logsumexp, 0.0, False, attn_mask=bias)


def softmax_backward(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of scores whose softmax over the last axis is `weight`."""
    operator = PRIVATE["_softmax_backward_data"]
    if operator is not None:
        return operator(grad, weight, -1, weight.dtype)
    scaled = grad * weight
    return scaled - weight * scaled.sum(dim=-1, keepdim=True)


def gelu_backward(grad: Tensor, raw: Tensor) -> Tensor:
    """Gradient of the input of GELU."""
    operator = PRIVATE["gelu_backward"]
    if operator is not None:
        return operator(grad, raw)
    return _gradients(functional.gelu, (raw,), grad)[0]


def layer_norm(tokens: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Normalised tokens, their mean and reciprocal standard deviation (None without the private operator)."""
    operator = PRIVATE["native_layer_norm"] if PRIVATE["native_layer_norm_backward"] else None
    if operator is None:
        return functional.layer_norm(tokens, weight.shape, weight, bias, eps), None, None
    return operator(tokens, weight.shape, weight, bias, eps)


def layer_norm_backward(
    grad: Tensor,
    tokens: Tensor,
    mean: Tensor | None,
    rate: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    need: Sequence[bool],
) -> Sequence[Tensor | None]:
    """Gradients of tokens, weight and bias where `need` is True, from the results of `layer_norm`."""
    if mean is not None:
        operator = PRIVATE["native_layer_norm_backward"]
        assert operator is not None
        return operator(grad, tokens, weight.shape, mean, rate, weight, bias, [bool(n) for n in need])
    gradients = _gradients(lambda t, w, b: functional.layer_norm(t, w.shape, w, b, eps), (tokens, weight, bias), grad)
    return [part if needed else None for part, needed in zip(gradients, need, strict=True)]


def _gradients(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the inputs of a function, which is evaluated again."""
    with torch.enable_grad():
        leaves = [part.detach().requires_grad_() for part in inputs]
        return torch.autograd.grad(function(*leaves), leaves, grad)
