"""The sections of a report: from an evaluation to the values of the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.probe_table import bounds_text, summarise_probes
from hydromae.evaluate.summary import MIN_CATCHMENTS, counted_scores, scored_questions, summarise
from hydromae.report.gb_map import MapDots, catchment_map
from hydromae.report.labels import QuestionLabel, question_label
from hydromae.report.loss_history import LossHistory
from hydromae.report.plots import LINE_STYLES, Curve, distribution_chart, loss_curve
from hydromae.report.text import Settings, format_duration, format_number, format_period, format_value

Section = dict[str, Any]


@dataclass(frozen=True)
class QuestionSummary:
    """The summary of a question.

    Attributes:
        name, label: The question.
        model_row: The row of the model (columns of `summarise`, and `method`); None if it was not evaluated.
        others: The rows of the other methods, highest median NSE first.
    """

    name: str
    label: QuestionLabel
    model_row: Any | None
    others: list[Any]

    @property
    def rows(self) -> list[Any]:
        """All rows, the model's first."""
        return [*([] if self.model_row is None else [self.model_row]), *self.others]

    @property
    def headline(self) -> tuple[Any | None, Any | None]:
        """The rows of the model and of the best other method with scores of enough catchments for a median."""
        rows = [row for row in self.others if has_enough_catchments(row)]
        return (
            self.model_row if has_enough_catchments(self.model_row) else None,
            rows[0] if rows else None,
        )

    @property
    def best(self) -> float:
        """Highest median NSE; NaN without one."""
        return max((row.nse_median for row in self.rows if np.isfinite(row.nse_median)), default=np.nan)


def has_enough_catchments(row: Any | None) -> bool:
    """Whether at least `MIN_CATCHMENTS` catchments have a score."""
    return row is not None and row.catchments - row.unanswered >= MIN_CATCHMENTS


def river_labels(scores: xr.Dataset) -> dict[str, str]:
    """Name and number of each catchment where the record has names, else its number."""
    names = scores["name"].values if "name" in scores.variables else [""] * scores.sizes["catchment"]
    numbers = [str(number) for number in scores["catchment"].values]
    return {
        number: f"{str(name).strip()} ({number})" if str(name).strip() not in ("", number) else number
        for number, name in zip(numbers, names, strict=True)
    }


def summarise_questions(scores: xr.Dataset, model: str) -> list[QuestionSummary]:
    """The summaries of the questions with a score."""
    summary, questions = summarise(scores), []
    for name in scored_questions(scores):
        table = summary.loc[name].reset_index().sort_values("nse_median", ascending=False, kind="stable")
        rows = list(table.itertuples())
        model_row = next((row for row in rows if row.method == model), None)
        others = [row for row in rows if row.method != model]
        questions.append(QuestionSummary(name, question_label(name), model_row, others))
    return questions


def map_figures(scores: xr.Dataset, questions: list[QuestionSummary], model: str) -> list[Section]:
    """A map of the scores of the model for each question; none if positions are unknown."""
    figures, labels = list[Section](), river_labels(scores)
    for question in questions if "easting" in scores.variables else []:
        row, part = question.model_row, counted_scores(scores, question.name, model)
        if row is None:
            continue
        easting, northing, nse = (part[name].to_numpy().astype(float) for name in ("easting", "northing", "nse"))
        text = f"{row.catchments} catchments"
        text += f", median NSE {format_number(row.nse_median)}" if has_enough_catchments(row) else ""
        svg = catchment_map(
            MapDots([labels[str(number)] for number in part["catchment"].values], easting, northing, nse),
            f"{question.label.title}: map of {text}",
        )
        caption = text + (f", {row.unanswered} without a score (hollow)" if row.unanswered else "")
        figures.append({"title": question.label.title, "caption": caption, "svg": svg})
    return figures


def distribution_figures(scores: xr.Dataset, questions: list[QuestionSummary], model: str) -> list[Section]:
    """Cumulative distributions of NSE over catchments, a chart for each question."""
    styles = line_styles(questions, model)
    figures = []
    for question in questions:
        curves = [
            Curve(row.method, styles[row.method], counted_scores(scores, question.name, row.method)["nse"].to_numpy())
            for row in question.rows
        ]
        label = f"{question.label.title}: cumulative distribution of NSE over catchments"
        key = [(curve.kind, "line", curve.method) for curve in curves]
        figures.append({"title": question.label.title, "chart": distribution_chart(curves, label), "key": key})
    return figures


def line_styles(questions: list[QuestionSummary], model: str) -> dict[str, str]:
    """The CSS class of every method in all charts, `l0` for the model.

    Methods of one question have different classes, unless they are more than there are classes.
    """
    methods_by_question = [[row.method for row in question.rows] for question in questions]
    styles = {model: "l0"}
    others = dict.fromkeys(method for methods in methods_by_question for method in methods if method != model)
    for index, method in enumerate(others):
        used = {styles.get(other) for methods in methods_by_question if method in methods for other in methods}
        free = [f"l{k}" for k in range(1, LINE_STYLES) if f"l{k}" not in used]
        styles[method] = free[0] if free else f"l{1 + index % (LINE_STYLES - 1)}"
    return styles


def interval_rows(questions: list[QuestionSummary]) -> list[tuple[str, Any]]:
    """Title and row of each method with intervals."""
    rows = [(question.label.title, row) for question in questions for row in question.rows]
    return [(title, row) for title, row in rows if np.isfinite([row.coverage50, row.coverage90]).any()]


def decile_rows(scores: xr.Dataset, questions: list[QuestionSummary], model: str) -> list[tuple[str, np.ndarray]]:
    """Title and coverage of the 90 % interval of the model by decile of predicted flow, for questions that have it."""
    if "decile_coverage90" not in scores:
        return []
    coverage = scores["decile_coverage90"].sel({"method": model, "by": "predicted"})
    rows = [(question.label.title, coverage.sel(question=question.name).values) for question in questions]
    return [(title, shares) for title, shares in rows if np.isfinite(shares).any()]


def probe_groups(by_river: pd.DataFrame | None) -> list[Section]:
    """For each physical probe, the rows of its summary with their bounds in words."""
    if by_river is None:
        return []
    summary = summarise_probes(by_river)
    summary["expected"] = [bounds_text(low, high) for low, high in zip(summary["low"], summary["high"], strict=True)]
    return [{"title": probe, "rows": list(part.itertuples())} for probe, part in summary.groupby("probe", sort=False)]


def training_section(losses: LossHistory | None) -> Section | None:
    """The loss curve; None without a journal."""
    if losses is None:
        return None
    text = f"{len(losses.step):,} entries in the journal, {format_duration(float(np.nanmax([0.0, *losses.seconds])))}."
    not_drawn = int((~losses.is_drawable).sum())
    text += f" Not drawn: {not_drawn} without a positive finite loss." if not_drawn else ""
    if not losses.is_drawable.any():
        return {"text": text, "chart": "", "key": []}
    key = [("raw", "line", "loss of a step"), ("l0", "line", "running median")]
    key += [("check", "line", "validation")] if np.isfinite(losses.validation_loss).any() else []
    return {"text": text, "chart": loss_curve(losses, "Loss by training step"), "key": key}


def setting_rows(settings: Settings, card: Settings) -> list[tuple[str, str]]:
    """Name and text of each setting, and of each entry about the model."""
    values = {**card, **settings} | ({"data": card["data_licence"]} if "data_licence" in card else {})
    values |= {"period": format_period(settings["period"])} if "period" in settings else {}
    return [
        (name.replace("_", " "), format_value(value))
        for name, value in values.items()
        if name not in ("command", "data_licence", "seen_in_training")
    ]
