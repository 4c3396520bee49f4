"""Which engine `auto` is, and what the DeepSpeed engine asks of DeepSpeed, with a stand-in for it: no process is started."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hydromae.config import Config
from hydromae.distributed import SINGLE_PROCESS
from hydromae.errors import InputError
from hydromae.train import engine as engines
from hydromae.train.engine import AutocastModel, TorchEngine, make_engine

NAME = "hydromae.train.deepspeed_engine"


class Zero:
    """The optimizer that DeepSpeed gives back."""

    def __init__(self) -> None:
        self.scales: list[float] = []
        self.param_groups, self.overflow = [{"lr": 0.0}], False

    def override_loss_scale(self, scale: float) -> None:
        self.scales.append(scale)


class Deep:
    """The engine that DeepSpeed gives back, and what it was made from."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.optimizer, self.steps = given, Zero(), 0

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self.steps += 1

    def get_global_grad_norm(self) -> float:
        return 1.0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Deep]:
    """The engines that a stand-in for DeepSpeed made."""
    engines: list[Deep] = []

    def initialize(**given: Any) -> tuple[Deep, None, None, None]:
        engines.append(Deep(given))
        return engines[-1], None, None, None

    names = ("lazy_init_hp_params_optimizer_state", "safe_get_full_optimizer_state", "safe_set_full_optimizer_state")
    parts = {
        "utils": {**dict.fromkeys(names, lambda *given: None), "logger": logging.getLogger("stand-in")},
        "accelerator": {"get_accelerator": lambda: SimpleNamespace(create_op_builder=lambda name: None)},
    }
    package = ModuleType("deepspeed")
    vars(package).update(initialize=initialize, __path__=[])
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    for part, names_of_part in parts.items():
        module = ModuleType(f"deepspeed.{part}")
        vars(module).update(names_of_part)
        setattr(package, part, module)
        monkeypatch.setitem(sys.modules, f"deepspeed.{part}", module)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return engines


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No other test meets the module that read the stand-in."""
    before = sys.modules.get(NAME)
    yield
    sys.modules.pop(NAME, None)
    if before is not None:
        sys.modules[NAME] = before


def a_launcher(monkeypatch: pytest.MonkeyPatch, installed: bool, launched: bool) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: SimpleNamespace() if installed else None)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0") if launched else monkeypatch.delenv(name, raising=False)


def made_by(name: str, config: Config | None = None, batches: int = 1) -> Any:
    return make_engine(name, nn.Linear(3, 2), config or Config(), SINGLE_PROCESS, batches, lambda line: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("launched", [True, False])
@pytest.mark.parametrize("installed", [True, False])
def test_auto_is_deepspeed_where_it_is_installed_and_a_launcher_started_the_run(made, monkeypatch, installed, launched):
    a_launcher(monkeypatch, installed, launched)
    chosen = made_by("auto")
    assert len(made) == (installed and launched)
    assert isinstance(chosen, TorchEngine) is not (installed and launched)
    assert isinstance(made_by("torch"), TorchEngine), "torch is torch everywhere"
    if installed and launched:
        assert type(chosen).__name__ == type(made_by("deepspeed")).__name__ == "DeepSpeedEngine"
    else:
        remedy = "start the run with deepspeed or torchrun" if installed else r"pip install 'hydromae\[deepspeed\]'"
        with pytest.raises(InputError, match=remedy):
            made_by("deepspeed")


def test_deepspeed_gets_zero_stage_1_the_clip_the_batches_and_fp32_weights(made, monkeypatch):
    """ZeRO stage 1, our AdamW, clipping and batches of an update; weights in fp32, arithmetic by autocast."""
    a_launcher(monkeypatch, installed=True, launched=True)
    config = Config().having(optimizer={"clip": 0.7, "weight_decay": 0.3}, train={"precision": "fp16"})
    made_by("auto", config, batches=3)
    given = made[0].given
    asked = given["config"]
    assert asked["zero_optimization"]["stage"] == 1
    assert asked["gradient_clipping"] == 0.7 and asked["gradient_accumulation_steps"] == 3
    assert not {"fp16", "bf16", "amp", "torch_autocast"} & set(asked), "DeepSpeed casts nothing"
    assert isinstance(given["model"], AutocastModel) and given["model"].precision == "fp16"
    assert {parameter.dtype for parameter in given["model"].parameters()} == {torch.float32}
    assert isinstance(given["optimizer"], torch.optim.AdamW)
    assert [group["weight_decay"] for group in given["optimizer"].param_groups] == [0.3, 0.0]


def test_deepspeed_uses_the_loss_scale_of_the_run_from_the_first_update_on(made, monkeypatch):
    """2^16 at first; the second overflow halves it, and DeepSpeed gets it before the next update."""
    a_launcher(monkeypatch, installed=True, launched=True)
    engine = made_by("auto", Config().having(train={"precision": "fp16"}))
    zero = made[0].optimizer
    assert zero.scales == [65536.0]
    for overflow in (False, True, True):
        zero.overflow = overflow
        engine.update(0.25)
    assert zero.scales == [65536.0, 65536.0, 65536.0, 32768.0] and engine.skipped == 2
    assert zero.param_groups == [{"lr": 0.25}]
    made_by("auto", Config())
    assert made[1].optimizer.scales == [], "fp32 has no loss scale"


def test_deepspeed_steps_with_every_batch_and_updates_with_the_last(made, monkeypatch):
    """It counts the batches of an update by its own steps."""
    a_launcher(monkeypatch, installed=True, launched=True)
    engine = made_by("auto", batches=3)
    for _ in range(3):
        engine.backward(engine.model(torch.ones(1, 3)).sum())
    assert made[0].steps == 2
    engine.update(0.1)
    assert made[0].steps == 3
