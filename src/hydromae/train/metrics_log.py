"""The metrics log of a run: one JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.io.atomic import write_text_atomic

FAULT, REMEDY = "the journal cannot be written", "mend that, and go on with --resume"


@dataclass(frozen=True)
class MetricsLog:
    """`journal.jsonl`: step, epoch, losses, lr, gradient_norm, loss_scale, skipped, precision, seconds, and mse by modality.

    The mse of a modality without targets is null.

    Attributes:
        on_line: Called with every line after it was written (`loggers.open_tracker`).
    """

    path: Path
    on_line: Callable[[Mapping[str, Any]], None] = lambda line: None

    def write(self, **values: float | int | str | Mapping[str, float | None] | None) -> None:
        """Append a line; numbers that are not finite are written as null.

        Raises:
            InputError: The file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(values), allow_nan=False) + "\n")
        except OSError as error:
            raise InputError(f"{self.path}: {FAULT} ({error.strerror}); {REMEDY}") from error
        self.on_line(values)

    def read(self) -> list[dict[str, Any]]:
        """All complete lines.

        Raises:
            InputError: The file cannot be read, or a line is not the record of a step.
        """
        if not self.path.exists():
            return []
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.is_file() else "no file\n"
            lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
            is_valid = all(type(line["step"]) is int for line in lines)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); make it readable") from error
        except (ValueError, TypeError, KeyError, RecursionError):
            is_valid = False
        if not is_valid:
            raise InputError(f"{self.path}: a line is not the record of a step; restore the file, or delete it")
        return lines

    def truncate_after(self, step: int) -> None:
        """Delete the lines after a step, from which training is resumed."""
        lines = [json.dumps(line) + "\n" for line in self.read() if line["step"] <= step]
        write_text_atomic(self.path, "".join(lines), REMEDY, FAULT)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
