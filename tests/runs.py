"""Small runs for the tests of training, and watchers of what they do: each update's rate and gradient, each batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from hydromae.config import Config
from hydromae.model.mae import HydroMAE
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from synthetic import SMALL, rivers, scaling_of

RIVERS = rivers()
STILL = SMALL.having(
    data={"attribute_dropout": 0.0, "position_jitter": 0.0, "variable_dropout": 0.0}, train={"ema_decay": 0.0}
)
"""A very small `rivers` without augmentation and without an average of the weights."""


def run(out: Path, config: Config, dataset: xr.Dataset = RIVERS, **options: Any) -> list[dict[str, Any]]:
    """Train on rivers that are scaled as `RIVERS` are; the lines of the journal."""
    train(config, dataset, scaling_of(RIVERS, config), out, device="cpu", **options)
    return MetricsLog(out / "journal.jsonl").read()


@dataclass
class Watched:
    """What a run did: for each update the learning rate, the length of the gradient and the first weights after it."""

    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)
    learned: list[list[int]] = field(default_factory=lambda: [[]])
    """Windows of the batches of each update."""
    checked: int = 0
    """Windows that were read in evaluation mode."""


@contextmanager
def watched() -> Iterator[Watched]:
    """Watch all training inside."""
    seen = Watched()

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        group = optimizer.param_groups[0]
        if not seen.weights:
            seen.weights.append(group["params"][0].detach().clone())
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        seen.rates.append(float(group["lr"]))
        seen.norms.append(float(nn.utils.get_total_norm(gradients)))
        seen.learned.append([])

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        seen.weights.append(optimizer.param_groups[0]["params"][0].detach().clone())

    def forward(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, HydroMAE) and module.training:
            seen.learned[-1].append(inputs[0].size)
        elif isinstance(module, HydroMAE):
            seen.checked += inputs[0].size

    hooks = [
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(after),
        nn.modules.module.register_module_forward_pre_hook(forward),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
    seen.learned.pop()
