"""The command pretrain: train a model on a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result, best_model_line, is_main_process, set_threads
from hydromae.cli.configuration import Preset, base_settings, resolve_config
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.io.folders import RUN
from hydromae.io.outputs import Output, output_folder, shared_folder
from hydromae.progress import report_progress

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
