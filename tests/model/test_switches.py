"""The matrix of switches: each one, alone and all together, changes what it should, trains, saves and loads."""

from __future__ import annotations

import ast
import functools
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import Predictions
from hydromae.model.serialization import load_model
from hydromae.store.scaling import Scaling
from hydromae.train.checkpoint import save_model
from hydromae.variables import MODALITIES
from options import EVERYTHING, OPTIONS, STARTS, Switch
from synthetic import GRID, country, rivers, scaling_of

ROOT = Path(__file__).parents[2]
SWITCHES = {
    f"{name} {number} of {row.start}": row
    for name, rows in OPTIONS.items()
    for number, row in enumerate(rows)
    if isinstance(row, Switch)
} | {f"everything of {name}": row for name, row in EVERYTHING.items()}
each_switch = pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES.keys())


@functools.cache
def scaling(maps: bool) -> Scaling:
    return scaling_of(country() if maps else rivers(), STARTS["base" if maps else "rivers"])


@functools.cache
def first_batch(streams: tuple[str, ...], slots: int, maps: bool) -> Batch:
    """The first training batch of a record on maps, or of rivers."""
    config = STARTS["base" if maps else "rivers"].having(model={"streams": streams}, data={"vector_patch_size": slots})
    record = to_record_arrays(country() if maps else rivers(), config, scaling(maps), GRID if maps else None)
    return windows(record, config, config.data.training_period, seed=0, augment=False, update=2)(range(2))


def sides(switch: Switch) -> tuple[Config, Config]:
    """Configurations before and after."""
    before = STARTS[switch.start].having(model=switch.before)
    return before, before.having(**switch.turned)


def example(config: Config) -> tuple[Batch, Hidden]:
    """A batch and the masks that its configuration draws."""
    maps = "weather+riverflow" not in config.model.streams
    batch = first_batch(config.model.streams, config.data.vector_patch_size, maps)
    return batch, draw(batch, config.masks, torch.Generator().manual_seed(0))


def built(config: Config, like: HydroMAE | None = None) -> HydroMAE:
    """A model whose every weight is off its start; weights that `like` has in the same shape are those of `like`."""
    torch.manual_seed(0)
    model = HydroMAE(config, pixels=GRID.patch**2).set_scaling(scaling("weather+riverflow" not in config.model.streams))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    if like is not None:
        theirs = like.state_dict()
        own = model.state_dict()
        model.load_state_dict(own | {n: w for n, w in theirs.items() if n in own and own[n].shape == w.shape})
    return model.eval()


def trained_loss(model: HydroMAE, batch: Batch, hidden: Hidden) -> float:
    """Loss of a step of training, at a fixed state of the random numbers."""
    torch.manual_seed(0)
    with torch.no_grad():
        found = float(loss(model.train()(batch, hidden), batch, hidden, model.config)[0])
    model.eval()
    return found


def apart(one: Predictions, other: Predictions) -> float:
    """Largest difference of the means of modalities that both answer; infinite where they are laid out otherwise."""
    both = [(mean, other.mean[name]) for name, mean in one.mean.items() if name in other.mean]
    return max(float((a - b).abs().max()) if a.shape == b.shape else float("inf") for a, b in both)


@each_switch
def test_a_switch_changes_what_it_should(switch: Switch) -> None:
    """With all weights alike that both sides have, so that the switch alone makes the difference."""
    (before, after), same_masks = sides(switch), switch.effect != "masks"
    batch, hidden = example(before)
    other_batch, other_hidden = example(after)
    if same_masks and all(held.shape == hidden[name].shape for name, held in other_hidden.items()):
        other_hidden = {name: hidden[name] for name in other_hidden}
    one = built(before)
    other = built(after, like=one)
    with torch.no_grad():
        was, now = one(batch, hidden), other(other_batch, other_hidden)
    distance = apart(was, now)
    losses = [trained_loss(m, b, h) for m, b, h in ((one, batch, hidden), (other, other_batch, other_hidden))]
    assert losses[0] != losses[1]
    if switch.effect == "answers":
        assert distance > 1e-3
    elif switch.effect != "masks":
        assert distance == 0.0, "the answers are the same to the last bit"
    plain = [
        float(loss(p, b, h, m.config)[0])
        for p, b, h, m in ((was, batch, hidden, one), (now, other_batch, other_hidden, other))
    ]
    if switch.effect == "training":
        assert plain[0] == plain[1]
    elif switch.effect == "distributions":
        counts = [p.gaussians["riverflow"].weight.shape[-1] for p in (was, now)]
        assert counts == [side.model.components for side in (before, after)] and counts[0] != counts[1]
    elif switch.effect == "masks":
        assert any(not torch.equal(held, other_hidden[name]) for name, held in hidden.items())
        for name, held in other_hidden.items():
            axis, ratio = (
                (2, after.masks.map_ratio) if MODALITIES[name].kind == "map" else (1, after.masks.series_ratio)
            )
            assert set(held.sum(dim=axis).flatten().tolist()) == {round(ratio * held.shape[axis])}


def learn(model: HydroMAE, batch: Batch, hidden: Hidden, steps: int = 4) -> tuple[float, float, set[str]]:
    """Losses before and after some steps on one batch, without dropout, and the parameters that a gradient reached."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    reached: set[str] = set()

    def now() -> float:
        with torch.no_grad():
            return float(loss(model.eval()(batch, hidden), batch, hidden, model.config)[0])

    first = now()
    for _ in range(steps):
        loss(model.train()(batch, hidden), batch, hidden, model.config)[0].backward()
        reached |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return first, now(), reached


@functools.cache
def shapes(config: Config) -> dict[str, torch.Size]:
    return {name: p.shape for name, p in HydroMAE(config, pixels=GRID.patch**2).named_parameters()}


@each_switch
def test_a_switch_trains(switch: Switch) -> None:
    before, after = sides(switch)
    model = built(after)
    first, last, reached = learn(model, *example(after))
    assert last < 0.98 * first
    added = {name for name, p in model.named_parameters() if shapes(before).get(name) != p.shape}
    assert added - reached == set(), "no gradient reaches what the switch adds"


@pytest.mark.parametrize("start", STARTS)
def test_every_start_trains_whole(start: str) -> None:
    """What a switch takes away was trained while it was there."""
    model = built(STARTS[start])
    first, last, reached = learn(model, *example(STARTS[start]))
    assert last < 0.98 * first
    assert {name for name, _ in model.named_parameters()} == reached


@pytest.mark.parametrize(
    ("start", "fields", "line"),
    [
        ("rivers", {"static_tokens": True}, "static_tokens are used in fusion"),
        ("fast", {"fusion_layers": 0, "decoder_layers": 1}, "static_tokens are used in fusion"),
        ("base", {"contrastive_weight": 0.01, "fusion_layers": 0}, "compares streams in fusion"),
        ("rivers", {"contrastive_weight": 0.01, "fusion_layers": 1}, "give it two streams"),
    ],
)
def test_a_switch_that_nothing_reads_is_refused(start: str, fields: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        STARTS[start].having(model=fields)


@pytest.mark.parametrize("config", [*STARTS.values(), *(sides(row)[1] for row in EVERYTHING.values())])
def test_every_parameter_takes_part_in_every_step(config: Config) -> None:
    """Also where nothing is hidden, visible or observed: processes that add their gradients wait for each of them."""
    model, (batch, drawn) = built(config).train(), example(config)
    none = {name: torch.zeros_like(held) for name, held in drawn.items()}
    unseen = replace(batch, observed={name: torch.zeros_like(seen) for name, seen in batch.observed.items()})
    everything = {name: ~held for name, held in none.items()}
    for held, hidden in ((batch, drawn), (batch, none), (batch, everything), (unseen, drawn)):
        model.zero_grad(set_to_none=True)
        loss(model(held, hidden), held, hidden, config)[0].backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@each_switch
def test_a_switch_saves_and_loads(switch: Switch, tmp_path: Path) -> None:
    config = sides(switch)[1]
    (batch, hidden), model = example(config), built(config)
    maps = "weather+riverflow" not in config.model.streams
    save_model(tmp_path / "model", model.state_dict(), config, scaling(maps), GRID if maps else None)
    loaded, read, _, _ = load_model(tmp_path / "model")
    assert read == config
    with torch.no_grad():
        ours, theirs = model(batch, hidden), loaded(batch, hidden)
    assert all(torch.equal(mean, theirs.mean[name]) for name, mean in ours.mean.items())
    for name, gaussians in ours.gaussians.items():
        assert torch.equal(gaussians.centre, theirs.gaussians[name].centre)
        assert torch.equal(gaussians.spread, theirs.gaussians[name].spread)


def options() -> set[str]:
    """Names of all fields, as the command line spells them."""
    return {f"{section.name}.{field.name}" for section in fields(Config) for field in fields(type(_part(section.name)))}


def _part(section: str) -> object:
    return vars(Config())[section]


def test_every_option_has_an_effect_and_a_test_that_shows_it() -> None:
    """A new field needs a row in `tests/options.py`; a row needs a field."""
    assert options() - set(OPTIONS) == set()
    assert set(OPTIONS) - options() == set()
    assert all(OPTIONS.values()), "a row without a switch or a test shows nothing"


@functools.cache
def names_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_tests_that_an_option_names_exist(option: str) -> None:
    for row in OPTIONS[option]:
        if isinstance(row, str):
            path, _, name = row.partition("::")
            assert name in names_of(ROOT / path), row


def test_every_switch_turns_the_option_of_its_row() -> None:
    for option, rows in OPTIONS.items():
        section, _, name = option.partition(".")
        for row in rows:
            if isinstance(row, Switch):
                before, after = sides(row)
                assert vars(vars(before)[section])[name] != vars(vars(after)[section])[name], option
