"""Cached scaling of a run, which is fitted again if its inputs change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from hydromae.config import Config
from hydromae.io.atomic import write_text_atomic
from hydromae.store.scaling import Scaling, exclude_catchments
from hydromae.store.zarr_store import scaling_of
from hydromae.variables import ATTRIBUTES, VARIABLES

FILE = "scaling.json"


def scaling_for(
    dataset: xr.Dataset,
    config: Config,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Scaling:
    """Return the scaling of training days and catchments.

    Args:
        dataset: A record; the scaling of its store is used if it has the same inputs.
        config: Training period and held-out catchments.
        folder: Folder of the cache `scaling.json`, which is used if data, training period, held-out catchments and transforms
            are the same. A record that is not from a store is fitted at every call.
        progress: Called with the reason why a cached scaling is fitted again.

    Raises:
        InputError: No observations in the training period, or the file cannot be written.
    """
    period, held_out, parts = config.data.training_period, config.data.held_out, scaling_inputs(dataset, config)
    if not held_out and dataset.attrs.get("training_period") == "/".join(period):
        stored = scaling_of(dataset)
        if all(stored[name].transform == transform for name, transform in _transforms(dataset).items()):
            return stored
    file = folder / FILE if folder is not None and "sources" in dataset.attrs else None
    cached = None if file is None else _read_cached(file, parts, progress)
    if cached is not None:
        return cached
    fitted = Scaling.fit(exclude_catchments(dataset, held_out), period)
    if file is not None:
        _write_cached(file, parts, fitted)
    return fitted


def scaling_inputs(dataset: xr.Dataset, config: Config) -> dict[str, str]:
    """Return the inputs of a scaling as texts for comparison and messages.

    Sources and statistics of a store represent its values.
    """
    days = dataset["time"].values
    store_attributes = [str(dataset.attrs.get(name)) for name in ("sources", "training_period", "scaling")]
    return {
        "data": _digest(store_attributes),
        "days": f"{str(days[0])[:10]}/{str(days[-1])[:10]}",
        "catchments": _short_list([str(name) for name in dataset["catchment"].values]),
        "variables": ", ".join(sorted(str(name) for name in dataset.data_vars)),
        "training_period": "/".join(config.data.training_period),
        "held_out": _short_list(sorted(config.data.held_out)),
        "transforms": ", ".join(f"{name} {transform}" for name, transform in _transforms(dataset).items()),
    }


def _transforms(dataset: xr.Dataset) -> dict[str, str]:
    attributes = {attribute.name: attribute.transform for attribute in ATTRIBUTES}
    table = {name: variable.transform for name, variable in VARIABLES.items()} | attributes
    return {name: table[name] for name in sorted(str(name) for name in dataset.data_vars) if name in table}


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()[:16]


def _short_list(names: Sequence[str]) -> str:
    """Return a few names as text, many as number and digest."""
    return " ".join(names) or "none" if len(names) <= 5 else f"{len(names)} ({_digest(names)})"


def _read_cached(file: Path, parts: dict[str, str], progress: Callable[[str], None]) -> Scaling | None:
    """Return the scaling in a file if its inputs are the same, or None with a message."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        old, scaling = content["made_from"], Scaling.from_json(json.dumps(content["scaling"]))
        changed = [f"{part} was {old[part]}, is {new}" for part, new in parts.items() if old[part] != new]
    except (OSError, ValueError, TypeError, KeyError):  # an InputError is a ValueError
        progress(f"{file}: is damaged; fitting the scaling again")
        return None
    if changed:
        progress(f"{file}: fitting the scaling again: {'; '.join(changed)}")
        return None
    return scaling


def _write_cached(file: Path, parts: dict[str, str], scaling: Scaling) -> None:
    text = json.dumps({"made_from": parts, "scaling": json.loads(scaling.to_json())}, indent=1)
    write_text_atomic(file, text, "correct that, or give another folder", "the scaling cannot be written")
