"""Attention along lines equals attention with everything else shut out: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gradients import double, same_gradients
from hydromae.model import attention
from hydromae.model.packing import PackedLayout


@pytest.mark.parametrize("direction", ["joint", "time", "space"])
@pytest.mark.parametrize("longest", [128, 1])
def test_packed_self_attention(direction: str, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along short and long lines, against attention with everything else shut out."""
    monkeypatch.setattr(attention, "MAX_MATMUL_LENGTH", longest)
    keep = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(5)) < 0.5
    layout = PackedLayout.of_mask(keep)
    all_three, pattern = double(len(layout.flat_index), 12), layout.self_attention(direction)
    line = layout.group_index(direction)[0]
    shut = line[:, None] != line[None]

    def plain() -> Tensor:
        q, k, v = all_three.unflatten(1, (3, 2, 2)).permute(1, 2, 0, 3)
        return scaled_dot_product_attention(q, k, v, attn_mask=~shut).transpose(0, 1).flatten(1)

    same_gradients(lambda: attention.packed_attention(all_three, None, pattern, 2), plain, all_three)


@pytest.mark.parametrize("longest", [128, 1])
def test_packed_cross_attention(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries whose line is empty answer 0; tokens that nobody looks at get no gradient."""
    monkeypatch.setattr(attention, "MAX_MATMUL_LENGTH", longest)
    own, theirs = (
        PackedLayout(torch.tensor([0, 1, 3, 4, 8]), (1, 5, 2)),
        PackedLayout(torch.tensor([0, 2, 3, 5, 6, 7]), (1, 5, 2)),
    )
    query, pair, pattern = double(5, 4), double(6, 8, seed=1), own.cross_attention(theirs, "space")
    apart = (own.flat_index // 2)[:, None] != (theirs.flat_index // 2)[None]

    def plain() -> Tensor:
        q = query.unflatten(1, (2, 2)).transpose(0, 1)
        k, v = pair.unflatten(1, (2, 2, 2)).permute(1, 2, 0, 3)
        score = (q @ k.transpose(1, 2) / 2**0.5).masked_fill(apart, -torch.inf).softmax(dim=-1)
        return (score.nan_to_num(0.0) @ v).transpose(0, 1).flatten(1)

    found = attention.packed_attention(query, pair, pattern, 2)
    assert torch.equal(found[4], torch.zeros(4, dtype=torch.float64))  # day 4, of which nothing is there
    leaves_pair = torch.autograd.grad(found.sum(), pair)[0]
    assert leaves_pair[4:].abs().sum() == 0  # day 3, of which nobody asks
    with torch.no_grad():
        assert torch.allclose(found, plain(), atol=1e-10)
    some = own.flat_index < 8
    same_gradients(lambda: attention.packed_attention(query, pair, pattern, 2)[some], lambda: plain()[some], pair)
