"""Export of the explorer as one file with precomputed gaps and forecasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hydromae.errors import InputError
from hydromae.explore.opening import best_observed, gaps_of
from hydromae.explore.page import render_export
from hydromae.explore.requests import MAX_VIEW_DAYS, ForecastRequest, HideRequest, StationRequest, ViewRequest
from hydromae.explore.responses import forecast_response, hidden_response, view_response
from hydromae.explore.session import Session
from hydromae.explore.station import station_response
from hydromae.io.provenance import utc_now
from hydromae.progress import track
from hydromae.report.page import write_page

RIVERS = 3
"""Default number of rivers."""
ISSUES, DAYS_AHEAD = 12, 10


def export(
    session: Session,
    out: Path,
    rivers: Sequence[str] = (),
    period: tuple[date, date] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Path:
    """Write the page with all data it shows.

    Args:
        out: The page; an existing one is replaced.
        rivers: Names of rivers; default the rivers with the most observations.
        period: First and last day; default the last observed year of each river.
        progress: Called with the number of completed rivers and of all.

    Raises:
        InputError: A river or a day is not in the record, or the file cannot be written.
    """
    start, end = period or (None, None)
    if period is not None and not 0 <= (period[1] - period[0]).days < MAX_VIEW_DAYS:
        raise InputError(f"period {start}/{end}: give 1 to {MAX_VIEW_DAYS} days, the first one first")
    river_names = list(dict.fromkeys(rivers)) or best_observed(session, RIVERS)
    for name in river_names:
        session.river_index(name)
    river_payloads = []
    for done, name in enumerate(river_names):
        progress(done, len(river_names))
        river_payloads.append(river_payload(session, name, start, end))
    progress(len(river_names), len(river_names))
    book = {"record": {**session.overview(), "written": utc_now()}, "rivers": river_payloads}
    return write_page(render_export(f"{session.name}: explorer", book), out)


def river_payload(session: Session, name: str, start: date | None, end: date | None) -> dict[str, Any]:
    """Return days of a river, predictions without and with each gap, and forecasts."""
    days_shown = view_response(session, ViewRequest(river=name, start=start, end=end))
    first, last = date.fromisoformat(days_shown["start"]), date.fromisoformat(days_shown["end"])
    gaps = [((first + timedelta(a), first + timedelta(b)),) for a, b in gaps_of(days_shown["flow"])]
    issues = [first + timedelta(day) for day in issue_days(len(days_shown["flow"]))]
    requests: list[HideRequest | ForecastRequest] = [
        HideRequest(river=name, start=first, end=last, hide=gap) for gap in [(), *gaps]
    ]
    requests += [ForecastRequest(river=name, issue=day, days=DAYS_AHEAD) for day in issues]
    answers, forecasts = [], []
    for request in track(requests, f"predictions of river {name}", len(requests)):
        if isinstance(request, HideRequest):
            answers.append(hidden_response(session, request))
        else:
            forecasts.append(forecast_response(session, request))
    return {
        "view": days_shown,
        "station": station_response(session, StationRequest(river=name)),
        "answers": answers,
        "forecasts": forecasts,
    }


def issue_days(days: int) -> list[int]:
    """Return up to `ISSUES` evenly spaced issue days of a view, with room for a forecast if possible."""
    last = max(0, days - 1 - DAYS_AHEAD)
    return sorted({int(day) for day in np.linspace(min(30, last // 4), last, ISSUES)})
