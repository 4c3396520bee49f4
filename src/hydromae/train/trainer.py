"""Training: from a configuration and a record to a model."""

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

from hydromae.batching.record_arrays import RecordArrays, to_record_arrays
from hydromae.batching.shared_arrays import SharedFolder
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.config.effects import refuse_idle_fields
from hydromae.distributed import TIMEOUT, ProcessGroup, init_process_group
from hydromae.grid import GridSpec
from hydromae.io.folders import RUN
from hydromae.io.outputs import output_folder, reserve_output
from hydromae.model.dtypes import default_float32
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import latest_checkpoint
from hydromae.progress import report_progress
from hydromae.runtime import pick_device
from hydromae.store.scaling import Scaling, exclude_catchments
from hydromae.train.checkpoint import checkpoint_windows
from hydromae.train.engine import EngineName, make_engine
from hydromae.train.finetune import PretrainedStart, out_of_fold_index
from hydromae.train.interrupts import Interrupted, SignalHandler, interruption_after
from hydromae.train.loggers import open_tracker
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.new_runs import refuse_new_and_resume, run_folder
from hydromae.train.optimizer import CosineSchedule, WeightAverage
from hydromae.train.sampler import DistributedWindowSampler, MaskedBatches, prefetched_batches
from hydromae.train.setup import (
    check_limits,
    check_targets,
    common_precision,
    log_start,
    previous_run_of,
    write_run_folder,
)
from hydromae.train.updates import STEPS, StepProgress, TrainerSetup, TrainingRun
from hydromae.train.validation import validation_set


def train(
    config: Config,
    dataset: xr.Dataset,
    scaling: Scaling,
    out: Path,
    *,
    grid: GridSpec | None = None,
    start: PretrainedStart | None = None,
    resume: bool = False,
    new_run: bool = False,
    device: str | torch.device | None = "auto",
    engine: EngineName = "auto",
    timeout: float = TIMEOUT,
    stop_after: int | None = None,
    progress: Callable[[StepProgress], None] = lambda progress: None,
    log: Callable[[str], None] = lambda line: None,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Train a model on a record, in this process or in all processes of a launcher.

    Args:
        dataset: A record, as from `open_store`.
        scaling: Scaling from the training period.
        out: The run's folder: `journal.jsonl`, `checkpoints/`, `best/` and `last/`.
        grid: Grid of the maps.
        start: A pretrained model and its trainable weights; random weights if None.
        resume: Resume from the last checkpoint of `out`, or start at step 1 without one. The result equals that of an
            uninterrupted run, bit by bit with the same number of processes, otherwise within rounding. `train.epochs` may
            increase, and fields without influence on the result may differ (`effects.FIELD_RULES`).
        new_run: Use a new folder inside `out`, named with the time [UTC], such as 2026-11-29T08-24-00.
        device: "auto", "cpu", "cuda", "mps"; None is "auto".
        engine: "auto", "torch", "deepspeed".
        timeout: Longest wait for another process [s].
        stop_after: Stop at this step with a checkpoint.
        progress, log: Called in the main process after every logged step, and with messages.
        notes: Text files beside `config.json`, by name, written at the start.

    Returns:
        Path: `best` in the run's folder, the weights with the lowest validation loss, among them those of `start`; absent
            before the first validation.

    Raises:
        InputError: Invalid input, a lost or failed process, or a full disk, in every process.
        KeyboardInterrupt: After Ctrl+C or SIGTERM (`interrupts.Interrupted`), with a checkpoint of the current update.
            Signals are received in the main thread only.
    """
    refuse_new_and_resume(new_run, resume)
    refuse_idle_fields(config)
    check_limits(timeout, stop_after)
    with SignalHandler() as interrupts:
        with (
            init_process_group(pick_device(device), timeout) as process_group,
            run_folder(out, new_run, process_group) as folder,
            _hold_run_folder(folder, process_group),
            default_float32(),
        ):
            log_on_main = log if process_group.is_main else _ignore
            if new_run:
                log_on_main(f"{folder}: a new run; resume it with --out {folder} --resume")
            setup = TrainerSetup(config, dataset, scaling, folder, grid, start, resume, engine, log_on_main, notes)
            interruption = run_training(
                setup, process_group, stop_after, progress if process_group.is_main else _ignore, interrupts
            )
        if interruption is not None:
            raise interruption
    return folder / "best"


def _hold_run_folder(out: Path, process_group: ProcessGroup) -> AbstractContextManager[None]:
    return reserve_output(output_folder(out, RUN)) if process_group.is_main else nullcontext()


def run_training(
    setup: TrainerSetup,
    process_group: ProcessGroup,
    stop_after: int | None,
    progress: Callable[[StepProgress], None],
    interrupts: SignalHandler,
) -> Interrupted | None:
    """Run all updates from the start or the last checkpoint; returns the exception of a signal that ended the run.

    This is a separate function, so that its objects are released before the process group.
    """
    run, signal = start_run(setup, process_group), None
    last = run.steps if stop_after is None else min(run.steps, stop_after)
    batches = prefetched_batches(run.training_batches, run.step, last, process_group.device)
    interrupts.is_updating = True
    run.validate_start()
    with run.tracker:
        while run.step < last and signal is None:
            run.update(batches, progress)
            signal = interrupts.received_by_any(process_group)
            run.save_if_due(run.step == last or signal is not None)
            if process_group.is_main:
                report_progress(STEPS, run.step, run.steps)
    if process_group.is_main and (signal is None or run.step == last):
        run.save_model("last")
    if run.step == run.steps and run.best_step == 0 and run.pretrained is not None:
        setup.log(f"{setup.out / 'best'}: the pretrained weights, because no update lowered their validation loss")
    signal = signal or interrupts.received_by_any(process_group)
    process_group.barrier()
    return None if signal is None else interruption_after(signal, setup.out, run.step, run.steps)


def _ignore(value: object) -> None:
    """Callback of the processes other than the main process."""


def start_run(setup: TrainerSetup, process_group: ProcessGroup) -> TrainingRun:
    """Check the folder, make the model, and restore the last checkpoint of a resumed run."""
    previous = previous_run_of(setup, process_group)
    setup = replace(setup, config=previous.resumed_config(setup.config), scaling=_run_scaling(setup))
    tracker = open_tracker(setup.config, setup.out, process_group.is_main)
    if process_group.is_main and setup.resume:
        latest_checkpoint(setup.out)  # restores the backup of a crash before the other processes read the folder
    process_group.barrier()
    checkpoint = latest_checkpoint(setup.out) if setup.resume else None
    sampler = _make_sampler(setup, checkpoint, process_group)
    precision = common_precision(setup, process_group)
    config = setup.config.having(train={"precision": precision})
    record = _load_record(setup, process_group)
    with process_group.fail_together():
        check_targets(record, setup)
    seed, size = config.train.seed, sampler.windows
    training_batches = windows(record, config, config.data.training_period, seed=seed, augment=True, update=size)
    if setup.start is not None and setup.start.stand_ins:
        names = record.catchments[record.groups[:, 0]].astype(str).tolist()
        training_batches = replace(training_batches, fold_index=out_of_fold_index(setup.start.stand_ins, names))
    validation_batches = validation_set(record, config, size)
    torch.manual_seed(seed)
    model = (
        HydroMAE(config, pixels=(setup.grid or GridSpec()).patch ** 2)
        .set_scaling(setup.scaling)
        .to(process_group.device)
    )
    if setup.start is not None:
        setup.start.apply_to(model)
    updates_per_epoch = training_batches.epoch / size
    steps = max(1, round(config.train.epochs * updates_per_epoch))
    warmup = min(round(config.train.warmup_epochs * updates_per_epoch), steps)
    run = TrainingRun(
        setup,
        process_group,
        make_engine(setup.engine, model, config, process_group, sampler.batches, setup.log),
        WeightAverage(model, config.train.ema_decay),
        MaskedBatches(training_batches, sampler, config),
        MaskedBatches(validation_batches, sampler, config),
        tracker,
        MetricsLog(setup.out / "journal.jsonl", tracker),
        CosineSchedule(config.optimizer.lr, config.optimizer.min_lr, warmup, steps),
        updates_per_epoch,
        precision,
        None if setup.start is None else {name: value.clone() for name, value in model.state_dict().items()},
        start_time=time.monotonic(),
    )
    if checkpoint is not None:
        run.restore(checkpoint)
    # Any process may refuse the run before this line; permanent files are written after it.
    with process_group.fail_together():
        if process_group.is_main:
            write_run_folder(setup, previous)
    if process_group.is_main:
        run.metrics_log.truncate_after(run.step)
    log_start(run, previous)
    return run


def _run_scaling(setup: TrainerSetup) -> Scaling:
    """The scaling with its ranges extended by the training catchments, unless a pretrained model has no ranges."""
    if setup.start is not None and not setup.scaling.ranges:
        return setup.scaling
    return setup.scaling.with_ranges(exclude_catchments(setup.dataset, setup.config.data.held_out))


def _load_record(setup: TrainerSetup, process_group: ProcessGroup) -> RecordArrays:
    """The record without held-out catchments: one process of each machine writes shared files, and all map them.

    The files are unlinked after that, so that no later start uses them.
    """
    dataset = exclude_catchments(setup.dataset, setup.config.data.held_out)
    is_local_main = process_group.local_rank == 0
    folder = setup.out / f"record-{process_group.rank - process_group.local_rank}"
    shared = SharedFolder(folder, is_local_main, setup.config.data.cache_images)
    record, folder_existed = None, setup.out.is_dir()
    try:
        for is_turn in (is_local_main, not is_local_main):
            with process_group.fail_together():
                if is_turn:
                    record = to_record_arrays(dataset, setup.config, setup.scaling, setup.grid, shared)
    finally:
        if is_local_main:
            shared.remove()
            with contextlib.suppress(OSError):
                if not folder_existed:
                    setup.out.rmdir()  # so that a run that is refused later leaves no folder
    assert record is not None
    return record


def _make_sampler(
    setup: TrainerSetup, checkpoint: Path | None, process_group: ProcessGroup
) -> DistributedWindowSampler:
    """The sampler with the windows of an update of the first start, whatever the current number of processes."""
    train = setup.config.train
    current_windows = train.batch_size * train.accumulation * process_group.size
    sampler = DistributedWindowSampler.of(
        current_windows if checkpoint is None else checkpoint_windows(checkpoint), process_group, train.batch_size
    )
    if sampler.windows != current_windows:
        setup.log(
            f"{setup.out}: {sampler.windows} windows an update, as before: {process_group.size} processes take "
            f"{sampler.batches} batches of {sampler.windows_per_batch} each; the same as before within rounding"
        )
    return sampler
