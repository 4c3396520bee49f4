"""The large operations of a block, with little memory for the backward pass.

Each function equals the torch expression in its docstring. Normalisations, activations, products wider than the tokens and
padded groups are recomputed in the backward pass; only the input tokens and the bits of dropout are saved. Products are
in the precision of autocast, sums in that of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hydromae.model.kernels import gelu_backward, layer_norm, layer_norm_backward
from hydromae.model.packing import PackedLayout


def matmul_dtype(tokens: Tensor) -> torch.dtype:
    """Dtype of products: that of autocast, otherwise that of the tokens."""
    kind = tokens.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tokens.dtype


def project(tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, layer: nn.Linear) -> Float[Tensor, "N E"]:
    """`layer(norm(tokens))`."""
    tokens = tokens.to(norm.weight.dtype)
    return _Project.apply(tokens, norm.weight, norm.bias, layer.weight, layer.bias, norm.eps, matmul_dtype(tokens))


def feed_forward(
    tokens: Float[Tensor, "N D"],
    norm: nn.LayerNorm,
    film: Float[Tensor, "B S E"] | None,
    layout: PackedLayout,
    layers: nn.Sequential,
) -> Float[Tensor, "N D"]:
    """`layers((1 + γ) × norm(tokens) + β)`, with γ and β of each token's site (0 without `film`).

    The layers are linear, GELU, linear.
    """
    up, down = layers[0], layers[2]
    assert isinstance(up, nn.Linear) and isinstance(down, nn.Linear)
    tokens = tokens.to(norm.weight.dtype)
    parts = (norm.weight, norm.bias, up.weight, up.bias, down.weight, down.bias)
    return _FeedForward.apply(tokens, film, *parts, norm.eps, layout, matmul_dtype(tokens))


def residual(tokens: Float[Tensor, "N D"], branch: Float[Tensor, "N D"], dropout: float) -> Float[Tensor, "N D"]:
    """`tokens + dropout(branch)`, with the rate rounded to 1/65,536."""
    return _Residual.apply(tokens, branch, dropout) if dropout else tokens + branch


def linear_map(values: Tensor, mapping: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]) -> Tensor:
    """`mapping(values)`, a linear function whose gradient is `adjoint`, which sums in a fixed order."""
    return _LinearMap.apply(values, mapping, adjoint)


def gather(grid: Shaped[Tensor, "B R S ..."], layout: PackedLayout) -> Shaped[Tensor, "N ..."]:
    """`layout.pack(grid)`."""
    return linear_map(grid, layout.pack, layout.unpack)


def apply_film(
    tokens: Float[Tensor, "N ..."], film: Float[Tensor, "B S ..."], layout: PackedLayout
) -> tuple[Float[Tensor, "N ..."], Tensor]:
    """(1 + γ) × tokens + β, with γ and β (the halves of `film`) of each token's site; and γ per token."""
    gamma, beta = per_token(film.to(tokens.dtype), layout).chunk(2, dim=-1)
    shaped = tokens.view(*layout.shape, *tokens.shape[1:]) if layout.is_dense else tokens
    return torch.addcmul(shaped + beta, shaped, gamma).view(tokens.shape), gamma


def per_token(values: Float[Tensor, "B S ..."], layout: PackedLayout) -> Tensor:
    """Values of each token's site, Float[N, ...]; of a dense layout Float[B, 1, S, ...]."""
    return values[:, None] if layout.is_dense else expand_sites(values, layout)


def expand_sites(values: Float[Tensor, "B S ..."], layout: PackedLayout) -> Float[Tensor, "N ..."]:
    """`layout.expand_sites(values)`."""
    return linear_map(
        values, layout.expand_sites, lambda grad: layout.sum_over_days(grad.flatten(1)).view(values.shape)
    )


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, norm_weight, norm_bias, weight, bias, eps, dtype):
        with torch.autocast(tokens.device.type, enabled=False):
            plain, mean, rate = layer_norm(tokens, norm_weight, norm_bias, eps)
            out = functional.linear(plain.to(dtype), weight.to(dtype), bias.to(dtype))
        ctx.save_for_backward(tokens, mean, rate, norm_weight, norm_bias, weight)
        ctx.eps, ctx.dtype = eps, dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        tokens, mean, rate, norm_weight, norm_bias, weight = ctx.saved_tensors
        plain = layer_norm(tokens, norm_weight, norm_bias, ctx.eps)[0]
        weight_grad, bias_grad = _linear_gradients(grad, plain.to(ctx.dtype), weight, ctx.needs_input_grad[3:5])
        grad = (grad @ weight.to(ctx.dtype)).to(tokens.dtype)
        need = ctx.needs_input_grad[:3]
        normal = layer_norm_backward(grad, tokens, mean, rate, norm_weight, norm_bias, ctx.eps, need)
        return *normal, weight_grad, bias_grad, None, None


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, film, norm_weight, norm_bias, up, up_bias, down, down_bias, eps, layout, dtype):
        with torch.autocast(tokens.device.type, enabled=False):
            plain, mean, rate = layer_norm(tokens, norm_weight, norm_bias, eps)
            inner = (plain if film is None else apply_film(plain, film, layout)[0]).to(dtype)
            wide = functional.gelu(functional.linear(inner, up.to(dtype), up_bias.to(dtype)))
            out = functional.linear(wide, down.to(dtype), down_bias.to(dtype))
        ctx.save_for_backward(tokens, film, mean, rate, norm_weight, norm_bias, up, up_bias, down)
        ctx.eps, ctx.layout, ctx.dtype = eps, layout, dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        tokens, film, mean, rate, norm_weight, norm_bias, up, up_bias, down = ctx.saved_tensors
        need, dtype, layout = ctx.needs_input_grad, ctx.dtype, ctx.layout
        plain = layer_norm(tokens, norm_weight, norm_bias, ctx.eps)[0]
        inner, gamma = (plain, None) if film is None else apply_film(plain, film, layout)
        inner = inner.to(dtype)
        raw = functional.linear(inner, up.to(dtype), up_bias.to(dtype))
        down_grad, down_bias_grad = _linear_gradients(grad, functional.gelu(raw), down, need[6:8])
        grad = gelu_backward(grad @ down.to(dtype), raw)
        up_grad, up_bias_grad = _linear_gradients(grad, inner, up, need[4:6])
        grad = (grad @ up.to(dtype)).to(tokens.dtype)
        film_grad = None
        if film is not None and gamma is not None:
            if need[1]:
                both = [layout.sum_over_days(grad * plain), layout.sum_over_days(grad)]
                film_grad = torch.cat(both, dim=-1).to(film.dtype)
            shaped = grad.view(*layout.shape, -1) if layout.is_dense else grad
            grad = torch.addcmul(shaped, shaped, gamma).view(grad.shape)
        norm_needs = (need[0], *need[2:4])
        normal = layer_norm_backward(grad, tokens, mean, rate, norm_weight, norm_bias, ctx.eps, norm_needs)
        return normal[0], film_grad, *normal[1:], up_grad, up_bias_grad, down_grad, down_bias_grad, None, None, None


def _linear_gradients(grad: Tensor, inputs: Tensor, weight: Tensor, need: Any) -> tuple[Tensor | None, Tensor | None]:
    weight_grad = (grad.T @ inputs).to(weight.dtype) if need[0] else None
    return weight_grad, grad.sum(dim=0, dtype=weight.dtype) if need[1] else None


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values, mapping, adjoint):
        ctx.adjoint = adjoint
        return mapping(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        return ctx.adjoint(grad), None, None


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, branch, dropout: float):
        dropped = round(dropout * 2**16)
        ctx.scale, ctx.dtype = 2**16 / (2**16 - dropped), branch.dtype
        keep = _keep_mask(branch, dropped)
        ctx.save_for_backward(keep)
        return torch.addcmul(tokens, branch.to(tokens.dtype), keep.to(tokens.dtype), value=ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        (keep,) = ctx.saved_tensors
        return grad, (grad * keep).mul_(ctx.scale).to(ctx.dtype), None


def _keep_mask(like: Tensor, dropped: int) -> Tensor:
    """Bool of a tensor's shape, False with probability dropped / 65,536; each random number of 64 bits gives four."""
    drawn = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return (drawn.view(torch.int16)[: like.numel()] >= dropped - 2**15).view(like.shape)
