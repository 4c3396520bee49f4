"""What a user decides about files that do not decide it themselves; every reader under `use_reading_options` obeys it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from hydromae.errors import InputError

NegativeFlow = Literal["refuse", "missing"]
DailySums = Literal["same-day", "day-before"]


@dataclass(frozen=True)
class ReadingOptions:
    """How what is ambiguous is read.

    Attributes:
        negative_flow ({"refuse", "missing"}): River flow below zero (tide, backwater) is refused, or missing.
        daily_sums ({"same-day", "day-before"} or None): Day of a sum of ERA5-Land that stands alone on its day, where the
            file does not say it; None refuses such a file.
    """

    negative_flow: NegativeFlow = "refuse"
    daily_sums: DailySums | None = None


DEFAULT = ReadingOptions()
_options: ContextVar[ReadingOptions] = ContextVar("reading_options", default=DEFAULT)


def reading_options() -> ReadingOptions:
    """The options that hold here."""
    return _options.get()


@contextmanager
def use_reading_options(negative_flow: str = "refuse", daily_sums: DailySums | None = None) -> Iterator[None]:
    """Read with other options.

    Raises:
        InputError: `negative_flow` is neither refuse nor missing.
    """
    if negative_flow not in ("refuse", "missing"):
        raise InputError(f"negative_flow {negative_flow!r}: is neither refuse nor missing; choose one")
    token = _options.set(ReadingOptions("missing" if negative_flow == "missing" else "refuse", daily_sums))
    try:
        yield
    finally:
        _options.reset(token)
