"""Reading options for ambiguous files; they apply to all readers inside `use_reading_options`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydromae.errors import InputError

NegativeFlow = Literal["refuse", "missing"]
DailySums = Literal["same-day", "day-before"]


@dataclass(frozen=True)
class ReadingOptions:
    """Options for ambiguous files.

    Attributes:
        negative_flow ({"refuse", "missing"}): Refuse negative river flow (tide, backwater), or treat it as missing.
        daily_sums ({"same-day", "day-before"} or None): Day of the only ERA5-Land sum of a day if the file does not state it;
            None refuses such a file.
        boundaries: Vector file of catchment boundaries for weather from maps; None uses discs.
    """

    negative_flow: NegativeFlow = "refuse"
    daily_sums: DailySums | None = None
    boundaries: Path | None = None


DEFAULT = ReadingOptions()
_options: ContextVar[ReadingOptions] = ContextVar("reading_options", default=DEFAULT)


def reading_options() -> ReadingOptions:
    """Return the current options."""
    return _options.get()


@contextmanager
def use_reading_options(
    negative_flow: str = "refuse", daily_sums: DailySums | None = None, boundaries: Path | None = None
) -> Iterator[None]:
    """Set the options inside the context.

    Raises:
        InputError: `negative_flow` is neither refuse nor missing.
    """
    if negative_flow not in ("refuse", "missing"):
        raise InputError(f"negative_flow {negative_flow!r}: is neither refuse nor missing; choose one")
    refuse_or_missing: NegativeFlow = "missing" if negative_flow == "missing" else "refuse"
    token = _options.set(ReadingOptions(refuse_or_missing, daily_sums, boundaries))
    try:
        yield
    finally:
        _options.reset(token)
