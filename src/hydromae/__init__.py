"""hydromae: a pre-trained, multi-modal masked autoencoder for a country's water. NaN in, distributions out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from hydromae.inference.predictor import Model

__version__ = "0.1.0"


def _set_defaults() -> None:
    """Set what torch reads from the environment when it loads; what the user has set stays."""
    # Large tensors then lie in pages of 2 MB where Linux has them, not of 4 kB, which cost more to map than most of what
    # is done with them (docs/performance.md).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # An operation that MPS lacks runs on the CPU, and torch warns of it, instead of an error.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Threads that wait for each other sleep. By default they spin, and beside other work the waiting ones keep the
    # working one off its core: 12 to 23 times as long for the same answer (docs/performance.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    size = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or ""
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        # The processes of a launcher share the cores; torchrun sets this itself, DeepSpeed's launcher does not.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(size))))


_set_defaults()


def load(name: str | Path, device: str | torch.device | None = "auto", precision: str = "auto") -> Model:
    """A trained model, from a run, a checkpoint, or a model folder; see `hydromae.inference.predictor.load`."""
    from hydromae.inference.predictor import (
        load as load_model,  # torch is read only now, so that the command line starts at once
    )

    return load_model(name, device, precision)
