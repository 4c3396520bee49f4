"""How far long work is: told where it is done, heard by the command line. A call from Python hears nothing.

Beside that, what a user must know of an answer: `remark` logs it in a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Hear = Callable[[str, float, float | None, str | None], None]
"""What is counted, how much is done, of how much (None where nobody knows), and what else is to be said."""
Item = TypeVar("Item")


def _unheard(what: str, done: float, of: float | None, said: str | None) -> None:
    """Nobody listens."""


LOG = logging.getLogger("hydromae")
_remarked: ContextVar[set[str] | None] = ContextVar("remarked", default=None)
_hear: ContextVar[Hear] = ContextVar("hear", default=_unheard)


def tell(what: str, done: float, of: float | None = None, said: str | None = None) -> None:
    """Tell how far work is; at `done == of` it is over. `said` stays until something else is said."""
    _hear.get()(what, done, of, said)


def over() -> None:
    """Tell that all work is done: what follows, such as a server that waits, takes no bar."""
    tell("", 1, 1)


def telling(what: str) -> Callable[[int, int], None]:
    """`tell` as what functions with a `watch` call."""
    return lambda done, of: tell(what, done, of)


def counted(items: Iterable[Item], what: str, of: int) -> Iterator[Item]:
    """The items; each is told as done when the next one is asked for."""
    tell(what, 0, of)
    for done, item in enumerate(items, 1):
        yield item
        tell(what, done, of)


@contextmanager
def heard_by(hear: Hear) -> Iterator[None]:
    """Whoever is told inside."""
    before = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(before)


def remark(kind: str, line: str) -> None:
    """Log a line as a warning of the logger `hydromae`: on stderr, where a program does not say otherwise."""
    said = _remarked.get()
    if said is None or kind not in said:
        LOG.warning("%s", line)
    if said is not None:
        said.add(kind)


@contextmanager
def remarked_once() -> Iterator[None]:
    """One remark of a kind and no more, for one question that is answered in many pieces."""
    before = _remarked.set(set())
    try:
        yield
    finally:
        _remarked.reset(before)
