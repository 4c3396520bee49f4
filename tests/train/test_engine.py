"""The engine: accumulation, clipping, losses that are not finite, arithmetic in bf16."""

from __future__ import annotations

import gc
import json
import math

import pytest
import torch
from torch import nn

from hydromae.batching.masking import draw
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config, Precision
from hydromae.distributed import ProcessGroup, init_process_group
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.runtime import autocast
from hydromae.train.engine import TorchEngine, loss_scale_of, make_engine
from hydromae.train.loss_scale import LossScale
from processes import together
from synthetic import SMALL, rivers, scaling_of


def engine_of(clip: float = 1e9, accumulation: int = 1, precision: Precision = "fp32") -> TorchEngine:
    torch.manual_seed(0)
    config = Config().having(optimizer={"clip": clip}, train={"precision": precision, "loss_scale": 1024.0})
    return TorchEngine(nn.Linear(3, 2), config, ProcessGroup(0, 1, torch.device("cpu")), accumulation)


def square(engine: TorchEngine, batch: torch.Tensor) -> torch.Tensor:
    return engine.model(batch).square().mean()


def test_two_accumulated_halves_are_one_batch():
    batch = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    whole, halves = engine_of(), engine_of(accumulation=2)
    whole.backward(square(whole, batch))
    for half in batch.chunk(2):
        halves.backward(square(halves, half))
    norms = [engine.update(0.1) for engine in (whole, halves)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    for one, two in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


def test_the_norm_is_that_before_clipping_and_the_gradient_that_after():
    engine = engine_of(clip=5.0)
    seen: dict[str, torch.Tensor] = {}
    engine.optimizer.register_step_pre_hook(lambda *_: seen.update(weight=engine.model.weight.grad.clone()))
    weights = torch.tensor([[30.0, 0.0, 0.0], [0.0, 40.0, 0.0]])
    engine.backward((engine.model.weight * weights).sum())
    assert engine.update(0.1) == pytest.approx(50.0)  # of (30, 40)
    torch.testing.assert_close(seen["weight"], weights / 10)
    assert all(p.grad is None for p in engine.model.parameters())
    assert all(group["lr"] == 0.1 for group in engine.optimizer.param_groups)


def test_each_of_two_processes_holds_about_half_of_the_optimizer_state(tmp_path):
    """ZeRO stage 1 of torch's engine: both averages of every weight stand in one process, not in both."""

    def run() -> None:
        with init_process_group(torch.device("cpu"), 60) as process_group:
            torch.manual_seed(0)
            engine = make_engine("torch", HydroMAE(SMALL), SMALL, process_group, 1, lambda line: None)
            for parameter in engine.model.parameters():
                parameter.grad = torch.ones_like(parameter)
            engine.update(0.1)
            (tmp_path / str(process_group.rank)).write_text(
                json.dumps({n: v.numel() for n, v in engine.optimizer_state().items()})
            )
            gc.collect()

    assert together(2, run, tmp_path / "words") == [(0, ""), (0, "")]
    one, two = (json.loads((tmp_path / str(rank)).read_text()) for rank in (0, 1))
    names = [name for name, _ in HydroMAE(SMALL).named_parameters()]
    assert set(one) & set(two) == set()
    assert set(one) | set(two) == {f"{key}/{name}" for name in names for key in ("step", "exp_avg", "exp_avg_sq")}
    assert 1 / 3 < sum(one.values()) / (sum(one.values()) + sum(two.values())) < 2 / 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_an_update_with_a_loss_that_is_not_finite_is_left_out_and_counted(bad, place):
    """Whichever of its batches is bad, and even where its gradients are finite."""
    engine = engine_of(accumulation=2)
    before = [p.detach().clone() for p in engine.model.parameters()]
    batch = torch.randn(4, 3)
    for index in range(2):
        engine.backward(square(engine, batch) + (bad if index == place else 0.0))
    assert not math.isfinite(engine.update(0.1))
    for one, two in zip(before, engine.model.parameters(), strict=True):
        assert torch.equal(one, two)  # nothing was learned, and nothing decayed
    assert engine.skipped == 1
    for _ in range(2):
        engine.backward(square(engine, batch))
    engine.update(0.1)
    assert engine.skipped == 1
    assert not torch.equal(before[0], engine.model.weight)


def test_a_gradient_that_is_not_finite_is_left_out_and_counted():
    engine = engine_of()
    before = engine.model.weight.detach().clone()
    engine.backward((engine.model.weight * 0).sqrt().sum())  # 0, with an infinite slope
    assert not math.isfinite(engine.update(0.1))
    assert engine.skipped == 1
    assert torch.equal(before, engine.model.weight)
    assert engine.model.weight.grad is None


def test_the_loss_scale_leaves_norm_clip_and_step_as_they_are_and_halves_when_gradients_overflow():
    """In fp32 arithmetic a power of two changes no bit; the second overflow halves, as hysteresis is 2."""
    batch = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    plain, scaled = engine_of(clip=0.1), engine_of(clip=0.1, precision="fp16")
    for engine in (plain, scaled):
        engine.backward(square(engine, batch))
    assert plain.update(0.1) == scaled.update(0.1) > 0.1
    assert torch.equal(plain.model.weight, scaled.model.weight) and plain.scale is None and scaled.scale is not None
    for expected in (1024.0, 512.0):
        scaled.backward((scaled.model.weight * 1e37).sum())  # finite, and not finite once scaled
        assert not math.isfinite(scaled.update(0.1))
        assert scaled.scale.value == expected
    assert scaled.skipped == 2
    assert torch.equal(plain.model.weight, scaled.model.weight)


def test_the_loss_scale_of_a_run_has_its_numbers():
    """A window of 3, hysteresis 1 and a minimum of 4: two overflows from 16 reach 4, a third stays; it rises after 4."""
    numbers = {"loss_scale": 16.0, "loss_scale_window": 3, "loss_scale_hysteresis": 1, "min_loss_scale": 4.0}
    scale = loss_scale_of(Config().having(train={"precision": "fp16", **numbers}).train)
    assert scale is not None
    values = []
    for overflow in (True, True, True, False, False, False, False):
        scale.update(overflow)
        values.append(scale.value)
    assert values == [8, 4, 4, 4, 4, 4, 8]
    assert loss_scale_of(Config().train) is None
    seed = loss_scale_of(Config().having(train={"precision": "fp16"}).train)
    assert seed is not None and vars(seed) == vars(LossScale(2.0**16, 1000, 2, 1.0))


def test_bf16_runs_near_fp32_and_is_not_it():
    config = SMALL.having(data={"attribute_dropout": 0.0})
    dataset = rivers()
    scaling = scaling_of(dataset, config)
    cut = windows(
        to_record_arrays(dataset, config, scaling), config, config.data.training_period, seed=0, augment=False, update=2
    )
    batch = cut(range(2))
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = HydroMAE(config).set_scaling(scaling).eval()
    losses, gradients = {}, {}
    for precision in ("fp32", "bf16"):
        with autocast(torch.device("cpu"), precision):
            predictions = model(batch, hidden)
        total, _ = loss(predictions, batch, hidden, config)
        assert total.dtype == torch.float32
        model.zero_grad()
        total.backward()
        losses[precision] = float(total.detach())
        gradients[precision] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    likeness = torch.cosine_similarity(gradients["fp32"], gradients["bf16"], dim=0)
    assert gradients["bf16"].dtype == torch.float32
    assert likeness > 0.99


def test_the_batches_of_an_update_are_averaged():
    engine = engine_of(accumulation=4)
    engine.backward(engine.model.weight.sum())
    torch.testing.assert_close(engine.model.weight.grad, torch.full((2, 3), 0.25))
