"""Division of the windows of an update between processes and batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw_each
from hydromae.batching.windows import Windows
from hydromae.config import Config
from hydromae.distributed import ProcessGroup
from hydromae.errors import InputError


@dataclass(frozen=True)
class DistributedWindowSampler:
    """This process's part of every update.

    An update has the same windows for any number of processes: the numbers from `step × windows`. A process takes consecutive
    numbers, in batches of at most `train.batch_size`.

    Attributes:
        windows: Windows in an update, over all processes.
        batches: Batches of this process in an update (accumulation).
    """

    windows: int
    rank: int
    size: int
    batches: int

    @classmethod
    def of(cls, windows: int, process_group: ProcessGroup, largest: int) -> DistributedWindowSampler:
        """Divide the windows of an update between processes, in batches of at most `largest`."""
        if windows % process_group.size:
            raise InputError(
                f"{process_group.size} processes cannot share the {windows} windows of an update evenly; start "
                f"as many as divide {windows}, or a new run"
            )
        windows_per_process = windows // process_group.size
        batches = next(
            n
            for n in range(-(-windows_per_process // largest), windows_per_process + 1)
            if windows_per_process % n == 0
        )
        return cls(windows, process_group.rank, process_group.size, batches)

    @property
    def windows_per_batch(self) -> int:
        """Windows in a batch."""
        return self.windows // self.size // self.batches

    def window_numbers(self, index: int) -> range:
        """Numbers of the windows of this process's batch `index`, counted from 0 over all updates."""
        step, batch_index = divmod(index, self.batches)
        start = step * self.windows + (self.rank * self.batches + batch_index) * self.windows_per_batch
        return range(start, start + self.windows_per_batch)


@dataclass(frozen=True)
class MaskedBatches:
    """Batches of one process with their masks, by index, independent of thread and order."""

    windows: Windows
    sampler: DistributedWindowSampler
    config: Config

    def __getitem__(self, index: int) -> tuple[Batch, Hidden]:
        return self.masked_windows(self.sampler.window_numbers(index))

    def masked_windows(self, numbers: range) -> tuple[Batch, Hidden]:
        """The windows of these numbers and their masks."""
        batch = self.windows(numbers)
        return batch, draw_each(
            batch, self.config.masks, [derive_seed(self.windows.seed, 2, number) for number in numbers]
        )


def prefetched_batches(
    masked: MaskedBatches, first: int, last: int, device: torch.device
) -> Iterator[tuple[Batch, Hidden]]:
    """This process's batches of the updates from `first` to before `last`, prepared by `train.workers` threads.

    Threads share the record without copies; NumPy and torch release Python's lock in the slow operations.
    """
    numbers = iter(range(first * masked.sampler.batches, last * masked.sampler.batches))
    prepare = partial(_prepare_batch, masked, device.type == "cuda")
    for batch, hidden in _prefetch(prepare, numbers, masked.config.train.workers):
        yield batch.to(device), {name: value.to(device, non_blocking=True) for name, value in hidden.items()}


def _prepare_batch(masked: MaskedBatches, pinned: bool, index: int) -> tuple[Batch, Hidden]:
    batch, hidden = masked[index]
    if not pinned:
        return batch, hidden
    try:
        return batch.pin_memory(), {name: value.pin_memory() for name, value in hidden.items()}
    except RuntimeError:  # no more page-locked memory: the copy to the device is slower
        return batch, hidden


def _prefetch(
    prepare: Callable[[int], tuple[Batch, Hidden]], numbers: Iterator[int], workers: int
) -> Iterator[tuple[Batch, Hidden]]:
    """Results of `prepare` in order, with one pending result per thread."""
    if not workers:
        yield from map(prepare, numbers)
        return
    pool = ThreadPoolExecutor(workers, "batches")
    try:
        pending = deque(pool.submit(prepare, number) for number in islice(numbers, workers))
        while pending:
            ready = pending.popleft().result()
            pending.extend(pool.submit(prepare, number) for number in islice(numbers, 1))
            yield ready
    finally:
        pool.shutdown(cancel_futures=True)


def derive_seed(*numbers_to_mix: int) -> int:
    """A seed for torch from several numbers (NumPy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers_to_mix).generate_state(1, np.uint64)[0] >> 1)
