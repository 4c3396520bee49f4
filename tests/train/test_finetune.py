"""From a pretrained model to a question: what moves, what does not, and that adapters vanish into plain weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.inference.predictor import load
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.model.positional import SEPARATIONS
from hydromae.model.serialization import latest_checkpoint, load_weights, merge_lora
from hydromae.train.finetune import OUTPUT_MODULES, OutOfFoldRun, PretrainedStart, count_trainable, out_of_fold_index
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from samples import PIXELS, built, sample, small, some_tokens
from synthetic import SMALL, rivers, scaling_of

RIVERS = rivers()
SCALING = scaling_of(RIVERS, SMALL)
PRESETS = ("base", "fast", "rivers")


def weights_of(config: Config, noise: float = 0.2) -> dict[str, Tensor]:
    """A model of which nothing stays at the identity it starts from."""
    return {name: value.clone() for name, value in built(config, noise=noise).state_dict().items()}


def fitted(config: Config, weights: dict[str, Tensor], method: str, rank: int = 2) -> HydroMAE:
    model = HydroMAE(config, pixels=PIXELS)
    PretrainedStart(weights, method, rank).apply_to(model)
    return model


def answers(model: HydroMAE, preset: str) -> dict[str, Tensor]:
    batch = sample(preset)
    with torch.no_grad():
        found = model.eval()(batch, some_tokens(batch))
    return found.mean | {f"{name}/spread": g.spread for name, g in found.gaussians.items()}


def moved(model: HydroMAE, seed: int = 3) -> HydroMAE:
    """The model after a step in which everything that learns moved."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return model


@pytest.mark.parametrize("method", ["full", "frozen", "lora"])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_start_predicts_as_the_pretrained_model_bit_for_bit(preset, method):
    config = small(preset)
    weights = weights_of(config)
    before, after = answers(built(config), preset), answers(fitted(config, weights, method), preset)
    assert before and all(torch.equal(held, after[name]) for name, held in before.items())


@pytest.mark.parametrize("preset", PRESETS)
def test_merged_adapters_give_the_same_predictions(preset):
    config = small(preset)
    weights = weights_of(config)
    adapted = moved(fitted(config, weights, "lora"))
    merged = merge_lora(adapted.state_dict())
    assert set(merged) == set(weights)
    model = HydroMAE(config, pixels=PIXELS)
    load_weights(model, merged, Path("merged"))
    before, after = answers(adapted, preset), answers(model, preset)
    start = answers(built(config), preset)
    for name, held in before.items():
        torch.testing.assert_close(after[name], held, rtol=1e-6, atol=1e-6)
        assert not torch.allclose(start[name], held, atol=1e-3)


def test_one_matrix_merged_by_hand():
    config = small("rivers")
    weights = weights_of(config)
    state = fitted(config, weights, "lora", rank=1).state_dict()
    place = "encoders.weather+riverflow.blocks.0.mlp.0"
    a, b = (state[f"{place}.parametrizations.weight.0.{part}"] for part in "ab")
    assert a.shape == (1, weights[f"{place}.weight"].shape[1]) and not b.any()
    b[:] = 2.0
    torch.testing.assert_close(merge_lora(state)[f"{place}.weight"], weights[f"{place}.weight"] + 2.0 * a)
    assert merge_lora(weights) == weights


@pytest.mark.parametrize("preset", PRESETS)
def test_lora_trains_adapters_of_attention_recurrence_and_feed_forward_and_the_heads(preset):
    config = small(preset)
    model = fitted(config, weights_of(config), "lora")
    learn = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = {name for name in learn if ".parametrizations." in name}
    assert {name.split(".")[0] for name in learn - adapters} == {
        part for part in OUTPUT_MODULES if any(name.split(".")[0] == part for name, _ in model.named_parameters())
    }
    stems = {name.split(".parametrizations.")[0] for name in adapters}
    inside = {name for name in stems if name.startswith(("encoders", "fusion"))}
    assert stems == inside and any(".mlp." in name for name in stems) and any(".mixers." in name for name in stems)
    assert any(name.endswith(".lstm") for name in stems) == (preset == "rivers")
    assert {name.rsplit(".", 1)[1] for name in adapters} == {"a", "b"}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_adapter_gets_a_gradient(preset):
    config = small(preset)
    model = moved(fitted(config, weights_of(config), "lora")).train()
    batch = sample(preset)
    found = model(batch, some_tokens(batch))
    sum(value.square().sum() for value in found.mean.values()).backward()
    silent = [
        name
        for name, p in model.named_parameters()
        if ".parametrizations." in name and p.requires_grad and p.grad is None
    ]
    assert silent == []
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_number_of_trainable_parameters():
    """Heads: of one stream of two modalities; adapters: rank × (rows + columns) of every matrix."""
    config = small("rivers")
    weights = weights_of(config)
    everything = sum(p.numel() for p in built(config).parameters())
    heads = sum(v.numel() for n, v in weights.items() if n.split(".")[0] in OUTPUT_MODULES)
    matrices = [
        value
        for name, value in weights.items()
        if name.startswith("encoders") and value.ndim == 2 and (".mixers." in name or ".mlp." in name)
    ]
    matrices = [value for value in matrices if value.shape[1] != SEPARATIONS]  # slopes of distance and traits
    adapters = sum(3 * (value.shape[0] + value.shape[1]) for value in matrices)
    assert count_trainable(fitted(config, weights, "full")) == everything
    assert count_trainable(fitted(config, weights, "frozen")) == heads
    assert count_trainable(fitted(config, weights, "lora", rank=3)) == heads + adapters


@pytest.mark.parametrize(
    ("method", "drops"), [("full", True), ("frozen", False), ("lora", False), ("lstm", True), ("all-but-lstm", False)]
)
def test_frozen_parts_have_no_dropout(method, drops):
    """So heads that learn alone learn to doubt what is said as it is said when the model answers."""
    config = small("rivers", lstm_dropout=0.5)
    model, batch = fitted(config, weights_of(config), method).train(), sample("rivers")
    assert model.training and model.rainfall_runoff is not None and model.rainfall_runoff.training is drops
    assert model.heads.training is (method != "lstm")
    with torch.no_grad():
        first, second = (model(batch, some_tokens(batch)).lstm_predictions[0].mean for _ in range(2))
    assert torch.equal(first, second) is not drops


def test_adapters_do_not_change_the_global_generator():
    config = small("rivers")
    model, weights = HydroMAE(config, pixels=PIXELS), weights_of(config)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    PretrainedStart(weights, "lora", 2).apply_to(model)
    assert torch.equal(torch.rand(1), expected)


def test_a_rank_below_one_is_refused():
    with pytest.raises(InputError, match="rank 0: below 1"):
        PretrainedStart({}, "lora", 0)


def test_lstms_alone_predict_as_within_the_model_and_are_trained_alone():
    config = small("rivers", lstm_dropout=0.0)
    model, batch = fitted(config, weights_of(config), "lstm"), sample("rivers")
    with torch.no_grad():
        within = built(config)(batch, some_tokens(batch)).lstm_predictions
    found = model.train()(batch, some_tokens(batch))
    assert len(found.lstm_predictions) == 2
    for one, other in zip(found.lstm_predictions, within, strict=True):
        torch.testing.assert_close(one.mean, other.mean, rtol=1e-5, atol=1e-5)
    assert not any(part.any() for part in (*found.mean.values(), *found.decoded.values())) and not found.gaussians
    total, _ = loss(found, batch, some_tokens(batch), config)
    total.backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learnt == {
        name
        for name, _ in model.named_parameters()
        if name.startswith(("rainfall_runoff.simulation", "rainfall_runoff.autoregressive"))
    }
    with pytest.raises(InputError, match="the model has no LSTM"):
        fitted(small("base"), weights_of(small("base")), "lstm")


def test_all_but_lstm_freezes_the_lstms_and_their_positional_encodings():
    config = small("rivers")
    model = fitted(config, weights_of(config), "all-but-lstm")
    still = {name.split(".")[0] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    moves = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert (
        still == {"rainfall_runoff", "positional"}
        and {"encoders", "heads", "estimators", "embeddings", "queries"} <= moves
    )
    assert not still & moves
    with pytest.raises(InputError, match="all-but-lstm: the model has no LSTM"):
        fitted(small("base"), weights_of(small("base")), "all-but-lstm")


def test_reinitialised_lstms_have_the_weights_of_a_new_model():
    config = small("rivers")
    weights = weights_of(config)
    model = HydroMAE(config, pixels=PIXELS)
    drawn = {name: value.clone() for name, value in model.state_dict().items()}
    PretrainedStart(weights, "lstm", reinit_lstm=True).apply_to(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, (drawn if name.startswith("rainfall_runoff.") else weights)[name]), name


def test_the_fold_index_is_the_first_run_without_the_river():
    stand_ins = [OutOfFoldRun({}, ("a", "b"), "one"), OutOfFoldRun({}, ("b", "c"), "two")]
    assert out_of_fold_index(stand_ins, ["c", "a", "b"]).tolist() == [1, 0, 0]
    with pytest.raises(InputError, match="all were trained on d; name a run trained without it"):
        out_of_fold_index(stand_ins, ["a", "d"])


def test_out_of_fold_lstms_are_not_part_of_the_model_and_need_its_positional_encodings():
    config = small("rivers")
    weights = weights_of(config)
    other = {n: v + 1.0 if n.startswith("rainfall_runoff.") else v for n, v in weights.items()}
    model = HydroMAE(config, pixels=PIXELS)
    PretrainedStart(weights, "all-but-lstm", stand_ins=(OutOfFoldRun(other, ("a",), "half"),)).apply_to(model)
    assert set(model.state_dict()) == set(weights) and model.out_of_fold is not None
    held = model.out_of_fold.lstms[0].state_dict()
    assert all(
        torch.equal(held[n.removeprefix("rainfall_runoff.")], v)
        for n, v in other.items()
        if n.startswith("rainfall_runoff.")
    )
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    elsewhere = {n: v + 1.0 if n.startswith("positional.") else v for n, v in weights.items()}
    for wrong in (elsewhere, {n: v for n, v in weights.items() if not n.startswith("rainfall_runoff.autoregressive")}):
        with pytest.raises(InputError, match="half: is not a run of LSTMs from the same model"):
            PretrainedStart(weights, "all-but-lstm", stand_ins=(OutOfFoldRun(wrong, ("a",), "half"),)).apply_to(model)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    out = tmp_path_factory.mktemp("pretrained") / "run"
    train(SMALL, RIVERS, SCALING, out, device="cpu")
    return load_file(out / "best" / "model.safetensors")


SPANS = SMALL.having(masks={"kind": "gap"}, train={"ema_decay": 0.9})


def finetuned(out: Path, weights: dict[str, Tensor], method: str, config: Config = SPANS, **options: object) -> Path:
    """A run from a pretrained model; other random numbers drawn before must not matter."""
    torch.manual_seed(len(out.name))
    train(config, RIVERS, SCALING, out, start=PretrainedStart(weights, method, 2), device="cpu", **options)
    return out


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_after_training_only_trainable_weights_have_changed(tmp_path, pretrained, method):
    """Weights, averaged weights and both models that answer; adapters move attention, recurrence and feed-forward only."""
    out = finetuned(tmp_path / "run", pretrained, method)
    for file in (out / "best" / "model.safetensors", out / "last" / "model.safetensors"):
        held = load_file(file)
        assert set(held) == set(pretrained)
        changed = {name for name, value in pretrained.items() if not torch.equal(held[name], value)}
        allowed = {name for name in pretrained if name.split(".")[0] in OUTPUT_MODULES}
        adapted = {name for name in changed - allowed if ".mixers." in name or ".mlp." in name}
        assert changed and changed - allowed - adapted == set() and bool(adapted) == (method == "lora")
    inside = load_file(latest_checkpoint(out) / "model.safetensors")
    originals = {name: value for name, value in inside.items() if name.endswith(".original")}
    assert bool(originals) == (method == "lora")
    for name, value in originals.items():
        module, _, weight = name.removesuffix(".original").partition(".parametrizations.")
        assert torch.equal(value, pretrained[f"{module}.{weight}"])


def test_lstms_alone_leave_the_rest_and_validate_by_their_loss(tmp_path, pretrained):
    out = finetuned(tmp_path / "run", pretrained, "lstm")
    held = load_file(out / "last" / "model.safetensors")
    changed = {name for name, value in pretrained.items() if not torch.equal(held[name], value)}
    assert changed == {
        name for name in pretrained if name.startswith(("rainfall_runoff.simulation", "rainfall_runoff.autoregressive"))
    }
    assert all(line["mse"]["riverflow"] is None for line in MetricsLog(out / "journal.jsonl").read())


def test_full_changes_all_weights_but_the_head_of_a_modality_without_targets(tmp_path, pretrained):
    held = load_file(finetuned(tmp_path / "run", pretrained, "full") / "last" / "model.safetensors")
    still = {name for name, value in pretrained.items() if torch.equal(held[name], value)}
    assert {name for name in still if not name.startswith("heads.weather.")} == {"estimators.constants"}


def test_a_lora_run_that_stops_and_goes_on_is_the_run_that_never_stopped(tmp_path, pretrained):
    straight = finetuned(tmp_path / "straight", pretrained, "lora")
    for stop in (3, 5, None):
        finetuned(tmp_path / "broken", pretrained, "lora", resume=True, stop_after=stop)
    for part in ("best/model", "last/model", "checkpoints/step-0000008/model", "checkpoints/step-0000008/optimizer-0"):
        one, two = (load_file(run / f"{part}.safetensors") for run in (straight, tmp_path / "broken"))
        assert set(one) == set(two) and all(torch.equal(value, two[name]) for name, value in one.items())
    stories = [
        [{**line, "seconds": 0} for line in MetricsLog(run / "journal.jsonl").read()]
        for run in (straight, tmp_path / "broken")
    ]
    assert stories[0] == stories[1]


def test_another_rank_or_method_is_refused_on_resume(tmp_path, pretrained):
    finetuned(tmp_path / "run", pretrained, "lora", stop_after=1)
    with pytest.raises(InputError, match="does not fit this configuration"):
        train(
            SPANS,
            RIVERS,
            SCALING,
            tmp_path / "run",
            start=PretrainedStart(pretrained, "lora", 3),
            device="cpu",
            resume=True,
        )
    with pytest.raises(InputError, match="does not fit this configuration"):
        finetuned(tmp_path / "run", pretrained, "full", resume=True)


@pytest.mark.parametrize("method", ["full", "frozen", "lora", "lstm"])
def test_the_validation_loss_falls(tmp_path, pretrained, method):
    config = SPANS.having(optimizer={"lr": 1e-2}, model={"dropout": 0.0}, train={"epochs": 10, "ema_decay": 0.0})
    out = finetuned(tmp_path / "run", pretrained, method, config)
    checks = [line["validation_loss"] for line in MetricsLog(out / "journal.jsonl").read() if line["validation_loss"]]
    assert len(checks) == 10 and min(checks[-3:]) < 0.97 * checks[0]


@pytest.mark.parametrize("stops", [(), (1, 5)])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_where_no_update_helps_the_best_are_the_pretrained_weights(tmp_path, pretrained, method, stops):
    """Even if the run was stopped before its first validation, and after it."""
    config, lines = SPANS.having(optimizer={"lr": 10.0}, train={"epochs": 2, "ema_decay": 0.0}), []
    for stop in (*stops, None):
        assert (tmp_path / "run" / "best").is_dir() is (stop is None and bool(stops)), "not before the first validation"
        finetuned(tmp_path / "run", pretrained, method, config, stop_after=stop, resume=bool(stops), log=lines.append)
    held = load_file(tmp_path / "run" / "best" / "model.safetensors")
    assert set(held) == set(pretrained) and all(torch.equal(held[name], value) for name, value in pretrained.items())
    journal = [line["validation_loss"] for line in MetricsLog(tmp_path / "run" / "journal.jsonl").read()]
    before = [float(line.rpartition(" ")[2]) for line in lines if "validation loss of the pretrained weights" in line]
    assert len(before) == 1 and all(value is None or value > before[0] for value in journal), "None is not finite"
    assert lines[-1].endswith("best: the pretrained weights, because no update lowered their validation loss")


def test_a_better_update_replaces_the_pretrained_weights(tmp_path, pretrained):
    config, lines = SPANS.having(optimizer={"lr": 1e-2}, train={"epochs": 10, "ema_decay": 0.0}), []
    out = finetuned(tmp_path / "run", pretrained, "full", config, log=lines.append)
    assert not any("no update lowered" in line for line in lines)
    held = load_file(out / "best" / "model.safetensors")
    assert any(not torch.equal(held[name], value) for name, value in pretrained.items())


def test_hydromae_load_reads_a_lora_run_as_any_model(tmp_path, pretrained):
    out = finetuned(tmp_path / "run", pretrained, "lora")
    asked = RIVERS.isel(time=slice(-60, None)).copy(deep=True)
    asked["riverflow"][-5:] = float("nan")
    answer = load(out, "cpu").predict(asked)
    assert bool(answer["riverflow"].notnull().all())
    assert json.loads((out / "best" / "scaling.json").read_text()) == json.loads(SCALING.to_json())


def test_hydromae_load_merges_the_adapters_of_a_checkpoint(tmp_path, pretrained):
    """Without an average, the last checkpoint holds the weights of the last model, in two parts."""
    out = finetuned(tmp_path / "run", pretrained, "lora", SPANS.having(train={"ema_decay": 0.0}))
    checkpoint, last = load(latest_checkpoint(out), "cpu"), load(out / "last", "cpu")
    theirs = last.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in checkpoint.network.state_dict().items())


def test_maps_are_trained_without_a_change_where_there_are_none() -> None:
    """Parts of maps, the fusion and the reading of evaporation are trained; rivers without maps and evaporation stay."""
    config = small("national")
    weights = weights_of(config)
    batch = sample("national", days=30)
    hidden = {name: torch.zeros(value.shape[:3], dtype=torch.bool) for name, value in batch.values.items()}
    hidden["riverflow"][:, 10:20] = True
    absent = hidden | {n: torch.ones_like(hidden[n]) for n in hidden if n not in ("weather", "riverflow")}
    model = fitted(config, weights, "maps").eval()
    with torch.no_grad():
        before = [model(batch, masks) for masks in (hidden, absent)]
        after = [moved(model)(batch, masks) for masks in (hidden, absent)]
    for name in ("riverflow", "weather"):
        assert torch.equal(before[1].mean[name], after[1].mean[name])
        assert not torch.equal(before[0].mean[name][:, 10:20], after[0].mean[name][:, 10:20]) or name == "weather"
    for name in ("precipitation", "soil_moisture", "temperature", "evaporation"):
        assert not torch.equal(before[1].mean[name], after[1].mean[name])
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in learned} == {
        *("positional", "encoders", "queries", "embeddings", "heads", "map_estimators", "fusion"),
    }
    assert not any(name.startswith(("rainfall_runoff.", "estimators.", "heads.riverflow.")) for name in learned)


def test_a_model_without_gated_maps_has_none_to_train() -> None:
    with pytest.raises(InputError, match=r"--trainable maps: .*model.fusion_gates"):
        fitted(small("fast"), weights_of(small("fast")), "maps")
