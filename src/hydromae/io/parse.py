"""Parse grids, sources and periods."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.safety import check_size


def grid_from_json(text: str, source: str) -> GridSpec:
    """Parse a grid from JSON and check its types and size."""
    try:
        grid = GridSpec(**json.loads(text))
        is_integer = all(type(n) is int and n > 0 for n in (grid.rows, grid.columns, grid.patch))
        is_valid = is_integer and grid.cell_size > 0 and 0 <= grid.land_threshold <= 1
        is_positioned = np.isfinite([grid.cell_size, grid.northing, grid.easting]).all()
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{source}: is not a grid ({first_line(error)}); restore it") from None
    if not (is_valid and is_positioned) or grid.patch > 1000:
        raise InputError(f"{source}: is not a grid ({text[:60]!r}); restore it")
    check_size(source, "the grid", grid.shape)
    return grid


def sources_from_json(text: str, source: str) -> list[dict[str, Any]]:
    """Parse the sources of a store from JSON: a list of objects with a key `file`."""
    try:
        sources = json.loads(text)
        is_list_of_files = isinstance(sources, list) and all(isinstance(one["file"], str) for one in sources)
    except (ValueError, TypeError, KeyError, RecursionError):
        is_list_of_files = False
    if not is_list_of_files:
        raise InputError(f"{source}: its sources are not a list of files; prepare it again")
    return sources


def parse_period(period: tuple[str, str]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and last day of a period of two dates; a year means its first or its last day.

    Raises:
        InputError: A text is not a date, or the last day is before the first.
    """
    name = "/".join(period)
    texts = [
        f"{text}-{day}" if re.fullmatch(r"\d{4}", text) else text
        for text, day in zip(period, ("01-01", "12-31"), strict=True)
    ]
    try:
        start, end = (pd.Timestamp(text) for text in texts)
    except (ValueError, OverflowError) as error:
        raise InputError(f"period {name}: is not two dates; write each as YYYY-MM-DD") from error
    if not (isinstance(start, pd.Timestamp) and isinstance(end, pd.Timestamp)):
        raise InputError(f"period {name}: a date is empty; write each as YYYY-MM-DD")
    if not start <= end:
        raise InputError(f"period {name}: the last day is before the first; swap them")
    return start, end


def parse_period_inside(
    period: tuple[str, str], first: Any, last: Any, source: object, days: str = ""
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Parse a period (`parse_period`) and refuse it where it is not inside `first` to `last`.

    Args:
        period (str, str): First and last day.
        first, last: Dates, as `pandas.Timestamp` takes them.
        source: What the days belong to, for the message.
        days: More about them, for the message.

    Raises:
        InputError: The period is not two ordered dates, or not inside.
    """
    start, end = parse_period(period)
    first, last = pd.Timestamp(first), pd.Timestamp(last)
    if start < first or end > last:
        raise InputError(
            f"{source}: the period {start:%Y-%m-%d} … {end:%Y-%m-%d} is not inside {first:%Y-%m-%d} … {last:%Y-%m-%d}{days}; "
            "choose days inside it"
        )
    return start, end


def every_day(start: pd.Timestamp, end: pd.Timestamp) -> np.ndarray:
    """Return all days from `start` to `end` as datetime64[D]."""
    return np.arange(np.datetime64(start, "D"), np.datetime64(end, "D") + 1)


def training_slice(days: pd.DatetimeIndex, training_period: tuple[str, str]) -> slice:
    """Return the positions of the training days among ascending days.

    Raises:
        InputError: The period is not two ordered dates, or no day is inside it.
    """
    start, end = parse_period(training_period)
    first, last = days.slice_locs(start, end)
    if first >= last:
        raise InputError(
            f"training period {'/'.join(training_period)}: no day of it is in the record, "
            f"{days[0]:%Y-%m-%d} … {days[-1]:%Y-%m-%d}; choose another training period"
        )
    return slice(first, last)
