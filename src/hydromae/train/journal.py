"""The journal: one JSON object a line, so that any program can follow a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Journal:
    """`journal.jsonl`: step, epoch, loss, validation_loss, lr, gradient_norm, skipped, seconds, and mse by modality."""

    path: Path

    def write(self, **numbers: float | int | dict[str, float] | None) -> None:
        """Append a line, on disk when the call returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(numbers) + "\n")

    def read(self) -> list[dict[str, float]]:
        """All lines; a last line that a crash cut short is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def rewind(self, step: int) -> None:
        """Forget what was written after a step, before training goes on from there."""
        kept = [json.dumps(line) + "\n" for line in self.read() if line["step"] <= step]
        aside = self.path.with_suffix(".partial")
        aside.write_text("".join(kept), encoding="utf-8")
        aside.replace(self.path)
