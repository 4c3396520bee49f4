"""Operators that torch keeps private, and the public ones that stand in for them: the same values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradients import double, same_gradients
from hydromae import runtime
from hydromae.model import attention as look
from hydromae.model import fused_ops, kernels, lstm
from hydromae.model.packing import PackedLayout

CPU = torch.device("cpu")


@pytest.fixture(params=["private", "public"])
def public(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With torch's private operators, and without any."""
    if request.param == "public":
        for name in kernels.PRIVATE:
            monkeypatch.setitem(kernels.PRIVATE, name, None)
    return request.param == "public"


def test_this_torch_has_all_of_them() -> None:
    assert all(operator is not None for operator in kernels.PRIVATE.values()), kernels.PRIVATE


def test_an_operator_that_is_absent_or_takes_other_arguments_is_none() -> None:
    assert kernels._private_operator("no_such_operator", lambda call: call()) is None
    assert kernels._private_operator("gelu_backward", lambda call: call(torch.zeros(2), nonsense=1)) is None
    assert kernels._private_operator("gelu_backward", lambda call: call(torch.zeros(2), torch.zeros(2))[3]) is None


def test_attention_in_long_groups(public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "MAX_MATMUL_LENGTH", 1)
    layout = PackedLayout.of_mask(torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(5)) < 0.5)
    given, pattern = double(len(layout.flat_index), 12), layout.self_attention("joint")
    line = layout.group_index("joint")[0]
    shut = line[:, None] != line[None]

    def plain() -> Tensor:
        q, k, v = given.unflatten(1, (3, 2, 2)).permute(1, 2, 0, 3)
        score = (q @ k.transpose(1, 2) / 2**0.5).masked_fill(shut, -torch.inf)
        return (score.softmax(dim=-1) @ v).transpose(0, 1).flatten(1)

    same_gradients(lambda: look.packed_attention(given, None, pattern, 2), plain, given)
    assert (kernels.attention_with_logsumexp(*double(3, 1, 2, 4, 8).detach().unbind(0), None)[1] is None) == public


def test_attention_in_short_groups(public: bool) -> None:
    layout, given = PackedLayout.dense(2, 3, 2, CPU), double(12, 12)

    def plain() -> Tensor:
        q, k, v = given.unflatten(0, (2, 6)).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        return ((q @ k.transpose(2, 3) / 2**0.5).softmax(dim=-1) @ v).transpose(1, 2).flatten(2).flatten(0, 1)

    same_gradients(lambda: look.packed_attention(given, None, layout.self_attention("joint"), 2), plain, given)


def test_products_of_a_block(public: bool) -> None:
    torch.manual_seed(3)
    norm = nn.LayerNorm(4, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    feed = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)).double()
    layout, tokens = PackedLayout.dense(2, 3, 2, CPU), double(12, 4)
    leaves = (tokens, *norm.parameters(), *feed.parameters())
    same_gradients(
        lambda: fused_ops.feed_forward(tokens, norm, None, layout, feed), lambda: feed(norm(tokens)), *leaves
    )
    same_gradients(lambda: fused_ops.project(tokens, norm, feed[0]), lambda: feed[0](norm(tokens)), *leaves[:5])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_operation_without_a_kernel_for_the_dtype_runs_in_fp32_alone(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a CPU without AVX-512: the answer and the gradients are those of fp32 but for the rounding of what goes in."""
    torch.manual_seed(0)
    layer, days = lstm.open_forget_gates(nn.LSTM(4, 6, bidirectional=True)), torch.randn(9, 3, 4)
    exact = lstm.run_lstm(layer, days.to(dtype).float())
    q, k, v = torch.randn(3, 1, 2, 5, 8).to(dtype)
    monkeypatch.setattr(runtime, "unsupported_reason", lambda operation, kind, dtype: "no kernel")
    monkeypatch.setattr(nn.LSTM, "forward", _in_fp32_only(nn.LSTM.forward))
    with torch.autocast("cpu", dtype):
        rough = lstm.run_lstm(layer, days.to(dtype))
    assert rough.dtype == dtype and torch.allclose(rough.float(), exact, atol=2.0**-8)
    rough.float().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())
    mixed = kernels.attention(q, k, v, None)
    wide = ((q.float() @ k.float().transpose(2, 3)) / 8**0.5).softmax(dim=-1) @ v.float()
    assert mixed.dtype == dtype and torch.allclose(mixed.float(), wide, atol=2.0**-7)
    assert kernels.attention_with_logsumexp(q, k, v, None)[1] is None


def _in_fp32_only(forward):
    def checked(self, given, start=None):
        if given.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            raise RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive")
        return forward(self, given, start)

    return checked
