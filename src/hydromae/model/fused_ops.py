"""The large products of a block, with what the backward pass needs kept small.

Each function equals the lines of plain torch that its docstring gives. What is cheap to make again (a normalisation, an
activation, a product that is wider than its tokens, the places of a line) is made again in the backward pass; kept are the
tokens that go in and the bits of dropout. Products are in the precision of autocast, sums in that of the tokens.
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
from hydromae.model.packing import Seats


def precision_of(tokens: Tensor) -> torch.dtype:
    """Of products: autocast's, else that of the tokens."""
    kind = tokens.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tokens.dtype


def project(tokens: Float[Tensor, "N D"], norm: nn.LayerNorm, layer: nn.Linear) -> Float[Tensor, "N E"]:
    """`layer(norm(tokens))`."""
    tokens = tokens.to(norm.weight.dtype)
    return _Project.apply(tokens, norm.weight, norm.bias, layer.weight, layer.bias, norm.eps, precision_of(tokens))


def feed(
    tokens: Float[Tensor, "N D"],
    norm: nn.LayerNorm,
    film: Float[Tensor, "B S E"] | None,
    seats: Seats,
    layers: nn.Sequential,
) -> Float[Tensor, "N D"]:
    """`layers((1 + γ) × norm(tokens) + β)`, γ and β being those of each token's site, or 0 without `film`.

    The layers are a linear one, GELU, and a linear one.
    """
    up, down = layers[0], layers[2]
    assert isinstance(up, nn.Linear) and isinstance(down, nn.Linear)
    tokens = tokens.to(norm.weight.dtype)
    parts = (norm.weight, norm.bias, up.weight, up.bias, down.weight, down.bias)
    return _Feed.apply(tokens, film, *parts, norm.eps, seats, precision_of(tokens))


def residual(tokens: Float[Tensor, "N D"], branch: Float[Tensor, "N D"], dropout: float) -> Float[Tensor, "N D"]:
    """`tokens + dropout(branch)`; the rate is met to 1 in 65,536."""
    return _Residual.apply(tokens, branch, dropout) if dropout else tokens + branch


def moved(held: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
    """`there(held)`, which moves values about; `back` moves their gradient, adding up in one fixed order where it must."""
    return _Moved.apply(held, there, back)


def picked(grid: Shaped[Tensor, "B R S ..."], seats: Seats) -> Shaped[Tensor, "N ..."]:
    """`seats.of(grid)`; every seat is another."""
    return moved(grid, seats.of, seats.grid)


def filmed(
    tokens: Float[Tensor, "N ..."], film: Float[Tensor, "B S ..."], seats: Seats
) -> tuple[Float[Tensor, "N ..."], Tensor]:
    """(1 + γ) × tokens + β, with γ and β (side by side in `film`) of each token's site; and γ as it was taken."""
    gamma, beta = per_token(film.to(tokens.dtype), seats).chunk(2, dim=-1)
    shaped = tokens.view(*seats.shape, *tokens.shape[1:]) if seats.whole else tokens
    return torch.addcmul(shaped + beta, shaped, gamma).view(tokens.shape), gamma


def per_token(held: Float[Tensor, "B S ..."], seats: Seats) -> Tensor:
    """What belongs to each token's site, Float[N, ...]; on a whole grid Float[B, 1, S, ...], which holds for all its days."""
    return held[:, None] if seats.whole else of_sites(held, seats)


def of_sites(held: Float[Tensor, "B S ..."], seats: Seats) -> Float[Tensor, "N ..."]:
    """`seats.of_sites(held)`."""
    return moved(held, seats.of_sites, lambda grad: seats.over_sites(grad.flatten(1)).view(held.shape))


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
        weight_grad, bias_grad = _of_layer(grad, plain.to(ctx.dtype), weight, ctx.needs_input_grad[3:5])
        grad = (grad @ weight.to(ctx.dtype)).to(tokens.dtype)
        need = ctx.needs_input_grad[:3]
        normal = layer_norm_backward(grad, tokens, mean, rate, norm_weight, norm_bias, ctx.eps, need)
        return *normal, weight_grad, bias_grad, None, None


class _Feed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, film, norm_weight, norm_bias, up, up_bias, down, down_bias, eps, seats, dtype):
        with torch.autocast(tokens.device.type, enabled=False):
            plain, mean, rate = layer_norm(tokens, norm_weight, norm_bias, eps)
            inner = (plain if film is None else filmed(plain, film, seats)[0]).to(dtype)
            wide = functional.gelu(functional.linear(inner, up.to(dtype), up_bias.to(dtype)))
            out = functional.linear(wide, down.to(dtype), down_bias.to(dtype))
        ctx.save_for_backward(tokens, film, mean, rate, norm_weight, norm_bias, up, up_bias, down)
        ctx.eps, ctx.seats, ctx.dtype = eps, seats, dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        tokens, film, mean, rate, norm_weight, norm_bias, up, up_bias, down = ctx.saved_tensors
        need, dtype, seats = ctx.needs_input_grad, ctx.dtype, ctx.seats
        plain = layer_norm(tokens, norm_weight, norm_bias, ctx.eps)[0]
        inner, gamma = (plain, None) if film is None else filmed(plain, film, seats)
        inner = inner.to(dtype)
        raw = functional.linear(inner, up.to(dtype), up_bias.to(dtype))
        down_grad, down_bias_grad = _of_layer(grad, functional.gelu(raw), down, need[6:8])
        grad = gelu_backward(grad @ down.to(dtype), raw)
        up_grad, up_bias_grad = _of_layer(grad, inner, up, need[4:6])
        grad = (grad @ up.to(dtype)).to(tokens.dtype)
        film_grad = None
        if film is not None and gamma is not None:
            if need[1]:
                both = [seats.over_sites(grad * plain), seats.over_sites(grad)]
                film_grad = torch.cat(both, dim=-1).to(film.dtype)
            shaped = grad.view(*seats.shape, -1) if seats.whole else grad
            grad = torch.addcmul(shaped, shaped, gamma).view(grad.shape)
        of_norm = (need[0], *need[2:4])
        normal = layer_norm_backward(grad, tokens, mean, rate, norm_weight, norm_bias, ctx.eps, of_norm)
        return normal[0], film_grad, *normal[1:], up_grad, up_bias_grad, down_grad, down_bias_grad, None, None, None


def _of_layer(grad: Tensor, taken: Tensor, weight: Tensor, need: Any) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of a layer's matrix and bias."""
    of_weight = (grad.T @ taken).to(weight.dtype) if need[0] else None
    return of_weight, grad.sum(dim=0, dtype=weight.dtype) if need[1] else None


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, held, there, back):
        ctx.back = back
        return there(held)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        return ctx.back(grad), None, None


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, branch, dropout: float):
        lost = round(dropout * 2**16)
        ctx.scale, ctx.dtype = 2**16 / (2**16 - lost), branch.dtype
        keep = _bits(branch, lost)
        ctx.save_for_backward(keep)
        return torch.addcmul(tokens, branch.to(tokens.dtype), keep.to(tokens.dtype), value=ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        (keep,) = ctx.saved_tensors
        return grad, (grad * keep).mul_(ctx.scale).to(ctx.dtype), None


def _bits(like: Tensor, lost: int) -> Tensor:
    """Bool of a tensor's shape, False with probability lost / 65,536: four of them from each random number of 64 bits."""
    drawn = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return (drawn.view(torch.int16)[: like.numel()] >= lost - 2**15).view(like.shape)
