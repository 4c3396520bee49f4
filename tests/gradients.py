"""Whether two ways to compute the same give the same gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def double(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.requires_grad_()


def same_gradients(one: Callable[[], Tensor], other: Callable[[], Tensor], *leaves: Tensor) -> None:
    first, second = one(), other()
    assert torch.allclose(first, second, atol=1e-10)
    weight = torch.randn(first.shape, generator=torch.Generator().manual_seed(9), dtype=first.dtype)
    grads = [torch.autograd.grad(out, leaves, weight) for out in (first, second)]
    for mine, plain in zip(*grads, strict=True):
        assert torch.allclose(mine, plain, atol=1e-9), (mine - plain).abs().max()
