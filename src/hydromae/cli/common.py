"""What every command is: one frozen dataclass, whose docstrings are its help and whose `run` does the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import RenderableType

from hydromae.errors import InputError

Say = Callable[[RenderableType], None]
Result = Mapping[str, Any]


@runtime_checkable
class Command(Protocol):
    """What every command offers."""

    @property
    def json(self) -> bool:
        """Whether the result goes to stdout as JSON and nothing else does."""
        ...

    def run(self, say: Say) -> Result:
        """Do the work; `say` shows something to people, the result is for programs; `exit_code` in it is the command's."""
        ...


def set_threads(threads: int | None) -> None:
    """Let torch use so many threads of the CPU; all where None."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads {threads}: is no number of threads; give 1 or more, or leave it out for all")
    import torch

    torch.set_num_threads(threads)


def best_line(best: Path, store: Path) -> tuple[str, str | None]:
    """What a training left, and the command that scores it; and the best model, None where no validation was due yet."""
    there = best.is_dir()
    if there:
        held = f"{best}: the model with the lowest validation loss"
    else:
        held = f"{best.with_name('last')}: the model of the last step; no validation was due yet"
    return f"{held}; hydromae evaluate {store} --model {best.parent}", str(best) if there else None


def speaks() -> bool:
    """Whether this process is the one that speaks to the user, where a launcher started several."""
    return os.environ.get("RANK", "0") == "0"
