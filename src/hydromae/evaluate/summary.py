"""Summaries of scores over catchments, for the command line, the benchmarks and the report.

A catchment without a score by a method ranks below every score. Each question is summarised over the same catchments for
every method: those with at least `minimum_days` target days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.evaluate.events import COUNTS, KINDS, event_scores

FULL_MINIMUM_DAYS = 365
MIN_SCORED_DAYS, MIN_CATCHMENTS = 30, 3
"""Days of a catchment, and catchments, below which scores and medians are mostly chance."""
FEW_NOTE = (
    f"* from fewer than {MIN_CATCHMENTS} catchments, or from fewer than {MIN_SCORED_DAYS} days of one of them: "
    "mostly chance"
)


def summarise(scores: xr.Dataset) -> pd.DataFrame:
    """Medians and lower percentiles over catchments, a row for each question and each method evaluated on it.

    Args:
        scores: The scores of an evaluation (`score.Evaluation`).

    Returns:
        DataFrame: Index (question, method). Columns: `minimum_days`; `catchments`, those that count; `unanswered`, those of
            them without a score; `days`, the fewest days behind the score of one catchment; `few`, True where `FEW_NOTE`
            applies; `answered`, the share of target days; `nse_median`, `nse_p25`, `nse_p10` and the same of `kge`, NaN where
            the percentile is a catchment without a score; the medians `crps` [mm/day] (without a score: worst),
            `coverage50` and `coverage90` (catchments with a score); of the events of all catchments together
            `flood_events`, `flood_csi`, `flood_pod`, `flood_far`, `flood_brier`, and the same of `drought`.
    """
    rows = {
        (question, method): {"minimum_days": minimum_days(scores, question), **_summarise_catchments(part)}
        for question in map(str, scores["question"].values)
        for method in map(str, scores["method"].values)
        for part in [counted_scores(scores, question, method)]
        if part["target_days"].notnull().any()
    }
    index = pd.MultiIndex.from_tuples(rows, names=["question", "method"])
    return pd.DataFrame(list(rows.values()), index=index)


def minimum_days(scores: xr.Dataset, question: str) -> int:
    """Target days from which a catchment counts: 365, or half of the most of any catchment where that is fewer."""
    most_days = float(scores["target_days"].sel(question=question).max())
    return max(1, int(min(FULL_MINIMUM_DAYS, most_days // 2))) if np.isfinite(most_days) else 1


def counts_catchment(scores: xr.Dataset, question: str) -> Bool[np.ndarray, " C"]:
    """True for the catchments over which a question is summarised: those with enough target days.

    A catchment does not count where a method answered enough days but no method has a score: its observations do not vary.
    """
    part, minimum = scores.sel(question=question), minimum_days(scores, question)
    has_targets, has_answers = ((part[name] >= minimum).any("method") for name in ("target_days", "answered_days"))
    return (has_targets & ~(has_answers & part["nse"].isnull().all("method"))).to_numpy()


def counted_scores(scores: xr.Dataset, question: str, method: str) -> xr.Dataset:
    """Scores of one method on one question, over the catchments that count."""
    selection = {"question": question, "method": method}  # a dict, because sel has an argument named method
    return scores.sel(selection).isel(catchment=counts_catchment(scores, question))


def scored_questions(scores: xr.Dataset) -> list[str]:
    """Questions with a score of a catchment that counts, in the order of the evaluation."""
    return [
        name
        for name in map(str, scores["question"].values)
        if scores["nse"].sel(question=name).isel(catchment=counts_catchment(scores, name)).notnull().any()
    ]


def reported_method(scores: xr.Dataset, name: str | None) -> str:
    """The method that a page describes: `name` if the scores have it, else their first method."""
    methods = [str(method) for method in scores["method"].values]
    return name if name in methods else methods[0]


def percentile(values: Float[np.ndarray, " C"], percent: float) -> float:
    """A percentile (linear between ranks) in which NaN ranks below every value; NaN where it falls on one."""
    if len(values) == 0:
        return np.nan
    ranked = np.sort(np.nan_to_num(values, nan=-np.inf))
    rank = percent / 100.0 * (len(ranked) - 1)
    low, high = ranked[int(np.floor(rank))], ranked[int(np.ceil(rank))]
    return float(low + (high - low) * (rank % 1.0)) if np.isfinite(low) else np.nan


def _summarise_catchments(part: xr.Dataset) -> dict[str, float]:
    """The columns of a row, from the scores of one method on one question."""
    has_score = part["nse"].notnull().to_numpy()
    scored_days = part["answered_days"].to_numpy()[has_score]
    fewest = int(scored_days.min()) if len(scored_days) else 0
    target_days = float(part["target_days"].sum())
    row: dict[str, float] = {
        "catchments": len(has_score),
        "unanswered": int((~has_score).sum()),
        "days": fewest,
        "few": len(scored_days) < MIN_CATCHMENTS or fewest < MIN_SCORED_DAYS,
        "answered": float(part["answered_days"].sum()) / target_days if target_days else np.nan,
    }
    for score in ("nse", "kge"):
        for label, percent in (("median", 50.0), ("p25", 25.0), ("p10", 10.0)):
            row[f"{score}_{label}"] = percentile(part[score].to_numpy(), percent)
    row["crps"] = -percentile(-part["crps"].to_numpy(), 50.0)
    for score in ("coverage50", "coverage90"):
        row[score] = float(pd.Series(part[score].to_numpy()).median())
    counts = {f"{kind}_{name}": float(part[f"{kind}_{name}"].sum()) for kind in KINDS for name in COUNTS}
    for kind in KINDS:
        row |= event_scores(counts, kind)
    return row
