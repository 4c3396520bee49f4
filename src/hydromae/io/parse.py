"""Text from users and files, as a period or a grid."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.safety import check_size


def grid_from_json(text: str, where: str) -> GridSpec:
    """A grid from JSON: every number of the kind it should be, and of a size that a grid can have."""
    try:
        grid = GridSpec(**json.loads(text))
        whole = all(type(n) is int and n > 0 for n in (grid.rows, grid.columns, grid.patch))
        sound = whole and grid.cell_size > 0 and 0 <= grid.land_threshold <= 1
        placed = np.isfinite([grid.cell_size, grid.northing, grid.easting]).all()
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: is not a grid ({first_line(error)}); restore it") from None
    if not (sound and placed) or grid.patch > 1000:
        raise InputError(f"{where}: is not a grid ({text[:60]!r}); restore it")
    check_size(where, "the grid", grid.shape)
    return grid


def sources_from_json(text: str, where: str) -> list[dict[str, Any]]:
    """The sources of a store from JSON: a list of objects that each name a file."""
    try:
        sources = json.loads(text)
        named = isinstance(sources, list) and all(isinstance(one["file"], str) for one in sources)
    except (ValueError, TypeError, KeyError, RecursionError):
        named = False
    if not named:
        raise InputError(f"{where}: its sources are not a list of files; prepare it anew")
    return sources


def parse_period(period: tuple[str, str]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last day of a period given as text."""
    try:
        start, end = pd.Timestamp(period[0]), pd.Timestamp(period[1])
    except (ValueError, OverflowError) as error:
        raise InputError(f"period {period[0]}/{period[1]}: not two dates; write YYYY-MM-DD/YYYY-MM-DD") from error
    if not (isinstance(start, pd.Timestamp) and isinstance(end, pd.Timestamp)):
        raise InputError(f"period {period[0]}/{period[1]}: a date is empty; write YYYY-MM-DD/YYYY-MM-DD")
    if not start <= end:
        raise InputError(f"period {period[0]}/{period[1]}: the last day is before the first; swap them")
    return start, end
