"""Attention along lines of tokens (`packing.Sight`), by what is fastest at their length; kept are the tokens as they came."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hydromae.model.fused_ops import moved
from hydromae.model.kernels import attention, attention_backward, attention_with_sums, softmax_backward
from hydromae.model.packing import Sight, Stack

SHORT = 128
"""Up to this length a CPU looks along lines faster with plain products than with the fused kernel."""


def look(
    query: Float[Tensor, "N E"], pair: Float[Tensor, "M F"] | None, sight: Sight, heads: int
) -> Float[Tensor, "N D"]:
    """Scaled dot-product attention of each token on what it sees.

    `pair` holds keys and values side by side; where it is None, `query` holds all three.
    """
    if query.device.type == "cpu":
        return _Look.apply(query, pair, sight, heads)
    spread = moved(query, sight.own.spread, sight.own.collect)
    theirs = None if pair is None else moved(pair, sight.theirs.spread, sight.theirs.collect)
    pieces = []
    for own, their in zip(sight.own.stacks, sight.theirs.stacks, strict=True):
        q, k, v = _headed(spread, theirs, own, their, heads)
        pieces.append(_flat(attention(q, k, v, _bias(their, q))))
    return moved(torch.cat(pieces), sight.own.collect, sight.own.spread)


def _headed(query: Tensor, pair: Tensor | None, own: Stack, theirs: Stack, heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values Float[G, H, L, d] of the lines of a stack."""
    if pair is None:
        return own.of(query).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    keys, values = theirs.of(pair).unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    return _parted(own, query, heads), keys, values


def _parted(stack: Stack, places: Float[Tensor, "P D"], heads: int) -> Float[Tensor, "G H L d"]:
    """The heads of the lines of a stack, a view."""
    return stack.of(places).unflatten(2, (heads, -1)).transpose(1, 2)


def _flat(mixed: Float[Tensor, "G H L d"]) -> Float[Tensor, "P D"]:
    """The places of a stack of lines."""
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


class _Look(torch.autograd.Function):
    """Attention on a CPU: by plain products along short lines, else by the fused kernel."""

    @staticmethod
    def forward(ctx: Any, query, pair, sight: Sight, heads: int):
        ctx.sight, ctx.heads, kept = sight, heads, []
        mixed = query.new_zeros(sight.own.places, query.shape[1] // (3 if pair is None else 1))
        with torch.autocast(query.device.type, enabled=False):
            spread, theirs = sight.own.spread(query), None if pair is None else sight.theirs.spread(pair)
            for own, their in zip(sight.own.stacks, sight.theirs.stacks, strict=True):
                q, k, v = _headed(spread, theirs, own, their, heads)
                if _short(own, their):
                    kept.append(_weight(q, k, their))
                    piece = torch.matmul(kept[-1], v)
                else:
                    piece, sums = attention_with_sums(q, k, v, _bias(their, q))
                    kept.append(sums)
                _parted(own, mixed, heads).copy_(piece)
        out = sight.own.collect(mixed)
        short = all(_short(*both) for both in zip(sight.own.stacks, sight.theirs.stacks, strict=True))
        ctx.save_for_backward(query, pair, None if short else out, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        query, pair, out, *kept = ctx.saved_tensors
        sight, heads = ctx.sight, ctx.heads
        spread, theirs = sight.own.spread(query), None if pair is None else sight.theirs.spread(pair)
        grads = sight.own.spread(grad)
        mixed = None if out is None else sight.own.spread(out)
        of_query = torch.zeros_like(spread)
        of_pair = None if theirs is None else torch.zeros_like(theirs)
        for own, their, held in zip(sight.own.stacks, sight.theirs.stacks, kept, strict=True):
            q, k, v = _headed(spread, theirs, own, their, heads)
            above = _parted(own, grads, heads)
            if _short(own, their):
                back = _back_short(above, q, k, v, held)
            else:
                assert mixed is not None
                answer = _parted(own, mixed, heads)
                back = attention_backward(above, q, k, v, answer, held, _bias(their, q))
            for into, part in zip(_headed(of_query, of_pair, own, their, heads), back, strict=True):
                into.copy_(part)
        of_pair = None if of_pair is None else sight.theirs.collect(of_pair)
        return sight.own.collect(of_query), of_pair, None, None


def _short(own: Stack, theirs: Stack) -> bool:
    return max(own.length, theirs.length) <= SHORT


def _bias(theirs: Stack, like: Tensor) -> Tensor | None:
    return None if theirs.bias is None else theirs.bias.to(like.dtype)


def _weight(q: Tensor, k: Tensor, theirs: Stack) -> Tensor:
    score = torch.matmul(q, k.transpose(2, 3)).mul_(q.shape[-1] ** -0.5)
    if theirs.bias is not None:
        score += theirs.bias
    return score.softmax(dim=-1)


def _back_short(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad = grad.contiguous()
    back = torch.matmul(grad, v.transpose(2, 3))
    score = softmax_backward(back, weight).mul_(q.shape[-1] ** -0.5)
    return torch.matmul(score, k), torch.matmul(score.transpose(2, 3), q), torch.matmul(weight.transpose(2, 3), grad)
