"""Checkpoints: safetensors and JSON, written to a temporary folder and renamed, so that a crash leaves no partial one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from hydromae.config import Config
from hydromae.distributed import SINGLE_PROCESS, ProcessGroup
from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.folders import WEIGHTS
from hydromae.model.checksums import CHECKSUMS, verify_checksums, write_checksums
from hydromae.model.serialization import (
    BACKUP_SUFFIX,
    CONFIG,
    GRID,
    SCALING,
    checkpoints,
    contiguous,
    load_weights,
    read_json_object,
    read_scaling,
    read_tensors,
    write_model,
)
from hydromae.store.scaling import Scaling
from hydromae.train.engine import Engine

AVERAGE, OPTIMIZER, STATE = "average.safetensors", "optimizer", "state.json"
CHECKPOINT_FILES = (WEIGHTS, AVERAGE, f"{OPTIMIZER}-*.safetensors", STATE, CONFIG, SCALING, GRID, CHECKSUMS)
"""Names of the files in the folder of a model or a checkpoint."""


def save_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
) -> None:
    """Write a model for `hydromae.load` atomically, from one process: weights, configuration, scaling and grid."""
    _write_atomically(folder, SINGLE_PROCESS, lambda partial: write_model(partial, weights, config, scaling, grid))


def save_checkpoint(
    folder: Path,
    engine: Engine,
    average: Mapping[str, Tensor],
    state: dict[str, object],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
    process_group: ProcessGroup,
) -> None:
    """Write the state of a run atomically; every process calls this and writes its part.

    `state` contains step, windows of an update, updates of the average, best loss, skipped updates and loss scale. There
    is no random state, because the seeds of a batch follow from its number.

    Raises:
        InputError: In every process, if one cannot write; the previous folder is kept.
    """
    optimizer_state = engine.optimizer_state()

    def write(partial: Path) -> None:
        save_file(contiguous(optimizer_state), partial / f"{OPTIMIZER}-{process_group.rank}.safetensors")
        if process_group.is_main:
            write_model(partial, engine.model.state_dict(), config, scaling, grid)
            save_file(contiguous(average), partial / AVERAGE)
            (partial / STATE).write_text(json.dumps(state), encoding="utf-8")

    _write_atomically(folder, process_group, write)


def load_checkpoint(folder: Path, engine: Engine, scaling: Scaling) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore weights and optimizer, whatever the number of processes; returns the averaged weights and the state.

    Raises:
        InputError: A file is missing, truncated or of another model, or the scaling differs.
    """
    verify_checksums(folder)
    load_weights(engine.model, read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    if read_scaling(folder / SCALING) != scaling:
        raise InputError(f"{folder / SCALING}: differs from that of the store; go on with the store the run began with")
    state = read_json_object(folder / STATE)
    missing = sorted({"step", "windows", "parts", "skipped", "updates", "seconds", "best"} - set(state))
    if missing:
        raise InputError(f"{folder / STATE}: has no {missing[0]}; use a checkpoint of this version of hydromae")
    optimizer_state: dict[str, Tensor] = {}
    for rank in range(int(state["parts"])):
        optimizer_state |= read_tensors(folder / f"{OPTIMIZER}-{rank}.safetensors")
    model_state = engine.model.state_dict()
    average = {
        name: value.to(model_state[name].device)
        for name, value in read_tensors(folder / AVERAGE).items()
        if name in model_state
    }
    engine.load_optimizer_state(optimizer_state)
    return average, state


def checkpoint_windows(folder: Path) -> int:
    """Windows in an update of the run of a checkpoint."""
    state = read_json_object(folder / STATE)
    if not isinstance(state.get("windows"), int):
        raise InputError(f"{folder / STATE}: has no windows; use a checkpoint of this version of hydromae")
    return int(state["windows"])


def prune_checkpoints(run: Path, keep: int) -> None:
    """Delete all but the last `keep` checkpoints."""
    existing = checkpoints(run)
    for old in existing[: max(0, len(existing) - max(1, keep))]:
        _discard(old, old)


def _discard(folder: Path, successor: Path) -> None:
    """Remove a folder and the files of training; other files are moved to its successor."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if any(fnmatch(file.name, name) for name in CHECKPOINT_FILES):
            file.unlink()
        elif successor != folder and not (successor / file.name).exists():
            file.rename(successor / file.name)
    with suppress(OSError):  # not empty: files of the user
        folder.rmdir()


def _write_atomically(folder: Path, process_group: ProcessGroup, write: Callable[[Path], None]) -> None:
    """Write a temporary folder in all processes, then rename it; the folder or its backup is complete at any time."""
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + BACKUP_SUFFIX)

    def prepare() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    def replace_folder() -> None:
        if folder.exists():
            _discard(old, folder)
            folder.rename(old)
        partial.rename(folder)
        _discard(old, folder)

    for step, on_every_rank in (
        (prepare, False),
        (lambda: write(partial), True),
        (lambda: write_checksums(partial), False),
        (lambda: _fsync_files(partial), False),
        (replace_folder, False),
    ):
        try:
            with process_group.fail_together(), _disk_errors(folder):
                if on_every_rank or process_group.is_main:
                    step()
        except InputError:  # no process writes any more: remove the partial folder
            if process_group.is_main:
                shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{folder}: cannot be written ({first_line(error)}); make room there, then go on with --resume"
        ) from None


def _fsync_files(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
