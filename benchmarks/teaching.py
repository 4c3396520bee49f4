"""Runs that lie in a folder: taught once, gone on with where they stopped, and timed."""

from __future__ import annotations

import time
from pathlib import Path

import xarray as xr
from rich.console import Console

from hydromae.config import Config
from hydromae.grid import GridSpec
from hydromae.model.serialization import latest_checkpoint
from hydromae.store.scaling import Scaling
from hydromae.store.scaling_cache import scaling_for
from hydromae.train.finetune import PretrainedStart
from hydromae.train.trainer import train


def taught(
    config: Config,
    record: xr.Dataset,
    out: Path,
    console: Console,
    grid: GridSpec | None = None,
    start: PretrainedStart | None = None,
    scaling: Scaling | None = None,
) -> Path:
    """Train on a record, its maps on `grid`, or go on with the run that lies there; one that has ended stays as it is.

    `start` are pretrained weights, with the `scaling` that they were trained with.
    """
    began, scaling = time.perf_counter(), scaling or scaling_for(record, config, out)
    resume = latest_checkpoint(out) is not None
    train(config, record, scaling, out, grid=grid, start=start, resume=resume, device="cpu")
    console.print(f"{out}: {(time.perf_counter() - began) / 60:.1f} min", markup=False)
    return out
