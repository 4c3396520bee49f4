"""Commands on scores: evaluate, report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Result, Say
from hydromae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

QuestionName = Literal["fill", "ungauged", "simulate", "forecast", "forecast-blind"]


@dataclass(frozen=True)
class Evaluate:
    """Score a model and the baselines on rivers and days they never saw: fill, ungauged, simulate, forecast."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote, with flow."""
    out: Annotated[Path, arg(metavar="EVALUATION")]
    """Folder of the scores; replaced if it lies there."""
    model: Path | None = None
    """A run, a checkpoint, or a model folder; without it the baselines alone are scored."""
    period: tuple[str, str] = ("2011-01-01", "2014-09-30")
    """First and last day that is scored."""
    questions: tuple[QuestionName, ...] = ("fill", "ungauged", "simulate", "forecast", "forecast-blind")
    """Which questions."""
    every: int = 30
    """Days between two issues of a forecast (the protocol reports with 5)."""
    baselines: bool = True
    """Score the baselines too; --no-baselines leaves them out."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Ask every question, score every answer, show the medians."""
        from hydromae.data.store import load_store
        from hydromae.evaluate.run import run_protocol
        from hydromae.evaluate.score import summary
        from hydromae.predict import load

        model = None if self.model is None else load(self.model, self.device)
        record = load_store(self.store)
        evaluation = run_protocol(
            model, record, self.period, self.questions, self.every, self.baselines, self._settings()
        )
        evaluation.save(self.out)
        found = summary(evaluation)
        say(scores_table(found))
        say(f"{self.out}: scores of every catchment; hydromae report {self.out} makes a page of them")
        rows = json.loads(str(found.reset_index().to_json(orient="records")))  # NaN, which JSON lacks, becomes null
        return {"path": str(self.out), "scores": rows}

    def _settings(self) -> dict[str, object]:
        model = "" if self.model is None else f" --model {self.model}"
        return {"command": f"hydromae evaluate {self.store} --out {self.out}{model} --every {self.every}"}


def scores_table(found: pd.DataFrame) -> Table:
    """Medians over catchments, a row for each question and method; `--json` has more columns."""
    table = Table("question", "method", "NSE", "p10", "CRPS", "50 %", "90 %", "rivers", box=None, pad_edge=False)
    for column in table.columns[:2]:
        column.no_wrap, column.min_width = True, 18
    for row in found.reset_index().to_dict("records"):
        numbers = [row[name] for name in ("nse_median", "nse_p10", "crps")]
        shares = [row[name] for name in ("coverage50", "coverage90")]
        cells = ["" if n != n else f"{n:.3f}" for n in numbers] + ["" if n != n else f"{n:.0%}" for n in shares]
        table.add_row(row["question"], row["method"], *cells, str(row["catchments"]))
    return table


@dataclass(frozen=True)
class Report:
    """Turn an evaluation into one HTML page that needs nothing else."""

    evaluation: Annotated[Positional[Path], arg(metavar="EVALUATION")]
    """Folder that hydromae evaluate wrote."""
    out: Path = Path("report.html")
    """The page."""
    journal: Path | None = None
    """Journal of the training run (JSON lines), for the loss curve."""
    title: str = "British rivers, answered"
    """Heading of the page."""
    card: Path | None = None
    """What is said about the model (a JSON object): name, which picks its scores, data_licence, and anything else."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Write the page."""
        from hydromae.evaluate.score import Evaluation
        from hydromae.report.page import write_report

        card = {} if self.card is None else read_card(self.card)
        page = write_report(Evaluation.load(self.evaluation), self.journal, self.out, title=self.title, model_card=card)
        say(f"{page}: open it in a browser")
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
