"""Checkpoints: safetensors and JSON only, written aside and renamed, so that a crash never leaves half of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hydromae.config import Config
from hydromae.data.scaling import Scaling
from hydromae.errors import InputError
from hydromae.modalities import GridSpec
from hydromae.model.mae import HydroMAE

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
CONFIG, SCALING, GRID = "config.json", "scaling.json", "grid.json"


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
    config = Config.from_json(_text(folder / CONFIG), str(folder / CONFIG))
    scaling = Scaling.from_json(_text(folder / SCALING))
    grid = GridSpec(**json.loads(_text(folder / GRID))) if (folder / GRID).is_file() else None
    model = HydroMAE(config, pixels=(grid or GridSpec()).patch ** 2)
    load_weights(model, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    return model.eval(), config, scaling, grid


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load weights, every one of them, or refuse with one line."""
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights)) or [n for n in own if own[n].shape != weights[n].shape]
    if wrong:
        raise InputError(
            f"{source}: weight '{wrong[0]}' does not fit this configuration; use the run's own config.json"
        )
    model.load_state_dict(weights)


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
        names = [name for name, _ in model.named_parameters()]
        slots = {
            f"{key}/{name}": value
            for name, (_, slot) in zip(names, _ordered(model, optimizer), strict=True)
            for key, value in slot.items()
        }
        extra = {f"average/{name}": value for name, value in average.items()}
        save_file(_contiguous(slots | extra | {"random": torch.get_rng_state()}), aside / OPTIMIZER)
        (aside / STATE).write_text(json.dumps(state), encoding="utf-8")

    _atomically(folder, write)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Put weights, optimizer and random state back; returns the averaged weights and the state."""
    load_weights(model, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    held = _tensors(folder / OPTIMIZER)
    torch.set_rng_state(held.pop("random"))
    average = {name.removeprefix("average/"): held.pop(name) for name in list(held) if name.startswith("average/")}
    for name, parameter in model.named_parameters():
        slot = {key: held[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in held}
        if slot:
            device = parameter.device
            optimizer.state[parameter] = {k: v if k == "step" else v.to(device) for k, v in slot.items()}
    return average, json.loads(_text(folder / STATE))


def newest(run: Path) -> Path | None:
    """The last checkpoint of a run, or None."""
    found = sorted((run / "checkpoints").glob("step-*[0-9]"))
    return found[-1] if found else None


def prune(run: Path, keep: int) -> None:
    """Delete all but the last `keep` checkpoints."""
    for old in sorted((run / "checkpoints").glob("step-*[0-9]"))[:-keep]:
        shutil.rmtree(old)


def _ordered(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[nn.Parameter, dict[str, Tensor]]]:
    return [(parameter, optimizer.state.get(parameter, {})) for parameter in model.parameters()]


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


def _atomically(folder: Path, write) -> None:
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({error}); restore the file or use another checkpoint"
        ) from None
