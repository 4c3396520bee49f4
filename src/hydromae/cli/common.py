"""What every command is: one frozen dataclass, whose docstrings are its help and whose `run` does the work."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import RenderableType

from hydromae.errors import InputError
from hydromae.io.outputs import Output, reserve_outputs

Echo = Callable[[RenderableType], None]
Result = Mapping[str, Any]
ASSETS = Path(__file__).parents[1] / "assets"
"""Where the models lie that come with the package."""
COMMAND_LINE: ContextVar[tuple[str, ...]] = ContextVar("typed", default=())
"""The words of the command line after `hydromae`."""


def command_text() -> str:
    """The command as it was typed."""
    return shlex.join(["hydromae", *COMMAND_LINE.get()])


@runtime_checkable
class Command(Protocol):
    """What every command offers."""

    @property
    def json(self) -> bool:
        """Whether the result goes to stdout as JSON and nothing else does."""
        ...

    def outputs(self) -> Mapping[str, Output]:
        """Every file and folder that is written, by its field; every other path of the command is an input."""
        ...

    def run(self, echo: Echo) -> Result:
        """Do the work; `echo` shows something to people, the result is for programs; `exit_code` in it is the command's."""
        ...


def set_threads(threads: int | None) -> None:
    """Let torch use so many threads of the CPU; all where None."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads {threads}: is not a number of threads; give 1 or more, or leave it out for all")
    import torch

    torch.set_num_threads(threads)


def best_model_line(best: Path, store: Path) -> tuple[str, str | None]:
    """What a training left, and the command that scores it; and the best model, None where no validation was due yet."""
    has_best = best.is_dir()
    if has_best:
        message = f"{best}: the model with the lowest validation loss"
    else:
        message = f"{best.with_name('last')}: the model of the last step; no validation was due yet"
    return f"{message}; hydromae evaluate {store} --model {best.parent}", str(best) if has_best else None


def inputs_of(command: Command) -> list[Path]:
    """The paths that a command reads: all that it was given and does not write; a shipped model for its name."""
    output_fields, paths = command.outputs(), list[Path]()
    for name, value in vars(command).items():
        if name not in output_fields:
            paths += [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, Path)]
    return [ASSETS / path if path.name == str(path) and (ASSETS / path).is_dir() else path for path in paths]


@contextmanager
def reserve_command_outputs(command: Command) -> Iterator[None]:
    """Check what a command writes, and hold it while it works; of several processes, the first one does so for all."""
    if not is_main_process():
        yield
        return
    with reserve_outputs(list(command.outputs().values()), inputs_of(command)):
        yield


def is_main_process() -> bool:
    """Whether this process is the one that speaks to the user, where a launcher started several."""
    return os.environ.get("RANK", "0") == "0"
