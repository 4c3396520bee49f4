"""Scores of a distribution by tenth of the flow, so that floods are not hidden by the many dry days.

A day stands in a tenth of its river's flows of the training years, by what was observed and by what was said (the answer's
mean). Only the second tests calibration: of days picked because more came than was said, a perfect forecast holds fewer
than it promises (the forecaster's dilemma: Lerch et al. 2017, Statistical Science 32, 106–127). The first is what somebody
meets who looks at floods afterwards.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

DECILE_BY = ("observed", "predicted")
DECILES = 10
DECILE_SCORES = ("decile_days", "decile_crps", "decile_coverage50", "decile_coverage90")


def by_decile(flows: xr.Dataset, days: xr.Dataset, edges: Float[np.ndarray, "9 C"]) -> xr.Dataset:
    """Scores of one method on one question by tenth of the flow.

    Args:
        flows (Dataset (time, catchment)): `observed` and `predicted` [mm/day].
        days (Dataset (time, catchment)): `crps` [mm/day], `coverage50` and `coverage90` (0 or 1) of each day; NaN where
            nothing was asked or answered.
        edges (Float[9, C]): Deciles of each river's flow [mm/day]; NaN where they are not known, then its days do not count.

    Returns:
        Dataset (by, decile): `decile_days`, how many of all rivers together; `decile_coverage50`, `decile_coverage90`, the
            share of them that the intervals held; `decile_crps`, the median over rivers of their mean CRPS [mm/day]; NaN
            where there is no such day.
    """
    parts = [_scores(flows[name].values, days, edges) for name in DECILE_BY]
    scores = {
        name: (("by", "decile"), np.stack([decile_scores[name] for decile_scores in parts])) for name in DECILE_SCORES
    }
    return xr.Dataset(scores, coords={"by": list(DECILE_BY), "decile": np.arange(DECILES) + 1})


def decile_index(flow: Float[np.ndarray, "T C"], edges: Float[np.ndarray, "9 C"]) -> Int[np.ndarray, "T C"]:
    """The tenth that each day stands in, 0 to 9; -1 where flow or deciles are not known."""
    known = np.isfinite(flow) & np.isfinite(edges).all(axis=0)
    return np.where(known, (flow > edges[:, None]).sum(axis=0), -1)


def _scores(flow: Float[np.ndarray, "T C"], days: xr.Dataset, edges: Float[np.ndarray, "9 C"]) -> dict[str, np.ndarray]:
    """By tenth of this flow."""
    decile, rivers = decile_index(flow, edges), flow.shape[1]
    counts = (decile >= 0) & np.isfinite(days["crps"].values)
    cell = (decile * rivers + np.arange(rivers))[counts]
    days_per_decile, *sums = (
        np.bincount(cell, weight[counts], DECILES * rivers).reshape(DECILES, rivers)
        for weight in (np.ones_like(flow), *(days[name].values for name in ("crps", "coverage50", "coverage90")))
    )
    total = days_per_decile.sum(axis=1)
    crps = np.ma.median(np.ma.masked_invalid(_ratio(sums[0], days_per_decile)), axis=1).filled(np.nan)
    shares = [_ratio(covered.sum(axis=1), total) for covered in sums[1:]]
    return dict(zip(DECILE_SCORES, (total, crps, *shares), strict=True))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
