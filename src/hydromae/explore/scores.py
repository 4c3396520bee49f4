"""Scores of a prediction and of baselines on the hidden days of a view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae import metrics
from hydromae.evaluate.baselines import LogInterpolation, Persistence
from hydromae.evaluate.donors import WeightedDonors
from hydromae.explore.session import rounded
from hydromae.inference.predictor import DEFAULT_LEVELS
from hydromae.inference.scenarios import Method

GAP_BASELINES: dict[str, tuple[str, Method]] = {
    "interpolation": ("Interpolation in log flow", LogInterpolation()),
    "donors": ("Weighted donors", WeightedDonors()),
}
FORECAST_BASELINES: dict[str, tuple[str, Method]] = {"persistence": ("Persistence", Persistence())}
"""Baselines by name: title on the page, and method (docs/glossary.md)."""
COVERAGES = {"coverage50": 0.5, "coverage90": 0.9}


def score(
    mean: Float[np.ndarray, " T"],
    quantiles: Float[np.ndarray, "Q T"],
    truth: Float[np.ndarray, " T"],
    is_hidden: Bool[np.ndarray, " T"],
) -> dict[str, Any]:
    """Score a prediction on hidden days with observations.

    Returns:
        dict: `days`, `nse`, `error` (mean absolute error [mm/day]), `coverage50` and `coverage90` (shares of the days); null
            without such days.
    """
    days = is_hidden & np.isfinite(truth)
    numbers = mean_scores(mean, truth, is_hidden)
    if not days.any():
        return {**numbers, "coverage50": None, "coverage90": None}
    observed_flow = xr.DataArray(truth[days], dims="time")
    quantile_values = xr.DataArray(
        quantiles[:, days], dims=("quantile", "time"), coords={"quantile": list(DEFAULT_LEVELS)}
    )
    shares = {name: metrics.coverage(quantile_values, observed_flow, share) for name, share in COVERAGES.items()}
    return {**numbers, **{name: rounded(np.array([float(share)]))[0] for name, share in shares.items()}}


def baseline_scores(
    baselines: dict[str, tuple[str, Method]],
    question: xr.Dataset,
    days: pd.DatetimeIndex,
    truth: Float[np.ndarray, " T"],
    is_shown: Bool[np.ndarray, " T"],
    is_scored: Bool[np.ndarray, " T"],
) -> list[dict[str, Any]]:
    """Return flow of baselines for the first river, and their scores.

    Args:
        baselines: By name, such as `GAP_BASELINES`.
        question: Input of the model, in which hidden days are NaN.
        days: Days of the view.
        truth: Observed flow of the view [mm/day].
        is_shown: Predicted days.
        is_scored: Hidden days.

    Returns:
        list of dict: `name`, `title`, `flow` [mm/day], null on other days and where the baseline predicts nothing; and
            `days`, `nse`, `error` as in `score`, on the days with a prediction.
    """
    series = question.drop_dims("cell", errors="ignore")  # donors use the rain of the catchments
    rows = []
    for name, (title, method) in baselines.items():
        answer = method.predict(series)["riverflow"].isel(catchment=0).reindex(time=days).values
        flow = np.where(is_shown, answer, np.nan)
        rows.append({"name": name, "title": title, "flow": rounded(flow), **mean_scores(flow, truth, is_scored)})
    return rows


def mean_scores(
    mean: Float[np.ndarray, " T"], truth: Float[np.ndarray, " T"], is_hidden: Bool[np.ndarray, " T"]
) -> dict[str, Any]:
    """Return `days`, `nse` and `error` of `score` on the hidden days with an observation and a prediction."""
    days = is_hidden & np.isfinite(truth) & np.isfinite(mean)
    if not days.any():
        return {"days": 0, "nse": None, "error": None}
    observed_flow, predicted_flow = (xr.DataArray(values[days], dims="time") for values in (truth, mean))
    nse = metrics.nse(predicted_flow, observed_flow)
    error = abs(predicted_flow - observed_flow).mean()
    numbers = {name: rounded(np.array([float(value)]))[0] for name, value in (("nse", nse), ("error", error))}
    return {"days": int(days.sum()), **numbers}
