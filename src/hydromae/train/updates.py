"""A run under way: one update after another, and what is due after each: validation, journal, checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import xarray as xr

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.config import Config, Precision
from hydromae.distributed import World
from hydromae.grid import GridSpec
from hydromae.losses import loss
from hydromae.model.serialization import CHECKPOINTS, merge_lora
from hydromae.store.scaling import Scaling
from hydromae.train.checkpoint import load_checkpoint, prune, save_checkpoint, save_model
from hydromae.train.engine import Engine, EngineName
from hydromae.train.finetune import Start
from hydromae.train.loggers import Tracker
from hydromae.train.metrics_log import Journal
from hydromae.train.optimizer import Average, Schedule
from hydromae.train.sampler import Masked, seed_of
from hydromae.train.validation import Learned, validate

STEPS = "training, steps"
"""How a run calls what it counts (`progress.tell`)."""


@dataclass(frozen=True)
class Progress:
    """What a step reports to whoever watches."""

    step: int
    steps: int
    loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class Beginning:
    """What a run is made from; the attributes are those of `train`, and `say` is silent in all processes but the first."""

    config: Config
    dataset: xr.Dataset
    scaling: Scaling
    out: Path
    grid: GridSpec | None
    start: Start | None
    resume: bool
    engine: EngineName
    say: Callable[[str], None]
    notes: Mapping[str, str]


@dataclass
class Run:
    """A run under way.

    Attributes:
        learn, check: Training batches of this process; validation windows, whose masks never change.
        an_epoch: Updates of an epoch.
        precision: What the run computes in: never "auto".
        step, best, began: Updates done; lowest validation loss; when the run would have begun, had it never stopped [s].
    """

    made_from: Beginning
    world: World
    engine: Engine
    average: Average
    learn: Masked
    check: Masked
    tracker: Tracker
    journal: Journal
    schedule: Schedule
    an_epoch: float
    precision: Precision
    step: int = 0
    best: float = math.inf
    began: float = 0.0

    @property
    def config(self) -> Config:
        """Of the run."""
        return self.made_from.config

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.schedule.steps

    def restore(self, found: Path) -> None:
        """Go on from a checkpoint."""
        self.average.weights, state = load_checkpoint(found, self.engine, self.made_from.scaling)
        self.average.updates, self.engine.skipped = int(state["updates"]), int(state["skipped"])
        if self.engine.scale and state["loss_scale"]:
            self.engine.scale.restore(state["loss_scale"])
        if (before := state.get("precision", self.precision)) != self.precision:
            self.made_from.say(
                f"precision: {self.precision} from here on, {before} before: not the same to the last bit"
            )
        self.step, self.began = int(state["step"]), time.monotonic() - float(state["seconds"])
        self.best = math.inf if state["best"] is None else float(state["best"])

    def update(self, taken: Iterator[tuple[Batch, Hidden]], watch: Callable[[Progress], None]) -> None:
        """One update, and what is due after it: validation and a line of the journal."""
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
        if self._logged() or validation is not None:
            value, mse = learned.over(self.world, self.learn.share.batches)
            if self.world.first:
                self._log(value, mse, validation, lr, norm)
                watch(Progress(self.step, self.steps, value, validation))

    def save_if(self, asked: bool) -> None:
        """Write a checkpoint where one is asked for or due; every process calls this."""
        if asked or self._due(self.config.train.checkpoint_every):
            self._save()

    def _due(self, epochs: float) -> bool:
        """Whether something that happens every so many epochs, and at the end, is due."""
        return self.step % max(1, round(epochs * self.an_epoch)) == 0 or self.step == self.steps

    def _logged(self) -> bool:
        """Whether the update that has ended held the last of `log_every` batches of this process."""
        done, every = self.step * self.learn.share.batches, self.config.train.log_every
        return done // every > (done - self.learn.share.batches) // every

    def _validate(self) -> float:
        value = validate(self.engine.model, self.average, self.check, self.world)
        if value < self.best:
            self.best = value
            if self.world.first:
                self.save_model("best")
        return value

    def _log(
        self, value: float, mse: dict[str, float | None], validation: float | None, lr: float, norm: float
    ) -> None:
        self.journal.write(
            step=self.step,
            epoch=round(self.step / self.an_epoch, 4),
            loss=value,
            validation_loss=validation,
            lr=lr,
            gradient_norm=norm,
            loss_scale=self.engine.scale.value if self.engine.scale else None,
            skipped=self.engine.skipped,
            precision=self.precision,
            seconds=round(time.monotonic() - self.began, 3),
            mse=mse,
        )

    def _save(self) -> None:
        state = {
            "step": self.step,
            "steps": self.steps,
            "windows": self.learn.share.windows,
            "parts": self.world.size,
            "skipped": self.engine.skipped,
            "precision": self.precision,
            "loss_scale": self.engine.scale.state() if self.engine.scale else None,
            "updates": self.average.updates,
            "seconds": time.monotonic() - self.began,
            "best": self.best if self.best < math.inf else None,
        }
        made = self.made_from
        folder = made.out / CHECKPOINTS / f"step-{self.step:07d}"
        save_checkpoint(folder, self.engine, self.average.kept, state, made.config, made.scaling, made.grid, self.world)
        if self.world.first:
            prune(made.out, made.config.train.keep_last)

    def save_model(self, name: str) -> None:
        """The model that answers: the average of the weights where one is kept, with its adapters merged into them."""
        made = self.made_from
        weights = merge_lora(self.average.kept or self.engine.model.state_dict())
        save_model(made.out / name, weights, made.config, made.scaling, made.grid)
