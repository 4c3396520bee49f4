"""What a report says in words: each question in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class QuestionLabel:
    """A question as a reader meets it: a short title, what was taken away, and what the method could still see."""

    title: str
    hidden: str
    visible: str


# The words for a question, and for a number of days that its name may end with (gap-10, forecast-3).
QUESTION_LABELS = {
    "gap": (
        QuestionLabel("Filling gaps", "gaps in a river's flow", "the days around, other rivers, weather"),
        "Gaps of {}",
    ),
    "ungauged": (
        QuestionLabel("Ungauged rivers", "all flow of a tenth of the rivers", "other rivers, weather, traits"),
        "Ungauged rivers, {}",
    ),
    "ungauged-limited": (
        QuestionLabel(
            "Ungauged rivers, barely known",
            "all flow of a tenth of the rivers",
            "other rivers, weather; of the river its area and a place up to 5 km off",
        ),
        "Ungauged rivers, barely known, {}",
    ),
    "simulate": (
        QuestionLabel("Flow from weather", "all flow of every river", "weather and traits"),
        "Flow from weather, {}",
    ),
    "forecast": (
        QuestionLabel("Forecast", "all flow after the issue day", "flow up to that day, weather also beyond it"),
        "Forecast, {} ahead",
    ),
    "forecast-blind": (
        QuestionLabel("Blind forecast", "all flow and all weather after the issue day", "everything up to that day"),
        "Blind forecast, {} ahead",
    ),
}


def question_label(name: str) -> QuestionLabel:
    """The words for a question, by the longest known name that `name` starts with."""
    known = max((key for key in QUESTION_LABELS if name == key or name.startswith(f"{key}-")), key=len, default=None)
    if known is None:
        return QuestionLabel(name, "values of the record", "the rest of the record")
    label, numbered_title = QUESTION_LABELS[known]
    rest = name.removeprefix(known).removeprefix("-")
    if rest.isdigit():
        return replace(label, title=numbered_title.format(f"{rest} day{'' if rest == '1' else 's'}"))
    return replace(label, title=f"{label.title}, {rest}") if rest else label
