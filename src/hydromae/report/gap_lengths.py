"""The section of a report on scores by length of gap: a chart and a table of all methods."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from markupsafe import Markup

from hydromae.report.chart import Scale, Tick, chart_frame, line_path
from hydromae.report.sections import QuestionSummary, Section, line_styles
from hydromae.report.text import format_number

GAP_LENGTH = re.compile(r"gap-(\d+)")
"""Name of a row of scores of gaps of a length [days]."""
LOWEST_NSE = -0.5
"""Lower end of the axis, where a lower median is drawn."""


def without_gap_lengths(questions: list[QuestionSummary]) -> list[QuestionSummary]:
    """The questions without gaps of a length; all, if there are no others."""
    return [question for question in questions if not GAP_LENGTH.fullmatch(question.name)] or questions


def gap_length_section(questions: list[QuestionSummary], model: str) -> Section | None:
    """Median NSE of each method by length of gap, and coverage of the model; None without gaps of several lengths."""
    by_length = {int(m.group(1)): question for question in questions if (m := GAP_LENGTH.fullmatch(question.name))}
    if len(by_length) < 2:
        return None
    lengths = sorted(by_length)
    rows_by_length = [{row.method: row for row in by_length[length].rows} for length in lengths]
    methods = sorted(dict.fromkeys(name for rows in rows_by_length for name in rows), key=lambda name: name != model)
    styles = line_styles(questions, model)
    table = [(method, [rows.get(method) for rows in rows_by_length]) for method in methods]
    drawn = [(method, rows) for method, rows in table if any(row and np.isfinite(row.nse_median) for row in rows)]
    coverage = [row.coverage90 if row is not None else np.nan for row in (rows.get(model) for rows in rows_by_length)]
    return {
        "titles": _titles(lengths),
        "rows": table,
        "best": [by_length[length].best for length in lengths],
        "coverage": coverage if np.isfinite(coverage).any() else [],
        "chart": _chart(lengths, drawn, styles),
        "key": [(styles[method], "line", method) for method, _ in drawn],
    }


def _titles(lengths: list[int]) -> list[str]:
    return [f"{days} day{'' if days == 1 else 's'}" for days in lengths]


def _chart(lengths: list[int], table: list[tuple[str, list[Any]]], styles: dict[str, str]) -> Markup:
    """Median NSE by length, a line for each method; the first method is drawn above the others."""
    medians = {name: np.array([np.nan if row is None else row.nse_median for row in rows]) for name, rows in table}
    values = np.concatenate([np.full(1, np.nan), *medians.values()])
    lowest = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    nse = Scale(float(np.clip(np.floor(lowest * 5) / 5, LOWEST_NSE, 0.8)), 1.0, down=True)
    x_scale = Scale(-0.4, len(lengths) - 0.6)
    at = x_scale(np.arange(len(lengths), dtype=float))
    marks = Markup()
    for method, median in reversed(medians.items()):
        inside = np.where(np.isfinite(median), np.maximum(median, nse.low), np.nan)
        title = f"{method}: " + ", ".join(
            f"{days} days {format_number(value)}" for days, value in zip(lengths, median, strict=True)
        )
        marks += line_path(at, nse(inside), f"line {styles[method]}", title)
    bottom = [Tick(float(place), title) for place, title in zip(at, _titles(lengths), strict=True)]
    left = [Tick(nse.at(value), format_number(value)) for value in nse.ticks(5)]
    label = f"Median NSE of {len(table)} methods for gaps of {lengths[0]} to {lengths[-1]} days"
    return chart_frame(marks, label, bottom, left, "", "Median NSE by length of gap")
