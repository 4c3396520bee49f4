"""The numbers of a report: which catchments count, and medians over catchments for each question and method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.evaluate.score import score_sample

MIN_DAYS = 365  # observed target days from which a catchment counts, where a question has so many


@dataclass(frozen=True)
class ScoreRow:
    """One line of the score table: a method's answers to one question, over the catchments that count.

    Attributes:
        method: Name of the method.
        catchments, unanswered: Catchments that count, and those among them to which the method gave no score. These stand
            below every score.
        days: The fewest days that the score of one of these catchments is from.
        few: Whether these days, or the catchments with a score, are too few (`evaluate.score.FEW`).
        answered: Share of the target days of these catchments that the method answered.
        nse, nse25, nse10, kge, crps: Median, 25th and 10th percentile of NSE [1], median KGE [1], median CRPS [mm/day]; over
            catchments.
        coverage50, coverage90: Median over catchments of the share of truth inside the 50 % and 90 % interval; NaN without
            distributions.
    """

    method: str
    catchments: int
    unanswered: int
    days: int
    few: bool
    answered: float
    nse: float
    nse25: float
    nse10: float
    kge: float
    crps: float
    coverage50: float
    coverage90: float


def ranked_percentile(values: Float[np.ndarray, " C"], percent: float) -> float:
    """A percentile over catchments in which a missing score is worse than every score; NaN where it falls on one."""
    if len(values) == 0:
        return np.nan
    ranked = np.sort(np.nan_to_num(values, nan=-np.inf))
    rank = percent / 100.0 * (len(ranked) - 1)
    low, high = ranked[int(np.floor(rank))], ranked[int(np.ceil(rank))]
    return float(low + (high - low) * (rank % 1.0)) if np.isfinite(low) else np.nan


def finite_median(values: Float[np.ndarray, " C"]) -> float:
    """Median of the finite values, NaN where there are none."""
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan


def min_target_days(scores: xr.Dataset, question: str) -> int:
    """Observed target days from which a catchment counts: 365, or half of the most that any has where that is less."""
    most_days = float(scores["target_days"].sel(question=question).max())
    return max(1, int(min(MIN_DAYS, most_days // 2))) if np.isfinite(most_days) else 1


def has_enough_days(scores: xr.Dataset, question: str) -> Bool[np.ndarray, " C"]:
    """True for catchments with enough observed target days and a score by some method; the same for every method."""
    question_scores = scores.sel(question=question)
    enough = question_scores["target_days"].max("method").fillna(0) >= min_target_days(scores, question)
    return (enough & question_scores["nse"].notnull().any("method")).to_numpy()


def counted_scores(scores: xr.Dataset, question: str, method: str) -> xr.Dataset:
    """The scores of one method's answers to one question, over the catchments that count."""
    chosen = {"question": question, "method": method}  # a dict: `method` is also the name of an argument of sel
    return scores.sel(chosen).isel(catchment=has_enough_days(scores, question))


def score_row(scores: xr.Dataset, question: str, method: str) -> ScoreRow:
    """One line of the score table."""
    method_scores = counted_scores(scores, question, method)
    values = {
        name: method_scores[name].to_numpy().astype(float)
        for name in ("nse", "kge", "crps", "coverage50", "coverage90")
    }
    nse = values["nse"]
    scored_count, days, few = score_sample(method_scores)
    return ScoreRow(
        method=method,
        catchments=len(nse),
        unanswered=len(nse) - scored_count,
        days=days,
        few=few,
        answered=float(method_scores["answered_days"].sum() / max(float(method_scores["target_days"].sum()), 1.0)),
        nse=ranked_percentile(nse, 50.0),
        nse25=ranked_percentile(nse, 25.0),
        nse10=ranked_percentile(nse, 10.0),
        kge=ranked_percentile(values["kge"], 50.0),
        crps=finite_median(values["crps"]),
        coverage50=finite_median(values["coverage50"]),
        coverage90=finite_median(values["coverage90"]),
    )


def score_rows(scores: xr.Dataset, question: str, model: str) -> list[ScoreRow]:
    """The model's line, then the baselines that answer this question at all, best median NSE first."""
    methods = [str(name) for name in scores["method"].values]
    rows = [score_row(scores, question, method) for method in methods]
    answered = [line for line in rows if line.catchments > line.unanswered]
    return sorted(answered, key=lambda line: (line.method != model, -np.nan_to_num(line.nse, nan=-np.inf)))


def answered_questions(scores: xr.Dataset) -> list[str]:
    """Questions that some method answers for some catchment, in the order of the evaluation."""
    return [str(name) for name in scores["question"].values if scores["nse"].sel(question=name).notnull().any()]


def reported_method(scores: xr.Dataset, wanted: str | None) -> str:
    """The method that the report is about: `wanted` where the scores have it, else their first."""
    methods = [str(name) for name in scores["method"].values]
    return wanted if wanted in methods else methods[0]
