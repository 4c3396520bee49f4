"""Commands on scores: evaluate, report."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.cli.probes import echo_probes
from hydromae.config import Precision
from hydromae.errors import InputError
from hydromae.evaluate import QuestionName
from hydromae.io.folders import EVALUATION
from hydromae.io.outputs import PAGES, Output, output_folder, replaceable_file
from hydromae.io.text_file import read_text
from hydromae.progress import progress_callback

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Protocol = Literal["gb", "france"]
DEFAULT_PERIOD = ("2011-01-01", "2014-09-30")


@dataclass(frozen=True)
class Evaluate:
    """Score a model and the baselines on hidden flow, and report which of these days and catchments are training data."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store with flow that hydromae prepare wrote; or raw files, which are prepared temporarily."""
    out: Annotated[Path, arg(metavar="EVALUATION")]
    """Folder of the scores: new, empty, or an evaluation, which is replaced; other files stay."""
    protocol: Protocol | None = None
    """gb: the protocol for Great Britain: the shipped model, donors and the LSTMs of the package on the test period
    (2012-10-01 to 2014-09-30), with a forecast every 10 days. france: the shipped model on catchments of CAMELS-FR, gap and
    simulate on 2015-01-01 to 2018-12-31. Other options override it."""
    model: Path | None = None
    """A shipped name, a run, a checkpoint, or a model folder; without it, only the baselines are scored."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last scored day; default 2011-01-01 2014-09-30, or that of the protocol."""
    questions: tuple[QuestionName, ...] | None = None
    """Tasks to score; default all, or those of the protocol."""
    gap_lengths: Annotated[tuple[int, ...] | None, arg(metavar="[DAYS ...]")] = None
    """Also score gaps of these lengths, without a number those of 1, 3, 10, 30 and 90 days; a fifth of the days is hidden
    for each length. Default none."""
    issue_interval: int | None = None
    """Days between two issue days; default 30, or that of the protocol."""
    baselines: bool = True
    """Score the baselines too; --no-baselines omits them."""
    probes: bool = False
    """Also probe how simulated flow responds to changed weather, in two years of at most 60 rivers: physical bounds, and
    which share of the rivers is inside. Writes probes.csv and probes_by_river.csv."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": output_folder(self.out, EVALUATION)}

    def run(self, echo: Echo) -> Result:
        """Predict every task, score the predictions, show the medians."""
        from hydromae.evaluate import pretrained_lstm, protocol
        from hydromae.evaluate.benchmark import run_protocol
        from hydromae.evaluate.score import own_probe_files
        from hydromae.evaluate.summary import FEW_NOTE, summarise
        from hydromae.inference.predictor import load
        from hydromae.io.options import use_reading_options
        from hydromae.io.value_ranges import processing_notes

        own_probe_files(self.out, self.probes)
        defaults = protocol.PROTOCOLS.get(self.protocol or "")
        name = self.model or (None if defaults is None else Path("gb-rivers"))
        issue_interval = self.issue_interval or (30 if defaults is None else defaults.issue_interval)
        period = self.period or (DEFAULT_PERIOD if defaults is None else defaults.period)
        questions = self.questions or (protocol.QUESTION_NAMES if defaults is None else defaults.questions)
        model = None if name is None else load(name, self.device, self.precision)
        settings = self._settings() | ({} if model is None else {"precision": model.precision_used})
        with use_reading_options(self.negative_flow):
            record = _record(self.store)
        for line in processing_notes(record, self.store):
            echo(line)
        extra_methods = (
            pretrained_lstm.load_methods(
                record, pretrained_lstm.NETWORKS, (*questions, "simulate") if self.probes else questions
            )
            if defaults is not None and defaults.has_lstms and self.baselines
            else None
        )
        extra_data = {"LSTMs": load(pretrained_lstm.TRAINING_MODEL, "cpu").config.data} if extra_methods else None
        evaluation = run_protocol(
            model,
            record,
            period,
            questions,
            issue_interval,
            self.baselines,
            settings,
            extra_methods,
            progress_callback("questions"),
            extra_data,
            self.probes,
            protocol.parse_gap_lengths(self.gap_lengths, record, period),
        )
        evaluation.save(self.out)
        scores = summarise(evaluation.scores)
        echo(scores_table(scores))
        echo(events_table(scores))
        if any(row["few"] for row in scores.to_dict("records")):
            echo(FEW_NOTE)
        overlap = evaluation.settings.get("seen_in_training", [])
        for line in overlap:
            echo(line)
        probe_rows = [] if evaluation.probes is None else echo_probes(evaluation.probes, echo)
        echo(f"{self.out}: scores of every catchment; hydromae report {self.out} makes a page")
        rows = json.loads(str(scores.reset_index().to_json(orient="records")))  # NaN, which JSON lacks, becomes null
        return {"path": str(self.out), "scores": rows, "seen_in_training": overlap, "probes": probe_rows}

    def _settings(self) -> dict[str, object]:
        """Return the equivalent command, with the options that differ from their defaults."""
        from hydromae.evaluate.protocol import GAP_LENGTHS

        options_given = {
            "out": (self.out,),
            "protocol": (self.protocol,) if self.protocol else (),
            "model": (self.model,) if self.model else (),
            "period": self.period or (),
            "questions": self.questions or (),
            "gap-lengths": () if self.gap_lengths is None else self.gap_lengths or GAP_LENGTHS,
            "issue-interval": (self.issue_interval,) if self.issue_interval else (),
            "precision": (self.precision,) if self.precision != "auto" else (),
            "negative-flow": (self.negative_flow,) if self.negative_flow != "refuse" else (),
        }
        words = ["hydromae", "evaluate", self.store]
        for option, values in options_given.items():
            words += [f"--{option}", *values] if values else []
        words += [] if self.baselines else ["--no-baselines"]
        return {"command": shlex.join(map(str, [*words, "--probes"] if self.probes else words))}


def _record(source: Path) -> xr.Dataset:
    """Load a store, or prepare raw files in a temporary folder and load them."""
    from hydromae.preprocess.prepare import prepare
    from hydromae.store.zarr_store import load_store

    if source.suffix == ".zarr" or not source.exists():
        return load_store(source)
    with tempfile.TemporaryDirectory() as temporary:
        return load_store(prepare(source, f"{temporary}/record.zarr", "catchments"))


def _by_question() -> Table:
    """Return a table that fits 80 columns; long names are folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("question", "method"):
        table.add_column(head, overflow="fold")
    return table


def scores_table(scores: pd.DataFrame) -> Table:
    """Return medians over catchments, one row per task and method, `*` if from few catchments; `--json` has more columns."""
    table = _by_question()
    for head in ("NSE", "p10", "CRPS", "50 %", "90 %", "rivers", "no score", "days"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in scores.reset_index().to_dict("records"):
        numbers = [row[name] for name in ("nse_median", "nse_p10", "crps")]
        shares = [row[name] for name in ("coverage50", "coverage90")]
        cells = ["" if n != n else f"{n:.3f}" for n in numbers] + ["" if n != n else f"{n:.0%}" for n in shares]
        cells[0] += "*" if row["few"] and cells[0] else ""
        table.add_row(
            row["question"], row["method"], *cells, *(str(row[name]) for name in ("catchments", "unanswered", "days"))
        )
    return table


def events_table(scores: pd.DataFrame) -> Table:
    """Return number, CSI and Brier score of floods and droughts of all rivers, for each task with such events."""
    table = _by_question()
    for kind in ("flood", "drought"):
        for head in (f"{kind}s", "CSI", "Brier"):
            table.add_column(head, justify="right", no_wrap=True)
    names = [(f"{kind}_events", f"{kind}_csi", f"{kind}_brier") for kind in ("flood", "drought")]
    for row in scores.reset_index().to_dict("records"):
        cells = []
        for events, csi, brier in names:
            has_events = row[events] > 0
            cells += [f"{row[events]:.0f}", f"{row[csi]:.3f}", f"{row[brier]:.5f}"] if has_events else ["", "", ""]
        if any(cells):
            table.add_row(row["question"], row["method"], *cells)
    return table


@dataclass(frozen=True)
class Report:
    """Write an evaluation as one self-contained HTML page."""

    evaluation: Annotated[Positional[Path], arg(metavar="EVALUATION")]
    """Folder that hydromae evaluate wrote."""
    out: Path = Path("report.html")
    """The page; an existing one is replaced."""
    journal: Path | None = None
    """Metrics log of the training run (JSON lines), for the loss curve."""
    title: str = "Rivers, answered"
    """Heading of the page."""
    card: Path | None = None
    """Model card (a JSON object): name, which selects its scores, data_licence, and other entries."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": replaceable_file(self.out, PAGES)}

    def run(self, echo: Echo) -> Result:
        """Write the page."""
        from hydromae.evaluate.score import Evaluation
        from hydromae.report.page import write_report

        card = {} if self.card is None else read_card(self.card)
        page = write_report(Evaluation.load(self.evaluation), self.journal, self.out, title=self.title, model_card=card)
        echo(f"{page}: open it in a browser")
        return {"path": str(page)}


def read_card(file: Path) -> dict[str, object]:
    """Read a JSON object."""
    try:
        card = json.loads(read_text(file))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: the model card cannot be read ({error}); give a JSON object") from error
    if not isinstance(card, dict):
        raise InputError(f"{file}: the model card is a {type(card).__name__}; give a JSON object")
    return card
