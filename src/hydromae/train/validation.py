"""Validation loss, and the losses of an update."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from hydromae.batching.record_arrays import RecordArrays
from hydromae.batching.windows import Windows, windows
from hydromae.config import Config
from hydromae.distributed import ProcessGroup
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.progress import track
from hydromae.runtime import autocast
from hydromae.train.optimizer import WeightAverage
from hydromae.train.sampler import MaskedBatches


@torch.no_grad()
def compute_validation_loss(
    model: nn.Module, average: WeightAverage, validation_batches: MaskedBatches, process_group: ProcessGroup
) -> float:
    """Mean loss over the validation windows, with the same masks at every call and in every run."""
    training_weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average.averaged or training_weights)
    model.eval()
    numbers, total = validation_numbers(validation_batches), torch.zeros(1)
    for batch_loss, _ in window_losses(
        model, validation_batches, numbers[process_group.rank :: process_group.size], process_group.device
    ):
        total += batch_loss
    model.load_state_dict(training_weights)
    return float(process_group.sum(total)[0]) / len(numbers)


def validation_set(record: RecordArrays, config: Config, update: int) -> Windows:
    """Windows of the validation period, the same in every run; `update` is the number of windows in an update."""
    is_full_period = config.train.validation_windows is None
    return windows(
        record, config, config.data.validation_period, seed=0, augment=False, update=None if is_full_period else update
    )


def validation_numbers(validation_batches: MaskedBatches) -> range:
    """Numbers of the validation windows: `train.validation_windows`, or each window of the period once."""
    count = validation_batches.config.train.validation_windows
    return range(validation_batches.windows.epoch if count is None else count)


@torch.no_grad()
def window_losses(
    model: nn.Module, validation_batches: MaskedBatches, numbers: range, device: torch.device
) -> Iterator[tuple[float, dict[str, torch.Tensor]]]:
    """Sum of the losses of each batch of validation windows, and the parts of `losses.loss`.

    The loss of the LSTMs is excluded, unless they run alone.
    """
    train = validation_batches.config.train
    is_lstm_only = isinstance(model, HydroMAE) and model.lstm_only
    scored = (
        validation_batches.config if is_lstm_only else validation_batches.config.having(train={"lstm_loss_weight": 0.0})
    )
    starts = range(0, len(numbers), train.batch_size)
    for first in track(starts, "validation, batches", len(starts)):
        batch_numbers = numbers[first : first + train.batch_size]
        batch, hidden = validation_batches.masked_windows(batch_numbers)
        batch, hidden = batch.to(device), {name: value.to(device) for name, value in hidden.items()}
        with autocast(device, train.precision):
            predictions = model(batch, hidden)
        total, parts = loss(predictions, batch, hidden, scored)
        yield float(total.detach()) * len(batch_numbers), parts


class UpdateLosses:
    """Sums of the losses of the batches of an update."""

    def __init__(self) -> None:
        self.total, self.parts = torch.zeros(()), dict[str, torch.Tensor]()

    def add(self, total: torch.Tensor, parts: dict[str, torch.Tensor]) -> None:
        """Add the loss of a batch and its parts."""
        self.total = self.total.to(total.device) + total
        self.parts = {name: self.parts.get(name, 0.0) + part for name, part in parts.items()}

    def mean_over(self, process_group: ProcessGroup, batches: int) -> tuple[float, dict[str, float | None]]:
        """Mean loss over the batches of all processes, and mean of each part over the windows with targets (or None)."""
        sums = process_group.sum(torch.cat([self.total[None], *self.parts.values()]))
        squares, counts = sums[1::2].tolist(), sums[2::2].tolist()
        mse = {name: s / n if n else None for name, s, n in zip(self.parts, squares, counts, strict=True)}
        return float(sums[0]) / (batches * process_group.size), mse
