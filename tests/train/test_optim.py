"""The optimizer's groups, the schedule and the average of the weights, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hydromae.config import Config, OptimizerConfig
from hydromae.config.presets import PRESETS
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import Predictions
from hydromae.train.optimizer import CosineSchedule, WeightAverage, adamw
from options import EVERYTHING, STARTS
from runs import STILL, run, watched
from samples import NATIONAL, all_tokens, sample
from synthetic import SMALL


def test_matrices_decay_and_norms_biases_and_tokens_do_not():
    model = HydroMAE(SMALL)
    decaying, free = adamw(model, replace(SMALL.optimizer, weight_decay=0.05)).param_groups
    assert (decaying["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {id(p) for p in decaying["params"]} | {id(p) for p in free["params"]} == {id(p) for p in model.parameters()}
    left_alone = {id(p) for p in free["params"]}
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "token")) or "norm" in name or "bias_" in name:
            assert id(parameter) in left_alone, name
    assert id(model.positional["weather+riverflow"].season.weight) not in left_alone


def test_adamw_takes_its_numbers_from_the_configuration_and_its_first_step_is_one_learning_rate():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(3.0)
    optimizer = adamw(layer, OptimizerConfig(lr=0.1, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-12))
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    # Adam's first step is lr × sign of the gradient; the weight first decays by lr × 0.5 of itself
    assert layer.weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1)
    assert layer.bias.item() == pytest.approx(3.0 - 0.1)


def test_the_seeds_numbers_are_the_defaults():
    config = Config()
    assert config.optimizer == OptimizerConfig(1e-4, 0.0, 0.05, (0.9, 0.95), 1e-8, 1.0)
    train = config.train
    assert (train.batch_size, train.accumulation, train.epochs, train.warmup_epochs) == (16, 1, 10, 5)


def test_two_steps_of_adamw_by_hand():
    """Gradients 0.5 and −1 at the seed's averages (0.9, 0.95), a rate of 0.1 and a decay of 0.05."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    optimizer = adamw(weight, OptimizerConfig(lr=0.1))
    for gradient in (0.5, -1.0):
        weight.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        if gradient == 0.5:
            # mean 0.05 / (1 − 0.9) = 0.5, square 0.0125 / (1 − 0.95) = 0.25: a step of 0.1 × 0.5 / 0.5
            assert weight.weight.item() == pytest.approx(2.0 - 0.1 * 0.05 * 2.0 - 0.1)  # 1.89
    # mean (0.9 × 0.05 − 0.1) / (1 − 0.81) = −0.289474, square (0.95 × 0.0125 + 0.05) / (1 − 0.9025) = 0.634615
    assert weight.weight.item() == pytest.approx(1.89 - 0.1 * 0.05 * 1.89 + 0.1 * 0.289474 / 0.796628, rel=1e-6)


def test_a_gradient_as_small_as_eps_takes_half_a_step():
    bias = nn.Linear(1, 1)
    nn.init.zeros_(bias.bias)
    optimizer = adamw(bias, OptimizerConfig(lr=0.1))
    bias.bias.grad = torch.tensor([1e-8])
    optimizer.step()
    assert bias.bias.item() == pytest.approx(-0.05, rel=1e-4)  # 0.1 × g / (g + 1e-8)


def decaying(model: nn.Module) -> set[str]:
    decays = {id(p) for p in adamw(model, OptimizerConfig()).param_groups[0]["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in decays}


def test_in_the_seeds_model_every_matrix_decays_and_nothing_else():
    model = HydroMAE(PRESETS["base"])
    matrices = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert decaying(model) == matrices
    free = {name for name, _ in model.named_parameters()} - matrices
    for part in ("positional.riverflow.token", "queries.riverflow.token", ".norm.", ".bias"):
        assert any(part in name for name in free), part


@pytest.mark.parametrize(
    "config", [*STARTS.values(), *(STARTS[name].having(**row.turned) for name, row in EVERYTHING.items())]
)
def test_with_every_switch_no_token_decays(config):
    """By kind of layer, not by shape: a token laid out as a matrix would be found. Tables of slopes and mixes decay."""
    model = HydroMAE(config, pixels=4)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    recurrent = {name for name, _ in model.named_parameters() if ".lstm.weight_" in name}
    tables = {n for n, _ in model.named_parameters() if n == "mix" or (".mixers." in n and n.endswith(".slope"))}
    assert decaying(model) == linear | recurrent | tables


def test_schedule_rises_in_a_line_and_falls_in_half_a_cosine():
    schedule = CosineSchedule(lr=1.0, min_lr=0.2, warmup_steps=4, steps=12)
    assert [schedule(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert schedule(4) == pytest.approx(1.0)
    assert schedule(6) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5)))  # a quarter of the way
    assert schedule(8) == pytest.approx(0.6)  # half of it
    assert schedule(12) == schedule(50) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "expected"), [(0, [1.0, 0.75, 0.25]), (3, [1 / 3, 2 / 3, 1.0])])
def test_schedule_without_warm_up_and_with_nothing_else(warmup, expected):
    schedule = CosineSchedule(lr=1.0, min_lr=0.0, warmup_steps=warmup, steps=3)
    assert [schedule(step) for step in range(3)] == pytest.approx(expected)


def test_a_warm_up_longer_than_the_run_only_rises():
    schedule = CosineSchedule(lr=1.0, min_lr=0.1, warmup_steps=20, steps=5)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


def test_training_warms_up_and_ends_near_the_least_rate(tmp_path):
    """5 of 10 epochs, two steps each; the rates are those that the optimizer had at its steps."""
    config = STILL.having(
        optimizer={"lr": 1e-3, "min_lr": 1e-4},
        train={"epochs": 10, "warmup_epochs": 5, "steps_per_epoch": 2, "validate_every": 10, "checkpoint_every": 10},
    )
    with watched() as seen:
        lines = run(tmp_path / "run", config)
    assert seen.rates[:10] == pytest.approx([1e-4 * (step + 1) for step in range(10)])
    assert seen.rates[10] == pytest.approx(1e-3)
    assert seen.rates[15] == pytest.approx(5.5e-4)  # half of the way down
    assert seen.rates[19] == pytest.approx(1e-4 + 9e-4 * 0.0244717, rel=1e-5)  # (1 + cos 0.9 π) / 2
    assert [line["lr"] for line in lines] == pytest.approx(seen.rates)


def test_training_shorter_than_its_warm_up_reaches_the_rate_at_its_end(tmp_path):
    config = STILL.having(optimizer={"lr": 1e-3}, train={"epochs": 2, "warmup_epochs": 5, "steps_per_epoch": 2})
    with watched() as seen:
        run(tmp_path / "run", config)
    assert seen.rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])


def test_no_gradient_is_longer_than_the_clip(tmp_path):
    """The journal says the length before, the optimizer sees the one after; shorter ones stay as they are."""
    config = STILL.having(train={"epochs": 2})
    assert config.optimizer.clip == 1.0
    with watched() as whole:
        lines = run(tmp_path / "one", config.having(optimizer={"clip": 1e9}))
    clip = sorted(whole.norms)[4]
    with watched() as seen:
        lines = run(tmp_path / "two", config.having(optimizer={"clip": clip}))
    assert seen.norms == pytest.approx([min(line["gradient_norm"], clip) for line in lines], rel=1e-4)
    assert min(seen.norms) < 0.99 * clip and seen.norms.count(pytest.approx(clip, rel=1e-4)) >= 2


def test_the_seeds_task_weights_enter_the_loss():
    """Errors of 1, 2, 3, 4 and 5 in every value: 100 × 1 + 10 × 4 + 10 × 9 + 1 × 16 + 1 × 25."""
    batch = sample("base", observed=1.0)
    ones = {name: torch.ones_like(value) for name, value in batch.variance.items()}
    batch = replace(batch, variance=ones)
    means = {name: batch.values[name] + 1.0 + index for index, name in enumerate(NATIONAL)}
    total, parts = loss(Predictions(means, {}, all_tokens(batch), None), batch, all_tokens(batch), Config())
    assert [float(parts[name][0] / parts[name][1]) for name in NATIONAL] == pytest.approx([1, 4, 9, 16, 25], rel=1e-5)
    assert float(total) == pytest.approx(271.0, rel=1e-5)


def test_average_removes_the_start_and_then_follows_its_decay():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(100.0)
    average = WeightAverage(layer, decay=0.15)
    with torch.no_grad():
        layer.weight.fill_(10.0)
    average.update(layer)  # decay (1 + 0) / (10 + 0) = 0.1: 0.1 × 100 + 0.9 × 10
    assert average.weights["weight"].item() == pytest.approx(19.0)
    average.update(layer)  # (1 + 1) / (10 + 1) = 0.18 is above 0.15: 0.15 × 19 + 0.85 × 10
    assert average.weights["weight"].item() == pytest.approx(11.35)
    assert average.updates == 2
    assert layer.weight.item() == 10.0


def test_a_decay_of_nought_keeps_nothing():
    layer = nn.Linear(1, 1)
    assert WeightAverage(layer, 0.0).averaged == {}
    assert set(WeightAverage(layer, 0.5).averaged) == {"weight", "bias"}
