"""Scores of distributions by decile of flow, so that days of low flow do not dominate them.

The deciles are those of the training days of a river. A day is assigned to one by its observed flow, and to one by its
predicted mean. Only the second tests calibration: a calibrated forecast has too low a coverage on days that were selected by
large observed flow (forecaster's dilemma: Lerch et al. 2017, Statistical Science 32, 106–127).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

DECILE_BY = ("observed", "predicted")
DECILES = 10
DECILE_SCORES = ("decile_days", "decile_crps", "decile_coverage50", "decile_coverage90")


def by_decile(flows: xr.Dataset, days: xr.Dataset, edges: Float[np.ndarray, "9 C"]) -> xr.Dataset:
    """Scores of one method on one question by decile of flow.

    Args:
        flows (Dataset (time, catchment)): `observed` and `predicted` [mm/day].
        days (Dataset (time, catchment)): `crps` [mm/day], `coverage50` and `coverage90` (0 or 1) of each day; NaN without a
            target or a prediction.
        edges (Float[9, C]): Deciles of the flow of each river [mm/day]; rivers with NaN do not count.

    Returns:
        Dataset (by, decile): `decile_days`, days of all rivers; `decile_coverage50` and `decile_coverage90`, coverage over
            these days; `decile_crps`, median over rivers of their mean CRPS [mm/day]. NaN without a day.
    """
    parts = [_scores(flows[name].values, days, edges) for name in DECILE_BY]
    scores = {
        name: (("by", "decile"), np.stack([decile_scores[name] for decile_scores in parts])) for name in DECILE_SCORES
    }
    return xr.Dataset(scores, coords={"by": list(DECILE_BY), "decile": np.arange(DECILES) + 1})


def decile_index(flow: Float[np.ndarray, "T C"], edges: Float[np.ndarray, "9 C"]) -> Int[np.ndarray, "T C"]:
    """Decile of each day, 0 to 9; -1 where the flow or the deciles are unknown."""
    known = np.isfinite(flow) & np.isfinite(edges).all(axis=0)
    return np.where(known, (flow > edges[:, None]).sum(axis=0), -1)


def _scores(flow: Float[np.ndarray, "T C"], days: xr.Dataset, edges: Float[np.ndarray, "9 C"]) -> dict[str, np.ndarray]:
    decile, rivers = decile_index(flow, edges), flow.shape[1]
    counts = (decile >= 0) & np.isfinite(days["crps"].values)
    cell = (decile * rivers + np.arange(rivers))[counts]
    days_per_decile, *sums = (
        np.bincount(cell, weight[counts], DECILES * rivers).reshape(DECILES, rivers)
        for weight in (np.ones_like(flow), *(days[name].values for name in ("crps", "coverage50", "coverage90")))
    )
    total = days_per_decile.sum(axis=1)
    crps = np.ma.median(np.ma.masked_invalid(_safe_ratio(sums[0], days_per_decile)), axis=1).filled(np.nan)
    shares = [_safe_ratio(covered.sum(axis=1), total) for covered in sums[1:]]
    return dict(zip(DECILE_SCORES, (total, crps, *shares), strict=True))


def _safe_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below; NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
