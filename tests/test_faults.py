"""Faults of the original that must not return: each has a test, here or where its part is tested."""

from __future__ import annotations

import ast
import itertools
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hydromae.batching.batch import Batch
from hydromae.batching.masking import MASKS, Hidden, draw, targets, visible
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import cut_batch, windows
from hydromae.losses import loss
from hydromae.model.blocks import Context
from hydromae.model.mae import HydroMAE
from hydromae.model.positional import nearest_context
from hydromae.train.trainer import train
from hydromae.variables import MODALITIES
from options import STARTS
from samples import all_tokens, built, no_tokens, sample, small, some_tokens
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

FAULTS: dict[str, tuple[str, ...]] = {
    "catchments of a group pooled to one value": (
        "tests/test_faults.py::test_each_catchment_of_a_group_has_its_own_answer",
        "tests/test_faults.py::test_values_are_not_pooled_over_a_group",
        "tests/data/test_record_arrays.py::test_groups_lay_catchments_into_slots",
    ),
    "traits averaged over catchments": ("tests/test_faults.py::test_traits_are_not_averaged_over_a_group",),
    "zero-filled flow counted as measured": (
        "tests/test_faults.py::test_missing_flow_is_not_a_dry_river",
        "tests/data/test_windows.py::test_nan_is_unobserved_and_stands_as_zero",
        "tests/test_leakage.py::test_what_is_unobserved_never_changes_the_loss_or_its_gradients",
        "tests/test_leakage.py::test_what_is_hidden_or_unobserved_never_changes_a_prediction",
    ),
    "mask ratio of series never applied": (
        "tests/test_faults.py::test_training_and_validation_hide_exactly_their_ratios",
        "tests/test_masking.py::test_a_day_of_a_map_and_a_group_of_catchments_hide_exactly_their_ratio",
    ),
    "least rate and warm-up not applied": (
        "tests/train/test_optim.py::test_training_warms_up_and_ends_near_the_least_rate",
        "tests/train/test_optim.py::test_training_shorter_than_its_warm_up_reaches_the_rate_at_its_end",
    ),
    "checkpoints that cannot resume": ("tests/test_resume.py::test_n_and_n_steps_are_2n_steps",),
    "validation masks that differ from run to run": (
        "tests/test_faults.py::test_validation_windows_and_masks_are_those_of_every_epoch_and_run",
    ),
    "static tokens lost in fusion": (
        "tests/test_faults.py::test_every_static_token_is_in_the_memory_of_the_decoders",
        "tests/model/test_mae.py::test_static_tokens_carry_attributes_past_the_encoders",
    ),
    "vector mask selecting wrong timesteps": (
        "tests/test_faults.py::test_what_is_encoded_and_what_is_answered_are_the_days_and_sites_of_the_mask",
        "tests/test_faults.py::test_days_and_masks_in_another_order_give_the_answers_in_that_order",
        "tests/model/test_mae.py::test_the_order_of_catchments_does_not_matter",
        "tests/model/test_mae.py::test_wanted_tokens_may_be_visible_ones",
    ),
    "FiLM in another dtype than its tokens": (
        "tests/model/test_precision.py::test_film_of_fp32_conditions_takes_the_dtype_of_its_tokens",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_tests_that_exist(fault: str) -> None:
    for named in FAULTS[fault]:
        path, _, name = named.partition("::")
        tree = ast.parse((Path(__file__).parents[1] / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, named


def grouped(seed: int = 0) -> tuple[HydroMAE, Batch]:
    """The seed's model with 8 catchments in a token, the last 6 slots of the second group empty."""
    config = STARTS["base"].having(data={"vector_patch_size": 8})
    record = to_record_arrays(country(), config, scaling_of(country(), config), GRID)
    cut = windows(record, config, config.data.training_period, seed=0, augment=False, update=2)
    torch.manual_seed(seed)
    model = HydroMAE(config, pixels=GRID.patch**2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model, cut(range(2))


def flow_of_first_group(model: HydroMAE, batch: Batch) -> torch.Tensor:
    """Answers for the 8 rivers of the first group on all days, Float[T, 8], with all flow hidden."""
    hidden = no_tokens(batch) | {"riverflow": all_tokens(batch)["riverflow"]}
    with torch.no_grad():
        return model(batch, hidden).mean["riverflow"][0, :, 0]


def with_traits(batch: Batch, traits: torch.Tensor) -> Batch:
    return replace(
        batch,
        site_metadata=batch.site_metadata
        | {"series": replace(batch.site_metadata["series"], static_attributes=traits)},
    )


def apart(rows: torch.Tensor) -> torch.Tensor:
    """How far each column is from what most columns share, Float[T, 8] to Float[8]; 0 where all are pooled to one."""
    return (rows - rows.median(dim=1, keepdim=True).values).abs().mean(dim=0)


def test_each_catchment_of_a_group_has_its_own_answer() -> None:
    """Another trait of one river changes its own answer otherwise than those of the other seven."""
    model, batch = grouped()
    before = flow_of_first_group(model, batch)
    for one, other in itertools.combinations(range(8), 2):
        assert float((before[:, one] - before[:, other]).abs().max()) > 1e-3
    for river in range(8):
        traits = batch.site_metadata["series"].static_attributes.clone()
        traits[:, 0, river] += 3.0
        change = apart(flow_of_first_group(model, with_traits(batch, traits)) - before)
        assert int(change.argmax()) == river and float(change[river]) > 0.01


def test_traits_are_not_averaged_over_a_group() -> None:
    """Two rivers of a group exchange their traits: every mean over the group stays, but their two answers change."""
    change = torch.zeros(8)
    for seed in range(8):  # of one model drawn at random the other six may happen to change much
        model, batch = grouped(seed)
        traits = batch.site_metadata["series"].static_attributes.clone()
        traits[:, 0, :2] = traits[:, 0, :2].flip(1)
        assert torch.allclose(traits.mean(dim=2), batch.site_metadata["series"].static_attributes.mean(dim=2))
        change += apart(flow_of_first_group(model, with_traits(batch, traits)) - flow_of_first_group(model, batch))
    assert set(change.topk(2).indices.tolist()) == {0, 1}
    assert float(change[:2].min()) > 3 * float(change[2:].max()) > 0


def test_values_are_not_pooled_over_a_group() -> None:
    """Two rivers of a group exchange their evaporation, which all may see: the mean stays, the answers do not."""
    model, batch = grouped()
    drawn = torch.randn(batch.values["evaporation"].shape, generator=torch.Generator().manual_seed(0))
    exchanged = drawn.clone()
    exchanged[:, :, 0, :2] = drawn[:, :, 0, :2].flip(2)
    one, other = (
        flow_of_first_group(model, replace(batch, values=batch.values | {"evaporation": values}))
        for values in (drawn, exchanged)
    )
    assert float((other - one).abs().min()) > 1e-5  # rounding is a hundredth of this


def test_missing_flow_is_not_a_dry_river() -> None:
    """Days of NaN are never seen and never asked, under any mask; days of 0 m³/s are measured like others."""
    gone = rivers(days=40)
    gone["riverflow"][:15] = float("nan")
    dry = gone.fillna({"riverflow": 0.0})
    config = SMALL.having(data={"warm_up_days": 0}, train={"flow_loss_weight": 0.0})
    missing, measured = (
        cut_batch(to_record_arrays(dataset, config, scaling_of(rivers(), config)), torch.tensor([0]).numpy(), 40)
        for dataset in (gone, dry)
    )
    assert not missing.observed["riverflow"][:, :15].any() and measured.observed["riverflow"][:, :15].all()
    for kind in MASKS:
        hidden = draw(missing, replace(config.masks, kind=kind), torch.Generator().manual_seed(0))
        for part in (visible, targets):
            assert not part(missing, hidden)["riverflow"][:, :15].any()
    torch.manual_seed(0)
    model = HydroMAE(config).eval()
    late, asked = no_tokens(missing), all_tokens(missing)
    late["riverflow"][:, 15:] = True
    with torch.no_grad():
        unknown, known = model(missing, late), model(measured, late)
        answers = model(missing, asked)
    assert float((unknown.mean["riverflow"] - known.mean["riverflow"]).abs().max()) > 1e-3, (
        "a dry river tells something"
    )
    total, parts = loss(answers, missing, asked, config)
    error = (answers.mean["riverflow"] - missing.values["riverflow"])[:, 15:].square()
    expected = (error / missing.variance["riverflow"][:, None]).mean()
    assert float(parts["riverflow"][0] / parts["riverflow"][1]) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss(answers, measured, asked, config)[0]) != float(total)


@contextmanager
def asked_of_models() -> Any:
    """Every batch and mask that a model is asked with: whether it trains, days, and what is hidden."""
    seen: list[tuple[bool, torch.Tensor, Hidden]] = []

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, HydroMAE):
            seen.append((module.training, inputs[0].days.clone(), {n: h.clone() for n, h in inputs[1].items()}))

    hook = nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield seen
    finally:
        hook.remove()


def trained_on_maps(out: Path, **settings: dict[str, Any]) -> None:
    config = SMALL_MAPS.having(**settings)
    train(config, country(), scaling_of(country(), config), out, grid=GRID, device="cpu")


def test_training_and_validation_hide_exactly_their_ratios(tmp_path: Path) -> None:
    with asked_of_models() as seen:
        trained_on_maps(tmp_path / "run", masks={"map_ratio": 0.5, "series_ratio": 0.25})
    assert {training for training, _, _ in seen} == {True, False}
    for _, _, hidden in seen:
        for name, held in hidden.items():
            axis, ratio = (2, 0.5) if MODALITIES[name].kind == "map" else (1, 0.25)
            count = round(ratio * held.shape[axis])
            assert count and set(held.sum(dim=axis).flatten().tolist()) == {count}, name


def test_validation_windows_and_masks_are_those_of_every_epoch_and_run(tmp_path: Path) -> None:
    """Two epochs of a run, and a run with another seed, rate and model: the same days, the same hidden tokens."""
    checks = []
    for name, settings in {
        "one": {},
        "two": {"train": {"epochs": 2, "seed": 5}, "optimizer": {"lr": 1e-2}, "model": {"d_model": 32}},
    }.items():
        settings = {"train": {"epochs": 2}} | settings
        with asked_of_models() as seen:
            trained_on_maps(tmp_path / name, **settings)
        checks += [(days, hidden) for training, days, hidden in seen if not training]
    assert len(checks) == 6
    days, hidden = checks[0]
    assert hidden["riverflow"].any()
    for other_days, other in checks[1:]:
        assert torch.equal(days, other_days)
        assert all(torch.equal(held, other[name]) for name, held in hidden.items())


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_every_static_token_is_in_the_memory_of_the_decoders(preset: str) -> None:
    """One a site, after fusion and never hidden; other traits of a site change its own token there."""
    batch, model = sample(preset, size=1, sites=2, patches=3), built(small(preset))
    hidden = all_tokens(batch)
    series = batch.site_metadata["series"]
    moved = series.static_attributes.clone()
    moved[:, 1] += 2.0 * series.is_known[:, 1]
    memories = [memory_of(model, one, hidden) for one in (batch, with_traits(batch, moved))]
    # nothing is visible: of maps the static tokens of 3 patches (in `fast` alone), of evaporation and flow two each
    maps = 0 if preset == "base" else 3 * 3
    assert len(memories[0]) == maps + 2 * 2
    own = [memory[maps:].unflatten(0, (2, 2)) for memory in memories]
    change = (own[1] - own[0]).abs().amax(dim=-1)  # stream × site
    assert (change[:, 1] > 0.01).all() and (change[:, 1] > change[:, 0]).all()


def memory_of(model: HydroMAE, batch: Batch, hidden: Hidden) -> torch.Tensor:
    """What the decoders read."""
    with torch.no_grad():
        contexts = {kind: nearest_context(p, model.config.model.neighbours) for kind, p in batch.site_metadata.items()}
        streams = model.embed(batch, visible(batch, hidden), contexts)
        return model.fuse(streams, model.encode_streams(streams, contexts), batch)[0][-1]


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_what_is_encoded_and_what_is_answered_are_the_days_and_sites_of_the_mask(preset: str) -> None:
    """Tokens are the visible (day, site), no other, and answers stand at the hidden ones, no other."""
    batch, model = sample(preset, size=3, days=6, sites=4), built(small(preset))
    hidden = some_tokens(batch)
    seen, contexts = visible(batch, hidden), dict.fromkeys(batch.site_metadata, Context())
    with torch.no_grad():
        streams, answers = model.embed(batch, seen, contexts), model(batch, hidden)
    for stream in streams:
        name = stream.names[0]
        assert torch.equal(stream.layout.flat_index, seen[name].any(dim=-1).flatten().nonzero()[:, 0])
        assert len(stream.tokens) == len(stream.layout.flat_index)
        assert torch.equal(answers.decoded[name], hidden[name])
        assert torch.equal(answers.mean[name].ne(0).any(dim=-1), hidden[name])


def permuted(batch: Batch, order: torch.Tensor) -> Batch:
    """The days of a batch in another order, dates and all."""
    values, observed = ({n: held[:, order] for n, held in part.items()} for part in (batch.values, batch.observed))
    return replace(batch, values=values, observed=observed, days=batch.days[:, order])


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_days_and_masks_in_another_order_give_the_answers_in_that_order(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the place of a day in its window is taken out, a model knows a day by its date and what was measured on it."""
    monkeypatch.setattr(
        "hydromae.model.positional.sinusoidal_encoding", lambda days, width, device: torch.zeros(days, width)
    )
    batch, model = sample(preset, size=2, days=6), built(small(preset))
    hidden, order = some_tokens(batch), torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        one = model(batch, hidden)
        other = model(permuted(batch, order), {name: held[:, order] for name, held in hidden.items()})
        wrong = model(permuted(batch, order), hidden)
    for name, mean in one.mean.items():
        assert torch.allclose(mean[:, order], other.mean[name], atol=2e-5)
        assert not torch.allclose(mean[:, order], wrong.mean[name], atol=1e-2)
