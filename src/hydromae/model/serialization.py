"""Files of a model (weights as safetensors; configuration, scaling and grid as JSON), and the model folders of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hydromae.config import Config
from hydromae.errors import InputError, first_line
from hydromae.grid import GridSpec
from hydromae.io.folders import WEIGHTS
from hydromae.io.parse import grid_from_json
from hydromae.io.text_file import read_text
from hydromae.model.checksums import verify_checksums
from hydromae.model.dtypes import default_float32
from hydromae.model.mae import HydroMAE
from hydromae.store.scaling import Scaling

CONFIG, SCALING, GRID = "config.json", "scaling.json", "grid.json"
BACKUP_SUFFIX, CHECKPOINTS = ".old", "checkpoints"
NEW_RUN_PATTERN = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2 + "T" + "[0-9]" * 2, "[0-9]" * 2, "[0-9]" * 2))
"""Names of the folders of `pretrain --new-run`."""


def load_model(folder: Path) -> tuple[HydroMAE, Config, Scaling, GridSpec | None]:
    """The model of a folder, in evaluation mode.

    Raises:
        InputError: A file is missing, truncated, or of another model.
    """
    folder = intact_folder(folder)
    config = Config.from_json(_text(folder / CONFIG), str(folder / CONFIG))
    scaling = read_scaling(folder / SCALING)
    if "riverflow" in config.model.modalities and "riverflow" not in scaling:
        raise InputError(f"{folder / SCALING}: has no riverflow, which the model predicts; restore the file")
    grid = grid_from_json(_text(folder / GRID), str(folder / GRID)) if (folder / GRID).is_file() else None
    weights = merge_lora(read_tensors(folder / WEIGHTS))
    pixels = (grid or GridSpec()).patch ** 2
    with default_float32(), torch.device("meta"):  # check shapes before a wrong configuration allocates memory
        _check_fit(HydroMAE(config, pixels=pixels), weights, folder / WEIGHTS)
    with default_float32():
        model = HydroMAE(config, pixels=pixels)
    load_weights(model, weights, folder / WEIGHTS)
    verify_checksums(folder)
    nonfinite = sorted(name for name, value in weights.items() if not torch.isfinite(value).all())
    if nonfinite:
        raise InputError(f"{folder / WEIGHTS}: weight '{nonfinite[0]}' is not finite; use another checkpoint")
    return model.eval(), config, scaling, grid


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load all weights of a model, or refuse them."""
    _check_fit(model, weights, source)
    model.load_state_dict(weights)


def _check_fit(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    expected = model.state_dict()
    misfits = sorted(set(expected) ^ set(weights)) or [
        n for n in expected if (expected[n].shape, expected[n].dtype) != (weights[n].shape, weights[n].dtype)
    ]
    if misfits:
        raise InputError(
            f"{source}: weight '{misfits[0]}' does not fit this configuration; use the run's own config.json"
        )


def write_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write the files of a model into an existing folder; `texts` are further files by name."""
    save_file(contiguous(weights), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(config.to_json(), encoding="utf-8")
    (folder / SCALING).write_text(scaling.to_json(), encoding="utf-8")
    if grid is not None:
        (folder / GRID).write_text(json.dumps(vars(grid)), encoding="utf-8")
    for name, text in (texts or {}).items():
        (folder / name).write_text(text, encoding="utf-8")


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def merge_lora(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model without adapters, each adapter merged into its matrix."""
    merged: dict[str, Tensor] = {}
    for key, value in weights.items():
        module, adapted, rest = key.partition(".parametrizations.")
        if not adapted:
            merged[key] = value
        elif rest.endswith(".original"):
            name = rest.removesuffix(".original")
            parametrization = f"{module}.parametrizations.{name}.0"
            merged[f"{module}.{name}"] = value + weights[f"{parametrization}.b"] @ weights[f"{parametrization}.a"]
    return merged


def find_model(folder: Path) -> Path | None:
    """Folder of the model of a run, or of the newest run of `--new-run` in the folder.

    Raises:
        InputError: The folder is a run and also contains runs.
    """
    single = _model_of_run(folder)
    new_runs = [path for run in sorted(folder.glob(NEW_RUN_PATTERN)) if (path := _model_of_run(run)) is not None]
    if single is not None and new_runs:
        raise InputError(
            f"{folder}: is a run and contains {len(new_runs)} of --new-run; name {single} or {new_runs[-1].parent}"
        )
    return single or (new_runs[-1] if new_runs else None)


def intact_folder(folder: Path) -> Path:
    """The folder, or its backup if a crash interrupted the replacement of the folder."""
    backup = Path(f"{folder}{BACKUP_SUFFIX}")
    return backup if backup.is_dir() and not folder.exists() else folder


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run in order; the backup of a missing checkpoint is restored."""
    folder = run / CHECKPOINTS
    for backup in folder.glob(f"step-*[0-9]{BACKUP_SUFFIX}"):
        if not backup.with_suffix("").exists():
            backup.rename(backup.with_suffix(""))
    return sorted(folder.glob("step-*[0-9]"))


def latest_checkpoint(run: Path) -> Path | None:
    """The last checkpoint of a run, or None."""
    existing = checkpoints(run)
    return existing[-1] if existing else None


def _model_of_run(run: Path) -> Path | None:
    """The first that exists: best model, last model, the folder itself, last checkpoint."""
    latest = latest_checkpoint(run)
    candidates = [intact_folder(run / "best"), intact_folder(run / "last"), run, *([latest] if latest else [])]
    return next((folder for folder in candidates if (folder / WEIGHTS).is_file()), None)


def read_json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: is not JSON ({first_line(error)}); restore the file or use another checkpoint"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a JSON object; restore the file or use another checkpoint")
    return content


def read_scaling(path: Path) -> Scaling:
    try:
        return Scaling.from_json(_text(path))
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote")
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, TypeError, LookupError, RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({first_line(error)}); restore the file or use another checkpoint"
        ) from None


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError:
        raise InputError(f"{path}: not found; name a run, a checkpoint or a model folder that hydromae wrote") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text; restore the file or use another checkpoint") from None
