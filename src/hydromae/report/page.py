"""An evaluation as one HTML page, without scripts and without other files."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup

from hydromae import __version__
from hydromae.errors import InputError
from hydromae.evaluate.summary import FEW_NOTE, counts_catchment, reported_method, scored_questions
from hydromae.io.atomic import write_text_atomic
from hydromae.progress import track
from hydromae.report import sections
from hydromae.report.examples import example_groups
from hydromae.report.gap_lengths import gap_length_section, without_gap_lengths
from hydromae.report.gb_map import coast_path, map_legend
from hydromae.report.loss_history import LossHistory
from hydromae.report.text import Settings, format_period, format_value, render


@runtime_checkable
class EvaluationData(Protocol):
    """The parts of `evaluate.score.Evaluation` that a report uses (docs/design.md, section 10)."""

    @property
    def scores(self) -> xr.Dataset:
        """Scores `(question, method, catchment)`."""
        ...

    @property
    def examples(self) -> xr.Dataset:
        """Hydrographs `(example, time)`."""
        ...

    @property
    def settings(self) -> Settings:
        """Period, seed, split, command."""
        ...

    @property
    def probes(self) -> pd.DataFrame | None:
        """Physical probes by river, if any."""
        ...


def write_report(
    evaluation: EvaluationData, journal: Path | None, out_html: Path, *, title: str, model_card: Settings
) -> Path:
    """Write an evaluation as a self-contained HTML page.

    Args:
        evaluation: Scores, example hydrographs and settings.
        journal: Journal of the training run (JSON lines); None leaves out the section on training.
        out_html: The page, replaced in one step.
        title: Heading of the page.
        model_card: Entries about the model. `name` selects its method in the scores (default: the first method),
            `data_licence` replaces the data of the settings; the others are listed.

    Returns:
        Path: `out_html`.

    Raises:
        InputError: The journal cannot be read, the evaluation has no score, or the page cannot be written.
    """
    if not scored_questions(evaluation.scores):
        raise InputError("evaluation: no score for any question; evaluate a period with observations")
    losses = None if journal is None else LossHistory.read(journal)
    return write_page(page_html(evaluation, losses, title, model_card), out_html)


def page_html(evaluation: EvaluationData, losses: LossHistory | None, title: str, card: Settings) -> str:
    """The page as text."""
    scores, settings = evaluation.scores, evaluation.settings
    name, overlap, command = card.get("name"), settings.get("seen_in_training"), settings.get("command")
    model = reported_method(scores, name if isinstance(name, str) else None)
    questions = sections.summarise_questions(scores, model)
    counted = [counts_catchment(scores, question.name) for question in questions]
    headline = without_gap_lengths(questions)
    parts: dict[str, Callable[[], object]] = {
        "maps": lambda: sections.map_figures(scores, headline, model),
        "examples": lambda: example_groups(
            evaluation.examples, [question.name for question in headline], sections.river_labels(scores)
        ),
        "gap_lengths": lambda: gap_length_section(questions, model),
        "distributions": lambda: sections.distribution_figures(scores, headline, model),
        "intervals": lambda: sections.interval_rows(questions),
        "deciles": lambda: sections.decile_rows(scores, questions, model),
        "probes": lambda: sections.probe_groups(evaluation.probes),
        "training": lambda: sections.training_section(losses),
    }
    return render(
        "page.html",
        title=title,
        style=Markup((files("hydromae") / "report" / "style.css").read_text(encoding="utf-8")),
        version=__version__,
        model=model,
        catchments=int(np.any(counted, axis=0).sum()),
        period=format_period(settings["period"]) if "period" in settings else "",
        overlap=overlap if isinstance(overlap, list) else [],
        questions=questions,
        headline=headline,
        coast=coast_path(),
        legend=map_legend(),
        few=any(row.few for question in questions for row in question.rows),
        few_note=FEW_NOTE,
        settings=sections.setting_rows(settings, card),
        command=" ".join(map(str, command)) if isinstance(command, list | tuple) else command and format_value(command),
        **{part: build() for part, build in track(parts.items(), "sections", len(parts))},
    )


def write_page(text: str, file: Path) -> Path:
    """Write a page in one step."""
    write_text_atomic(file, text, "choose another file", "the page cannot be written")
    return file
