"""Attention within groups of packed tokens (`packing.AttentionPattern`), with the fastest kernel for their length."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hydromae.model.fused_ops import linear_map
from hydromae.model.kernels import attention, attention_backward, attention_with_logsumexp, softmax_backward
from hydromae.model.packing import AttentionPattern, PaddedBucket

MAX_MATMUL_LENGTH = 128
"""Longest group for which matrix products are faster on a CPU than the fused kernel."""


def packed_attention(
    query: Float[Tensor, "N E"], key_value: Float[Tensor, "M F"] | None, pattern: AttentionPattern, heads: int
) -> Float[Tensor, "N D"]:
    """Scaled dot-product attention of packed tokens.

    `key_value` contains keys and values side by side; where it is None, `query` contains all three.
    """
    if query.device.type == "cpu":
        return _PackedAttention.apply(query, key_value, pattern, heads)
    padded_query = linear_map(query, pattern.queries.pad, pattern.queries.unpad)
    padded_key_value = None if key_value is None else linear_map(key_value, pattern.keys.pad, pattern.keys.unpad)
    pieces = []
    for query_bucket, key_bucket in zip(pattern.queries.buckets, pattern.keys.buckets, strict=True):
        q, k, v = _split_qkv(padded_query, padded_key_value, query_bucket, key_bucket, heads)
        pieces.append(_merge_heads(attention(q, k, v, _bias(key_bucket, q))))
    return linear_map(torch.cat(pieces), pattern.queries.unpad, pattern.queries.pad)


def _split_qkv(
    query: Tensor, key_value: Tensor | None, query_bucket: PaddedBucket, key_bucket: PaddedBucket, heads: int
) -> tuple[Tensor, ...]:
    """Queries, keys and values Float[G, H, L, d] of a bucket."""
    if key_value is None:
        return query_bucket.view(query).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    keys, values = key_bucket.view(key_value).unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    return _split_heads(query_bucket, query, heads), keys, values


def _split_heads(bucket: PaddedBucket, padded: Float[Tensor, "P D"], heads: int) -> Float[Tensor, "G H L d"]:
    return bucket.view(padded).unflatten(2, (heads, -1)).transpose(1, 2)


def _merge_heads(mixed: Float[Tensor, "G H L d"]) -> Float[Tensor, "P D"]:
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


class _PackedAttention(torch.autograd.Function):
    """Attention on a CPU: matrix products for short groups, otherwise the fused kernel."""

    @staticmethod
    def forward(ctx: Any, query, key_value, pattern: AttentionPattern, heads: int):
        ctx.pattern, ctx.heads, saved = pattern, heads, []
        mixed = query.new_zeros(pattern.queries.padded_size, query.shape[1] // (3 if key_value is None else 1))
        with torch.autocast(query.device.type, enabled=False):
            padded_query, padded_key_value = (
                pattern.queries.pad(query),
                None if key_value is None else pattern.keys.pad(key_value),
            )
            for query_bucket, key_bucket in zip(pattern.queries.buckets, pattern.keys.buckets, strict=True):
                q, k, v = _split_qkv(padded_query, padded_key_value, query_bucket, key_bucket, heads)
                if _is_short(query_bucket, key_bucket):
                    saved.append(_attention_weight(q, k, key_bucket))
                    piece = torch.matmul(saved[-1], v)
                else:
                    piece, logsumexp = attention_with_logsumexp(q, k, v, _bias(key_bucket, q))
                    saved.append(logsumexp)
                _split_heads(query_bucket, mixed, heads).copy_(piece)
        out = pattern.queries.unpad(mixed)
        short = all(_is_short(*both) for both in zip(pattern.queries.buckets, pattern.keys.buckets, strict=True))
        ctx.save_for_backward(query, key_value, None if short else out, *saved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        query, key_value, out, *saved = ctx.saved_tensors
        pattern, heads = ctx.pattern, ctx.heads
        padded_query, padded_key_value = (
            pattern.queries.pad(query),
            None if key_value is None else pattern.keys.pad(key_value),
        )
        grads = pattern.queries.pad(grad)
        mixed = None if out is None else pattern.queries.pad(out)
        grad_query = torch.zeros_like(padded_query)
        grad_key_value = None if padded_key_value is None else torch.zeros_like(padded_key_value)
        for query_bucket, key_bucket, saved_part in zip(
            pattern.queries.buckets, pattern.keys.buckets, saved, strict=True
        ):
            q, k, v = _split_qkv(padded_query, padded_key_value, query_bucket, key_bucket, heads)
            grad_output = _split_heads(query_bucket, grads, heads)
            if _is_short(query_bucket, key_bucket):
                back = _matmul_backward(grad_output, q, k, v, saved_part)
            else:
                assert mixed is not None
                output = _split_heads(query_bucket, mixed, heads)
                back = attention_backward(grad_output, q, k, v, output, saved_part, _bias(key_bucket, q))
            for into, part in zip(
                _split_qkv(grad_query, grad_key_value, query_bucket, key_bucket, heads), back, strict=True
            ):
                into.copy_(part)
        grad_key_value = None if grad_key_value is None else pattern.keys.unpad(grad_key_value)
        return pattern.queries.unpad(grad_query), grad_key_value, None, None


def _is_short(query_bucket: PaddedBucket, key_bucket: PaddedBucket) -> bool:
    return max(query_bucket.length, key_bucket.length) <= MAX_MATMUL_LENGTH


def _bias(key_bucket: PaddedBucket, like: Tensor) -> Tensor | None:
    return None if key_bucket.bias is None else key_bucket.bias.to(like.dtype)


def _attention_weight(q: Tensor, k: Tensor, key_bucket: PaddedBucket) -> Tensor:
    score = torch.matmul(q, k.transpose(2, 3)).mul_(q.shape[-1] ** -0.5)
    if key_bucket.bias is not None:
        score += key_bucket.bias
    return score.softmax(dim=-1)


def _matmul_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad = grad.contiguous()
    back = torch.matmul(grad, v.transpose(2, 3))
    score = softmax_backward(back, weight).mul_(q.shape[-1] ** -0.5)
    return torch.matmul(score, k), torch.matmul(score.transpose(2, 3), q), torch.matmul(weight.transpose(2, 3), grad)
