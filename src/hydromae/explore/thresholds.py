"""Thresholds of floods and low flow of a river, and the chance that predicted flow passes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hydromae.evaluate.events import MIN_YEARS, exceedance
from hydromae.evaluate.return_levels import ReturnLevel, flow_thresholds
from hydromae.explore.session import Session, rounded

FITTED = (
    "The 2-year flood is the median of the annual maxima; rarer floods are that median times the growth curve of a "
    "generalised logistic distribution, fitted to the maxima by L-moments (single-site method of the Flood Estimation "
    "Handbook), with the 90 % interval of resampled years. Q95 is the flow exceeded on 95 % of the days. All are of daily "
    "mean flow: peaks within a day are higher."
)


def river_thresholds(session: Session, river_index: int) -> dict[str, Any]:
    """Return the thresholds of a river from the training days of the model, or from all days if those are too few.

    Returns:
        dict: `levels`, a list of `key`, `title`, `above` (False for a low flow), `flow` and `interval` [mm/day], null where
            the record is too short, and `refused`, the reason, else empty; `fitted`, from which years and how.
    """
    river = session.record[["riverflow"]].isel(catchment=[river_index])
    first, last = session.model.config.data.training_period
    training = river.sel(time=slice(first, last))
    levels, years = flow_thresholds(training) if training.sizes["time"] else ([], 0)
    source = "of the training days of the model"
    if years < MIN_YEARS:
        training, source = river, "of the whole record, because its training days have fewer than ten complete years"
        levels, years = flow_thresholds(river)
    days = pd.DatetimeIndex(training["time"].values)
    origin = (
        f"From {years} complete water years (October to September) {source}, {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}."
    )
    return {"levels": [_level_json(level, years) for level in levels], "fitted": f"{origin} {FITTED}"}


def _level_json(level: ReturnLevel, years: int) -> dict[str, Any]:
    is_flood = level.return_period is not None
    interval = rounded(np.array(level.interval))
    missing = f"{years} of the {level.years_needed} complete water years that it needs"
    (flow,) = rounded(np.array([level.flow]))
    return {
        "key": f"flood-{level.return_period}" if is_flood else "low-95",
        "title": f"{level.return_period}-year flood" if is_flood else "Q95 low flow",
        "above": is_flood,
        "flow": flow,
        "interval": None if None in interval else interval,
        "refused": "" if flow is not None else f"not computed: the record has {missing}",
    }


def chances(
    thresholds: dict[str, Any],
    levels: tuple[float, ...],
    quantiles: Float[np.ndarray, "Q T"],
    observed: Float[np.ndarray, " T"],
    is_shown: Bool[np.ndarray, " T"],
) -> list[dict[str, Any]]:
    """Return the chance of flow above each flood, and below each low flow, on the predicted days.

    Args:
        thresholds: From `river_thresholds`.
        levels, quantiles: Predicted distribution of each day [mm/day].
        observed: Observed flow [mm/day], for comparison.
        is_shown: Predicted days.

    Returns:
        list of dict: `key`; `by_day`, null on other days; `expected`, the sum of the chances, which is the expected number of
            days; `observed`, the number of predicted days on which observed flow passed the threshold.
    """
    result = []
    for level in thresholds["levels"]:
        if level["flow"] is None:
            continue
        above = exceedance(np.array(levels), quantiles, np.full(quantiles.shape[1], level["flow"]))
        chance = np.where(is_shown, above if level["above"] else 1 - above, np.nan)
        with np.errstate(invalid="ignore"):
            has_passed = observed > level["flow"] if level["above"] else observed < level["flow"]
        result.append(
            {
                "key": level["key"],
                "by_day": rounded(chance, 3),
                "expected": round(float(np.nansum(chance)), 2),
                "observed": int((has_passed & is_shown).sum()),
            }
        )
    return result
