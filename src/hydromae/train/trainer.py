"""The training loop: from a configuration and a record to a model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
import xarray as xr

from hydromae.batching.record_arrays import Record, record_of
from hydromae.batching.shared_arrays import Shared
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.config.effects import refuse_idle
from hydromae.distributed import TIMEOUT, World, joined
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.folders import RUN
from hydromae.io.outputs import folder_of, holding
from hydromae.model.dtypes import float32
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import newest
from hydromae.progress import tell
from hydromae.runtime import pick_device
from hydromae.store.scaling import Scaling, without
from hydromae.train.checkpoint import windows_of
from hydromae.train.engine import EngineName, make_engine
from hydromae.train.finetune import Start, stand_in_of
from hydromae.train.interrupts import Interrupted, Interrupts, stopped
from hydromae.train.loggers import open_tracker
from hydromae.train.metrics_log import Journal
from hydromae.train.new_runs import refuse_both, run_folder
from hydromae.train.optimizer import Average, Schedule
from hydromae.train.sampler import Masked, Share, batches
from hydromae.train.setup import check_limits, open_folder, past_of, precision_of, say_of, without_targets
from hydromae.train.updates import STEPS, Beginning, Progress, Run
from hydromae.train.validation import validation_set


def train(
    config: Config,
    dataset: xr.Dataset,
    scaling: Scaling,
    out: Path,
    *,
    grid: GridSpec | None = None,
    start: Start | None = None,
    resume: bool = False,
    new_run: bool = False,
    device: str | torch.device | None = "auto",
    engine: EngineName = "auto",
    timeout: float = TIMEOUT,
    stop_after: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Train a model on a water record, in this process, or in all that a launcher started.

    Args:
        dataset: A water record, as `open_store` gives it.
        scaling: From the training period.
        out: The run's folder: `journal.jsonl`, `checkpoints/`, `best/` and `last/`.
        grid: Of the maps, where there are any.
        start: A pretrained model to begin with, and what of it learns; from random weights where None.
        resume: Go on from the last checkpoint of `out`; the result is the same as if the run had never stopped, to the last
            bit with as many processes as before, within rounding with another number. The run may be longer than before
            (`train.epochs`), and fields that do not touch the result may differ (`effects.FIELDS`). Without a checkpoint
            there the run starts at step 1, and `say` is told so.
        new_run: Begin in a folder inside `out` that is named with the time [UTC], such as 2026-11-29T08-24-00.
        device: "auto", "cpu", "cuda", "mps"; None is "auto".
        engine: "auto", "torch", "deepspeed".
        timeout: Longest wait for another process [s].
        stop_after: Stop at this step, with a checkpoint, as if interrupted.
        watch, say: Called after every logged step, and with what the user should know, in the first process.
        notes: Text files that lie beside `config.json`, by name, written when the run begins.

    Returns:
        Path: `best` in the run's folder, the weights with the lowest validation loss; not there where no validation was due
            yet.

    Raises:
        InputError: Also where another process is lost or fails, or where the disk is full: every process ends, nothing is
            lost.
        KeyboardInterrupt: After Ctrl+C or SIGTERM (`interrupts.Interrupted`): at the end of the update under way, once there
            is a checkpoint of it. Signals are received in the main thread alone, and while this runs.
    """
    refuse_both(new_run, resume)
    refuse_idle(config)
    check_limits(timeout, stop_after)
    with Interrupts() as interrupts:
        with (
            joined(pick_device(device), timeout) as world,
            run_folder(out, new_run, world) as folder,
            _alone(folder, world),
            float32(),
        ):
            tells = say if world.first else _silent
            if new_run:
                tells(f"{folder}: a new run; --out {folder} --resume goes on with it")
            made = Beginning(config, dataset, scaling, folder, grid, start, resume, engine, tells, notes)
            ended = go(made, world, stop_after, watch if world.first else _silent, interrupts)
        if ended is not None:
            raise ended
    return folder / "best"


def _alone(out: Path, world: World) -> AbstractContextManager[None]:
    """Hold the folder of a run; the first process does so for all."""
    return holding(folder_of(out, RUN)) if world.first else nullcontext()


def go(
    made: Beginning,
    world: World,
    stop_after: int | None,
    watch: Callable[[Progress], None],
    interrupts: Interrupts,
) -> Interrupted | None:
    """From the beginning, or the last checkpoint, to the end; a function of its own, so that all is let go of after it.

    Returns what a signal ended the run with, if one did.
    """
    run, signal = begin(made, world), None
    last = run.steps if stop_after is None else min(run.steps, stop_after)
    taken = batches(run.learn, run.step, last, world.device)
    interrupts.updating = True
    with run.tracker:
        while run.step < last and signal is None:
            run.update(taken, watch)
            signal = interrupts.agreed(world)
            run.save_if(run.step == last or signal is not None)
            if world.first:
                tell(STEPS, run.step, run.steps)
    if world.first and (signal is None or run.step == last):
        run.save_model("last")
    signal = signal or interrupts.agreed(world)
    world.wait()
    return None if signal is None else stopped(signal, made.out, run.step, run.steps)


def _silent(told: object) -> None:
    """The processes that do not speak."""


def begin(made: Beginning, world: World) -> Run:
    """Open the folder, make the model, and go on from the last checkpoint where there is one to go on from."""
    before = past_of(made, world)
    made = replace(made, config=before.going_on(made.config), scaling=_scaling(made))
    tracker = open_tracker(made.config, made.out, world.first)
    if world.first and made.resume:
        newest(made.out)  # puts back what a crash left under its old name, before the others look
    world.wait()
    found = newest(made.out) if made.resume else None
    share = _share(made, found, world)
    precision = precision_of(made, world)
    config = made.config.having(train={"precision": precision})
    record = _record(made, world)
    world.agree(without_targets(record, made))
    seed, size = config.train.seed, share.windows
    learn = windows(record, config, config.data.training_period, seed=seed, augment=True, update=size)
    if made.start is not None and made.start.stand_ins:
        names = record.catchments[record.groups[:, 0]].astype(str).tolist()
        learn = replace(learn, stand_in=stand_in_of(made.start.stand_ins, names))
    check = validation_set(record, config, size)
    torch.manual_seed(seed)
    model = HydroMAE(config, pixels=(made.grid or GridSpec()).patch ** 2).know(made.scaling).to(world.device)
    if made.start is not None:
        made.start.fit(model)
    an_epoch = learn.epoch / size
    steps = max(1, round(config.train.epochs * an_epoch))
    warmup = min(round(config.train.warmup_epochs * an_epoch), steps)
    run = Run(
        made,
        world,
        make_engine(made.engine, model, config, world, share.batches, made.say),
        Average(model, config.train.averaged_weights),
        Masked(learn, share, config),
        Masked(check, share, config),
        tracker,
        Journal(made.out / "journal.jsonl", tracker),
        Schedule(config.optimizer.lr, config.optimizer.min_lr, warmup, steps),
        an_epoch,
        precision,
        began=time.monotonic(),
    )
    if found is not None:
        run.restore(found)
    # Until here any process may refuse; only now is anything written that stays.
    world.agree(open_folder(made, before) if world.first else None)
    if world.first:
        run.journal.rewind(run.step)
    say_of(run, before)
    return run


def _scaling(made: Beginning) -> Scaling:
    """The scaling of the run with the ranges of its training catchments; a pretrained model's ranges are widened by them.

    Where a pretrained model does not say what it was trained on, nor does the run.
    """
    if made.start is not None and not made.scaling.ranges:
        return made.scaling
    return made.scaling.with_ranges(without(made.dataset, made.config.data.held_out))


def _record(made: Beginning, world: World) -> Record:
    """The record without what is held out: the first process of each machine reads and lays it, the others map it.

    Its files have no name any more once all have mapped them, so no start takes what an earlier one has laid.
    """
    dataset, first = without(made.dataset, made.config.data.held_out), world.local == 0
    shared = Shared(made.out / f"record-{world.rank - world.local}", first, made.config.data.cache_images)
    record, existed = None, made.out.is_dir()
    try:
        for turn in (first, not first):
            fault = None
            try:
                record = record_of(dataset, made.config, made.scaling, made.grid, shared) if turn else record
            except InputError as error:
                fault = str(error)
            world.agree(fault)
    finally:
        if first:
            shared.remove()
            with contextlib.suppress(OSError):
                if not existed:
                    made.out.rmdir()  # empty: a start that is refused from here on leaves no folder
    assert record is not None
    return record


def _share(made: Beginning, found: Path | None, world: World) -> Share:
    """Windows of an update, as many as when the run began, however many processes there are now."""
    train = made.config.train
    now = train.batch_size * train.accumulation * world.size
    share = Share.of(now if found is None else windows_of(found), world, train.batch_size)
    if share.windows != now:
        made.say(
            f"{made.out}: {share.windows} windows an update, as before: {world.size} processes take {share.batches} "
            f"batches of {share.batch} each; the same as before within rounding"
        )
    return share
