"""AdamW (Loshchilov and Hutter 2019) with decay groups, and a warm-up then cosine schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydromae.config import OptimizerConfig


def adamw(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Matrices decay; norms, biases, tokens and other vectors do not."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0 to `lr`, then half a cosine to `min_lr` (Loshchilov and Hutter 2017)."""

    lr: float
    min_lr: float
    warmup_steps: int
    steps: int

    def __call__(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Average:
    """Exponential average of the weights; its first steps forget faster, so that it never holds the start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @property
    def kept(self) -> dict[str, Tensor]:
        """The averaged weights; nothing where the decay is 0."""
        return self.weights if self.decay else {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)
