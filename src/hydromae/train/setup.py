"""Checks and messages before the first update of a run."""

from __future__ import annotations

import torch

from hydromae.batching.record_arrays import RecordArrays
from hydromae.config import Precision
from hydromae.distributed import ProcessGroup
from hydromae.errors import InputError
from hydromae.io.atomic import write_text_atomic
from hydromae.runtime import device_fault_lines, fallback_message, pick_precision
from hydromae.train.resume import PreviousRun, read_previous_run, write_config
from hydromae.train.updates import TrainerSetup, TrainingRun

MAX_TIMEOUT = 1e9
"""Longest `timeout` [s]."""


def previous_run_of(setup: TrainerSetup, process_group: ProcessGroup) -> PreviousRun:
    """The run in the folder, the same in every process; refuses a run that cannot start or resume."""
    previous = PreviousRun(None, 0)
    with process_group.fail_together():
        previous = read_previous_run(setup.out)
        previous.check(setup.out, setup.config, setup.resume)
    return previous


def common_precision(setup: TrainerSetup, process_group: ProcessGroup) -> Precision:
    """The precision of the run, equal in every process; `auto` requires that it is native to every device."""
    requested = setup.config.train.precision
    precision = pick_precision(requested, process_group.device)
    in_fp32 = bool(process_group.sum(torch.tensor([float(precision == "fp32")]))[0])
    lines = [*device_fault_lines(), *([line] if (line := fallback_message(requested, process_group.device)) else [])]
    if requested == "auto" and in_fp32 and precision != "fp32":
        precision = "fp32"
        lines.append("precision: fp32; bf16 is not native to the device of another process")
    for line in lines:
        setup.log(line)
    return precision


def check_targets(record: RecordArrays, setup: TrainerSetup) -> None:
    """Report the modalities that the record lacks; refuse a record that then has no targets."""
    names = setup.config.model.modalities
    first, last = record.day_range(setup.config.data.training_period)
    observed = [name for name in names if record.has_observations(name, first, last)]
    unobserved = [name for name in names if name not in observed]
    if not unobserved:
        return
    requested = [name for name in setup.config.masks.hideable(names) if name in observed]
    period = "..".join(setup.config.data.training_period)
    message = f"the record has no observed {', '.join(unobserved)} in {period}"
    if not requested:
        raise InputError(
            f"{message}, and nothing else that masks hide: there are no targets; name a store or a period that has them"
        )
    setup.log(f"{message}; the model trains without, on {', '.join(observed)}")


def log_start(run: TrainingRun, previous: PreviousRun) -> None:
    """Log the messages of a run before its first update."""
    setup, train = run.setup, run.config.train
    for line in previous.resume_messages(setup.out, run.config, run.steps) if setup.resume else []:
        setup.log(line)
    if train.warmup_epochs > train.epochs:
        setup.log(
            f"{setup.out}: train.warmup_epochs {train.warmup_epochs:g} is longer than the run's {train.epochs:g}; the "
            "learning rate rises until the last step"
        )


def write_run_folder(setup: TrainerSetup, previous: PreviousRun) -> None:
    """Make the run's folder, with its configuration and notes."""
    for name, text in setup.notes.items() if previous.config is None else ():
        write_text_atomic(setup.out / name, text, "make room there, or name another folder")
    write_config(setup.out, setup.config, previous)


def check_limits(timeout: float, stop_after: int | None) -> None:
    """Refuse a timeout or a last step out of range."""
    if not 0 < timeout <= MAX_TIMEOUT:
        raise InputError(f"--timeout {timeout:g}: out of range; give seconds above 0, at most {MAX_TIMEOUT:g}")
    if stop_after is not None and stop_after < 1:
        raise InputError(f"--stop-after {stop_after}: below 1; steps are counted from 1")
