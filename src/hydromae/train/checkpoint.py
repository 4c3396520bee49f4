"""Checkpoints: safetensors and JSON only, written aside and renamed, so that a crash never leaves half of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
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
from hydromae.modalities import GridSpec
from hydromae.model.mae import HydroMAE
from hydromae.train.seal import check_seal, write_seal

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
CONFIG, SCALING, GRID = "config.json", "scaling.json", "grid.json"
OLD = ".old"


def save_model(
    folder: Path, weights: Mapping[str, Tensor], config: Config, scaling: Scaling, grid: GridSpec | None
) -> None:
    """A model that `hydromae.load` reads: weights, config, scaling and grid, atomically."""
    _atomically(folder, lambda aside: _write_model(aside, weights, config, scaling, grid))


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
    grid = _grid(folder / GRID) if (folder / GRID).is_file() else None
    weights = _tensors(folder / WEIGHTS)
    pixels = (grid or GridSpec()).patch ** 2
    with torch.device("meta"):  # shapes first: a configuration of another model must not take its memory
        _fitting(HydroMAE(config, pixels=pixels), weights, folder / WEIGHTS)
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
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    state: dict[str, object],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
) -> None:
    """All that a run needs to go on as if nothing had happened, atomically.

    `state` holds what is neither weight nor optimizer: step, updates of the average, best loss, skipped updates.
    """

    def write(aside: Path) -> None:
        _write_model(aside, model.state_dict(), config, scaling, grid)
        slots = {
            f"{key}/{name}": value
            for name, parameter in model.named_parameters()
            for key, value in optimizer.state.get(parameter, {}).items()
        }
        extra = {f"average/{name}": value for name, value in average.items()}
        save_file(_contiguous(slots | extra | _random()), aside / OPTIMIZER)
        (aside / STATE).write_text(json.dumps(state), encoding="utf-8")

    _atomically(folder, write)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Put weights, optimizer and random state back; returns the averaged weights and the state."""
    check_seal(folder)
    load_weights(model, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    held = _tensors(folder / OPTIMIZER)
    if "random" not in held:
        raise InputError(f"{folder / OPTIMIZER}: holds no random state; use a checkpoint of this run")
    torch.set_rng_state(held.pop("random"))
    if "random_cuda" in held and torch.cuda.is_available():
        torch.cuda.set_rng_state(held["random_cuda"])
    own, average = model.state_dict(), {}
    for name in [name for name in held if name.startswith("average/")]:
        plain = name.removeprefix("average/")
        average[plain] = held[name].to(own[plain].device)
    for name, parameter in model.named_parameters():
        slot = {key: held[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in held}
        if slot:
            device = parameter.device
            optimizer.state[parameter] = {k: v if k == "step" else v.to(device) for k, v in slot.items()}
    return average, _object(folder / STATE)


def whole(folder: Path) -> Path:
    """The folder, or, where a crash came between the two renames of a write, its predecessor, still whole."""
    before = folder.with_name(folder.name + OLD)
    return before if before.is_dir() and not folder.exists() else folder


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the last one last; one that a crash left under its old name is put back first."""
    folder = run / "checkpoints"
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
        shutil.rmtree(old)


def _random() -> dict[str, Tensor]:
    """States of the generators that dropout draws from."""
    here = {"random": torch.get_rng_state()}
    return here | ({"random_cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def _write_model(
    folder: Path, weights: Mapping[str, Tensor], config: Config, scaling: Scaling, grid: GridSpec | None
) -> None:
    save_file(_contiguous(weights), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(config.to_json(), encoding="utf-8")
    (folder / SCALING).write_text(scaling.to_json(), encoding="utf-8")
    if grid is not None:
        (folder / GRID).write_text(json.dumps(vars(grid)), encoding="utf-8")


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _atomically(folder: Path, write: Callable[[Path], None]) -> None:
    """Write aside, then rename; at every moment the folder, or its predecessor under `OLD`, is whole."""
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    write_seal(aside)
    old = folder.with_name(folder.name + OLD)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


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


def _grid(path: Path) -> GridSpec:
    return grid_from_json(_text(path), str(path))


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
