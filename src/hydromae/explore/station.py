"""A station apart from the days shown: attributes, thresholds, the whole record in few points, flow duration curve."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from jaxtyping import Float

from hydromae.explore.requests import StationRequest
from hydromae.explore.session import Session, rounded
from hydromae.explore.thresholds import river_thresholds
from hydromae.io.credits import list_credits
from hydromae.variables import ATTRIBUTES

MAX_POINTS = 1200
"""Maximum number of points of the whole record."""
DURATION_SHARES = np.concatenate([[0.001, 0.002, 0.005], np.arange(1, 100) / 100, [0.995, 0.998, 0.999]])
"""Shares of days on which flow is exceeded."""
NRFA_STATION = "https://nrfa.ceh.ac.uk/data/station/info/"
NRFA_PRODUCTS = re.compile(r"CAMELS-GB|National River Flow Archive|NRFA")


def station_response(session: Session, request: StationRequest) -> dict[str, Any]:
    """Return what the page shows of a station apart from a view.

    Returns:
        dict: `attributes`, a list of `name`, `value`, `units`; `nrfa`, the address of its page at the National River Flow
            Archive, empty for other products; `thresholds`; `whole`, lowest and highest flow [mm/day] of every `step` days
            from `start`, null without observation; `duration`, flow exceeded on `shares` of the observed days.
    """
    river_index = session.river_index(request.river)
    flow = session.flow[:, river_index].astype(np.float64)
    observed = flow[np.isfinite(flow)]
    curve = np.quantile(observed, 1 - DURATION_SHARES) if len(observed) else np.full(len(DURATION_SHARES), np.nan)
    return {
        "river": request.river,
        "attributes": _attributes(session, river_index),
        "nrfa": _nrfa_page(session, request.river),
        "thresholds": river_thresholds(session, river_index),
        "whole": {"start": f"{session.days[0]:%Y-%m-%d}", **lowest_and_highest(flow, MAX_POINTS)},
        "duration": {"shares": rounded(DURATION_SHARES), "flow": rounded(curve), "days": len(observed)},
    }


def lowest_and_highest(flow: Float[np.ndarray, " T"], points: int) -> dict[str, Any]:
    """Return lowest and highest flow of every `step` days, so that no peak is lost in at most `points` points."""
    step = max(1, -(-len(flow) // points))
    padded = np.full(-(-len(flow) // step) * step, np.nan)
    padded[: len(flow)] = flow
    by_step = padded.reshape(-1, step)
    is_known = np.isfinite(by_step)
    low = np.where(is_known, by_step, np.inf).min(axis=1)
    high = np.where(is_known, by_step, -np.inf).max(axis=1)
    return {"step": step, "low": rounded(low, 3), "high": rounded(high, 3)}


def _attributes(session: Session, river_index: int) -> list[dict[str, Any]]:
    """Return the static attributes of a river, null where unknown."""
    record = session.record
    present = [one for one in ATTRIBUTES if one.name in record.variables]
    values = [rounded(record[one.name].values[[river_index]], 3)[0] for one in present]
    return [{"name": one.name, "value": value, "units": one.units} for one, value in zip(present, values, strict=True)]


def _nrfa_page(session: Session, river: str) -> str:
    """Return the address of a station by its number, if the data are of the National River Flow Archive."""
    is_nrfa = any(NRFA_PRODUCTS.search(credit) for credit in list_credits(session.record))
    return f"{NRFA_STATION}{river}" if is_nrfa and re.fullmatch(r"[0-9]{4,6}", river) else ""
