"""The journal of a training run, read back: JSON lines with step, loss, validation loss and seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from hydromae.errors import InputError


@dataclass(frozen=True)
class LossHistory:
    """What a journal says of a run, one entry a line.

    Attributes:
        step (array (N,)): Number of the step.
        loss, validation_loss (arrays (N,)): Loss of the step; NaN where it was not a number or not computed.
        seconds (array (N,)): Time since training started [s].
    """

    step: Float[np.ndarray, " N"]
    loss: Float[np.ndarray, " N"]
    validation_loss: Float[np.ndarray, " N"]
    seconds: Float[np.ndarray, " N"]

    @property
    def is_drawable(self) -> Bool[np.ndarray, " N"]:
        """True where the loss is a positive number, which a logarithmic axis can show."""
        return np.isfinite(self.loss) & (np.nan_to_num(self.loss) > 0)


def read_metrics_log(file: Path) -> LossHistory:
    """Read a journal.

    Args:
        file: One JSON object a line; a value that is null or absent becomes NaN. A last line that a crash cut off is left
            out.

    Returns:
        Losses: Every entry in the order of the file.

    Raises:
        InputError: The file is missing or holds no step, or a line other than the last is not such an object.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: the training journal cannot be read ({error}); give the run's own file") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(line_values(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number == len(lines) and entries:
                break
            expected = '{"step": …, "loss": …}'
            raise InputError(f"{file}: line {number} of the journal is not {expected}; mend or remove it") from error
    if not entries:
        raise InputError(f"{file}: the training journal is empty; give the journal of a run that made a step")
    return LossHistory(*np.array(entries, dtype=float).T)


def line_values(line: str) -> list[float]:
    """Step, loss, validation loss and seconds of one line; null and absent are NaN."""
    entry = json.loads(line)
    values = [entry["step"], entry["loss"], entry.get("validation_loss"), entry.get("seconds")]
    return [np.nan if value is None else float(value) for value in values]
