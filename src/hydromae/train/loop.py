"""The training loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import xarray as xr

from hydromae.batch import Batch
from hydromae.config import Config
from hydromae.data.record import record_of, without
from hydromae.data.scaling import Scaling
from hydromae.data.windows import windows
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.masking import Hidden
from hydromae.modalities import GridSpec
from hydromae.model.mae import HydroMAE
from hydromae.train.checkpoint import CONFIG, load_checkpoint, newest, prune, save_checkpoint, save_model, windows_of
from hydromae.train.engine import Engine, EngineName, make_engine, pick_device
from hydromae.train.journal import Journal
from hydromae.train.measures import Learned, validate
from hydromae.train.optim import Average, Schedule
from hydromae.train.shares import Masked, Share, batches, seed_of
from hydromae.train.world import TIMEOUT, World, joined


@dataclass(frozen=True)
class Progress:
    """What a step reports to whoever watches."""

    step: int
    steps: int
    loss: float
    validation_loss: float | None


def train(
    config: Config,
    dataset: xr.Dataset,
    scaling: Scaling,
    out: Path,
    *,
    grid: GridSpec | None = None,
    resume: bool = False,
    device: str = "auto",
    engine: EngineName = "auto",
    timeout: float = TIMEOUT,
    stop_after: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a model on a water record, in this process, or in all that a launcher started.

    Parameters
    ----------
    config : Config
    dataset : Dataset
        A water record, as `open_store` gives it.
    scaling : Scaling
        From the training period.
    out : Path
        The run's folder: `journal.jsonl`, `checkpoints/`, `best/` and `last/`.
    grid : GridSpec, optional
        Of the maps, where there are any.
    resume : bool
        Go on from the last checkpoint of `out`; the result is the same as if the run had never stopped, to the last bit with
        as many processes as before, within rounding with another number.
    device : str
        "auto", "cpu", "cuda", "mps".
    engine : str
        "auto", "torch", "deepspeed".
    timeout : float
        Longest wait for another process [s].
    stop_after : int, optional
        Stop at this step, with a checkpoint, as if interrupted.
    watch, say : callable
        Called after every logged step, and with what the user should know, in the first process.

    Returns
    -------
    Path
        `out/best`, the weights with the lowest validation loss.

    Raises
    ------
    InputError
        Also where another process is lost or fails, or where the disk is full: every process ends, nothing is lost.
    """
    with joined(pick_device(device), timeout) as world:
        run = Run.begin(config, dataset, scaling, out, grid, resume, engine, world, say if world.first else _silent)
        last = run.steps if stop_after is None else min(run.steps, stop_after)
        taken = batches(run.learn, run.step, last, world.device)
        while run.step < last:
            run.update(taken, last, watch if world.first else _silent)
        if world.first:
            save_model(out / "last", run.answering(), config, scaling, grid)
        world.wait()
    return out / "best"


def _silent(told: object) -> None:
    """The processes that do not speak."""


@dataclass
class Run:
    """A run under way.

    Attributes
    ----------
    learn, check : Masked
        Training batches of this process; validation windows, whose masks never change.
    steps, an_epoch : int, float
        Updates of the whole run, and of an epoch.
    step, best, began : int, float, float
        Updates done; lowest validation loss; when the run would have begun, had it never stopped [s].
    """

    config: Config
    scaling: Scaling
    grid: GridSpec | None
    out: Path
    world: World
    engine: Engine
    average: Average
    learn: Masked
    check: Masked
    journal: Journal
    schedule: Schedule
    steps: int
    an_epoch: float
    step: int = 0
    best: float = math.inf
    began: float = 0.0

    @classmethod
    def begin(
        cls,
        config: Config,
        dataset: xr.Dataset,
        scaling: Scaling,
        out: Path,
        grid: GridSpec | None,
        resume: bool,
        engine: EngineName,
        world: World,
        say: Callable[[str], None],
    ) -> Run:
        """Open the folder, make the model, and go on from the last checkpoint where there is one to go on from."""
        world.agree(_open_run(out, config, resume) if world.first else None)
        found = newest(out) if resume else None
        train, at_once = config.train, config.train.batch_size * config.train.accumulation * world.size
        share = Share.of(at_once if found is None else windows_of(found), world, train.batch_size)
        if share.windows != at_once:
            say(
                f"{out}: {share.windows} windows an update, as before: {world.size} processes take {share.batches} batches "
                f"of {share.batch} each; the same as before within rounding"
            )
        record = record_of(without(dataset, config.data.held_out), config, scaling, grid)
        learn = windows(
            record, config, config.data.training_period, seed=train.seed, augment=True, update=share.windows
        )
        check = windows(record, config, config.data.validation_period, seed=0, augment=False, update=share.windows)
        torch.manual_seed(train.seed)
        model = HydroMAE(config, pixels=(grid or GridSpec()).patch ** 2).know(scaling).to(world.device)
        an_epoch = learn.epoch / share.windows
        steps = max(1, round(train.epochs * an_epoch))
        warmup = min(round(train.warmup_epochs * an_epoch), steps)
        run = cls(
            config,
            scaling,
            grid,
            out,
            world,
            make_engine(engine, model, config, world, share.batches),
            Average(model, train.averaged_weights),
            Masked(learn, share, config),
            Masked(check, share, config),
            Journal(out / "journal.jsonl"),
            Schedule(config.optimizer.lr, config.optimizer.min_lr, warmup, steps),
            steps,
            an_epoch,
            began=time.monotonic(),
        )
        if found is not None:
            run._restore(found)
        if world.first:
            run.journal.rewind(run.step)
        return run

    def _restore(self, found: Path) -> None:
        self.average.weights, state = load_checkpoint(found, self.engine, self.scaling)
        self.average.updates, self.engine.skipped = int(state["updates"]), int(state["skipped"])
        if self.engine.scale and state["loss_scale"]:
            self.engine.scale.restore(state["loss_scale"])
        self.step, self.began = int(state["step"]), time.monotonic() - float(state["seconds"])
        self.best = math.inf if state["best"] is None else float(state["best"])

    def update(self, taken: Iterator[tuple[Batch, Hidden]], last: int, watch: Callable[[Progress], None]) -> None:
        """One update, and what is due after it: validation, journal, checkpoint."""
        train, learned = self.config.train, Learned()
        self.engine.model.train()
        for place in range(self.learn.share.batches):
            first = self.learn.share.numbers(self.step * self.learn.share.batches + place).start
            batch, hidden = next(taken)
            torch.manual_seed(seed_of(train.seed, 3, first))  # what the model draws belongs to the windows, too
            with self.engine.turn():
                total, parts = loss(self.engine.predict(batch, hidden), batch, hidden, self.config)
                self.engine.backward(total)
            learned.add(total.detach(), parts)
        lr = self.schedule(self.step)
        norm = self.engine.update(lr)
        self.average.update(self.engine.model)
        self.step += 1
        validation = self._validate() if self._due(train.validate_every) else None
        if self.step % train.log_every == 0 or validation is not None:
            value, mse = learned.over(self.world, self.learn.share.batches)
            if self.world.first:
                self._log(value, mse, validation, lr, norm)
                watch(Progress(self.step, self.steps, value, validation))
        if self._due(train.checkpoint_every) or self.step == last:
            self._save()

    def _due(self, epochs: float) -> bool:
        """Whether something that happens every so many epochs, and at the end, is due."""
        return self.step % max(1, round(epochs * self.an_epoch)) == 0 or self.step == self.steps

    def _validate(self) -> float:
        value = validate(self.engine.model, self.average, self.check, self.world)
        if value < self.best:
            self.best = value
            if self.world.first:
                save_model(self.out / "best", self.answering(), self.config, self.scaling, self.grid)
        return value

    def _log(self, value: float, mse: dict[str, float], validation: float | None, lr: float, norm: float) -> None:
        self.journal.write(
            step=self.step,
            epoch=round(self.step / self.an_epoch, 4),
            loss=value,
            validation_loss=validation,
            lr=lr,
            gradient_norm=norm,
            loss_scale=self.engine.scale.value if self.engine.scale else None,
            skipped=self.engine.skipped,
            seconds=round(time.monotonic() - self.began, 3),
            mse=mse,
        )

    def _save(self) -> None:
        state = {
            "step": self.step,
            "windows": self.learn.share.windows,
            "parts": self.world.size,
            "skipped": self.engine.skipped,
            "loss_scale": self.engine.scale.state() if self.engine.scale else None,
            "updates": self.average.updates,
            "seconds": time.monotonic() - self.began,
            "best": self.best if self.best < math.inf else None,
        }
        folder = self.out / "checkpoints" / f"step-{self.step:07d}"
        save_checkpoint(folder, self.engine, self.average.kept, state, self.config, self.scaling, self.grid, self.world)
        if self.world.first:
            prune(self.out, self.config.train.keep_last)

    def answering(self) -> dict[str, torch.Tensor]:
        """The weights that a run answers with: the average where one is kept."""
        return self.average.kept or self.engine.model.state_dict()


def _open_run(out: Path, config: Config, resume: bool) -> str | None:
    """Make the run's folder; the fault where another run lies there, or one with another configuration is to go on."""
    written = out / CONFIG
    try:
        if written.is_file():
            if not resume:
                return f"{out}: holds a run already; name another folder, or go on with --resume"
            if Config.from_json(written.read_text(encoding="utf-8"), str(written)) != config:
                return (
                    f"{written}: differs from the configuration given; resume with the run's own, or start a new folder"
                )
            return None
        out.mkdir(parents=True, exist_ok=True)
        aside = written.with_suffix(".partial")
        aside.write_text(config.to_json(), encoding="utf-8")
        aside.replace(written)
    except OSError as error:
        return f"{out}: cannot be written ({error.strerror}); make room there, or name another folder"
    except InputError as error:
        return str(error)
    return None
