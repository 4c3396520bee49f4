"""hydromae: a pre-trained, multi-modal masked autoencoder that fills every NaN of a water record with a distribution."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch
    import xarray as xr
    from matplotlib.figure import Figure

    from hydromae.inference.predictor import Model

__version__ = "0.1.0"
__all__ = ["__version__", "load", "plot"]


def _set_defaults() -> None:
    """Set the environment variables that torch reads when it loads, unless the user has set them."""
    # Large tensors use pages of 2 MB where Linux has them: mapping pages of 4 kB costs more than most operations
    # (docs/performance.md).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # An operation that MPS lacks runs on the CPU with a warning, instead of an error.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Waiting threads spin for some microseconds and then sleep. By default they spin for milliseconds and can keep the
    # working thread off its core: with other work on the machine, a prediction took 12 to 23 times as long. If they sleep at
    # once, it takes nearly twice as long on an idle machine (docs/performance-log.md).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    size = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or ""
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        # The processes of a launcher share the cores; torchrun sets this, the launcher of DeepSpeed does not.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(size))))


_set_defaults()


def load(name: str | Path, device: str | torch.device | None = "auto", precision: str = "auto") -> Model:
    """Load a trained model by the name of a shipped one, or from a run, a checkpoint or a model folder.

    See `hydromae.inference.predictor.load`.
    """
    from hydromae.inference import predictor  # imports torch, which would delay the start of the command line

    return predictor.load(name, device, precision)


def plot(
    answer: xr.Dataset | pd.DataFrame, river: object = None, *, units: str | None = None, log: bool = False
) -> Figure:
    """Draw a river of an answer: hydrograph with intervals, or the fans of a forecast.

    See `hydromae.report.river_plot.plot`.
    """
    from hydromae.report import river_plot

    return river_plot.plot(answer, river, units=units, log=log)
