"""The optimizer's groups, the schedule and the average of the weights, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hydromae.config import OptimizerConfig
from hydromae.model.mae import HydroMAE
from hydromae.train.optim import Average, Schedule, adamw
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
    assert id(model.addresses["weather+riverflow"].season.weight) not in left_alone


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


def test_schedule_rises_in_a_line_and_falls_in_half_a_cosine():
    schedule = Schedule(lr=1.0, min_lr=0.2, warmup_steps=4, steps=12)
    assert [schedule(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert schedule(4) == pytest.approx(1.0)
    assert schedule(6) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5)))  # a quarter of the way
    assert schedule(8) == pytest.approx(0.6)  # half of it
    assert schedule(12) == schedule(50) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "expected"), [(0, [1.0, 0.75, 0.25]), (3, [1 / 3, 2 / 3, 1.0])])
def test_schedule_without_warm_up_and_with_nothing_else(warmup, expected):
    schedule = Schedule(lr=1.0, min_lr=0.0, warmup_steps=warmup, steps=3)
    assert [schedule(step) for step in range(3)] == pytest.approx(expected)


def test_average_forgets_the_start_and_then_follows_its_decay():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(100.0)
    average = Average(layer, decay=0.15)
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
    assert Average(layer, 0.0).kept == {}
    assert set(Average(layer, 0.5).kept) == {"weight", "bias"}
