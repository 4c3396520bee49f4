"""The demo: from nothing to a page, on an invented country whose truth is known."""

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
from hydromae.cli.models import loss_progress
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
RECORD = "Virtual GB: {} invented rivers, weather and flow with a known truth"
QUESTIONS = ("gap", "ungauged", "simulate", "forecast", "forecast-blind")


@dataclass(frozen=True)
class Demo:
    """Make a synthetic record, show predictions of the shipped model on it, then train a small model and evaluate it."""

    out: Annotated[Positional[Path], arg(metavar="FOLDER")] = Path("demo")
    """Folder for everything the demo makes."""
    catchments: int = 200
    """Rivers in the country."""
    epochs: float = DEMO.train.epochs
    """Epochs of training, of 100 steps each; fewer are faster and worse."""
    issue_interval: int = 30
    """Days between two issues of a forecast."""
    seed: int = 0
    """Which country."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Generate, prepare, train, answer, report; what is stopped on the way leaves nothing."""
        self.out.mkdir(parents=True)
        try:
            return self._run_steps(echo)
        except KeyboardInterrupt:
            for name in OUTPUT_NAMES:
                remove(self.out / name)
            with suppress(OSError):  # not empty: what somebody else put there
                self.out.rmdir()
            raise

    def _run_steps(self, echo: Echo) -> Result:
        from hydromae.evaluate.benchmark import run_protocol
        from hydromae.evaluate.score import summary
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
        echo("asking every question of the protocol about 2011 and 2012, of the model and of the baselines")
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
            title="An invented Britain, answered",
            model_card=card,
        )
        scores = summary(evaluation)
        model_scores = scores.reset_index().query("method == @model.name")
        medians = {
            str(q): round(float(m), 4)
            for q, m in zip(model_scores["question"], model_scores["nse_median"], strict=True)
        }
        echo("median NSE over rivers: " + ", ".join(f"{q} {value:.2f}" for q, value in medians.items()))
        echo(f"{page.absolute()}: the report; made in {(time.monotonic() - started) / 60:.1f} minutes")
        return {"report": str(page.absolute()), "median_nse": medians, "seconds": time.monotonic() - started}

    def _first_page(self, echo: Echo) -> None:
        """Predictions of the shipped model for a few rivers, as a page, before anything is trained."""
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

        echo(f"inventing {DAYS} days of {self.catchments} rivers, seed {self.seed}")
        raw, store = self.out / "virtual.nc", self.out / "rivers.zarr"
        write_netcdf(virtual_catchments(DAYS, self.seed, START, self.catchments), raw)
        prepare(raw, store, training_period=("2003-01-01", "2010-12-31"))
        return store


def benchmark_split(record: xr.Dataset) -> tuple[str, ...]:
    """The protocol's tenth of the catchments, as the configuration names them."""
    from hydromae.evaluate.protocol import held_out

    return tuple(str(name) for name in held_out(record["catchment"].values))


def three_questions(record: xr.Dataset) -> xr.Dataset:
    """The last two years with a gap of 20 days in one river, a river without flow, and no flow in the last 7 days."""
    from hydromae.evaluate.protocol import held_out

    record_asked = record.isel(time=slice(-730, None)).copy(deep=True)
    names = record_asked["catchment"].values
    ungauged = held_out(names)[0]
    gappy_name = names[names != ungauged][0]
    flow = record_asked["riverflow"]
    flow.loc[{"catchment": ungauged}] = float("nan")
    flow[{"time": slice(365, 385), "catchment": int((names == gappy_name).argmax())}] = float("nan")
    flow[{"time": slice(-7, None)}] = float("nan")
    return record_asked
