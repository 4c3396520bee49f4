"""Shares: which windows of an update each process takes, in which batches."""

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
from hydromae.distributed import World
from hydromae.errors import InputError


@dataclass(frozen=True)
class Share:
    """This process's part of every update.

    An update always has the same windows, however many processes share them: the numbers `step × windows` and on. A process
    takes a run of them, in batches of at most `train.batch_size`.

    Attributes:
        windows: Windows in an update, over all processes.
        batches: Batches of this process in an update (accumulation).
    """

    windows: int
    rank: int
    size: int
    batches: int

    @classmethod
    def of(cls, windows: int, world: World, largest: int) -> Share:
        """Share the windows of an update among the processes of a world, in batches of at most `largest`."""
        if windows % world.size:
            raise InputError(
                f"{world.size} processes cannot share the {windows} windows of an update evenly; start as many as divide "
                f"{windows}, or a new run"
            )
        own = windows // world.size
        batches = next(n for n in range(-(-own // largest), own + 1) if own % n == 0)
        return cls(windows, world.rank, world.size, batches)

    @property
    def batch(self) -> int:
        """Windows in a batch."""
        return self.windows // self.size // self.batches

    def numbers(self, index: int) -> range:
        """Numbers of the windows of this process's batch `index`, counted from 0 through all updates."""
        step, place = divmod(index, self.batches)
        start = step * self.windows + (self.rank * self.batches + place) * self.batch
        return range(start, start + self.batch)


@dataclass(frozen=True)
class Masked:
    """Batches of one process with their masks, by index: the same in every thread and in every order."""

    windows: Windows
    share: Share
    config: Config

    def __getitem__(self, index: int) -> tuple[Batch, Hidden]:
        return self.at(self.share.numbers(index))

    def at(self, numbers: range) -> tuple[Batch, Hidden]:
        """The windows of these numbers and their masks."""
        batch = self.windows(numbers)
        return batch, draw_each(batch, self.config.masks, [seed_of(self.windows.seed, 2, number) for number in numbers])


def batches(masked: Masked, first: int, last: int, device: torch.device) -> Iterator[tuple[Batch, Hidden]]:
    """This process's batches of the updates from `first` to before `last`, prepared ahead by `train.workers` threads.

    Threads share the record and hand over batches as they are; what takes their time, NumPy and torch do without Python's
    lock. A batch depends on its number alone, so it does not matter which thread makes it, or when.
    """
    numbers = iter(range(first * masked.share.batches, last * masked.share.batches))
    made = partial(_made, masked, device.type == "cuda")
    for batch, hidden in _ahead(made, numbers, masked.config.train.workers):
        yield batch.to(device), {name: value.to(device, non_blocking=True) for name, value in hidden.items()}


def _made(masked: Masked, pinned: bool, index: int) -> tuple[Batch, Hidden]:
    batch, hidden = masked[index]
    if not pinned:
        return batch, hidden
    try:
        return batch.pin_memory(), {name: value.pin_memory() for name, value in hidden.items()}
    except RuntimeError:  # the system locks no more memory: the copy to the device is slower, and the same
        return batch, hidden


def _ahead(
    made: Callable[[int], tuple[Batch, Hidden]], numbers: Iterator[int], workers: int
) -> Iterator[tuple[Batch, Hidden]]:
    """What is made of each number, in order; each thread is one ahead of what is taken."""
    if not workers:
        yield from map(made, numbers)
        return
    pool = ThreadPoolExecutor(workers, "batches")
    try:
        coming = deque(pool.submit(made, number) for number in islice(numbers, workers))
        while coming:
            ready = coming.popleft().result()
            coming.extend(pool.submit(made, number) for number in islice(numbers, 1))
            yield ready
    finally:
        pool.shutdown(cancel_futures=True)


def seed_of(*words: int) -> int:
    """A seed for torch from any numbers, spread evenly (NumPy's SeedSequence)."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
