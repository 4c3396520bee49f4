"""Stand-ins: for whom they speak in training, that each speaks for its own rivers, and that none speaks in an answer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch

from hydromae.batching.batch import Batch
from hydromae.model.mae import HydroMAE
from hydromae.model.out_of_fold import SUBSTITUTED_FRACTION, OutOfFoldLSTMs
from samples import built, no_tokens, sample, small

CONFIG = small("rivers", lstm_dropout=0.0)


def shifted(model: HydroMAE, by: float) -> torch.nn.Module:
    """The model's memories, but that of the weather says `by` more."""
    assert model.rainfall_runoff is not None
    memory = deepcopy(model.rainfall_runoff)
    with torch.no_grad():
        memory.simulation.mean.bias += by
    return memory


def taught(batch: Batch) -> tuple[HydroMAE, Batch]:
    """A model in training with two stand-ins, which speak for every other river in turn."""
    model = built(CONFIG)
    model.out_of_fold = OutOfFoldLSTMs([shifted(model, 10.0), shifted(model, 20.0)])
    sites = batch.days.new_tensor([place % 2 for place in range(batch.values["riverflow"].shape[2])])
    return model.train(), replace(batch, fold_index=sites.expand(batch.size, -1))


def said(model: HydroMAE, batch: Batch, hidden: dict[str, torch.Tensor], seed: int = 0) -> torch.Tensor:
    """By how much what is told of the weather differs from what the model's own memory says, for each window and river."""
    own = built(CONFIG)(batch, hidden).lstm_predictions[0].mean
    torch.manual_seed(seed)
    change = model(batch, hidden).lstm_predictions[0].mean - own
    assert torch.allclose(change, change[:, :1].expand_as(change), atol=1e-3), "a river has one voice in a window"
    return change[:, 0].detach().round()


def hiding(batch: Batch, *rivers: int) -> dict[str, torch.Tensor]:
    hidden = no_tokens(batch)
    hidden["riverflow"][:, :, list(rivers)] = True
    return hidden


def test_a_river_whose_flow_is_nowhere_seen_is_spoken_for_by_the_one_that_never_saw_it(monkeypatch):
    monkeypatch.setattr("hydromae.model.out_of_fold.SUBSTITUTED_FRACTION", 0.0)
    model, batch = taught(sample("rivers"))
    change = said(model, batch, hiding(batch, 1, 2))
    assert change.shape[1] > 3
    expected = torch.zeros_like(change)
    expected[:, 1], expected[:, 2] = 20.0, 10.0
    assert torch.equal(change, expected)


def test_a_share_of_the_other_catchments_is_substituted():
    model, batch = taught(sample("rivers"))
    count = batch.values["riverflow"].shape[2]
    for hidden in (hiding(batch), hiding(batch, *range(count))):
        drawn = torch.stack([said(model, batch, hidden, seed) for seed in range(40)])
        assert set(drawn[..., ::2].unique().tolist()) == {0.0, 10.0}
        assert set(drawn[..., 1::2].unique().tolist()) == {0.0, 20.0}
        assert abs(float((drawn > 0).float().mean()) - SUBSTITUTED_FRACTION) < 0.08


def test_out_of_fold_lstms_are_not_used_in_prediction_and_not_trained():
    model, batch = taught(sample("rivers"))
    hidden = hiding(batch, 1)
    assert not said(model.eval(), batch, hidden).any()
    found = model.train()(batch, hidden)
    assert found.lstm_predictions[0].mean.requires_grad
    (found.mean["riverflow"].square().mean() + found.lstm_predictions[0].mean.square().mean()).backward()
    assert model.out_of_fold is not None and model.rainfall_runoff is not None
    assert all(p.grad is None for memory in model.out_of_fold.lstms for p in memory.parameters())
    assert model.rainfall_runoff.simulation.mean.bias.grad is not None
