"""Titles and descriptions of the tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class QuestionLabel:
    """A task: its title, what is hidden, and what is visible."""

    title: str
    hidden: str
    visible: str


# The label of a task, and its title with a number of days, as in gap-10 and forecast-3.
QUESTION_LABELS = {
    "gap": (
        QuestionLabel(
            "Filling gaps", "gaps in the flow of a river", "the days before and after, other rivers, weather"
        ),
        "Gaps of {}",
    ),
    "ungauged": (
        QuestionLabel("Ungauged rivers", "all flow of a tenth of the rivers", "other rivers, weather, attributes"),
        "Ungauged rivers, {}",
    ),
    "ungauged-limited": (
        QuestionLabel(
            "Ungauged rivers, limited attributes",
            "all flow of a tenth of the rivers",
            "other rivers, weather; area, and a position shifted by up to 5 km",
        ),
        "Ungauged rivers, limited attributes, {}",
    ),
    "simulate": (
        QuestionLabel("Flow from weather", "all flow of every river", "weather and attributes"),
        "Flow from weather, {}",
    ),
    "forecast": (
        QuestionLabel("Forecast", "all flow after the issue day", "flow up to that day, weather also after it"),
        "Forecast, {} ahead",
    ),
    "forecast-blind": (
        QuestionLabel("Blind forecast", "all flow and all weather after the issue day", "everything up to that day"),
        "Blind forecast, {} ahead",
    ),
}


def question_label(name: str) -> QuestionLabel:
    """The label of a row of scores, by the longest name of a task that `name` starts with."""
    known = max((key for key in QUESTION_LABELS if name == key or name.startswith(f"{key}-")), key=len, default=None)
    if known is None:
        return QuestionLabel(name, "values of the record", "the rest of the record")
    label, numbered_title = QUESTION_LABELS[known]
    rest = name.removeprefix(known).removeprefix("-")
    if rest.isdigit():
        return replace(label, title=numbered_title.format(f"{rest} day{'' if rest == '1' else 's'}"))
    return replace(label, title=f"{label.title}, {rest}") if rest else label


def threshold_label(name: str) -> str:
    """A threshold of flow in words.

    Examples:
        >>> threshold_label("2-year"), threshold_label("q95"), threshold_label("flood alert")
        ('the 2-year flood', 'Q95', 'flood alert')
    """
    if re.fullmatch(r"[\d.]+-year", name):
        return f"the {name} flood"
    return name.upper() if re.fullmatch(r"q\d+", name) else name
