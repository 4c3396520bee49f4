"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hydromae.batching.batch import Batch, FlowTransform
from hydromae.config import Config
from hydromae.losses import loss
from hydromae.model.mixture import GaussianMixture
from hydromae.model.outputs import Predictions
from hydromae.model.rainfall_runoff import LSTMPrediction
from hydromae.store.scaling import VariableScaling
from samples import all_tokens, built, no_tokens, sample, small, some_tokens

PLAIN = Config().having(train={"distribution_weight": 0.0})


def flow_only(values: list[list[float]], variance: float = 1.0) -> Batch:
    """Windows of one river, everything observed."""
    batch = sample("rivers", size=len(values), days=len(values[0]), sites=1)
    held = torch.tensor(values)[..., None, None]
    return replace(
        batch,
        values={"riverflow": held},
        observed={"riverflow": torch.ones_like(held).bool()},
        variance={"riverflow": torch.full((len(values), 1, 1), variance)},
    )


def answers(batch: Batch, mean: torch.Tensor | float = 0.0, spread: float = 1.0) -> Predictions:
    means = torch.zeros_like(batch.values["riverflow"]) + mean
    gaussian = GaussianMixture(
        torch.ones_like(means)[..., None], means[..., None], torch.full_like(means, spread)[..., None]
    )
    return Predictions({"riverflow": means}, {"riverflow": gaussian}, all_tokens(batch), None)


def test_squared_error_of_targets_by_hand() -> None:
    batch = flow_only([[1.0, 2.0, 3.0, 4.0]])
    hidden = {"riverflow": torch.tensor([True, True, False, True]).view(1, 4, 1)}
    batch.observed["riverflow"][0, 3] = False
    total, parts = loss(answers(batch), batch, hidden, PLAIN)
    assert float(total) == pytest.approx((1 + 4) / 2)  # hidden and observed: days 0 and 1
    assert parts["riverflow"].tolist() == pytest.approx([2.5, 1]) and not parts["riverflow"].requires_grad


def test_errors_are_divided_by_the_variance() -> None:
    batch = flow_only([[2.0, 4.0]], variance=4.0)
    assert float(loss(answers(batch), batch, all_tokens(batch), PLAIN)[0]) == pytest.approx((1 + 4) / 2)


def test_windows_weigh_the_same_however_many_targets_they_have() -> None:
    batch = flow_only([[1.0, 1.0, 1.0, 1.0], [3.0, 9.0, 9.0, 9.0], [7.0, 7.0, 7.0, 7.0]])
    hidden = all_tokens(batch)
    hidden["riverflow"][1, 1:] = False
    hidden["riverflow"][2] = False
    total, parts = loss(answers(batch), batch, hidden, PLAIN)
    assert float(total) == pytest.approx((1 + 9 + 0) / 3)  # the third has no target
    assert parts["riverflow"].tolist() == pytest.approx([10, 2])


def test_the_loss_of_a_batch_is_the_mean_of_its_windows_however_they_are_cut() -> None:
    batch = flow_only([[1.0, 1.0], [3.0, 9.0], [7.0, 7.0]])
    batch.observed["riverflow"][2] = False
    whole = float(loss(answers(batch), batch, all_tokens(batch), Config())[0])
    alone = [batch.window(index) for index in range(3)]
    each = [float(loss(answers(one), one, all_tokens(one), Config())[0]) for one in alone]
    assert whole == pytest.approx(sum(each) / 3) and each[2] == 0


def test_only_decoded_tokens_are_scored() -> None:
    batch = flow_only([[1.0, 5.0]])
    partly = replace(answers(batch), decoded={"riverflow": torch.tensor([True, False]).view(1, 2, 1)})
    assert float(loss(partly, batch, all_tokens(batch), PLAIN)[0]) == pytest.approx(1.0)


def test_warm_up_days_are_not_scored() -> None:
    batch = flow_only([[9.0, 9.0, 1.0, 3.0]])
    for warm_up, expected in ((0, (81 + 81 + 1 + 9) / 4), (2, (1 + 9) / 2), (3, 9.0)):
        config = PLAIN.having(data={"warm_up_days": warm_up})
        assert float(loss(answers(batch), batch, all_tokens(batch), config)[0]) == pytest.approx(expected)
    whole = PLAIN.having(data={"warm_up_days": 4})  # a window that is no longer than the warm-up is scored whole
    assert float(loss(answers(batch), batch, all_tokens(batch), whole)[0]) == pytest.approx(43.0)


def test_distribution_weight_adds_the_negative_log_likelihood() -> None:
    batch = flow_only([[1.0, 3.0]])
    spread = 2.0
    doubt = sum(0.5 * (v / spread) ** 2 + math.log(spread * math.sqrt(2 * math.pi)) for v in (1, 3)) / 2
    for weight in (0.1, 1.0):
        config = PLAIN.having(train={"distribution_weight": weight})
        total, parts = loss(answers(batch, spread=spread), batch, all_tokens(batch), config)
        assert float(total) == pytest.approx(5 + weight * doubt) and float(parts["riverflow"][0]) == pytest.approx(5)


def test_task_weights_act_and_a_modality_without_one_counts_once() -> None:
    batch = flow_only([[2.0]])
    for weights, expected in (((("riverflow", 3.0),), 12.0), ((), 4.0)):
        config = PLAIN.having(train={"task_weights": weights})
        assert float(loss(answers(batch), batch, all_tokens(batch), config)[0]) == pytest.approx(expected)


def test_the_likelihood_shapes_the_distribution_but_does_not_move_the_mean() -> None:
    batch = flow_only([[1.0, 3.0]])
    mean = torch.zeros_like(batch.values["riverflow"], requires_grad=True)
    offset, spread = (torch.ones(1, 2, 1, 1, 1, requires_grad=True) for _ in range(2))
    gaussian = GaussianMixture(torch.ones(1, 2, 1, 1, 1), mean[..., None] + offset, spread)
    predictions = Predictions({"riverflow": mean}, {"riverflow": gaussian}, all_tokens(batch), None)
    total, _ = loss(predictions, batch, all_tokens(batch), PLAIN.having(train={"distribution_weight": 5.0}))
    total.backward()
    assert mean.grad is not None and offset.grad is not None and spread.grad is not None
    assert mean.grad.flatten().tolist() == [-1.0, -3.0]  # of the squared error alone: 2 × (0 − v) / 2
    assert offset.grad.flatten().tolist() == [0.0, -5.0]  # −5 × (v − 1) / 2
    assert spread.grad.flatten().tolist() == [2.5, 5 * (1 - 4) / 2]


def test_lstms_are_scored_on_every_day_whose_flow_was_no_input() -> None:
    batch = flow_only([[9.0, 1.0, 2.0, 3.0, 4.0]], variance=2.0)
    batch.observed["riverflow"][0, 3] = False
    mean = torch.zeros(1, 5, 1)
    runoff = LSTMPrediction(mean, torch.ones_like(mean).bool())
    ahead = LSTMPrediction(mean, torch.tensor([[True, False, True, True, False]])[..., None])
    predictions = replace(answers(batch), lstm_predictions=[runoff, ahead])
    for weight in (0.0, 1.0, 3.0):
        config = PLAIN.having(train={"lstm_loss_weight": weight}, data={"warm_up_days": 1})
        expected = weight * ((1 + 4 + 16) / 2 / 3 + 4 / 2)  # days 1, 2 and 4, and day 2 alone
        assert float(loss(predictions, batch, no_tokens(batch), config)[0]) == pytest.approx(expected)


def test_a_share_of_the_error_is_of_flow_itself() -> None:
    """Roots of 3 and 5 times the deviation 2, and the mean 1: flows 49 and 121; the answer 2, spread 1.5, says 25 + 9."""
    batch = flow_only([[3.0, 5.0]], variance=4.0)
    natural = FlowTransform(VariableScaling("root", 1.0, 2.0), torch.full((1, 1, 1), 10.0))
    batch = replace(batch, flow_transform=natural)
    root, flow = (1 / 4 + 9 / 4) / 2, ((34 - 49) ** 2 / 10 + (34 - 121) ** 2 / 10) / 2
    for share in (0.0, 0.25, 1.0):
        config = PLAIN.having(train={"flow_loss_weight": share})
        total, parts = loss(answers(batch, 2.0, 1.5), batch, all_tokens(batch), config)
        assert float(total) == pytest.approx((1 - share) * root + share * flow)
        assert float(parts["riverflow"][0]) == pytest.approx(float(total))
    mean = torch.full((1, 2, 1), 2.0)
    memory = LSTMPrediction(mean, torch.ones(1, 2, 1, dtype=torch.bool))
    predictions = replace(answers(batch, 3.0), lstm_predictions=[memory])
    config = PLAIN.having(train={"flow_loss_weight": 1.0})
    expected = ((25 - 49) ** 2 + (25 - 121) ** 2) / 10 / 2  # a memory says no spread
    assert float(loss(predictions, batch, no_tokens(batch), config)[0]) == pytest.approx(expected)


def test_the_spread_is_not_widened_to_mend_the_flow() -> None:
    transform = FlowTransform(VariableScaling("root", 0.0, 1.0), torch.ones(1, 1, 1))
    batch = replace(flow_only([[3.0]]), flow_transform=transform)
    spread = torch.ones(1, 1, 1, 1, 1, requires_grad=True)
    mean = torch.full((1, 1, 1, 1), 1.0, requires_grad=True)
    told = GaussianMixture(torch.ones(1, 1, 1, 1, 1), mean[..., None], spread)
    predictions = Predictions({"riverflow": mean}, {"riverflow": told}, all_tokens(batch), None)
    loss(predictions, batch, all_tokens(batch), PLAIN.having(train={"flow_loss_weight": 1.0}))[0].backward()
    assert spread.grad is None and float(mean.grad) == pytest.approx(2 * (1 + 1 - 9) * 2)


def test_without_targets_the_loss_is_zero_and_finite() -> None:
    batch = flow_only([[1.0, 2.0]])
    assert float(loss(answers(batch), batch, no_tokens(batch), Config())[0]) == 0


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_the_loss_is_the_weighted_sum_of_its_parts(preset: str) -> None:
    config = small(preset).having(train={"distribution_weight": 0.0, "lstm_loss_weight": 0.0})
    batch = sample(preset)
    hidden = some_tokens(batch)
    with torch.no_grad():
        total, parts = loss(built(config)(batch, hidden), batch, hidden, config)
    weights = dict(config.train.task_weights)
    assert float(total) == pytest.approx(
        sum(weights[name] * float(part[0]) / batch.size for name, part in parts.items()), rel=1e-5
    )
