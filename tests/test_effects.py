"""A field without effect is refused, and only such a field: in every preset an update is compared with and without it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.config.effects import FIELD_RULES, idle_fields, refuse_idle_fields, value_of, with_values
from hydromae.config.presets import BASE, FAST, TINY
from hydromae.distributed import SINGLE_PROCESS
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.train.sampler import DistributedWindowSampler, MaskedBatches
from synthetic import GRID, TRAINING, country, rivers, scaling_of

NARROW = {"d_model": 16, "heads": 2, "decoder_dim": 16, "mlp_ratio": 0.5}
SHALLOW = {
    "data": {"training_period": ("2001-01-01", "2001-02-09"), "sequence_length": 5, "vector_patch_size": 4},
    "model": {
        **{**NARROW, "streams": ("precipitation", "evaporation", "riverflow"), "map_layers": 1, "series_layers": 1},
        **{"decoder_layers": 2, "fusion_layers": 1},
    },
    "train": {"batch_size": 2},
}
STARTS: dict[str, Config] = {
    "tiny": TINY.having(
        data={
            "training_period": TRAINING,
            "sequence_length": 32,
            "catchments_per_window": 3,
            "warm_up_days": 2,
            "antecedent_days": 30,
        },
        model={
            **NARROW,
            "neighbours": 3,
            "recurrent_width": 8,
            "lstm_width": 6,
            "lstm_ar_width": 4,
            "lstm_dropout": 0.1,
        },
        train={"batch_size": 6},
    ),
    "base": BASE.having(**SHALLOW),
    "fast": FAST.having(**SHALLOW),
}
"""The presets, small, with every part that they have."""
OTHER: dict[str, Any] = {
    "data.patches_per_window": 2,
    "data.vector_patch_size": 2,
    "data.attribute_dropout": 0.5,
    "data.position_jitter": 2.0,
    "data.variable_dropout": 0.9,
    "model.heads": 4,
    "model.alternate_mixers": True,
    "model.map_layers": 2,
    "model.series_layers": 3,
    "model.fusion_gates": True,
    "model.map_estimators": True,
    "model.map_distributions": True,
    "model.mlp_ratio": 1.0,
    "model.dropout": 0.4,
    "model.film": False,
    "model.static_tokens": False,
    "model.footprints": False,
    "model.recurrent_width": 5,
    "model.lstm_members": 2,
    "model.lstm_dropout": 0.5,
    "model.lstm_max_temperature": 8.0,
    "model.neighbours": 2,
    "model.decoder_self_attn": True,
    "model.use_weighted_fm": True,
    "model.use_fm_layers": (0,),
    "model.use_input": True,
    "model.contrastive_weight": 0.5,
    "model.contrastive_temperature": 0.5,
    "model.components": 2,
    "masks.map_ratio": 0.9,
    "masks.series_ratio": 0.9,
    "masks.target_modalities": ("riverflow",),
    "masks.gap_days": (2, 3),
    "masks.lead_days": 1,
    "masks.mixture": (("tube", 1.0),),
    "train.loss_scale": 4.0,
    "train.loss_scale_window": 1,
    "train.loss_scale_hysteresis": 1,
    "train.min_loss_scale": 2.0,
    "train.wandb_project": "another",
    "train.wandb_entity": "another",
    "train.nse_loss": True,
    "train.flow_loss_weight": 0.3,
    "train.lstm_loss_weight": 0.2,
    "train.distribution_weight": 0.7,
}
"""Another value of every field that needs another one."""
OF_THE_LOOP = {name for name in OTHER if name.startswith(("train.loss_scale", "train.min_loss_scale", "train.wandb"))}
"""What is not seen in an update: the loss scale is of fp16 alone (`test_engine.py`), the rest of a tracker."""
OWN = {
    "tiny": {"model.footprints": True, "masks.target_modalities": ("weather",), "train.nse_loss": False},
    "fast": {"model.alternate_mixers": False},
}
"""Where the value above is the start's own."""


def other(start: str, field: str) -> Any:
    return OWN.get(start, {}).get(field, OTHER[field])


@functools.cache
def recorded(start: str) -> tuple[xr.Dataset, Any]:
    dataset = rivers() if start == "tiny" else country()
    return dataset, None if start == "tiny" else GRID


def update(start: str, config: Config) -> tuple[float, float]:
    """Loss of the second update of training, and the sum of its gradients."""
    dataset, grid = recorded(start)
    scaling = scaling_of(dataset, config)
    record, size = to_record_arrays(dataset, config, scaling, grid), config.train.batch_size
    cut = windows(record, config, config.data.training_period, seed=0, augment=True, update=size)
    torch.manual_seed(0)
    model = HydroMAE(config, pixels=GRID.patch**2).set_scaling(scaling)
    batch, hidden = MaskedBatches(cut, DistributedWindowSampler.of(size, SINGLE_PROCESS, size), config)[1]
    total, _ = loss(model(batch, hidden), batch, hidden, config)
    total.backward()
    return float(total.detach()), float(sum(p.grad.abs().sum() for p in model.parameters() if p.grad is not None))


@functools.cache
def plain(start: str) -> tuple[float, float]:
    return update(start, STARTS[start])


def turned(start: str, field: str) -> Config | None:
    """The start with another value of a field; None where that is a contradiction, which is refused by its own line."""
    try:
        return Config(**vars(with_values(STARTS[start], {field: other(start, field)})))
    except InputError:
        return None


def test_every_field_that_needs_another_has_a_value_here() -> None:
    assert set(OTHER) == {name for name, field in FIELD_RULES.items() if field.requirement is not None}


@pytest.mark.parametrize("start", STARTS)
def test_what_is_refused_changes_nothing_and_what_is_taken_changes_training(start: str) -> None:
    silent, loud = [], []
    for field in OTHER:
        config = turned(start, field)
        if config is None or value_of(config, field) == value_of(STARTS[start], field):
            continue
        same = field in OF_THE_LOOP or update(start, config) == plain(start)
        if field in idle_fields(STARTS[start]):
            loud += [] if same else [field]
            with pytest.raises(InputError, match=f"config: {field} .*: changes nothing in this configuration"):
                refuse_idle_fields(config, STARTS[start])
        else:
            silent += [field] if same else []
            refuse_idle_fields(config, STARTS[start])
    assert (silent, loud) == ([], [])
