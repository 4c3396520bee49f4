"""Commands on scores: evaluate, report."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.config import Precision
from hydromae.errors import InputError
from hydromae.evaluate import QuestionName
from hydromae.io.folders import EVALUATION
from hydromae.io.outputs import PAGES, Output, output_folder, replaceable_file
from hydromae.progress import progress_callback

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Protocol = Literal["gb"]
DEFAULT_PERIOD = ("2011-01-01", "2014-09-30")


@dataclass(frozen=True)
class Evaluate:
    """Score a model and the baselines on flow that is hidden from them, and say what of it training may have seen."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote, with flow; or raw files, which are prepared first, for this once."""
    out: Annotated[Path, arg(metavar="EVALUATION")]
    """Folder of the scores: a new one, an empty one, or an evaluation, which is replaced; what else lies there stays."""
    protocol: Protocol | None = None
    """gb: Great Britain's: the shipped model beside donors and the LSTMs that come with the package, the two years that chose
    nothing (2012-10-01 to 2014-09-30), an issue every 10 days. What is named beside it counts instead."""
    model: Path | None = None
    """A shipped name, a run, a checkpoint, or a model folder; without it the baselines alone are scored."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day that is scored; 2011-01-01 2014-09-30 unless the protocol says other."""
    questions: tuple[QuestionName, ...] = get_args(QuestionName)
    """Which questions."""
    issue_interval: int | None = None
    """Days between two issues of a forecast; 30 unless the protocol says other."""
    baselines: bool = True
    """Score the baselines too; --no-baselines leaves them out."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: river flow below zero (tide, backwater) counts as missing, instead of refusing the file."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is what the model was trained in where the device computes in it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": output_folder(self.out, EVALUATION)}

    def run(self, echo: Echo) -> Result:
        """Ask every question, score every answer, show the medians."""
        from hydromae.evaluate import pretrained_lstm, protocol
        from hydromae.evaluate.benchmark import run_protocol
        from hydromae.evaluate.score import FEW_NOTE, summary
        from hydromae.inference.predictor import load
        from hydromae.io.options import use_reading_options
        from hydromae.io.value_ranges import processing_notes

        gb = self.protocol == "gb"
        name, issue_interval = (
            self.model or (Path("gb-rivers") if gb else None),
            self.issue_interval or (10 if gb else 30),
        )
        period = self.period or (protocol.PERIODS["test"] if gb else DEFAULT_PERIOD)
        model = None if name is None else load(name, self.device, self.precision)
        settings = self._settings() | ({} if model is None else {"precision": model.precision_used})
        with use_reading_options(self.negative_flow):
            record = _record(self.store)
        for line in processing_notes(record, self.store):
            echo(line)
        extra_methods = (
            pretrained_lstm.load_methods(record, pretrained_lstm.NETWORKS, self.questions)
            if gb and self.baselines
            else None
        )
        extra_data = {"LSTMs": load(pretrained_lstm.TRAINING_MODEL, "cpu").config.data} if extra_methods else None
        evaluation = run_protocol(
            model,
            record,
            period,
            self.questions,
            issue_interval,
            self.baselines,
            settings,
            extra_methods,
            progress_callback("questions"),
            extra_data,
        )
        evaluation.save(self.out)
        scores = summary(evaluation)
        echo(scores_table(scores))
        echo(events_table(scores))
        if any(row["few"] for row in scores.to_dict("records")):
            echo(FEW_NOTE)
        overlap = evaluation.settings.get("seen_in_training", [])
        for line in overlap:
            echo(line)
        echo(f"{self.out}: scores of every catchment; hydromae report {self.out} makes a page of them")
        rows = json.loads(str(scores.reset_index().to_json(orient="records")))  # NaN, which JSON lacks, becomes null
        return {"path": str(self.out), "scores": rows, "seen_in_training": overlap}

    def _settings(self) -> dict[str, object]:
        """The command, as it was typed."""
        questions_given = () if self.questions == get_args(QuestionName) else self.questions
        options_given = {
            "out": (self.out,),
            "protocol": (self.protocol,) if self.protocol else (),
            "model": (self.model,) if self.model else (),
            "period": self.period or (),
            "questions": questions_given,
            "issue-interval": (self.issue_interval,) if self.issue_interval else (),
            "precision": (self.precision,) if self.precision != "auto" else (),
            "negative-flow": (self.negative_flow,) if self.negative_flow != "refuse" else (),
        }
        words = ["hydromae", "evaluate", self.store]
        for option, values in options_given.items():
            words += [f"--{option}", *values] if values else []
        return {"command": shlex.join(map(str, words if self.baselines else [*words, "--no-baselines"]))}


def _record(source: Path) -> xr.Dataset:
    """A store in memory; raw files are prepared aside."""
    from hydromae.preprocess.prepare import prepare
    from hydromae.store.zarr_store import load_store

    if source.suffix == ".zarr" or not source.exists():
        return load_store(source)
    with tempfile.TemporaryDirectory() as temporary:
        return load_store(prepare(source, f"{temporary}/record.zarr", "catchments"))


def _by_question() -> Table:
    """A table whose numbers are whole on a terminal of 80 columns; a name that is too long is folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("question", "method"):
        table.add_column(head, overflow="fold")
    return table


def scores_table(scores: pd.DataFrame) -> Table:
    """Medians over catchments, a row for each question and method, `*` where they are from few; `--json` has more columns."""
    table = _by_question()
    for head in ("NSE", "p10", "CRPS", "50 %", "90 %", "rivers", "days"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in scores.reset_index().to_dict("records"):
        numbers = [row[name] for name in ("nse_median", "nse_p10", "crps")]
        shares = [row[name] for name in ("coverage50", "coverage90")]
        cells = ["" if n != n else f"{n:.3f}" for n in numbers] + ["" if n != n else f"{n:.0%}" for n in shares]
        cells[0] += "*" if row["few"] and cells[0] else ""
        table.add_row(row["question"], row["method"], *cells, str(row["catchments"]), str(row["days"]))
    return table


def events_table(scores: pd.DataFrame) -> Table:
    """Floods and droughts of all rivers together, for each question that met any: how many, CSI, and Brier score."""
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
    """Turn an evaluation into one HTML page that needs nothing else."""

    evaluation: Annotated[Positional[Path], arg(metavar="EVALUATION")]
    """Folder that hydromae evaluate wrote."""
    out: Path = Path("report.html")
    """The page; one that lies there is replaced."""
    journal: Path | None = None
    """Journal of the training run (JSON lines), for the loss curve."""
    title: str = "Rivers, answered"
    """Heading of the page."""
    card: Path | None = None
    """What is said about the model (a JSON object): name, which picks its scores, data_licence, and anything else."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
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
    """A JSON object from a file."""
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: the model card cannot be read ({error}); give a JSON object") from error
    if not isinstance(card, dict):
        raise InputError(f"{file}: the model card is a {type(card).__name__}; give a JSON object")
    return card
