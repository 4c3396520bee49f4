"""Estimates of flow in tokens of several catchments, and with the rain of maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hydromae.batching.batch import Batch, CellWeights
from hydromae.batching.masking import visible
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.model.blocks import Context
from hydromae.model.encoder import footprint_features
from hydromae.model.estimators import ESTIMATORS, Estimators
from hydromae.model.flow_estimates import estimate_flow
from hydromae.model.outputs import Estimates
from hydromae.model.positional import SEPARATIONS
from samples import GROUP, built, no_tokens, sample, small, some_tokens

SLOTS = 4 * GROUP


def estimated(batch: Batch, neighbours: int | None = None) -> Estimates:
    """Of everything that was observed, without LSTMs."""
    seen = visible(batch, no_tokens(batch))
    values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
    means = footprint_features(values, seen, batch, batch.site_metadata["series"].valid.shape[2])
    with torch.no_grad():
        return estimate_flow(Estimators(SEPARATIONS), values, seen, means, batch, (neighbours, Context()), [])


def one_by_one(batch: Batch) -> Batch:
    """Every slot of a group as a site of its own."""
    fields = ("values", "observed")
    parts = {
        field: {
            n: part.flatten(2)[..., None] if n == "riverflow" else part for n, part in getattr(batch, field).items()
        }
        for field in fields
    }
    return replace(
        batch, **parts, site_metadata=batch.site_metadata | {"series": batch.site_metadata["series"].ungrouped()}
    )


def moving_together(batch: Batch) -> Batch:
    """Rivers that rise and fall on the same days."""
    batch.values["riverflow"] += 3 * batch.days[..., None, None].sin()
    return batch


@pytest.mark.parametrize("neighbours", [None, 5])
def test_catchments_of_a_group_are_estimated_as_if_each_were_alone(neighbours: int | None) -> None:
    batch = moving_together(sample("base", days=60))
    grouped, alone = estimated(batch, neighbours), estimated(one_by_one(batch), neighbours)
    for one, other in zip(vars(grouped).values(), vars(alone).values(), strict=True):
        assert torch.equal(one.flatten(2, 3), other.flatten(2, 3))
    assert grouped.value.shape == (2, 60, 4, GROUP, 1, len(ESTIMATORS))
    slots = grouped.exists.flatten(2, 3)[:, :, :-1, 0]
    assert slots.any(dim=1).all(), "of every estimate and catchment; the last slot is padding"


def test_donors_are_scaled_by_the_rain_of_maps_above_them() -> None:
    batch = sample("base", days=30)
    assert batch.cells is not None
    wet = {name: values.clone() for name, values in batch.values.items()}
    wet["precipitation"][:, :, 0] += 3.0
    under = batch.cells.slot[batch.cells.patch == 0].unique()
    change = (estimated(replace(batch, values=wet)).value - estimated(batch).value)[..., 0, :].flatten(2, 3)
    donor = ESTIMATORS.index("donor_idw")
    changed = change[..., donor].abs().amax(dim=(0, 1)) > 1e-4
    assert 0 < len(under) < SLOTS and changed[under].any(), "a catchment under the wetter patch has more flow"
    assert not change[..., [i for i in range(len(ESTIMATORS)) if i != donor]].any()
    bare = replace(batch, cells=CellWeights(*(part[:0] for part in vars(batch.cells).values())))
    wet_bare = replace(bare, values=wet)
    assert torch.equal(estimated(bare).value, estimated(wet_bare).value), "without footprints there is no rain"


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_estimates_change_the_answers_of_a_model_of_groups_and_are_trained(preset: str) -> None:
    config, batch = small(preset, estimators=True), moving_together(sample(preset, days=60, observed=0.95))
    hidden, model = some_tokens(batch), built(config)
    with torch.no_grad():
        one, other = model(batch, hidden), built(small(preset))(batch, hidden)
        model.feature_queries["riverflow"].weight.zero_()
        unread = model(batch, hidden)
    for changed in (other, unread):
        assert not torch.allclose(one.mean["riverflow"], changed.mean["riverflow"], atol=1e-4)
    model = built(config).train()
    loss(model(batch, hidden), batch, hidden, config)[0].backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["estimators.evaporation_logit"], "the streams have no potential evaporation"


def test_a_gate_that_takes_one_estimate_answers_it_for_every_catchment() -> None:
    batch = sample("base", days=30, observed=1.0)
    hidden, model = some_tokens(batch), built(small("base", estimators=True))
    head = model.heads["riverflow"]
    with torch.no_grad():
        for part in (head.mean, head.gate):
            part.weight.zero_()
            part.bias.zero_()
        head.gate.bias[ESTIMATORS.index("interpolation")] = 60.0
        mean = model(batch, hidden).mean["riverflow"]
        seen = visible(batch, hidden)
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        found = estimate_flow(model.estimators, values, seen, None, batch, (None, Context()), [])
    asked = hidden["riverflow"][..., None] & found.exists[..., 0, ESTIMATORS.index("interpolation")]
    assert asked[..., 0].any() and asked[:, :, -1, 1].any()
    torch.testing.assert_close(mean[asked], found.value[..., 0, ESTIMATORS.index("interpolation")][asked])


def test_estimators_without_flow_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.estimators are of flow; add riverflow to model\.streams"):
        small("base", estimators=True, streams=("precipitation", "evaporation"))
