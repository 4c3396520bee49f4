"""One file to share: some rivers with gaps that were hidden and forecasts that were issued, answered beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hydromae.errors import InputError
from hydromae.explore.page import exported
from hydromae.explore.requests import MOST_DAYS, Ahead, Hide, View
from hydromae.explore.responses import ahead, hidden, view
from hydromae.explore.session import Country
from hydromae.io.provenance import now
from hydromae.progress import counted
from hydromae.report.page import write_page

RIVERS = 3
"""Rivers in a file where none are named."""
ISSUES, DAYS_AHEAD = 12, 10
GAPS = (10, 30, 90)
"""Lengths of the gaps that are hidden in turn [days]; the shortest lies on the highest flow."""


def export(
    country: Country,
    out: Path,
    rivers: Sequence[str] = (),
    start: date | None = None,
    end: date | None = None,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> Path:
    """Write the page with everything in it that it shows.

    Args:
        out: The page; replaced as a whole.
        rivers: Names of rivers; the most measured of the last year where there are none.
        start, end: Days that are shown; the last measured year of each river where they are not given.
        watch: Told how many rivers are answered, and of how many.

    Raises:
        InputError: A river or a day is not in the record, or the file cannot be written.
    """
    if (start is None) != (end is None):
        raise InputError("--start and --end: give both, or neither")
    if start is not None and end is not None and not 0 <= (end - start).days < MOST_DAYS:
        raise InputError(f"--start {start} --end {end}: give 1 to {MOST_DAYS} days, the first one first")
    chosen = list(dict.fromkeys(rivers)) or _most_measured(country)
    for name in chosen:
        country.place(name)
    parts = []
    for done, name in enumerate(chosen):
        watch(done, len(chosen))
        parts.append(answered(country, name, start, end))
    watch(len(chosen), len(chosen))
    book = {"record": {**country.overview(), "written": now()}, "rivers": parts}
    return write_page(exported(f"{country.name}, explored", book), out)


def answered(country: Country, name: str, start: date | None, end: date | None) -> dict[str, Any]:
    """A river's days, answers without and with each gap, and forecasts from issue days spread over the days."""
    shown = view(country, View(river=name, start=start, end=end))
    first, last = date.fromisoformat(shown["start"]), date.fromisoformat(shown["end"])
    gaps = [((first + timedelta(a), first + timedelta(b)),) for a, b in gaps_of(shown["flow"])]
    issues = [first + timedelta(day) for day in issue_days(len(shown["flow"]))]
    asked: list[Hide | Ahead] = [Hide(river=name, start=first, end=last, hide=gap) for gap in [(), *gaps]]
    asked += [Ahead(river=name, issue=day, days=DAYS_AHEAD) for day in issues]
    answers, forecasts = [], []
    for one in counted(asked, f"answers about river {name}", len(asked)):
        if isinstance(one, Hide):
            answers.append(hidden(country, one))
        else:
            forecasts.append(ahead(country, one))
    return {"view": shown, "answers": answers, "forecasts": forecasts}


def gaps_of(flow: list[float | None]) -> list[tuple[int, int]]:
    """First and last day of gaps to hide: around the highest flow, then where the days of a longer gap vary the most."""
    values = np.array([np.nan if value is None else value for value in flow])
    found = []
    for length in GAPS:
        if 2 * length > len(values) or not np.isfinite(values).any():
            continue
        if not found:
            begin = int(np.nanargmax(values)) - length // 2
        else:
            steps = np.abs(np.diff(np.nan_to_num(values), prepend=np.nan_to_num(values[0])))
            total = np.concatenate([[0.0], np.cumsum(steps)])
            begin = int(np.argmax(total[length:] - total[:-length]))
        begin = min(max(begin, 0), len(values) - length)
        found.append((begin, begin + length - 1))
    return found


def issue_days(days: int) -> list[int]:
    """Up to `ISSUES` days of a view, evenly spread, each with the days of a forecast after it where there is room."""
    last = max(0, days - 1 - DAYS_AHEAD)
    return sorted({int(day) for day in np.linspace(min(30, last // 4), last, ISSUES)})


def _most_measured(country: Country) -> list[str]:
    """The rivers with the most measured days in the record's last three years, the largest catchments first."""
    measured = np.isfinite(country.flow[-3 * 365 :]).sum(axis=0)
    area = country.record["catchment-area"].values if "catchment-area" in country.record else np.zeros(len(measured))
    order = np.lexsort((-np.nan_to_num(area), -measured))
    return [country.names[place] for place in order[:RIVERS]]
