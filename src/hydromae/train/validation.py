"""What a run learns about itself: the losses of an update, and the validation loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from hydromae.batching.record_arrays import Record
from hydromae.batching.windows import Windows, windows
from hydromae.config import Config
from hydromae.distributed import World
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.progress import counted
from hydromae.runtime import autocast
from hydromae.train.optimizer import Average
from hydromae.train.sampler import Masked


@torch.no_grad()
def validate(model: nn.Module, average: Average, check: Masked, world: World) -> float:
    """Mean loss over the validation windows, with masks that are the same at every call and in every run."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average.kept or own)
    model.eval()
    numbers, total = validation_numbers(check), torch.zeros(1)
    for summed, _ in losses(model, check, numbers[world.rank :: world.size], world.device):
        total += summed
    model.load_state_dict(own)
    return float(world.sum(total)[0]) / len(numbers)


def validation_set(record: Record, config: Config, update: int) -> Windows:
    """The windows of the validation period, the same in every run; `update` is the number of windows in an update."""
    every = config.train.validation_windows is None
    return windows(
        record, config, config.data.validation_period, seed=0, augment=False, update=None if every else update
    )


def validation_numbers(check: Masked) -> range:
    """Numbers of the windows that a validation reads: `train.validation_windows`, or each window of the period once."""
    count = check.config.train.validation_windows
    return range(check.windows.epoch if count is None else count)


@torch.no_grad()
def losses(
    model: nn.Module, check: Masked, numbers: range, device: torch.device
) -> Iterator[tuple[float, dict[str, torch.Tensor]]]:
    """Of each batch of validation windows: the sum of their losses, and its parts as `losses.loss` gives them.

    Of answers alone: memories are a means to them, unless they alone run.
    """
    train = check.config.train
    alone = isinstance(model, HydroMAE) and model.memories_alone
    scored = check.config if alone else check.config.having(train={"memory_weight": 0.0})
    starts = range(0, len(numbers), train.batch_size)
    for first in counted(starts, "validation, batches", len(starts)):
        mine = numbers[first : first + train.batch_size]
        batch, hidden = check.at(mine)
        batch, hidden = batch.to(device), {name: value.to(device) for name, value in hidden.items()}
        with autocast(device, train.precision):
            predictions = model(batch, hidden)
        total, parts = loss(predictions, batch, hidden, scored)
        yield float(total.detach()) * len(mine), parts


class Learned:
    """Losses of the batches of an update, until somebody asks for them."""

    def __init__(self) -> None:
        self.total, self.parts = torch.zeros(()), dict[str, torch.Tensor]()

    def add(self, total: torch.Tensor, parts: dict[str, torch.Tensor]) -> None:
        """Take the loss of a batch and its parts."""
        self.total = self.total.to(total.device) + total
        self.parts = {name: self.parts.get(name, 0.0) + part for name, part in parts.items()}

    def over(self, world: World, batches: int) -> tuple[float, dict[str, float | None]]:
        """Mean over the batches of all processes; of each part, over the windows that have targets, None without any."""
        sums = world.sum(torch.cat([self.total[None], *self.parts.values()]))
        squares, counts = sums[1::2].tolist(), sums[2::2].tolist()
        mse = {name: s / n if n else None for name, s, n in zip(self.parts, squares, counts, strict=True)}
        return float(sums[0]) / (batches * world.size), mse
