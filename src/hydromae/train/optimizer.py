"""AdamW (Loshchilov and Hutter 2019) with decay groups, a cosine schedule with warm-up, and an average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hydromae.config import OptimizerConfig


def decay_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices with weight decay; norms, biases, tokens and other vectors without."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def adamw(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the decay groups."""
    return torch.optim.AdamW(decay_groups(model, config), lr=config.lr, betas=config.betas, eps=config.eps)


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up to `lr`, then half a cosine to `min_lr` (Loshchilov and Hutter 2017)."""

    lr: float
    min_lr: float
    warmup_steps: int
    steps: int

    def __call__(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        fraction = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


class WeightAverage:
    """Exponential average of the weights, with a lower decay in the first steps to remove the initial weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @property
    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights; empty if the decay is 0."""
        return self.weights if self.decay else {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Add the model's weights to the average."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)
