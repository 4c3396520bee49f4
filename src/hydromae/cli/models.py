"""Commands on models: pretrain, predict, forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import (
    Echo,
    Result,
    best_model_line,
    check_river,
    command_text,
    draw_river,
    is_main_process,
    picture_output,
    set_threads,
)
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
    """Train a model on a store. Every field of the configuration is an option; --preset or --config sets the defaults."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    out: Annotated[Path, arg(metavar="RUN")]
    """Folder of the run: metrics log, checkpoints, and the model in best/ and last/."""
    preset: Preset = "rivers"
    """tiny (tests, demo), rivers (catchment datasets), national (with maps), base (reference specification), fast
    (alternating attention)."""
    config: Path | None = None
    """A Python file that defines `config`, or the config.json of a run; replaces --preset."""
    held_out: Literal["benchmark"] | Path | None = None
    """Held-out catchments: a file with one per line, or benchmark (the held-out catchments of the protocol)."""
    resume: bool = False
    """Continue from the last checkpoint of the run."""
    new_run: bool = False
    """Start a run in a new folder inside RUN, named after the time [UTC], such as 2026-11-29T08-24-00. Commands with
    --model RUN use the newest."""
    stop_after: int | None = None
    """Stop at this step with a checkpoint, which --resume continues; default the end of the schedule."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    engine: Literal["auto", "torch", "deepspeed"] = "auto"
    """Engine of several processes; auto is DeepSpeed if it is installed and a launcher started the run, else torch."""
    timeout: float = 1800.0
    """Maximum wait for another process [s]."""
    threads: int | None = None
    """Threads of the CPU; default all."""
    settings: Annotated[Config, arg(name="")] = field(default_factory=base_settings)
    """The configuration."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        if self.new_run:  # several runs may start at once, each in its own folder
            return {"out": shared_folder(self.out, is_exclusive=False)}
        return {"out": output_folder(self.out, RUN, (self.config, self.held_out) if self.resume else ())}

    def run(self, echo: Echo) -> Result:
        """Train, with progress and remaining time."""
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
        # runs that start at once share no file, and a refused run writes none
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
                f"{self.held_out}: cannot be read ({fault}); give a file with one catchment per line"
            ) from error
        if not names:
            raise InputError(f"{self.held_out}: has no catchments; give one per line, or omit --held-out")
        return names


def loss_progress() -> Callable[[Step], None]:
    """Return a callback of the training loop that shows steps, loss and the last validation loss."""
    from hydromae.train.updates import STEPS

    validation: list[str] = [""]

    def step(step: Step) -> None:
        if step.validation_loss is not None:
            validation[0] = f", validation {step.validation_loss:.4f}"
        report_progress(STEPS, step.step, step.steps, f"loss {step.loss:.4f}{validation[0]}")

    return step


@dataclass(frozen=True)
class Predict:
    """Predict every NaN of a record: gaps, days at its end, ungauged rivers."""

    question: Annotated[Positional[Path], arg(metavar="QUESTION")]
    """A record with NaN: .nc, .zarr, .csv or .parquet, or a folder that hydromae prepare reads."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The predictions: .nc, .zarr, .csv or .parquet. An existing file, or an earlier answer in Zarr, is replaced. A table
    keeps its rows, columns, names, dates and units; new columns follow."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), if the record has none."""
    units: str | None = None
    """Units of flow in a wide table (one column per river) without units, such as "m3 s-1"."""
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    """Levels of the predicted quantiles."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Day of the only ERA5-Land sum of a day in a folder with maps, if the file does not state it."""
    boundaries: Path | None = None
    """Catchment boundaries (.gpkg, .geojson, .shp) for the weather of maps in a folder; default discs of the area."""
    picture: Path | None = None
    """Also draw a river as PNG."""
    river: str | None = None
    """River of the picture; default the one with most predicted days."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return answer_outputs(self.out) | picture_output(self.picture, self.river)

    def run(self, echo: Echo) -> Result:
        """Read, predict, write."""
        from hydromae.datasets import reader
        from hydromae.inference.predictor import load
        from hydromae.io.options import use_reading_options
        from hydromae.io.provenance import count_origins, provenance, value_selector, with_provenance
        from hydromae.io.value_ranges import processing_notes
        from hydromae.io.write import write_answer

        model = load(self.model, self.device, self.precision)
        with use_reading_options(self.negative_flow, self.daily_sums, self.boundaries):
            loaded = reader.read_for_prediction(
                self.question, self.attributes, self.units, as_text=self.out.suffix == ".csv"
            )
        check_river(loaded.record, self.river)
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
        if self.picture is not None:
            draw_river(loaded.layout.to_dataset(answer, loaded.record), self.river, self.picture)
        counts = {name: count for name, count in values.get("riverflow", {}).items() if name != "missing"}
        summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        echo(f"{self.out}: daily flows of {answer.sizes['catchment']} catchments: {summary}")
        return {"path": str(self.out), **counts}


@dataclass(frozen=True)
class Forecast:
    """Forecast every river of a record from its last day, or from issue days inside it (hindcast)."""

    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """A record: .nc, .zarr, .csv or .parquet, or a folder that hydromae prepare reads."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The forecasts: .nc or .zarr with riverflow(issue_time, lead, catchment), or .csv or .parquet with one row for each of
    these. Flow has the units of the record. An existing file is replaced."""
    days: int = 7
    """Days ahead of an issue day."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last issue day; default the last day with flow."""
    issue_interval: int = 1
    """Days between two issue days of the period."""
    future_weather: Literal["observed", "none"] = "observed"
    """observed: use the weather of the record after an issue day; none: hide it. Flow after it is never used."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), if the record has none."""
    units: str | None = None
    """Units of flow in a wide table (one column per river) without units, such as "m3 s-1"."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Day of the only ERA5-Land sum of a day in a folder with maps, if the file does not state it."""
    boundaries: Path | None = None
    """Catchment boundaries (.gpkg, .geojson, .shp) for the weather of maps in a folder; default discs of the area."""
    picture: Path | None = None
    """Also draw a river as PNG."""
    river: str | None = None
    """River of the picture; default the one with most predicted days."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return answer_outputs(self.out) | picture_output(self.picture, self.river)

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
        with use_reading_options(self.negative_flow, self.daily_sums, self.boundaries):
            loaded = reader.read_for_prediction(self.record, self.attributes, self.units)
        check_river(loaded.record, self.river)
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
        if self.picture is not None:
            draw_river(answer, self.river, self.picture)
        count = answer.sizes["issue_time"]
        echo(f"{self.out}: {count} issue days, {self.days} days ahead, {answer.sizes['catchment']} catchments")
        return {"path": str(self.out), "issues": count, "days": self.days}
