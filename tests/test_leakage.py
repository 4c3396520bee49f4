"""The rule of the package (docs/design.md, section 1): what is hidden or unobserved never reaches an answer."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hydromae.batching.batch import Batch
from hydromae.batching.masking import MASKS, Hidden, draw, targets, visible
from hydromae.config import Config
from hydromae.losses import loss
from hydromae.model.blocks import Context
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import Predictions
from samples import NAMES, all_tokens, built, no_tokens, sample, small

PRESETS = tuple(NAMES)
GARBAGE = (float("nan"), float("inf"), float("-inf"), 3e38, -1e30, -7.5, 0.0)
EXAMPLES = settings(max_examples=5, deadline=None, derandomize=True, database=None, phases=(Phase.generate,))


@functools.cache
def model_of(preset: str) -> HydroMAE:
    return built(small(preset))


@st.composite
def batches(draw: st.DrawFn, preset: str) -> Batch:
    """Any small shape; long enough for rivers that neighbours are compared; observed in part, nowhere, or everywhere."""
    long = preset in ("rivers", "tiny", "national") and draw(st.booleans())
    batch = sample(
        preset,
        size=draw(st.integers(1, 2)),
        days=draw(st.integers(40, 48) if long else st.integers(2, 5)),
        sites=draw(st.integers(1, 5)),
        patches=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 10_000)),
        observed=draw(st.sampled_from((0.9, 0.9, 0.5, 0.0, 1.0))),
    )
    return with_dropped(batch, draw(st.integers(0, 10_000))) if draw(st.booleans()) else batch


def with_dropped(batch: Batch, seed: int) -> Batch:
    """The batch with a third of the channels of every window dropped, whatever they measure."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: (value.shape[0], value.shape[-1]) for name, value in batch.values.items()}
    return replace(batch, dropped={n: torch.rand(shape, generator=generator) < 1 / 3 for n, shape in shapes.items()})


def unusable(batch: Batch) -> dict[str, torch.Tensor]:
    """What is unobserved or dropped, by the definition."""
    dropped = batch.dropped or {name: torch.zeros(batch.size, 1, dtype=torch.bool) for name in batch.values}
    return {name: ~seen | dropped[name][:, None, None] for name, seen in batch.observed.items()}


def garbled(batch: Batch, where: dict[str, torch.Tensor], seed: int) -> Batch:
    """Garbage of every kind in all values of `where`, in unknown traits, and in the variances, which no model may read."""
    draw = torch.Generator().manual_seed(seed)

    def spoiled(values: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
        pick = torch.randint(len(GARBAGE), values.shape, generator=draw)
        return torch.where(gone, torch.tensor(GARBAGE)[pick], values)

    values = {name: spoiled(held, where[name]) for name, held in batch.values.items()}
    places = {
        kind: replace(p, static_attributes=spoiled(p.static_attributes, ~p.is_known))
        for kind, p in batch.site_metadata.items()
    }
    return replace(batch, values=values, site_metadata=places)


def assert_same(one: Predictions, other: Predictions) -> None:
    """Equal to the last bit, and finite."""
    for name, mean in one.mean.items():
        assert torch.isfinite(mean).all(), f"{name}: an answer is not finite"
        assert torch.equal(mean, other.mean[name]), f"{name}: a mean changed with values that nobody may see"
    for name, gaussians in one.gaussians.items():
        for part in ("weight", "centre", "spread"):
            same = torch.equal(getattr(gaussians, part), getattr(other.gaussians[name], part))
            assert same, f"{name}: a Gaussian's {part} changed with values that nobody may see"


def gradients(model: HydroMAE, batch: Batch, hidden: Hidden, config: Config) -> tuple[torch.Tensor, list[torch.Tensor]]:
    total, _ = loss(model(batch, hidden), batch, hidden, config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    return total.detach(), list(found)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("preset", PRESETS)
@EXAMPLES
@given(data=st.data())
def test_what_is_hidden_or_unobserved_never_changes_a_prediction(preset: str, kind: str, data: st.DataObject) -> None:
    config, model = small(preset), model_of(preset)
    batch, seed = data.draw(batches(preset)), data.draw(st.integers(0, 10_000))
    hidden = draw(batch, replace(config.masks, kind=kind), torch.Generator().manual_seed(seed))
    wanted = data.draw(st.sampled_from((None, all_tokens(batch))))
    gone = {name: hidden[name][..., None] | mask for name, mask in unusable(batch).items()}
    other = garbled(batch, gone, seed)
    other = replace(other, variance={name: torch.full_like(v, float("nan")) for name, v in batch.variance.items()})
    with torch.no_grad():
        assert_same(model(batch, hidden, wanted), model(other, hidden, wanted))


@pytest.mark.parametrize("preset", PRESETS)
@EXAMPLES
@given(data=st.data())
def test_what_is_unobserved_never_changes_the_loss_or_its_gradients(preset: str, data: st.DataObject) -> None:
    config, model = small(preset), model_of(preset)
    batch, seed = data.draw(batches(preset)), data.draw(st.integers(0, 10_000))
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(seed))
    other = garbled(batch, unusable(batch), seed)
    (one, before), (two, after) = (gradients(model, b, hidden, config) for b in (batch, other))
    assert torch.isfinite(one) and torch.equal(one, two)
    assert all(torch.isfinite(a).all() and torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("drops", (False, True))
def test_visible_and_targets_part_what_is_observed(preset: str, kind: str, drops: bool) -> None:
    batch, config = sample(preset, days=6), small(preset)
    batch = with_dropped(batch, 2) if drops else batch
    hidden = draw(batch, replace(config.masks, kind=kind), torch.Generator().manual_seed(1))
    seen, asked = visible(batch, hidden), targets(batch, hidden)
    for name, observed in batch.observed.items():
        assert not (seen[name] & hidden[name][..., None]).any(), "a hidden value is visible"
        assert not (asked[name] & ~observed).any(), "an unobserved value is a target"
        assert not (seen[name] & asked[name]).any() and torch.equal(seen[name] | asked[name], ~unusable(batch)[name])


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_observed_or_nothing_visible_still_gives_predictions(preset: str) -> None:
    model = model_of(preset)
    for batch, hidden in (
        (sample(preset, observed=0.0), no_tokens(sample(preset))),
        (sample(preset, observed=1.0), all_tokens(sample(preset))),
    ):
        other = garbled(batch, {n: torch.ones_like(seen) for n, seen in batch.observed.items()}, 3)
        with torch.no_grad():
            assert_same(model(batch, hidden, all_tokens(batch)), model(other, hidden, all_tokens(batch)))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_visible_modality_reaches_every_prediction(preset: str) -> None:
    """The rule does not hold because nothing is looked at: a visible value of each modality moves the answers."""
    batch, model = sample(preset, size=1, days=4, observed=1.0), model_of(preset)
    wanted = all_tokens(batch)
    with torch.no_grad():
        before = model(batch, no_tokens(batch), wanted)
        for name in batch.values:
            moved = replace(batch, values=batch.values | {name: batch.values[name] + 0.5})
            after = model(moved, no_tokens(batch), wanted)
            for answered in batch.values:
                assert not torch.equal(before.mean[answered], after.mean[answered]), f"{name} never reaches {answered}"


def test_a_footprint_carries_only_visible_cells() -> None:
    """A map that is hidden reaches the catchments below neither by its values nor by its share."""
    batch, model = sample("base", size=1, observed=1.0), model_of("base")
    hidden = no_tokens(batch) | {"precipitation": all_tokens(batch)["precipitation"]}
    contexts = {kind: Context() for kind in batch.site_metadata}
    seen = visible(batch, hidden)
    before = model.embed(batch, seen, contexts)
    spoiled = garbled(batch, {n: hidden[n][..., None].expand(v.shape) for n, v in batch.values.items()}, 5)
    after = model.embed(spoiled, seen, contexts)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(before, after, strict=True))
    shown = model.embed(batch, visible(batch, no_tokens(batch)), contexts)
    assert not torch.equal(shown[-1].tokens, before[-1].tokens), "a visible map does not reach the catchments"
