"""hydromae: a pre-trained, multi-modal masked autoencoder for a country's water. NaN in, distributions out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hydromae.predict import Model

__version__ = "0.1.0"


def load(name: str | Path, device: str = "auto") -> Model:
    """A trained model, from a run, a checkpoint, or a model folder; see `hydromae.predict.load`."""
    from hydromae.predict import load as load_model  # torch is read only now, so that the command line starts at once

    return load_model(name, device)
