"""What a report says in words: each question in a sentence, and the data's licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question as a reader meets it: a short title, what was taken away, and what the method could still see."""

    title: str
    removed: str
    stays: str


QUESTIONS = {
    "fill": Question("Filling gaps", "gaps in a river's flow", "the days around, other rivers, weather"),
    "ungauged": Question(
        "Ungauged rivers", "all flow of rivers never seen in training", "other rivers, weather, traits"
    ),
    "simulate": Question("Flow from weather", "all flow of every river", "weather and traits"),
    "forecast": Question("Forecast", "all flow after the issue day", "flow up to that day, weather also beyond it"),
    "forecast-blind": Question("Blind forecast", "all flow and all weather after the issue day", "everything before"),
}

CAMELS_GB = (
    "CAMELS-GB, Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9. Contains data supplied by Natural "
    "Environment Research Council, under the Open Government Licence v3.0."
)


def question(name: str) -> Question:
    """The words for a question; a name that starts like a known one (`forecast-3`, lead 3) takes that one's words."""
    known = max((key for key in QUESTIONS if name.startswith(key)), key=len, default=None)
    if known is None:
        return Question(name, "values of the record", "the rest of the record")
    words = QUESTIONS[known]
    rest = name.removeprefix(known).strip(" -_/:,")
    days = rest.removeprefix("lead").strip(" -_=")
    if not rest:
        return words
    if not days.isdigit():
        return Question(f"{words.title}, {rest}", words.removed, words.stays)
    ahead = f"{days} day{'' if days == '1' else 's'} ahead"
    return Question(f"{words.title}, {ahead}", words.removed, words.stays)
