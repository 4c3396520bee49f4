"""What a report says in words: each question in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Question:
    """A question as a reader meets it: a short title, what was taken away, and what the method could still see."""

    title: str
    removed: str
    stays: str


# The words for a question, and for a number of days that its name may end with (fill-10, forecast-3).
QUESTIONS = {
    "fill": (
        Question("Filling gaps", "gaps in a river's flow", "the days around, other rivers, weather"),
        "Gaps of {}",
    ),
    "ungauged": (
        Question("Ungauged rivers", "all flow of a tenth of the rivers", "other rivers, weather, traits"),
        "Ungauged rivers, {}",
    ),
    "ungauged-bare": (
        Question(
            "Ungauged rivers, barely known",
            "all flow of a tenth of the rivers",
            "other rivers, weather; of the river its area and a place up to 5 km off",
        ),
        "Ungauged rivers, barely known, {}",
    ),
    "simulate": (
        Question("Flow from weather", "all flow of every river", "weather and traits"),
        "Flow from weather, {}",
    ),
    "forecast": (
        Question("Forecast", "all flow after the issue day", "flow up to that day, weather also beyond it"),
        "Forecast, {} ahead",
    ),
    "forecast-blind": (
        Question("Blind forecast", "all flow and all weather after the issue day", "everything up to that day"),
        "Blind forecast, {} ahead",
    ),
}


def question(name: str) -> Question:
    """The words for a question, by the longest known name that `name` starts with."""
    known = max((key for key in QUESTIONS if name == key or name.startswith(f"{key}-")), key=len, default=None)
    if known is None:
        return Question(name, "values of the record", "the rest of the record")
    words, numbered = QUESTIONS[known]
    rest = name.removeprefix(known).removeprefix("-")
    if rest.isdigit():
        return replace(words, title=numbered.format(f"{rest} day{'' if rest == '1' else 's'}"))
    return replace(words, title=f"{words.title}, {rest}") if rest else words
