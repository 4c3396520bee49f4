"""Views that the page opens on: the best observed rivers, and days whose hidden flow is worth a look."""

from __future__ import annotations

from typing import Any

import numpy as np

from hydromae.explore.session import Session

GAPS = (10, 30, 90)
"""Lengths of the hidden gaps of a file [days]; the shortest covers the highest flow."""
OPENING_GAP = 30
"""Length of the gap that the page opens with [days]: the shortest for which the page shows NSE."""


def opening(session: Session) -> dict[str, Any]:
    """Return the first view of the page: the best observed river, its last observed year, hidden around its highest flow.

    Returns:
        dict: `river`, `start`, `end` and `hide`, a list of first and last day, empty for a river without flow.
    """
    river = best_observed(session, 1)[0]
    river_index = session.river_index(river)
    first, last = session.last_year(river_index)
    flow = session.flow[first : last + 1, river_index]
    gap = gap_at_highest(flow, min(OPENING_GAP, len(flow) // 2)) if np.isfinite(flow).any() and len(flow) > 1 else None
    return {
        "river": river,
        "start": f"{session.days[first]:%Y-%m-%d}",
        "end": f"{session.days[last]:%Y-%m-%d}",
        "hide": [] if gap is None else [[f"{session.days[first + day]:%Y-%m-%d}" for day in gap]],
    }


def best_observed(session: Session, count: int) -> list[str]:
    """Return the rivers with the most observations in the last three years, the largest catchments first."""
    measured = np.isfinite(session.flow[-3 * 365 :]).sum(axis=0)
    area = session.record["catchment-area"].values if "catchment-area" in session.record else np.zeros(len(measured))
    order = np.lexsort((-np.nan_to_num(area), -measured))
    return [session.names[river_index] for river_index in order[:count]]


def gaps_of(flow: list[float | None]) -> list[tuple[int, int]]:
    """Return first and last day of the gaps: around the highest flow, then where flow varies most."""
    values = np.array([np.nan if value is None else value for value in flow])
    gaps: list[tuple[int, int]] = []
    for length in GAPS:
        if 2 * length > len(values) or not np.isfinite(values).any():
            continue
        if not gaps:
            gaps.append(gap_at_highest(values, length))
            continue
        steps = np.abs(np.diff(np.nan_to_num(values), prepend=np.nan_to_num(values[0])))
        total = np.concatenate([[0.0], np.cumsum(steps)])
        first = int(np.argmax(total[length:] - total[:-length]))
        gaps.append((first, first + length - 1))
    return gaps


def gap_at_highest(flow: np.ndarray, length: int) -> tuple[int, int]:
    """Return first and last day of a gap around the highest flow, inside the series."""
    first = min(max(int(np.nanargmax(flow)) - length // 2, 0), len(flow) - length)
    return first, first + length - 1
