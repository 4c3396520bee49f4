"""The numbers of a report as HTML: headline, scores against baselines, coverage of the intervals."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.summary import FEW_NOTE, scored_questions, summarise
from hydromae.report.chart import format_number
from hydromae.report.html import section
from hydromae.report.labels import question_label

COLUMNS = (
    "Method",
    "NSE median",
    "NSE 25th",
    "NSE 10th",
    "KGE median",
    "CRPS [mm/day]",
    "Catchments",
    "Without a score",
    "Days of a catchment, at least",
    "Days answered",
)


def question_rows(summary: pd.DataFrame, question: str, model: str) -> list[Any]:
    """The rows of a question: the model's, then the others', highest median NSE first."""
    rows = summary.loc[question].reset_index().itertuples()
    return sorted(rows, key=lambda row: (row.method != model, -np.nan_to_num(row.nse_median, nan=-np.inf)))


def reported_method(scores: xr.Dataset, name: str | None) -> str:
    """The method that a page describes: `name` where the scores have it, else their first."""
    methods = [str(method) for method in scores["method"].values]
    return name if name in methods else methods[0]


def headline(scores: xr.Dataset, model: str) -> str:
    """One tile a question: the model's median NSE, and the best baseline's."""
    tiles, summary = [], summarise(scores)
    for name in scored_questions(scores):
        rows = question_rows(summary, name, model)
        model_row = next((line for line in rows if line.method == model), None)
        baseline_rows = [line for line in rows if line.method != model]
        baseline_text = (
            f"best baseline {_median(baseline_rows[0])}, {baseline_rows[0].method}"
            if baseline_rows
            else "no baseline was run"
        )
        tiles.append(
            f'<li><span class="name">{escape(question_label(name).title)}</span><b>{_median(model_row)}</b>'
            f"<span>{escape(baseline_text)}</span></li>"
        )
    return f'<ul class="tiles" aria-label="Median NSE over catchments">{"".join(tiles)}</ul>'


def _median(line: Any | None, digits: int = 2) -> str:
    """The median NSE, with a mark where it is from few."""
    return f"{format_number(line.nse_median if line else np.nan, digits)}{'*' if line and line.few else ''}"


def score_cells(line: Any, best: float) -> str:
    """The numbers of one line of the score table."""
    mark = ' class="best"' if np.isfinite(best) and round(line.nse_median, 3) >= round(best, 3) else ""
    cells = [format_number(value, 3) for value in (line.nse_p25, line.nse_p10, line.kge_median, line.crps)]
    cells += [str(line.catchments), str(line.unanswered), str(line.days), f"{100 * line.answered:.0f} %"]
    return f"<td{mark}>{_median(line, 3)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells)


def score_table(scores: xr.Dataset, model: str) -> str:
    """Model against baselines, question by question."""
    bodies, few, summary = [], False, summarise(scores)
    for name in scored_questions(scores):
        rows, label = question_rows(summary, name, model), question_label(name)
        few |= any(line.few for line in rows)
        best = max((line.nse_median for line in rows if np.isfinite(line.nse_median)), default=np.nan)
        lines = "".join(
            f'<tr class="{"model" if line.method == model else "baseline"}"><th scope="row">{escape(line.method)}</th>'
            f"{score_cells(line, best)}</tr>"
            for line in rows
        )
        bodies.append(
            f'<tbody><tr class="question"><th scope="rowgroup" colspan="{len(COLUMNS)}"><span>'
            f"<b>{escape(label.title)}</b>. Hidden: {escape(label.hidden)}. Seen: {escape(label.visible)}. "
            f"From {rows[0].minimum_days} scored days.</span></th></tr>{lines}</tbody>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    body = (
        '<div class="scroll" role="region" tabindex="0" aria-label="Scores of every method"><table><thead><tr>'
        f"{head}</tr></thead>{''.join(bodies)}</table></div>"
    ) + (f'<p class="note">{escape(FEW_NOTE)}.</p>' if few else "")
    lead = (
        "NSE and KGE are computed for each catchment over its hidden days with a measurement, then summarised over "
        "catchments: the median, and the values that a quarter and a tenth of catchments fall below. A missing answer "
        "counts as worse than any score."
    )
    return section("scores", "Against the baselines", lead, body)


def reliability(scores: xr.Dataset, model: str) -> str:
    """How often the truth fell inside the intervals."""
    summary = summarise(scores)
    rows = [(name, line) for name in scored_questions(scores) for line in question_rows(summary, name, model)]
    rows = [(name, line) for name, line in rows if np.isfinite(line.coverage50) or np.isfinite(line.coverage90)]
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(question_label(name).title)}</th><td class="words">{escape(line.method)}</td>'
        f"<td>{format_number(100 * line.coverage50, 0)} %</td><td>{format_number(100 * line.coverage90, 0)} %</td></tr>"
        for name, line in rows
    )
    body = (
        '<div class="scroll" role="region" tabindex="0" aria-label="Coverage of the intervals"><table><thead><tr>'
        '<th scope="col">Question</th><th scope="col" class="words">Method</th><th scope="col">in the 50 % interval</th>'
        f'<th scope="col">in the 90 % interval</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )
    lead = "Share of measured days inside the interval, median over catchments. Honest intervals hold 50 % and 90 %."
    return section("reliability", "Can the intervals be trusted?", lead, body + decile_table(scores, model))


def decile_table(scores: xr.Dataset, model: str) -> str:
    """What the model's 90 % interval held, by tenth of the flow that was said; nothing where that is not known."""
    if "decile_coverage90" not in scores:
        return ""
    coverage = scores["decile_coverage90"].sel({"method": model, "by": "predicted"})
    covered_questions = [name for name in scored_questions(scores) if coverage.sel(question=name).notnull().any()]
    if not covered_questions:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(question_label(name).title)}</th>'
        + "".join(
            f"<td>{format_number(100 * float(covered), 0)}</td>" for covered in coverage.sel(question=name).values
        )
        + "</tr>"
        for name in covered_questions
    )
    head = "".join(f'<th scope="col">{decile}</th>' for decile in coverage["decile"].values)
    return (
        "<h3>Low and high flow</h3><p>Share of measured days inside the 90 % interval of "
        f"{escape(model)} [%], by the tenth of a river's flows in which its answer lies: 1 the lowest, 10 the highest. "
        "All rivers together.</p>"
        '<div class="scroll" role="region" tabindex="0" aria-label="Coverage by tenth of flow"><table><thead><tr>'
        f'<th scope="col">Question</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )
