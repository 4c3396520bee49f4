"""Commands on models: pretrain, predict, forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result, best_model_line, command_text, is_main_process, set_threads
from hydromae.cli.configuration import Preset, base_settings, resolve_config
from hydromae.config import Config, Precision
from hydromae.errors import InputError
from hydromae.io.folders import RUN
from hydromae.io.outputs import TABLES, Output, answer_outputs, output_folder, shared_folder
from hydromae.progress import progress_callback, report_progress

if TYPE_CHECKING:
    import numpy as np

    from hydromae.train.trainer import StepProgress as Step


@dataclass(frozen=True)
class Pretrain:
    """Train a model on a store. Every field of the configuration is an option; --preset or --config sets the start."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    out: Annotated[Path, arg(metavar="RUN")]
    """Folder of the run: journal, checkpoints, and the model in best/ and last/."""
    preset: Preset = "rivers"
    """tiny (tests, demo), rivers (catchment datasets), base (the seed), fast (the same, attention in two directions)."""
    config: Path | None = None
    """A Python file that builds `config`, or a config.json of a run; takes the place of --preset."""
    held_out: Literal["benchmark"] | Path | None = None
    """Catchments kept out of every sample: a file with one a line, or benchmark, the tenth that the benchmark holds out."""
    resume: bool = False
    """Go on from the last checkpoint of the run."""
    new_run: bool = False
    """Begin a run in a folder of its own inside RUN, named with the time [UTC], such as 2026-11-29T08-24-00; of several,
    commands that take --model RUN take the newest."""
    stop_after: int | None = None
    """Stop at this step, with a checkpoint from which --resume goes on; the end of the schedule where not given."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    engine: Literal["auto", "torch", "deepspeed"] = "auto"
    """What drives several processes: DeepSpeed where it is installed and a launcher started the run, else torch's own."""
    timeout: float = 1800.0
    """Longest wait for another process [s]."""
    threads: int | None = None
    """Threads of the CPU; all where it is not given."""
    settings: Annotated[Config, arg(name="")] = field(default_factory=base_settings)
    """The configuration."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        if self.new_run:  # several may begin at once, each in a folder of its own
            return {"out": shared_folder(self.out, is_exclusive=False)}
        return {"out": output_folder(self.out, RUN, (self.config, self.held_out) if self.resume else ())}

    def run(self, echo: Echo) -> Result:
        """Train, with progress and time left."""
        from hydromae.store.scaling_cache import scaling_for
        from hydromae.store.validate import store_errors
        from hydromae.store.zarr_store import grid_of, open_store
        from hydromae.train.new_runs import refuse_new_and_resume
        from hydromae.train.resume import can_begin
        from hydromae.train.trainer import train

        refuse_new_and_resume(self.new_run, self.resume)
        set_threads(self.threads)
        settings = resolve_config(self.settings)
        dataset = open_store(self.store)
        config = settings.having(data={"held_out": self._held_out(dataset["catchment"].values)})
        grid = grid_of(dataset) if "grid" in dataset.attrs else None
        # runs that begin at once write no common file, and a refused one writes none
        keeps_scaling = is_main_process() and not self.new_run and can_begin(self.out, config, self.resume)
        with store_errors(self.store):
            scaling = scaling_for(dataset, config, self.out if keeps_scaling else None, echo)
        best = train(
            config,
            dataset,
            scaling,
            self.out,
            grid=grid,
            resume=self.resume,
            new_run=self.new_run,
            device=self.device,
            engine=self.engine,
            timeout=self.timeout,
            stop_after=self.stop_after,
            progress=loss_progress(),
            log=echo,
        )
        summary, path = best_model_line(best, self.store)
        echo(summary)
        return {"path": path, "run": str(best.parent), "last": str(best.with_name("last"))}

    def _held_out(self, catchments: np.ndarray) -> tuple[str, ...]:
        if self.held_out is None:
            return self.settings.data.held_out
        if self.held_out == "benchmark":
            from hydromae.evaluate.protocol import held_out

            return tuple(str(name) for name in held_out(catchments))
        try:
            names = tuple(Path(self.held_out).read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError) as error:
            fault = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise InputError(
                f"{self.held_out}: cannot be read ({fault}); give a file with one catchment a line"
            ) from error
        if not names:
            raise InputError(f"{self.held_out}: names no catchment; give one a line, or leave --held-out out")
        return names


def loss_progress() -> Callable[[Step], None]:
    """Something that the training loop can call: says loss and last validation loss beside the steps that are done."""
    from hydromae.train.updates import STEPS

    validation: list[str] = [""]

    def step(step: Step) -> None:
        if step.validation_loss is not None:
            validation[0] = f", validation {step.validation_loss:.4f}"
        report_progress(STEPS, step.step, step.steps, f"loss {step.loss:.4f}{validation[0]}")

    return step


@dataclass(frozen=True)
class Predict:
    """Answer every NaN of a record: gaps, the days at its end, rivers that nobody gauged."""

    question: Annotated[Positional[Path], arg(metavar="QUESTION")]
    """A record with NaN: .nc, .zarr, .csv or .parquet, or a folder as hydromae prepare reads it."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The answer: .nc, .zarr, .csv or .parquet. A file that lies there, or an earlier answer in Zarr, is replaced. The answer
    to a table has its rows, columns, names, dates and units, and columns of the answer after them."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), where the record has none of its own."""
    units: str | None = None
    """Units of flow in a wide table (a column a river) whose columns say none, such as "m3 s-1"."""
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    """Levels of the quantiles."""
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
        return answer_outputs(self.out)

    def run(self, echo: Echo) -> Result:
        """Read, answer, write."""
        from hydromae.datasets import reader
        from hydromae.inference.predictor import load
        from hydromae.io.options import use_reading_options
        from hydromae.io.provenance import count_origins, provenance, value_selector, with_provenance
        from hydromae.io.value_ranges import processing_notes
        from hydromae.io.write import write_answer

        model = load(self.model, self.device, self.precision)
        with use_reading_options(self.negative_flow):
            loaded = reader.read_for_prediction(
                self.question, self.attributes, self.units, as_text=self.out.suffix == ".csv"
            )
        for line in (*loaded.plan, *processing_notes(loaded.record, self.question)):
            echo(line)
        answer = model.predict(loaded.record, self.quantiles, progress=progress_callback("windows"))
        for line in processing_notes(answer.drop_vars(loaded.record.data_vars, errors="ignore"), self.out):
            echo(line)
        as_table = self.out.suffix in TABLES
        to_output = loaded.layout.to_frame if as_table else loaded.layout.to_dataset
        values = count_origins(answer, value_selector(loaded.layout, as_table))
        provenance_record = provenance(model.identity, loaded.record, values, command_text())
        write_answer(with_provenance(to_output(answer, loaded.record), provenance_record), self.out, loaded.dialect)
        counts = {name: count for name, count in values.get("riverflow", {}).items() if name != "missing"}
        summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        echo(f"{self.out}: daily flows of {answer.sizes['catchment']} catchments: {summary}")
        return {"path": str(self.out), **counts}


@dataclass(frozen=True)
class Forecast:
    """Forecast every river of a record, from its last day or, as a hindcast, from issue days inside it."""

    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """A record: .nc, .zarr, .csv or .parquet, or a folder as hydromae prepare reads it."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The forecasts: .nc or .zarr, riverflow(issue_time, lead, catchment); .csv or .parquet, a row for each of these. Flow
    has the units of the record. A file that lies there is replaced."""
    days: int = 7
    """Days ahead."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last issue day; the last day with flow where not given."""
    issue_interval: int = 1
    """Days from one issue day to the next in the period."""
    future_weather: Literal["observed", "none"] = "observed"
    """observed: weather after an issue day is used, where the record holds it; none: hidden. Flow after it never is used."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), where the record has none of its own."""
    units: str | None = None
    """Units of flow in a wide table (a column a river) whose columns say none, such as "m3 s-1"."""
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
        return answer_outputs(self.out)

    def run(self, echo: Echo) -> Result:
        """Read, forecast, write."""
        from hydromae.datasets import reader
        from hydromae.inference.predictor import load
        from hydromae.inference.scenarios import hindcast_issues
        from hydromae.io.options import use_reading_options
        from hydromae.io.provenance import count_origins, provenance, with_provenance
        from hydromae.io.value_ranges import processing_notes
        from hydromae.io.write import forecast_in_units, forecast_table, write_answer

        issues = None if self.period is None else hindcast_issues(self.period, self.issue_interval)
        model = load(self.model, self.device, self.precision)
        with use_reading_options(self.negative_flow):
            loaded = reader.read_for_prediction(self.record, self.attributes, self.units)
        for line in (*loaded.plan, *processing_notes(loaded.record, self.record)):
            echo(line)
        record, (column, units) = loaded.record, loaded.layout.flow
        answer = model.forecast_record(
            record, self.days, issues, self.future_weather, progress=progress_callback("issue days")
        )
        for line in processing_notes(answer.drop_vars("riverflow"), self.out):
            echo(line)
        answer = forecast_in_units(answer, units, record.get("catchment-area"))
        provenance_record = provenance(model.identity, record, count_origins(answer), command_text())
        to_output = forecast_table(answer, column) if self.out.suffix in TABLES else answer
        write_answer(with_provenance(to_output, provenance_record), self.out, loaded.dialect)
        count = answer.sizes["issue_time"]
        echo(f"{self.out}: {count} issue days, {self.days} days ahead, {answer.sizes['catchment']} catchments")
        return {"path": str(self.out), "issues": count, "days": self.days}
