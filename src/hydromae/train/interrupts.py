"""Ctrl+C and SIGTERM: a run ends after the current update with a checkpoint, in all its processes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from hydromae.distributed import ProcessGroup
from hydromae.errors import SIGNALS, Interrupted, signal_of
from hydromae.train.resume import last_checkpoint


class SignalHandler:
    """Context that receives SIGINT and SIGTERM in the main thread.

    The first signal is stored until the current update has ended (`received_by_any`). Outside updates (`is_updating`
    False), or for a second Ctrl+C, it ends the run at once. A SIGTERM after a Ctrl+C comes from the launcher and is
    ignored.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.is_updating = False
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> SignalHandler:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous not in (signal.SIG_IGN, None):  # an ignored signal (nohup) stays ignored
                    self._previous_handlers[number] = previous
                    signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous_handlers.items():
            signal.signal(number, previous)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_repeated = self.received is not None and number == signal.SIGINT == self.received
        if self.is_updating and not is_repeated:
            self.received = self.received or number
            return
        self.received = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Interrupted(number, "stopped by SIGTERM")

    def received_by_any(self, process_group: ProcessGroup) -> int | None:
        """The signal that any process received, equal in each; every process calls this after every update."""
        if process_group.size == 1:
            return self.received
        counts = process_group.sum(torch.tensor([float(self.received == number) for number in SIGNALS])).tolist()
        return next((number for number, count in zip(SIGNALS, counts, strict=True) if count), None)


def interruption_after(number: int, out: Path, step: int, last: int) -> Interrupted:
    """Exception for a run that ends after its checkpoint of `step`."""
    rest = "which was its last; the run is complete" if step >= last else "with --resume it goes on from there"
    message = f"stopped by {SIGNALS[number]}; {out} has a checkpoint of step {step}, {rest}"
    return Interrupted(number, message, step)


def interruption_message(error: KeyboardInterrupt, out: Path) -> str:
    """Message for a run that a signal ended, with its last checkpoint."""
    if isinstance(error, Interrupted) and error.step is not None:
        return str(error)
    name = SIGNALS[signal_of(error)]
    last = last_checkpoint(out)
    if last is None:
        return f"stopped by {name}; {out} has no checkpoint yet: --resume starts at step 1"
    return f"stopped by {name}; with --resume {out} goes on from its last checkpoint, {last.name}"
