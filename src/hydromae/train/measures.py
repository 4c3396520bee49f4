"""What a run learns about itself: the losses of an update, and the validation loss."""

from __future__ import annotations

import torch
from torch import nn

from hydromae.losses import loss
from hydromae.train.engine import arithmetic
from hydromae.train.optim import Average
from hydromae.train.shares import Masked
from hydromae.train.world import World


@torch.no_grad()
def validate(model: nn.Module, average: Average, check: Masked, world: World) -> float:
    """Mean loss over the validation windows, with masks that are the same at every call and in every run."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average.kept or own)
    model.eval()
    config, total = check.config, torch.zeros(1)
    mine = range(config.train.validation_windows)[world.rank :: world.size]
    for first in range(0, len(mine), config.train.batch_size):
        numbers = mine[first : first + config.train.batch_size]
        batch, hidden = check.at(numbers)
        batch, hidden = batch.to(world.device), {name: value.to(world.device) for name, value in hidden.items()}
        with arithmetic(world.device, config.train.precision):
            predictions = model(batch, hidden)
        total += float(loss(predictions, batch, hidden, config)[0]) * len(numbers)
    model.load_state_dict(own)
    return float(world.sum(total)[0]) / config.train.validation_windows


class Learned:
    """Losses of the batches of an update, until somebody asks for them."""

    def __init__(self) -> None:
        self.total, self.parts = torch.zeros(()), dict[str, torch.Tensor]()

    def add(self, total: torch.Tensor, parts: dict[str, torch.Tensor]) -> None:
        """Take the loss of a batch and its parts."""
        self.total = self.total.to(total.device) + total
        self.parts = {name: self.parts.get(name, 0.0) + part for name, part in parts.items()}

    def over(self, world: World, batches: int) -> tuple[float, dict[str, float]]:
        """Mean over the batches of all processes; of each part, over the windows that have targets."""
        sums = world.sum(torch.cat([self.total[None], *self.parts.values()]))
        squares, counts = sums[1::2].tolist(), sums[2::2].tolist()
        mse = {name: s / max(1, n) for name, s, n in zip(self.parts, squares, counts, strict=True)}
        return float(sums[0]) / (batches * world.size), mse
