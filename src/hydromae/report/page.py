"""An evaluation as one HTML page that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import xarray as xr

from hydromae import __version__
from hydromae.errors import InputError
from hydromae.evaluate.summary import scored_questions
from hydromae.io.atomic import write_text_atomic
from hydromae.progress import track
from hydromae.report import sections, tables
from hydromae.report.loss_history import LossHistory
from hydromae.report.tables import reported_method


@runtime_checkable
class EvaluationData(Protocol):
    """What a report reads of `evaluate.score.Evaluation` (docs/design.md, section 10)."""

    @property
    def scores(self) -> xr.Dataset:
        """Scores `(question, method, catchment)`."""
        ...

    @property
    def examples(self) -> xr.Dataset:
        """Hydrographs `(example, time)`."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """Period, seed, split, command."""
        ...


def write_report(
    evaluation: EvaluationData, journal: Path | None, out_html: Path, *, title: str, model_card: dict[str, object]
) -> Path:
    """Write an evaluation as a self-contained HTML page.

    Args:
        evaluation: Scores, example hydrographs and settings.
        journal: JSON lines of the training run; None leaves the section on training out.
        out_html: The page, replaced in one step.
        title: Heading of the page.
        model_card: What is said about the model. `name` picks its method in the scores (their first method otherwise),
            `data_licence` replaces what the evaluation says of its data; every other entry is listed as it stands.

    Returns:
        Path: `out_html`.

    Raises:
        InputError: The journal cannot be read, the evaluation holds no score, or the page cannot be written.
    """
    if not scored_questions(evaluation.scores):
        raise InputError("evaluation: it holds no score for any question; evaluate over days that have measurements")
    losses = None if journal is None else LossHistory.read(journal)
    return write_page(page_html(evaluation, losses, title, model_card), out_html)


def page_html(evaluation: EvaluationData, losses: LossHistory | None, title: str, card: dict[str, object]) -> str:
    """The page as text."""
    scores, settings = evaluation.scores, evaluation.settings
    name = card.get("name")
    model = reported_method(scores, name if isinstance(name, str) else None)
    makers: list[Callable[[], str]] = [
        lambda: sections.page_header(scores, settings, title, model),
        lambda: sections.maps_section(scores, model),
        lambda: sections.examples_section(evaluation.examples),
        lambda: tables.score_table(scores, model),
        lambda: sections.distributions_section(scores, model),
        lambda: tables.reliability(scores, model),
        lambda: sections.training_section(losses),
        lambda: sections.provenance_section(settings, card),
    ]
    header, *parts = [make() for make in track(makers, "sections", len(makers))]
    style = (files("hydromae") / "report" / "style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{header}\n<main>\n{chr(10).join(filter(None, parts))}\n</main>\n"
        f"<footer>hydromae {escape(__version__)}. Land outline: computed from the GLOBE land mask.</footer>\n"
        "</body>\n</html>\n"
    )


def write_page(text: str, file: Path) -> Path:
    """Write a page whole (`atomic.write_text_atomic`)."""
    write_text_atomic(file, text, "choose another file", "the page cannot be written")
    return file
