"""The start of a run: what is looked at, refused and said before its first update."""

from __future__ import annotations

import torch

from hydromae.batching.record_arrays import Record
from hydromae.config import Precision
from hydromae.distributed import World
from hydromae.errors import InputError
from hydromae.io.atomic import write_whole
from hydromae.runtime import fallback, fault_lines, pick_precision
from hydromae.train.resume import Past, past, write_config
from hydromae.train.updates import Beginning, Run

LONGEST_WAIT = 1e9
"""Longest `timeout` [s]."""


def past_of(made: Beginning, world: World) -> Past:
    """What lies in the run's folder, the same in every process; refused where the run cannot begin or go on."""
    fault, before = None, Past(None, 0)
    try:
        before = past(made.out)
        fault = before.refused(made.out, made.config, made.resume)
    except InputError as error:
        fault = str(error)
    world.agree(fault)
    return before


def precision_of(made: Beginning, world: World) -> Precision:
    """The precision of the run, the same in every process: what is not native everywhere is used where it is forced only."""
    asked = made.config.train.precision
    precision = pick_precision(asked, world.device)
    in_fp32 = bool(world.sum(torch.tensor([float(precision == "fp32")]))[0])
    lines = [*fault_lines(), *([line] if (line := fallback(asked, world.device)) else [])]
    if asked == "auto" and in_fp32 and precision != "fp32":
        precision = "fp32"
        lines.append("precision: fp32; bf16 is not native to the device of another process")
    for line in lines:
        made.say(line)
    return precision


def without_targets(record: Record, made: Beginning) -> str | None:
    """Say which modalities the record lacks; why training cannot be where that leaves no targets."""
    names = made.config.model.modalities
    first, last = record.span(made.config.data.training_period)
    there = [name for name in names if record.observes(name, first, last)]
    lacking = [name for name in names if name not in there]
    if not lacking:
        return None
    asked = [name for name in made.config.masks.asked(names) if name in there]
    period = "..".join(made.config.data.training_period)
    told = f"the record has no observed {', '.join(lacking)} in {period}"
    if not asked:
        return f"{told}, and nothing else that masks hide: there are no targets; name a store or a period that has them"
    made.say(f"{told}; the model trains without, on {', '.join(there)}")
    return None


def say_of(run: Run, before: Past) -> None:
    """What the user should know of a run before its first update."""
    made, train = run.made_from, run.config.train
    for line in before.said(made.out, run.config, run.steps) if made.resume else []:
        made.say(line)
    if train.warmup_epochs > train.epochs:
        made.say(
            f"{made.out}: train.warmup_epochs {train.warmup_epochs:g} is longer than the run's {train.epochs:g}; the "
            "learning rate rises until the last step"
        )


def open_folder(made: Beginning, before: Past) -> str | None:
    """Make the run's folder, with its configuration and notes; why that is not possible."""
    try:
        for name, text in made.notes.items() if before.config is None else ():
            write_whole(made.out / name, text, "make room there, or name another folder")
        write_config(made.out, made.config, before)
    except InputError as error:
        return str(error)
    return None


def check_limits(timeout: float, stop_after: int | None) -> None:
    """Refuse a wait that is none, and a last step before the first."""
    if not 0 < timeout <= LONGEST_WAIT:
        raise InputError(f"--timeout {timeout:g}: is no wait; give seconds above 0, at most {LONGEST_WAIT:g}")
    if stop_after is not None and stop_after < 1:
        raise InputError(f"--stop-after {stop_after}: is no step; steps are counted from 1")
