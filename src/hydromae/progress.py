"""Progress of long operations, which the command line displays, and warnings to the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

ProgressHandler = Callable[[str, float, float | None, str | None], None]
"""Arguments: name of the operation, amount done, total amount (None if unknown), and a message."""
Item = TypeVar("Item")


def _ignore(name: str, done: float, total: float | None, message: str | None) -> None:
    """The default handler."""


LOG = logging.getLogger("hydromae")
_warned_kinds: ContextVar[set[str] | None] = ContextVar("warned_kinds", default=None)
_handler: ContextVar[ProgressHandler] = ContextVar("handler", default=_ignore)


def report_progress(name: str, done: float, total: float | None = None, message: str | None = None) -> None:
    """Report the progress of an operation, which ends at `done == total`. A message is shown until the next one."""
    _handler.get()(name, done, total, message)


def finish_progress() -> None:
    """Report that all operations have ended, so that no progress bar remains."""
    report_progress("", 1, 1)


def progress_callback(name: str) -> Callable[[int, int], None]:
    """`report_progress` as a callback of the amount done and the total."""
    return lambda done, total: report_progress(name, done, total)


def track(items: Iterable[Item], name: str, total: int) -> Iterator[Item]:
    """Iterate over items and report each when the next one is requested."""
    report_progress(name, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report_progress(name, done, total)


@contextmanager
def show_progress_with(handler: ProgressHandler) -> Iterator[None]:
    """Call `handler` for progress that is reported inside the context."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


def warn_user(kind: str, line: str) -> None:
    """Log a warning; inside `warn_once`, only the first of its kind."""
    warned_kinds = _warned_kinds.get()
    if warned_kinds is None or kind not in warned_kinds:
        LOG.warning("%s", line)
    if warned_kinds is not None:
        warned_kinds.add(kind)


@contextmanager
def warn_once() -> Iterator[None]:
    """Log one warning of each kind inside the context."""
    token = _warned_kinds.set(set())
    try:
        yield
    finally:
        _warned_kinds.reset(token)
