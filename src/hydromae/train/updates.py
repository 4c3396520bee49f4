"""Updates of a run, with validation, metrics log and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.config import Config, Precision
from hydromae.distributed import ProcessGroup
from hydromae.grid import GridSpec
from hydromae.losses import loss
from hydromae.model.serialization import CHECKPOINTS, merge_lora
from hydromae.store.scaling import Scaling
from hydromae.train.checkpoint import load_checkpoint, prune_checkpoints, save_checkpoint, save_model
from hydromae.train.engine import Engine, EngineName
from hydromae.train.finetune import PretrainedStart
from hydromae.train.loggers import Tracker
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.optimizer import CosineSchedule, WeightAverage
from hydromae.train.sampler import MaskedBatches, derive_seed
from hydromae.train.validation import UpdateLosses, compute_validation_loss

STEPS = "training, steps"
"""Name of the progress of a run (`progress.report_progress`)."""


@dataclass(frozen=True)
class StepProgress:
    """Progress of a run after a logged step."""

    step: int
    steps: int
    loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class TrainerSetup:
    """Arguments of `train`; `log` does nothing except in the main process."""

    config: Config
    dataset: xr.Dataset
    scaling: Scaling
    out: Path
    grid: GridSpec | None
    start: PretrainedStart | None
    resume: bool
    engine: EngineName
    log: Callable[[str], None]
    notes: Mapping[str, str]


@dataclass
class TrainingRun:
    """State of a run.

    Attributes:
        training_batches, validation_batches: Training batches of this process; validation windows, with constant masks.
        updates_per_epoch: Updates of an epoch.
        precision: Precision of the run, not "auto".
        pretrained: Weights at the start of a fine-tuning.
        step, best, best_step: Completed updates; lowest validation loss, and the updates before it.
        start_time: Start of the run on the monotonic clock, without interruptions [s].
    """

    setup: TrainerSetup
    process_group: ProcessGroup
    engine: Engine
    average: WeightAverage
    training_batches: MaskedBatches
    validation_batches: MaskedBatches
    tracker: Tracker
    metrics_log: MetricsLog
    schedule: CosineSchedule
    updates_per_epoch: float
    precision: Precision
    pretrained: Mapping[str, Tensor] | None = None
    step: int = 0
    best: float = math.inf
    best_step: int = 0
    start_time: float = 0.0

    @property
    def config(self) -> Config:
        """Configuration of the run."""
        return self.setup.config

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.schedule.steps

    def restore(self, checkpoint: Path) -> None:
        """Restore a checkpoint."""
        self.average.weights, state = load_checkpoint(checkpoint, self.engine, self.setup.scaling)
        self.average.updates, self.engine.skipped = int(state["updates"]), int(state["skipped"])
        if self.engine.scale and state["loss_scale"]:
            self.engine.scale.restore(state["loss_scale"])
        if (previous := state.get("precision", self.precision)) != self.precision:
            self.setup.log(f"precision: {self.precision} from here on, {previous} before: not the same to the last bit")
        self.step, self.start_time = int(state["step"]), time.monotonic() - float(state["seconds"])
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.best_step = int(state.get("best_step", self.step))

    def validate_start(self) -> None:
        """Validate the pretrained weights; from the first validation on they are the best until a loss is lower."""
        if self.step == 0 and self.pretrained is not None:
            value = self._validation_loss()
            self.best = value if math.isfinite(value) else math.inf
            self.setup.log(f"validation loss of the pretrained weights: {value:.4f}")

    def update(self, batches: Iterator[tuple[Batch, Hidden]], progress: Callable[[StepProgress], None]) -> None:
        """Run one update, and the validation and the line of the metrics log that are due."""
        train, losses = self.config.train, UpdateLosses()
        self.engine.model.train()
        for batch_index in range(self.training_batches.sampler.batches):
            first_window = self.training_batches.sampler.window_numbers(
                self.step * self.training_batches.sampler.batches + batch_index
            ).start
            batch, hidden = next(batches)
            torch.manual_seed(derive_seed(train.seed, 3, first_window))  # random numbers depend on the windows only
            with self.engine.accumulation_context():
                total, parts = loss(self.engine.predict(batch, hidden), batch, hidden, self.config)
                self.engine.backward(total)
            losses.add(total.detach(), parts)
        lr = self.schedule(self.step)
        norm = self.engine.update(lr)
        self.average.update(self.engine.model)
        self.step += 1
        validation = self._validate() if self._is_due(train.validate_every) else None
        if self._is_log_due() or validation is not None:
            value, mse = losses.mean_over(self.process_group, self.training_batches.sampler.batches)
            if self.process_group.is_main:
                self._log(value, mse, validation, lr, norm)
                progress(StepProgress(self.step, self.steps, value, validation))

    def save_if_due(self, is_requested: bool) -> None:
        """Write a checkpoint if it is requested or due; every process calls this."""
        if is_requested or self._is_due(self.config.train.checkpoint_every):
            self._save()

    def _is_due(self, epochs: float) -> bool:
        """Whether an action that is repeated every `epochs` and at the end is due."""
        return self.step % max(1, round(epochs * self.updates_per_epoch)) == 0 or self.step == self.steps

    def _is_log_due(self) -> bool:
        """Whether the last update contained the last of `log_every` batches of this process."""
        done, every = self.step * self.training_batches.sampler.batches, self.config.train.log_every
        return done // every > (done - self.training_batches.sampler.batches) // every

    def _validation_loss(self) -> float:
        return compute_validation_loss(self.engine.model, self.average, self.validation_batches, self.process_group)

    def _validate(self) -> float:
        value = self._validation_loss()
        is_best = value < self.best
        if is_best:
            self.best, self.best_step = value, self.step
        if self.process_group.is_main and is_best:
            self.save_model("best")
        elif self.process_group.is_main and self.pretrained is not None and not (self.setup.out / "best").is_dir():
            self.save_model("best", self.pretrained)
        return value

    def _log(
        self, value: float, mse: dict[str, float | None], validation: float | None, lr: float, norm: float
    ) -> None:
        self.metrics_log.write(
            step=self.step,
            epoch=round(self.step / self.updates_per_epoch, 4),
            loss=value,
            validation_loss=validation,
            lr=lr,
            gradient_norm=norm,
            loss_scale=self.engine.scale.value if self.engine.scale else None,
            skipped=self.engine.skipped,
            precision=self.precision,
            seconds=round(time.monotonic() - self.start_time, 3),
            mse=mse,
        )

    def _save(self) -> None:
        state = {
            "step": self.step,
            "steps": self.steps,
            "windows": self.training_batches.sampler.windows,
            "parts": self.process_group.size,
            "skipped": self.engine.skipped,
            "precision": self.precision,
            "loss_scale": self.engine.scale.state() if self.engine.scale else None,
            "updates": self.average.updates,
            "seconds": time.monotonic() - self.start_time,
            "best": self.best if self.best < math.inf else None,
            "best_step": self.best_step,
        }
        setup = self.setup
        folder = setup.out / CHECKPOINTS / f"step-{self.step:07d}"
        save_checkpoint(
            folder,
            self.engine,
            self.average.averaged,
            state,
            setup.config,
            setup.scaling,
            setup.grid,
            self.process_group,
        )
        if self.process_group.is_main:
            prune_checkpoints(setup.out, setup.config.train.keep_last)

    def save_model(self, name: str, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a model for prediction, adapters merged: given weights, the averaged ones, or those of the last update."""
        setup = self.setup
        merged = merge_lora(weights or self.average.averaged or self.engine.model.state_dict())
        save_model(setup.out / name, merged, setup.config, setup.scaling, setup.grid)
