"""The whole model: any shape, any order, any padding; it learns; every switch acts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hydromae.batching.batch import Batch, SiteMetadata
from hydromae.batching.masking import Hidden, draw
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.model.outputs import Predictions
from hydromae.store.scaling import Scaling, VariableScaling
from hydromae.variables import MODALITIES
from samples import NAMES, all_tokens, built, no_tokens, sample, small, some_tokens

EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True, database=None, phases=(Phase.generate,))


def taken(batch: Batch, windows: list[int]) -> Batch:
    """Some windows of a batch."""
    parts = [{name: held[windows] for name, held in p.items()} for p in (batch.values, batch.observed, batch.variance)]
    metadata = {
        kind: SiteMetadata(p.position[windows], p.valid[windows], p.static_attributes[windows], p.is_known[windows])
        for kind, p in batch.site_metadata.items()
    }
    before = None if batch.antecedent is None else batch.antecedent[windows]
    return Batch(*parts, batch.days[windows], metadata, batch.cells, before)


def reordered(batch: Batch, order: torch.Tensor) -> Batch:
    """The catchments of a batch without footprints in another order."""
    series = batch.site_metadata["series"]
    moved = SiteMetadata(
        *(p[:, order] for p in (series.position, series.valid, series.static_attributes, series.is_known))
    )
    values, observed = (by_site(part, order) for part in (batch.values, batch.observed))
    metadata, before = (
        batch.site_metadata | {"series": moved},
        None if batch.antecedent is None else batch.antecedent[:, order],
    )
    return replace(batch, values=values, observed=observed, site_metadata=metadata, cells=None, antecedent=before)


def by_site(held: dict[str, torch.Tensor], order: torch.Tensor) -> dict[str, torch.Tensor]:
    """Series modalities in another order of sites, maps as they are."""
    return {n: part[:, :, order] if MODALITIES[n].kind == "series" else part for n, part in held.items()}


def answered(config: Config, batch: Batch, hidden: Hidden, **built_with: float) -> Predictions:
    with torch.no_grad():
        return built(config, **built_with)(batch, hidden)


def differs(one: Predictions, other: Predictions) -> bool:
    return any(not torch.allclose(one.mean[name], other.mean[name], atol=1e-5) for name in one.mean)


BASE_MODEL = built(small("base", decoder_self_attn=True))


@EXAMPLES
@given(seed=st.integers(0, 1000), size=st.integers(2, 3), fewer=st.floats(0, 1))
def test_padding_never_changes_a_prediction(seed: int, size: int, fewer: float) -> None:
    """A window alone and beside windows of which less (or nothing) is visible, or of which fewer tokens are asked."""
    model, batch, hidden = BASE_MODEL, sample("base", size=size, seed=seed), {}
    for name, none in no_tokens(batch).items():
        share = torch.linspace(0.2, 1.0 if fewer > 0.5 else 0.6, size)[:, None, None]
        hidden[name] = torch.rand(none.shape, generator=torch.Generator().manual_seed(seed)) < share
    with torch.no_grad():
        together = model(batch, hidden)
        for window in range(size):
            alone = model(taken(batch, [window]), {name: held[[window]] for name, held in hidden.items()})
            for name, mean in alone.mean.items():
                assert torch.allclose(mean[0], together.mean[name][window], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("preset", NAMES)
def test_a_prediction_is_independent_of_the_other_windows(preset: str) -> None:
    batch = sample(preset, size=3, days=30)
    hidden, model = some_tokens(batch), built(small(preset))
    with torch.no_grad():
        together = model(batch, hidden)
        alone = model(taken(batch, [1]), {name: held[[1]] for name, held in hidden.items()})
    for name, mean in alone.mean.items():
        assert torch.allclose(mean[0], together.mean[name][1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("preset", "change"),
    [
        ("rivers", {"neighbours": 3}),
        ("rivers", {"neighbours": 6}),
        ("rivers", {"neighbours": None}),
        ("base", {"footprints": False}),
        ("fast", {"footprints": False}),
    ],
)
def test_the_order_of_catchments_does_not_matter(preset: str, change: dict[str, object]) -> None:
    batch, order = sample(preset, sites=6, days=24), torch.tensor([3, 0, 5, 1, 4, 2])
    hidden, model = some_tokens(batch), built(small(preset, **change))
    with torch.no_grad():
        one, other = model(batch, hidden), model(reordered(batch, order), by_site(hidden, order))
    for name, mean in by_site(one.mean, order).items():
        assert torch.allclose(mean, other.mean[name], atol=1e-4)


@pytest.mark.parametrize("preset", NAMES)
def test_any_subset_and_any_length_runs(preset: str) -> None:
    model = built(small(preset))
    for days, sites, patches in ((1, 1, 1), (1, 4, 2), (33, 1, 3), (3, 7, 5)):
        batch = sample(preset, days=days, sites=sites, patches=patches)
        for hidden in (no_tokens(batch), some_tokens(batch), all_tokens(batch)):
            with torch.no_grad():
                predictions = model(batch, hidden)
            for name, mean in predictions.mean.items():
                assert mean.shape == batch.values[name].shape and torch.isfinite(mean).all()
                assert not mean[~hidden[name]].any(), "what was not wanted is 0"
                assert torch.equal(predictions.decoded[name], hidden[name])


def test_a_national_model_predicts_a_record_without_maps() -> None:
    batch = sample("base", observed=0.8)
    for name in ("precipitation", "soil_moisture", "temperature"):
        batch.observed[name][:] = False
    bare = replace(batch, cells=None)
    hidden, config = some_tokens(batch), small("base")
    one, other = answered(config, batch, hidden), answered(config, bare, hidden)
    assert torch.allclose(one.mean["riverflow"], other.mean["riverflow"], atol=1e-6), (
        "no cells and unseen cells say the same"
    )


@pytest.mark.parametrize("preset", NAMES)
def test_no_parameter_is_without_gradient(preset: str) -> None:
    config = small(preset)
    model = built(config).train()
    batch = sample(preset, days=60, sites=5, observed=0.95)
    batch.values["riverflow"] += 3 * batch.days[..., None, None].sin()  # rivers that move alike
    hidden = some_tokens(batch)  # every modality is asked
    loss(model(batch, hidden), batch, hidden, config)[0].backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


SWITCHES: dict[str, tuple[str, dict[str, object]]] = {
    "decoder_self_attn": ("base", {"decoder_self_attn": True}),
    "decoder_self_attn of fast": ("fast", {"decoder_self_attn": True}),
    "use_weighted_fm": ("base", {"use_weighted_fm": True}),
    "use_weighted_fm of fast": ("fast", {"use_weighted_fm": True}),
    "use_weighted_fm of rivers": ("rivers", {"use_weighted_fm": True}),
    "film": ("base", {"film": False}),
    "film of rivers": ("rivers", {"film": False}),
    "footprints": ("base", {"footprints": False}),
    "static_tokens": ("base", {"static_tokens": False}),
    "static_tokens of fast": ("fast", {"static_tokens": False}),
    "neighbours": ("rivers", {"neighbours": None}),
    "neighbours of fast": ("fast", {"neighbours": 2}),
    "mixers": ("rivers", {"mixers": ("time", "space")}),
    "map_layers": ("base", {"map_layers": 1}),
    "series_layers": ("rivers", {"series_layers": 1}),
    "fusion_layers": ("base", {"fusion_layers": 0}),
    "decoder_layers": ("fast", {"decoder_layers": 1}),
    "mlp_ratio": ("rivers", {"mlp_ratio": 1.0}),
}


@pytest.mark.parametrize(("preset", "change"), SWITCHES.values(), ids=SWITCHES.keys())
def test_every_switch_changes_the_predictions(preset: str, change: dict[str, object]) -> None:
    batch = sample(preset, days=6, sites=5)
    hidden = some_tokens(batch)
    assert differs(answered(small(preset), batch, hidden), answered(small(preset, **change), batch, hidden))


def test_estimators_change_the_predictions_of_a_model_without_lstms() -> None:
    without = small("rivers").having(
        model={"lstm_width": 0, "lstm_ar_width": 0}, data={"antecedent_days": 0, "max_flow_gap": 0}
    )
    batch = sample("rivers", days=6, sites=5)
    hidden, bare = some_tokens(batch), without.having(model={"estimators": False})
    assert differs(answered(without, batch, hidden), answered(bare, batch, hidden))


def test_lstms_without_estimators_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(model\.lstm_width\) are read by model\.estimators"):
        small("rivers", estimators=False)


@pytest.mark.parametrize("change", [{"use_fm_layers": (0, 2)}, {"use_input": True}, {"use_fm_layers": (2,)}])
def test_feature_maps_chosen_change_the_mix(change: dict[str, object]) -> None:
    batch = sample("base")
    whole, other = (small("base", use_weighted_fm=True, **c) for c in ({}, change))
    assert differs(answered(whole, batch, some_tokens(batch)), answered(other, batch, some_tokens(batch)))


def test_a_mix_of_the_last_layer_alone_is_no_mix() -> None:
    """Of layers 0 and 1 of the encoders and 2 of fusion, the last is what a model without a mix reads."""
    batch, mixed = sample("base"), small("base", use_weighted_fm=True, use_fm_layers=(2,))
    model = built(mixed)
    plain = built(small("base"))
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "mix"})
    with torch.no_grad():
        one, other = model(batch, some_tokens(batch)), plain(batch, some_tokens(batch))
    assert torch.allclose(one.mean["riverflow"], other.mean["riverflow"], atol=1e-6)


@pytest.mark.parametrize("layers", [(3,), (-1,)])
def test_feature_maps_that_do_not_exist_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="layers 0 to 2"):
        small("base", use_fm_layers=layers)


def test_components_are_the_gaussians_of_a_value() -> None:
    batch = sample("rivers")
    for count in (1, 4):
        found = answered(small("rivers", components=count), batch, some_tokens(batch)).gaussians["riverflow"]
        assert found.weight.shape == (*batch.values["riverflow"].shape, count)
        asked = some_tokens(batch)["riverflow"]
        assert torch.allclose(found.weight[asked].sum(dim=-1), torch.ones_like(found.weight[asked][..., 0]))


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_contrastive_weight_adds_its_loss(preset: str) -> None:
    batch, config = sample(preset, size=2), small(preset, contrastive_weight=0.5)
    hidden = some_tokens(batch)
    without, with_contrast = answered(small(preset), batch, hidden), answered(config, batch, hidden)
    assert (
        without.contrastive_loss is None
        and with_contrast.contrastive_loss is not None
        and float(with_contrast.contrastive_loss) > 0
    )
    (plain, _), (total, _) = loss(without, batch, hidden, config), loss(with_contrast, batch, hidden, config)
    assert float(total - plain) == pytest.approx(0.5 * float(with_contrast.contrastive_loss), rel=1e-3)
    warmer = answered(small(preset, contrastive_weight=0.5, contrastive_temperature=1.0), batch, hidden)
    assert warmer.contrastive_loss is not None and float(warmer.contrastive_loss) != float(
        with_contrast.contrastive_loss
    )


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_prediction_ratio_decodes_a_part_in_training_only(preset: str) -> None:
    batch, model = sample(preset, size=4, days=30), built(small(preset, prediction_ratio=0.5))
    hidden = some_tokens(batch)
    with torch.no_grad():
        assert all(torch.equal(model(batch, hidden).decoded[name], hidden[name]) for name in hidden)
        decoded = model.train()(batch, hidden).decoded
    for name, asked in hidden.items():
        assert not (decoded[name] & ~asked).any()
        assert 0.35 < float(decoded[name].sum() / asked.sum()) < 0.65


def test_wanted_tokens_may_be_visible_ones() -> None:
    batch, model = sample("rivers"), built(small("rivers"))
    wanted = some_tokens(batch, seed=3)
    with torch.no_grad():
        part, whole = (model(batch, no_tokens(batch), asked) for asked in (wanted, all_tokens(batch)))
    for name, asked in wanted.items():
        assert torch.allclose(part.mean[name][asked], whole.mean[name][asked], atol=1e-5)


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_static_tokens_carry_attributes_past_the_encoders(preset: str) -> None:
    """With nothing of a catchment visible, its traits still reach the map answers."""
    batch, model = sample(preset, size=1, sites=2, patches=2), built(small(preset))
    hidden = no_tokens(batch) | {n: all_tokens(batch)[n] for n in ("evaporation", "riverflow")}
    series = batch.site_metadata["series"]
    moved = replace(
        batch,
        site_metadata=batch.site_metadata
        | {"series": replace(series, static_attributes=series.static_attributes + series.is_known * 1.0)},
    )
    bare = built(small(preset, static_tokens=False))
    wanted = {name: (all_tokens if name == "temperature" else no_tokens)(batch)[name] for name in hidden}
    with torch.no_grad():
        one, other = (model(b, hidden, wanted).mean["temperature"] for b in (batch, moved))
        assert not torch.allclose(one, other, atol=1e-6)
        if preset == "base":
            one, other = (bare(b, hidden, wanted).mean["temperature"] for b in (batch, moved))
            assert torch.equal(one, other), "without them nothing of an unseen catchment is left"


def test_estimators_use_the_scaling_of_the_store() -> None:
    scaling = Scaling(
        {n: VariableScaling("root", m, s) for n, m, s in (("riverflow", 1.0, 2.0), ("precipitation", 3.0, 4.0))}
    )
    model = built(small("rivers")).set_scaling(scaling)
    assert model.estimators is not None
    assert model.estimators.constants.tolist() == [[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]
    assert "estimators.constants" in model.state_dict(), "the weights carry it"


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_bfloat16_predictions_are_close_and_in_float32(preset: str) -> None:
    batch, model = sample(preset, days=24), built(small(preset), noise=0.0)
    hidden = some_tokens(batch)
    with torch.no_grad():
        exact = model(batch, hidden)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(batch, hidden)
    for name, mean in exact.mean.items():
        assert rough.mean[name].dtype == torch.float32
        assert float((rough.mean[name] - mean).abs().max()) < 0.1 and float(mean.abs().max()) > 0.1


@pytest.mark.parametrize("preset", ["base", "rivers"])
def test_one_sample_can_be_overfitted(preset: str) -> None:
    config = small(preset, d_model=32, decoder_dim=32, dropout=0.0).having(data={"warm_up_days": 0})
    batch = sample(preset, size=1, days=3, sites=2, patches=2)
    hidden = draw(batch, replace(config.masks, kind="random"), torch.Generator().manual_seed(0))
    model = built(config, noise=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    errors = []
    for _ in range(80):
        total, parts = loss(model(batch, hidden), batch, hidden, config)
        errors.append(float(sum(part[0] for part in parts.values())))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert min(errors[-20:]) < 0.02 * errors[0], errors[::10]
