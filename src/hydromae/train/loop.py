"""The training loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from hydromae.config import Config
from hydromae.data.record import record_of, without
from hydromae.data.scaling import Scaling
from hydromae.data.windows import Windows, windows
from hydromae.errors import InputError
from hydromae.losses import loss
from hydromae.masking import draw
from hydromae.modalities import GridSpec
from hydromae.model.mae import HydroMAE
from hydromae.train.checkpoint import CONFIG, load_checkpoint, newest, prune, save_checkpoint, save_model
from hydromae.train.engine import Engine, arithmetic, pick_device
from hydromae.train.journal import Journal
from hydromae.train.optim import Average, Schedule, adamw


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
    stop_after: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Train a model on a water record.

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
        Go on from the last checkpoint of `out`; the result is the same as if the run had never stopped.
    device : str
        "auto", "cpu", "cuda", "mps".
    stop_after : int, optional
        Stop at this step, with a checkpoint, as if interrupted.
    watch : callable
        Called after every logged step.

    Returns
    -------
    Path
        `out/best`, the weights with the lowest validation loss.
    """
    where = pick_device(device)
    record = record_of(without(dataset, config.data.held_out), config, scaling, grid)
    seed, size = config.train.seed, config.train.batch_size
    learn = windows(record, config, config.data.training_period, seed=seed, augment=True, batch_size=size)
    check = windows(record, config, config.data.validation_period, seed=0, augment=False, batch_size=size)

    torch.manual_seed(seed)
    model = HydroMAE(config, pixels=(grid or GridSpec()).patch ** 2).know(scaling).to(where)
    engine = Engine(model, adamw(model, config.optimizer), config.train, config.optimizer.clip, where)
    average = Average(model, config.train.averaged_weights)
    an_epoch = learn.steps / config.train.accumulation
    steps = max(1, round(config.train.epochs * an_epoch))
    warmup = min(round(config.train.warmup_epochs * an_epoch), steps)
    schedule = Schedule(config.optimizer.lr, config.optimizer.min_lr, warmup, steps)
    state: dict[str, Any] = {"step": 0, "best": None, "skipped": 0, "updates": 0, "seconds": 0.0}
    journal = Journal(_open_run(out, config, resume) / "journal.jsonl")
    found = newest(out) if resume else None
    if found is not None:
        average.weights, state = load_checkpoint(found, model, engine.optimizer)
        average.updates, engine.skipped = int(state["updates"]), int(state["skipped"])
    journal.rewind(int(state["step"]))

    began, first = time.monotonic() - float(state["seconds"]), int(state["step"])
    best = math.inf if state["best"] is None else float(state["best"])
    every, save_every = (
        max(1, round(e * an_epoch)) for e in (config.train.validate_every, config.train.checkpoint_every)
    )
    last = steps if stop_after is None else min(steps, stop_after)
    for step in range(first, last):
        model.train()
        taken = range(step * config.train.accumulation, (step + 1) * config.train.accumulation)
        value, parts = _mean([_forward_backward(engine, learn, config, index) for index in taken])
        norm = engine.update(schedule(step))
        if config.train.averaged_weights:
            average.update(model)

        done = step + 1
        validation = None
        if done % every == 0 or done == steps:
            validation = validate(model, average, check, config, where)
            if validation < best:
                best = validation
                save_model(out / "best", _answering(model, average), config, scaling, grid)
        if done % config.train.log_every == 0 or validation is not None:
            journal.write(
                step=done,
                epoch=round(done / an_epoch, 4),
                loss=value,
                validation_loss=validation,
                lr=schedule(step),
                gradient_norm=norm,
                skipped=engine.skipped,
                seconds=round(time.monotonic() - began, 3),
                mse=parts,
            )
            watch(Progress(done, steps, value, validation))
        if done % save_every == 0 or done == last:
            state = {"step": done, "skipped": engine.skipped, "updates": average.updates}
            state["seconds"] = time.monotonic() - began
            state["best"] = best if best < math.inf else None
            folder = out / "checkpoints" / f"step-{done:07d}"
            save_checkpoint(folder, model, engine.optimizer, average.kept, state, config, scaling, grid)
            prune(out, config.train.keep_last)
    save_model(out / "last", _answering(model, average), config, scaling, grid)
    return out / "best"


def _forward_backward(engine: Engine, learn: Windows, config: Config, index: int) -> tuple[float, dict[str, float]]:
    """Gradients of one batch; its masks depend on the seed and the index alone."""
    batch = learn(index)
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(config.train.seed * 1_000_003 + index))
    batch, hidden = batch.to(engine.device), {name: value.to(engine.device) for name, value in hidden.items()}
    with arithmetic(engine.device, config.train.precision):
        predictions = engine.model(batch, hidden)
    total, parts = loss(predictions, batch, hidden, config)
    engine.backward(total)
    return float(total.detach()), {name: float(value) for name, value in parts.items()}


@torch.no_grad()
def validate(model: nn.Module, average: Average, check: Windows, config: Config, device: torch.device) -> float:
    """Mean loss over the validation windows, with masks that are the same at every call and in every run."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(_answering(model, average))
    model.eval()
    total, count = 0.0, max(1, config.train.validation_windows // check.batch_size)
    for index in range(count):
        batch = check(index)
        hidden = draw(batch, config.masks, torch.Generator().manual_seed(index))
        batch, hidden = batch.to(device), {name: value.to(device) for name, value in hidden.items()}
        with arithmetic(device, config.train.precision):
            predictions = model(batch, hidden)
        total += float(loss(predictions, batch, hidden, config)[0])
    model.load_state_dict(own)
    return total / count


def _answering(model: nn.Module, average: Average) -> dict[str, torch.Tensor]:
    """The weights that a run answers with: the average where one is kept."""
    return average.kept or model.state_dict()


def _mean(taken: list[tuple[float, dict[str, float]]]) -> tuple[float, dict[str, float]]:
    """Loss and its parts, over the batches of one update."""
    losses, parts = zip(*taken, strict=True)
    return sum(losses) / len(taken), {name: sum(part[name] for part in parts) / len(taken) for name in parts[0]}


def _open_run(out: Path, config: Config, resume: bool) -> Path:
    """Make the run's folder; refuse to write over another run, or to go on with another configuration."""
    written = out / CONFIG
    if (written.exists() or written.is_symlink()) and not written.is_file():
        raise InputError(f"{written}: is not a plain file; restore it, or start a new folder")
    if written.is_file() and not resume:
        raise InputError(f"{out}: holds a run already; name another folder, or go on with --resume")
    if (
        written.is_file()
        and Config.from_json(written.read_text(encoding="utf-8", errors="replace"), str(written)) != config
    ):
        raise InputError(
            f"{written}: differs from the configuration given; resume with the run's own, or start a new folder"
        )
    if not written.is_file():
        out.mkdir(parents=True, exist_ok=True)
        aside = written.with_suffix(".partial")
        aside.write_text(config.to_json(), encoding="utf-8")
        aside.replace(written)
    return out
