"""Scores over `time` for each catchment, on xarray, never pooled over catchments.

Every function takes predictions and observations as DataArrays with a `time` dimension, uses the days on which both are
known, and gives NaN where a score is undefined (no such day, or constant flow).
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import cast

import numpy as np
import xarray as xr
from scores.categorical import BinaryContingencyManager
from scores.continuous import kge as scores_kge
from scores.continuous import nse as scores_nse
from scores.continuous import quantile_score
from scores.probability import brier_score

LEVEL_TOLERANCE = 1e-6


def nse(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Nash–Sutcliffe efficiency.

    NSE = 1 − Σ(s − o)² / Σ(o − mean(o))², with predictions s and observations o.

    Args:
        prediction, truth (DataArray (time, ...)): Flow in the same units, e.g. mm/day.

    Returns:
        DataArray (...): 1 is perfect, 0 is as good as the mean of the observations; NaN where the observations do not vary.

    References:
        Nash and Sutcliffe (1970), J. Hydrol. 10, 282–290, doi:10.1016/0022-1694(70)90255-6. Computed by `scores`.

    Examples:
        >>> truth = xr.DataArray([1.0, 2.0, 3.0, np.nan], dims="time")
        >>> float(nse(xr.DataArray([1.0, 3.0, 3.0, 5.0], dims="time"), truth))
        0.5
    """
    return cast(xr.DataArray, scores_nse(prediction, _where_varying(truth, prediction), reduce_dims=["time"]))


def kge(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Kling–Gupta efficiency in its first form.

    KGE = 1 − √((r − 1)² + (α − 1)² + (β − 1)²), with the correlation r, the ratio of standard deviations
    α = σ(s)/σ(o) and the ratio of means β = μ(s)/μ(o).

    Args:
        prediction, truth (DataArray (time, ...)): Flow in the same units.

    Returns:
        DataArray (...): 1 is perfect, 1 − √2 is as good as the mean; NaN where observations or predictions do not vary.

    References:
        Gupta et al. (2009), J. Hydrol. 377, 80–91, doi:10.1016/j.jhydrol.2009.08.003. Computed by `scores`.

    Examples:
        >>> truth = xr.DataArray([1.0, 2.0, 3.0], dims="time")
        >>> round(float(kge(2 * truth, truth)), 3)  # 1 − √2: twice the mean and the standard deviation
        -0.414
    """
    truth = _where_varying(truth, prediction)
    prediction = _where_varying(prediction, truth)
    return cast(xr.DataArray, scores_kge(prediction, truth, reduce_dims=["time"]))


def _where_varying(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Values of `one` on days where both are known, in float64; NaN where they do not vary."""
    paired = one.where(other.notnull()).astype(np.float64)
    return paired.where(paired.max("time") > paired.min("time"))


def crps(quantiles: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Continuous ranked probability score of a distribution given by quantiles.

    CRPS = 2 ∫₀¹ QS_τ dτ, with the pinball loss QS_τ = (𝟙[o < q_τ] − τ)(q_τ − o). The integral is a sum over the levels, each
    weighted by the width of its nearest interval; its error decreases with the number of levels.

    Args:
        quantiles (DataArray (quantile, time, ...)): Quantiles q_τ, with their levels τ as the coordinate `quantile`.
        truth (DataArray (time, ...)): Observations in the same units.

    Returns:
        DataArray (...): Mean over time, in the units of the observations; 0 is perfect.

    References:
        Laio and Tamea (2007), HESS 11, 1267–1277, equation 9; Gneiting and Ranjan (2011), J. Bus. Econ. Stat. 29, 411–422.
        The pinball loss is computed by `scores`.
    """
    return crps_of_days(quantiles, truth).mean("time")


def crps_of_days(quantiles: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """`crps` of each day (time, ...)."""
    ordered = quantiles.sortby("quantile").astype(np.float64)
    levels = ordered["quantile"].values.astype(float)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    truth = truth.astype(np.float64)
    loss = (
        2 * weight * quantile_score(ordered.isel(quantile=index, drop=True), truth, float(level), preserve_dims="all")
        for index, (level, weight) in enumerate(zip(levels, np.diff(edges), strict=True))
    )
    return reduce(add, loss)


def coverage(quantiles: xr.DataArray, truth: xr.DataArray, share: float) -> xr.DataArray:
    """Share of observations inside the central prediction interval of a nominal share.

    coverage = mean(𝟙[q_a ≤ o ≤ q_b]) with a = (1 − share)/2 and b = (1 + share)/2.

    Args:
        quantiles (DataArray (quantile, time, ...)): Quantiles, with levels as the coordinate `quantile`; both ends of the
            interval must be among them.
        truth (DataArray (time, ...)): Observations in the same units.
        share: Nominal share, e.g. 0.5 or 0.9; a calibrated distribution scores the same number.

    Returns:
        DataArray (...): Between 0 and 1.

    Raises:
        KeyError: If a level of the interval is not among the quantiles.

    References:
        Gneiting, Balabdaoui and Raftery (2007), J. R. Stat. Soc. B 69, 243–268, section 3.
    """
    return covered(quantiles, truth, share).mean("time")


def covered(quantiles: xr.DataArray, truth: xr.DataArray, share: float) -> xr.DataArray:
    """Whether the observation is inside the interval of `coverage` (time, ...): 1 or 0, NaN where unknown."""
    ends = [(1 - share) / 2, (1 + share) / 2]
    interval = quantiles.sel(quantile=ends, method="nearest", tolerance=LEVEL_TOLERANCE)
    low, high = interval.isel(quantile=0, drop=True), interval.isel(quantile=1, drop=True)
    known = truth.notnull() & low.notnull() & high.notnull()
    return ((truth >= low) & (truth <= high)).where(known)


def contingency(warned: xr.DataArray, happened: xr.DataArray) -> xr.Dataset:
    """Scores of yes/no warnings of an event: critical success index, probability of detection, false alarm ratio.

    With hits h, misses m and false alarms f: CSI = h/(h + m + f), POD = h/(h + m), FAR = f/(h + f).

    Args:
        warned, happened (DataArray (time, ...)): 1 where an event was warned of or happened, 0 where not, NaN where unknown.

    Returns:
        Dataset: `csi`, `pod`, `far` (...); NaN where the denominator is zero (no event, no warning).

    References:
        Schaefer (1990), Weather Forecast. 5, 570–575; Wilks (2011), Statistical Methods in the Atmospheric Sciences,
        section 8.2. Computed by `scores`.
    """
    warned, happened = warned.astype(float), happened.astype(float)
    table = BinaryContingencyManager(warned, happened).transform(reduce_dims=["time"])
    return xr.Dataset(
        {
            "csi": table.critical_success_index(),
            "pod": table.probability_of_detection(),
            "far": table.false_alarm_ratio(),
        }
    )


def brier(probability: xr.DataArray, happened: xr.DataArray) -> xr.DataArray:
    """Brier score of the probability of an event.

    BS = mean((p − e)²), with the probability p and e = 1 where the event happened, else 0.

    Args:
        probability (DataArray (time, ...)): Between 0 and 1.
        happened (DataArray (time, ...)): 1 where the event happened, 0 where not, NaN where unknown.

    Returns:
        DataArray (...): 0 is perfect; a constant probability of 0.5 scores 0.25.

    References:
        Brier (1950), Mon. Weather Rev. 78, 1–3. Computed by `scores`.
    """
    return cast(xr.DataArray, brier_score(probability.astype(float), happened.astype(float), reduce_dims=["time"]))
