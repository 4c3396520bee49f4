"""The losses of a training run, from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from hydromae.errors import InputError
from hydromae.train.metrics_log import MetricsLog


@dataclass(frozen=True)
class LossHistory:
    """Losses of the steps of a run.

    Attributes:
        step (array (N,)): Number of the step.
        loss, validation_loss (arrays (N,)): NaN where the loss is not finite or was not computed.
        seconds (array (N,)): Time since training started [s].
    """

    step: Float[np.ndarray, " N"]
    loss: Float[np.ndarray, " N"]
    validation_loss: Float[np.ndarray, " N"]
    seconds: Float[np.ndarray, " N"]

    @property
    def is_drawable(self) -> Bool[np.ndarray, " N"]:
        """True where the loss is finite and positive, as a logarithmic axis needs."""
        return np.isfinite(self.loss) & (np.nan_to_num(self.loss) > 0)

    @classmethod
    def read(cls, file: Path) -> LossHistory:
        """Read a journal (`MetricsLog.read`).

        Raises:
            InputError: The file is missing, cannot be read, or contains no step or a line that is not a step.
        """
        names = ("step", "loss", "validation_loss", "seconds")
        lines = MetricsLog(file).read()
        try:
            steps = [[np.nan if line.get(name) is None else float(line[name]) for name in names] for line in lines]
        except (TypeError, ValueError) as error:
            raise InputError(f"{file}: the journal cannot be read ({error}); give the journal of a run") from error
        if not steps:
            raise InputError(f"{file}: no step in the journal; give the journal of a run that made a step")
        return cls(*np.array(steps).T)
