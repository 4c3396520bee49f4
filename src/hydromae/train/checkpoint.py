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

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hydromae.config import Config
from hydromae.data.parse import grid_from_json
from hydromae.data.scaling import Scaling
from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.kinds import WEIGHTS
from hydromae.model.dtypes import float32
from hydromae.model.mae import HydroMAE
from hydromae.train.adapt import plain
from hydromae.train.engine import Engine
from hydromae.train.seal import SEAL, check_seal, write_seal
from hydromae.train.world import ALONE, World

AVERAGE, OPTIMIZER, STATE = "average.safetensors", "optimizer", "state.json"
CONFIG, SCALING, GRID = "config.json", "scaling.json", "grid.json"
OLD, CHECKPOINTS = ".old", "checkpoints"
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


def load_model(folder: Path) -> tuple[HydroMAE, Config, Scaling, GridSpec | None]:
    """The model of a folder, in evaluation mode.

    Raises
    ------
    InputError
        If a file is missing, cut short, or belongs to another model.
    """
    folder = whole(folder)
    config = Config.from_json(_text(folder / CONFIG), str(folder / CONFIG))
    scaling = _scaling(folder / SCALING)
    if "riverflow" in config.model.modalities and "riverflow" not in scaling:
        raise InputError(f"{folder / SCALING}: has no riverflow, which the model answers; restore the file")
    grid = grid_from_json(_text(folder / GRID), str(folder / GRID)) if (folder / GRID).is_file() else None
    weights = plain(_tensors(folder / WEIGHTS))
    pixels = (grid or GridSpec()).patch ** 2
    with float32(), torch.device("meta"):  # shapes first: a configuration of another model must not take its memory
        _fitting(HydroMAE(config, pixels=pixels), weights, folder / WEIGHTS)
    with float32():
        model = HydroMAE(config, pixels=pixels)
    load_weights(model, weights, folder / WEIGHTS)
    check_seal(folder)
    lost = sorted(name for name, value in weights.items() if not torch.isfinite(value).all())
    if lost:
        raise InputError(f"{folder / WEIGHTS}: weight '{lost[0]}' is not finite; use another checkpoint")
    return model.eval(), config, scaling, grid


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load weights, every one of them, or refuse with one line."""
    _fitting(model, weights, source)
    model.load_state_dict(weights)


def _fitting(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Refuse weights of other names, shapes or types than the model's."""
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights)) or [
        n for n in own if (own[n].shape, own[n].dtype) != (weights[n].shape, weights[n].dtype)
    ]
    if wrong:
        raise InputError(
            f"{source}: weight '{wrong[0]}' does not fit this configuration; use the run's own config.json"
        )


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

    Raises
    ------
    InputError
        In every process, where one could not write; what was there before stays whole.
    """
    slots = engine.slots()

    def write(aside: Path) -> None:
        save_file(_contiguous(slots), aside / f"{OPTIMIZER}-{world.rank}.safetensors")
        if world.first:
            write_model(aside, engine.model.state_dict(), config, scaling, grid)
            save_file(_contiguous(average), aside / AVERAGE)
            (aside / STATE).write_text(json.dumps(state), encoding="utf-8")

    _atomically(folder, world, write)


def load_checkpoint(folder: Path, engine: Engine, scaling: Scaling) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Put weights and optimizer back, of however many processes wrote them; returns the averaged weights and the state.

    Raises
    ------
    InputError
        If a file is missing or cut short, belongs to another model, or the run's data were scaled otherwise.
    """
    check_seal(folder)
    load_weights(engine.model, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    if _scaling(folder / SCALING) != scaling:
        raise InputError(f"{folder / SCALING}: differs from that of the store; go on with the store the run began with")
    state = _object(folder / STATE)
    lacking = sorted({"step", "windows", "parts", "skipped", "updates", "seconds", "best"} - set(state))
    if lacking:
        raise InputError(f"{folder / STATE}: has no {lacking[0]}; use a checkpoint of this version of hydromae")
    held: dict[str, Tensor] = {}
    for part in range(int(state["parts"])):
        held |= _tensors(folder / f"{OPTIMIZER}-{part}.safetensors")
    own = engine.model.state_dict()
    average = {name: value.to(own[name].device) for name, value in _tensors(folder / AVERAGE).items() if name in own}
    engine.load_slots(held)
    return average, state


def windows_of(folder: Path) -> int:
    """Windows in an update of the run that wrote a checkpoint."""
    state = _object(folder / STATE)
    if not isinstance(state.get("windows"), int):
        raise InputError(f"{folder / STATE}: has no windows; use a checkpoint of this version of hydromae")
    return int(state["windows"])


def whole(folder: Path) -> Path:
    """The folder, or, where a crash came between the two renames of a write, its predecessor, still whole."""
    before = Path(f"{folder}{OLD}")
    return before if before.is_dir() and not folder.exists() else folder


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the last one last; one that a crash left under its old name is put back first."""
    folder = run / CHECKPOINTS
    for before in folder.glob(f"step-*[0-9]{OLD}"):
        if not before.with_suffix("").exists():
            before.rename(before.with_suffix(""))
    return sorted(folder.glob("step-*[0-9]"))


def newest(run: Path) -> Path | None:
    """The last checkpoint of a run, or None."""
    found = checkpoints(run)
    return found[-1] if found else None


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


def write_model(
    folder: Path, weights: Mapping[str, Tensor], config: Config, scaling: Scaling, grid: GridSpec | None
) -> None:
    """The files of a model, into a folder that is there."""
    save_file(_contiguous(weights), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(config.to_json(), encoding="utf-8")
    (folder / SCALING).write_text(scaling.to_json(), encoding="utf-8")
    if grid is not None:
        (folder / GRID).write_text(json.dumps(vars(grid)), encoding="utf-8")


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


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


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote")
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text; restore the file or use another checkpoint") from None


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: is not JSON ({first_line(error)}); restore the file or use another checkpoint"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is not a JSON object; restore the file or use another checkpoint")
    return found


def _scaling(path: Path) -> Scaling:
    try:
        return Scaling.from_json(_text(path))
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote")
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, TypeError, LookupError, RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({first_line(error)}); restore the file or use another checkpoint"
        ) from None
