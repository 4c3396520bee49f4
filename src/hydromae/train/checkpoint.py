"""Checkpoints: safetensors and JSON only, written aside and renamed, so that a crash never leaves half of one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from hydromae.config import Config
from hydromae.distributed import ALONE, World
from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.folders import WEIGHTS
from hydromae.model.checksums import SEAL, check_seal, write_seal
from hydromae.model.serialization import (
    CONFIG,
    GRID,
    OLD,
    SCALING,
    checkpoints,
    contiguous,
    json_object,
    load_weights,
    scaling_in,
    tensors_in,
    write_model,
)
from hydromae.store.scaling import Scaling
from hydromae.train.engine import Engine

AVERAGE, OPTIMIZER, STATE = "average.safetensors", "optimizer", "state.json"
WRITTEN = (WEIGHTS, AVERAGE, f"{OPTIMIZER}-*.safetensors", STATE, CONFIG, SCALING, GRID, SEAL)
"""Names of all that is written into a model's or a checkpoint's folder."""


def save_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
) -> None:
    """A model that `hydromae.load` reads: weights, config, scaling and grid, atomically; one process writes it."""
    _atomically(folder, ALONE, lambda aside: write_model(aside, weights, config, scaling, grid))


def save_checkpoint(
    folder: Path,
    engine: Engine,
    average: Mapping[str, Tensor],
    state: dict[str, object],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
    world: World,
) -> None:
    """All that a run needs to go on as if nothing had happened, atomically; every process calls this and writes its part.

    `state` holds what is neither weight nor optimizer: step, windows of an update, updates of the average, best loss,
    skipped updates, loss scale. Chance needs no state: every batch has seeds of its own.

    Raises:
        InputError: In every process, where one could not write; what was there before stays whole.
    """
    slots = engine.slots()

    def write(aside: Path) -> None:
        save_file(contiguous(slots), aside / f"{OPTIMIZER}-{world.rank}.safetensors")
        if world.first:
            write_model(aside, engine.model.state_dict(), config, scaling, grid)
            save_file(contiguous(average), aside / AVERAGE)
            (aside / STATE).write_text(json.dumps(state), encoding="utf-8")

    _atomically(folder, world, write)


def load_checkpoint(folder: Path, engine: Engine, scaling: Scaling) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Put weights and optimizer back, of however many processes wrote them; returns the averaged weights and the state.

    Raises:
        InputError: If a file is missing or cut short, belongs to another model, or the run's data were scaled otherwise.
    """
    check_seal(folder)
    load_weights(engine.model, tensors_in(folder / WEIGHTS), folder / WEIGHTS)
    if scaling_in(folder / SCALING) != scaling:
        raise InputError(f"{folder / SCALING}: differs from that of the store; go on with the store the run began with")
    state = json_object(folder / STATE)
    lacking = sorted({"step", "windows", "parts", "skipped", "updates", "seconds", "best"} - set(state))
    if lacking:
        raise InputError(f"{folder / STATE}: has no {lacking[0]}; use a checkpoint of this version of hydromae")
    held: dict[str, Tensor] = {}
    for part in range(int(state["parts"])):
        held |= tensors_in(folder / f"{OPTIMIZER}-{part}.safetensors")
    own = engine.model.state_dict()
    average = {name: value.to(own[name].device) for name, value in tensors_in(folder / AVERAGE).items() if name in own}
    engine.load_slots(held)
    return average, state


def windows_of(folder: Path) -> int:
    """Windows in an update of the run that wrote a checkpoint."""
    state = json_object(folder / STATE)
    if not isinstance(state.get("windows"), int):
        raise InputError(f"{folder / STATE}: has no windows; use a checkpoint of this version of hydromae")
    return int(state["windows"])


def prune(run: Path, keep: int) -> None:
    """Delete all but the last `keep` checkpoints."""
    found = checkpoints(run)
    for old in found[: max(0, len(found) - max(1, keep))]:
        _discard(old, old)


def _discard(folder: Path, successor: Path) -> None:
    """Remove a folder and what training wrote there; anything else stays, in the folder that comes after it."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if any(fnmatch(file.name, name) for name in WRITTEN):
            file.unlink()
        elif successor != folder and not (successor / file.name).exists():
            file.rename(successor / file.name)
    with suppress(OSError):  # not empty: what a user put there
        folder.rmdir()


def _atomically(folder: Path, world: World, write: Callable[[Path], None]) -> None:
    """Write aside, all processes together, then rename; the folder, or its predecessor under `OLD`, is always whole."""
    aside, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + OLD)

    def prepare() -> None:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)

    def put() -> None:
        if folder.exists():
            _discard(old, folder)
            folder.rename(old)
        aside.rename(folder)
        _discard(old, folder)

    for deed, everywhere in (
        (prepare, False),
        (lambda: write(aside), True),
        (lambda: write_seal(aside), False),
        (lambda: _flush(aside), False),
        (put, False),
    ):
        fault = _fault(deed, folder) if everywhere or world.first else None
        try:
            world.agree(fault)
        except InputError:  # now no process writes there any more, and what was written can go
            if world.first:
                shutil.rmtree(aside, ignore_errors=True)
            raise


def _fault(deed: Callable[[], None], folder: Path) -> str | None:
    """Do a part of the writing; what the disk objects to, in one line."""
    try:
        deed()
    except (OSError, SafetensorError) as error:
        return f"{folder}: cannot be written ({first_line(error)}); make room there, then go on with --resume"
    return None


def _flush(folder: Path) -> None:
    """Onto the disk, so that a rename never outlives what it names when the power goes."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
