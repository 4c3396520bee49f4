"""Return levels of floods of one river, from the annual maxima of daily mean flow, and its low flow Q95.

The 2-year flood is the median of the maxima, as in `events.Thresholds`. Rarer floods are that median times the growth curve
of a generalised logistic distribution, which is fitted by L-moments: the single-site analysis of the Flood Estimation
Handbook. The maxima are of daily means, so the peaks of small rivers are higher.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hydromae.evaluate.answers import river_flow
from hydromae.evaluate.thresholds import MIN_YEARS, annual_maxima, exceeded_flow, flood_level, years_needed

RETURN_PERIODS = (2, 10, 100)
"""Return periods [years]."""
LOW_FLOW_SHARE = 0.95
"""Share of days on which flow is above Q95."""
INTERVAL, RESAMPLES, SEED = (0.05, 0.95), 500, 0
"""Quantiles of the return levels of resampled years, number of samples, and their seed."""


@dataclass(frozen=True)
class ReturnLevel:
    """A threshold of one river; NaN where the record is too short.

    Attributes:
        return_period: Mean time between water years with a flood above the level [years]; None for Q95.
        flow: Level [mm/day].
        interval (float, float): 90 % interval from resampled years [mm/day]; NaN for Q95.
        years_needed: Smallest number of water years for which it is computed.
    """

    return_period: int | None
    flow: float
    interval: tuple[float, float]
    years_needed: int


def flow_thresholds(training: xr.Dataset) -> tuple[list[ReturnLevel], int]:
    """Return the floods of `RETURN_PERIODS` and Q95 of the only catchment, and the number of its complete water years.

    Q95 is computed from ten years of days or more, as the deciles of `events.Thresholds`.
    """
    flow = river_flow(training)
    by_year = annual_maxima(pd.DatetimeIndex(training["time"].values), flow)[:, 0]
    maxima = by_year[np.isfinite(by_year)]
    (low_flow,) = exceeded_flow(flow, LOW_FLOW_SHARE)
    floods = [_flood(maxima, return_period) for return_period in RETURN_PERIODS]
    return [*floods, ReturnLevel(None, float(low_flow), (np.nan, np.nan), MIN_YEARS)], len(maxima)


def _flood(maxima: Float[np.ndarray, " Y"], return_period: int) -> ReturnLevel:
    least = years_needed(return_period)
    if len(maxima) < least:
        return ReturnLevel(return_period, np.nan, (np.nan, np.nan), least)
    samples = np.random.default_rng(SEED).integers(len(maxima), size=(RESAMPLES, len(maxima)))
    low, high = np.nanquantile(flood_level(maxima[samples], return_period), INTERVAL)
    (flow,) = flood_level(maxima[None], return_period)
    return ReturnLevel(return_period, float(flow), (float(low), float(high)), least)
