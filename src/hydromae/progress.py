"""How far long work is: told where it is done, heard by the command line. A call from Python hears nothing.

Beside that, what a user must know of an answer: `warn_user` logs it in a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

ProgressHandler = Callable[[str, float, float | None, str | None], None]
"""What is counted, how much is done, of how much (None where nobody knows), and what else is to be said."""
Item = TypeVar("Item")


def _ignore(what: str, done: float, of: float | None, said: str | None) -> None:
    """Nobody listens."""


LOG = logging.getLogger("hydromae")
_warned_kinds: ContextVar[set[str] | None] = ContextVar("warned_kinds", default=None)
_handler: ContextVar[ProgressHandler] = ContextVar("handler", default=_ignore)


def report_progress(what: str, done: float, of: float | None = None, said: str | None = None) -> None:
    """Tell how far work is; at `done == of` it is over. `said` stays until something else is said."""
    _handler.get()(what, done, of, said)


def finish_progress() -> None:
    """Tell that all work is done: what follows, such as a server that waits, takes no bar."""
    report_progress("", 1, 1)


def progress_callback(what: str) -> Callable[[int, int], None]:
    """`report_progress` as what functions with a `progress` argument call."""
    return lambda done, of: report_progress(what, done, of)


def track(items: Iterable[Item], what: str, of: int) -> Iterator[Item]:
    """The items; each is told as done when the next one is asked for."""
    report_progress(what, 0, of)
    for done, item in enumerate(items, 1):
        yield item
        report_progress(what, done, of)


@contextmanager
def show_progress_with(handler: ProgressHandler) -> Iterator[None]:
    """Whoever is told inside."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


def warn_user(kind: str, line: str) -> None:
    """Log a line as a warning of the logger `hydromae`: on stderr, where a program does not say otherwise."""
    said = _warned_kinds.get()
    if said is None or kind not in said:
        LOG.warning("%s", line)
    if said is not None:
        said.add(kind)


@contextmanager
def warn_once() -> Iterator[None]:
    """One remark of a kind and no more, for one question that is answered in many pieces."""
    token = _warned_kinds.set(set())
    try:
        yield
    finally:
        _warned_kinds.reset(token)
