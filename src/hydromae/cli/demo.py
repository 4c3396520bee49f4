"""The command demo: train and evaluate a small model on a synthetic record with a known truth."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.cli.pretraining import loss_progress
from hydromae.config.presets import DEMO
from hydromae.io.atomic import remove, write_netcdf
from hydromae.io.outputs import Output, new_output
from hydromae.progress import progress_callback

if TYPE_CHECKING:
    import xarray as xr

START, DAYS = "2003-01-01", 3653
PERIOD = ("2011-01-01", "2012-12-31")
FIRST_PAGE, FIRST_CATCHMENTS, FIRST_QUESTIONS = "gb-rivers.html", 30, ("gap", "ungauged")
FIRST_PERIOD = ("2011-01-01", "2011-12-31")
OUTPUT_NAMES = ("virtual.nc", "rivers.zarr", FIRST_PAGE, "run", "answer.nc", "evaluation", "report.html")
RECORD = "Virtual GB: {} synthetic rivers, weather and flow with a known truth"
QUESTIONS = ("gap", "ungauged", "simulate", "forecast", "forecast-blind")


@dataclass(frozen=True)
class Demo:
    """Make a synthetic record, show predictions of the shipped model on it, then train a small model and evaluate it."""

    out: Annotated[Positional[Path], arg(metavar="FOLDER")] = Path("demo")
    """Folder of all files of the demo."""
    catchments: int = 200
    """Number of catchments."""
    epochs: float = DEMO.train.epochs
    """Epochs of training, of 100 steps each; fewer are faster and worse."""
    issue_interval: int = 30
    """Days between two issue days."""
    seed: int = 0
    """Random seed."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Generate, prepare, train, predict, report; an interrupted demo removes its files."""
        self.out.mkdir(parents=True)
        try:
            return self._run_steps(echo)
        except KeyboardInterrupt:
            for name in OUTPUT_NAMES:
                remove(self.out / name)
            with suppress(OSError):  # not empty: files of others
                self.out.rmdir()
            raise

    def _run_steps(self, echo: Echo) -> Result:
        from hydromae.evaluate.benchmark import run_protocol
        from hydromae.evaluate.summary import summarise
        from hydromae.inference.predictor import load
        from hydromae.io.write import write_answer
        from hydromae.report.page import write_report
        from hydromae.store.scaling_cache import scaling_for
        from hydromae.store.zarr_store import open_store
        from hydromae.train.trainer import train

        started = time.monotonic()
        self._first_page(echo)
        store = self._store(echo)
        record = open_store(store).load()
        echo(f"training a small model on 2003 to 2010, {os.cpu_count()} cores")
        config = DEMO.having(
            train={"epochs": self.epochs, "seed": self.seed}, data={"held_out": benchmark_split(record)}
        )
        scaling = scaling_for(record, config, self.out / "run", echo)
        train(config, record, scaling, self.out / "run", progress=loss_progress())
        model = load(self.out / "run")
        answer = model.predict(three_questions(record), progress=progress_callback("windows"))
        write_answer(answer, self.out / "answer.nc")
        echo(f"{self.out / 'answer.nc'}: a gap, a forecast and an ungauged river, predicted")
        command = f"hydromae demo --catchments {self.catchments} --epochs {self.epochs:g} --seed {self.seed}"
        echo("predicting all tasks of the protocol in 2011 and 2012, with the model and the baselines")
        evaluation = run_protocol(
            model,
            record,
            PERIOD,
            QUESTIONS,
            self.issue_interval,
            True,
            {"command": command, "seed": self.seed},
            progress=progress_callback("questions"),
        )
        evaluation.save(self.out / "evaluation")
        card: dict[str, object] = {
            "name": model.name,
            "record": RECORD.format(self.catchments),
            "trained on": "2003-01-01 to 2010-12-31, without a tenth of the rivers",
        }
        page = write_report(
            evaluation,
            self.out / "run" / "journal.jsonl",
            self.out / "report.html",
            title="Synthetic rivers of Great Britain, predicted",
            model_card=card,
        )
        scores = summarise(evaluation.scores)
        model_scores = scores.reset_index().query("method == @model.name")
        medians = {
            str(q): round(float(m), 4)
            for q, m in zip(model_scores["question"], model_scores["nse_median"], strict=True)
        }
        echo("median NSE over rivers: " + ", ".join(f"{q} {value:.2f}" for q, value in medians.items()))
        echo(f"{page.absolute()}: the report, after {(time.monotonic() - started) / 60:.1f} minutes")
        return {"report": str(page.absolute()), "median_nse": medians, "seconds": time.monotonic() - started}

    def _first_page(self, echo: Echo) -> None:
        """Write a page with predictions of the shipped model for a few rivers, before the training."""
        from hydromae.evaluate.benchmark import run_protocol
        from hydromae.inference.predictor import load
        from hydromae.report.page import write_report
        from hydromae.virtual import virtual_catchments

        record = virtual_catchments(730, self.seed, "2010-01-01", FIRST_CATCHMENTS)
        settings = {"command": "hydromae demo", "seed": self.seed}
        evaluation = run_protocol(
            load("gb-rivers"), record, FIRST_PERIOD, FIRST_QUESTIONS, self.issue_interval, False, settings
        )
        card: dict[str, object] = {
            "name": "gb-rivers",
            "record": RECORD.format(FIRST_CATCHMENTS),
        }
        title = "Synthetic rivers, predicted by gb-rivers"
        page = write_report(evaluation, None, self.out / FIRST_PAGE, title=title, model_card=card)
        echo(f"{page.absolute()}: predictions of the shipped model gb-rivers; open it while a small model is trained")

    def _store(self, echo: Echo) -> Path:
        from hydromae.preprocess.prepare import prepare
        from hydromae.virtual import virtual_catchments

        echo(f"generating {DAYS} days of {self.catchments} synthetic rivers, seed {self.seed}")
        raw, store = self.out / "virtual.nc", self.out / "rivers.zarr"
        write_netcdf(virtual_catchments(DAYS, self.seed, START, self.catchments), raw)
        prepare(raw, store, training_period=("2003-01-01", "2010-12-31"))
        return store


def benchmark_split(record: xr.Dataset) -> tuple[str, ...]:
    """Return the held-out catchments of the protocol, as the configuration names them."""
    from hydromae.evaluate.protocol import held_out

    return tuple(str(name) for name in held_out(record["catchment"].values))


def three_questions(record: xr.Dataset) -> xr.Dataset:
    """Return the last two years with a gap of 20 days in one river, an ungauged river, and no flow in the last 7 days."""
    from hydromae.evaluate.protocol import held_out

    incomplete_record = record.isel(time=slice(-730, None)).copy(deep=True)
    names = incomplete_record["catchment"].values
    ungauged = held_out(names)[0]
    gap_name = names[names != ungauged][0]
    flow = incomplete_record["riverflow"]
    flow.loc[{"catchment": ungauged}] = float("nan")
    flow[{"time": slice(365, 385), "catchment": int((names == gap_name).argmax())}] = float("nan")
    flow[{"time": slice(-7, None)}] = float("nan")
    return incomplete_record
