"""What keeps little for the backward pass equals plain torch: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradients import double, same_gradients
from hydromae.model import fused_ops
from hydromae.model.packing import PackedLayout

CPU = torch.device("cpu")


def layers(width: int, hidden: int) -> tuple[nn.LayerNorm, nn.Sequential]:
    torch.manual_seed(3)
    norm = nn.LayerNorm(width, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    two = nn.Linear(width, hidden, dtype=torch.float64), nn.Linear(hidden, width, dtype=torch.float64)
    return norm, nn.Sequential(two[0], nn.GELU(), two[1])


def test_project() -> None:
    tokens, (norm, feed) = double(7, 4), layers(4, 6)
    leaves = (tokens, *norm.parameters(), *feed[0].parameters())
    same_gradients(lambda: fused_ops.project(tokens, norm, feed[0]), lambda: feed[0](norm(tokens)), *leaves)


@pytest.mark.parametrize("whole", [True, False])
def test_feed_with_and_without_film(whole: bool) -> None:
    layout = PackedLayout.dense(2, 3, 2, CPU) if whole else PackedLayout(torch.tensor([0, 1, 2, 7, 11]), (2, 3, 2))
    tokens, film, (norm, feed) = double(len(layout.flat_index), 4), double(2, 2, 8, seed=1), layers(4, 6)
    leaves = (tokens, *norm.parameters(), *feed.parameters())

    def plain() -> Tensor:
        gamma, beta = film.flatten(0, 1)[layout.site_index].chunk(2, dim=-1)
        return feed((1 + gamma) * norm(tokens) + beta)

    same_gradients(lambda: fused_ops.feed_forward(tokens, norm, film, layout, feed), plain, film, *leaves)
    same_gradients(
        lambda: fused_ops.feed_forward(tokens, norm, None, layout, feed), lambda: feed(norm(tokens)), *leaves
    )


def test_residual_dropout_has_its_rate_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    tokens, branch = double(1000, 30), double(1000, 30, seed=1)
    assert torch.equal(fused_ops.residual(tokens, branch, 0.0), tokens + branch)
    out = fused_ops.residual(tokens, branch, 0.1)
    added = (out - tokens).detach()
    kept = added.abs() > 1e-12
    assert float(kept.double().mean()) == pytest.approx(0.9, abs=0.006)  # 3.5 standard deviations
    assert torch.allclose(added[kept], (branch / 0.9)[kept].detach(), rtol=2e-5)
    into_tokens, into_branch = torch.autograd.grad(out.sum(), (tokens, branch))
    assert torch.equal(into_tokens, torch.ones_like(tokens))
    assert torch.allclose(into_branch, kept.double() / 0.9, rtol=2e-5)


def test_bits_of_dropout_are_drawn_anew_and_again_from_the_same_seed() -> None:
    tokens, branch = double(3, 5), double(3, 5, seed=1)
    torch.manual_seed(1)
    one, other = (fused_ops.residual(tokens, branch, 0.5) for _ in range(2))
    torch.manual_seed(1)
    assert not torch.equal(one, other) and torch.equal(one, fused_ops.residual(tokens, branch, 0.5))


@pytest.mark.parametrize("whole", [True, False])
def test_picks_and_sites(whole: bool) -> None:
    layout = PackedLayout.dense(2, 3, 2, CPU) if whole else PackedLayout(torch.tensor([1, 4, 5, 7, 10]), (2, 3, 2))
    grid, held = double(2, 3, 2, 4), double(2, 2, 3, seed=1)
    same_gradients(lambda: fused_ops.gather(grid, layout), lambda: grid.flatten(0, 2)[layout.flat_index], grid)
    same_gradients(lambda: fused_ops.expand_sites(held, layout), lambda: held.flatten(0, 1)[layout.site_index], held)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_are_in_the_precision_of_autocast_and_gradients_in_that_of_the_weights(dtype: torch.dtype) -> None:
    norm, feed, layout = (
        nn.LayerNorm(8),
        nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)),
        PackedLayout.dense(1, 6, 1, CPU),
    )
    tokens = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.autocast("cpu", dtype):
        out = fused_ops.feed_forward(tokens, norm, None, layout, feed)
        assert out.dtype == dtype and fused_ops.project(tokens, norm, feed[0]).dtype == dtype
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in (tokens, *feed.parameters()))
    assert torch.allclose(out.float(), feed(norm(tokens)), atol=0.02)
