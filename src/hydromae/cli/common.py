"""Protocol of the commands (frozen dataclasses whose docstrings are the help), and helpers they share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rich.console import RenderableType

from hydromae.errors import InputError
from hydromae.io.outputs import PICTURES, Output, replaceable_file, reserve_outputs

if TYPE_CHECKING:
    import xarray as xr

Echo = Callable[[RenderableType], None]
Result = Mapping[str, Any]
ASSETS = Path(__file__).parents[1] / "assets"
"""Folder of the models that the package contains."""
COMMAND_LINE: ContextVar[tuple[str, ...]] = ContextVar("typed", default=())
"""Arguments of the command line after `hydromae`."""


def command_text() -> str:
    """Return the command line as the user typed it."""
    return shlex.join(["hydromae", *COMMAND_LINE.get()])


@runtime_checkable
class Command(Protocol):
    """Interface of a command."""

    @property
    def json(self) -> bool:
        """Whether stdout gets only the result, as JSON."""
        ...

    def outputs(self) -> Mapping[str, Output]:
        """Return the files and folders that the command writes, by field; all its other paths are inputs."""
        ...

    def run(self, echo: Echo) -> Result:
        """Run the command: `echo` prints for people, the result is for programs; its `exit_code` is that of the command."""
        ...


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads of torch; None leaves all."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads {threads}: is not a number of threads; give 1 or more, or leave it out for all")
    import torch

    torch.set_num_threads(threads)


def best_model_line(best: Path, store: Path) -> tuple[str, str | None]:
    """Return a line on the trained model, and its path, which is None before the first validation."""
    has_best = best.is_dir()
    if has_best:
        message = f"{best}: the model with the lowest validation loss"
    else:
        message = f"{best.with_name('last')}: the model of the last step; no validation was due yet"
    return f"{message}; hydromae evaluate {store} --model {best.parent}", str(best) if has_best else None


def inputs_of(command: Command) -> list[Path]:
    """Return the paths that a command reads: those it does not write; the name of a shipped model gives its folder."""
    output_fields, paths = command.outputs(), list[Path]()
    for name, value in vars(command).items():
        if name not in output_fields:
            paths += [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, Path)]
    return [ASSETS / path if path.name == str(path) and (ASSETS / path).is_dir() else path for path in paths]


@contextmanager
def reserve_command_outputs(command: Command) -> Iterator[None]:
    """Check the outputs of a command and lock them while it runs; of several processes, only the first one does this."""
    if not is_main_process():
        yield
        return
    with reserve_outputs(list(command.outputs().values()), inputs_of(command)):
        yield


def is_main_process() -> bool:
    """Return whether this is the first of the processes of a launcher: the one that prints."""
    return os.environ.get("RANK", "0") == "0"


def picture_output(picture: Path | None, river: str | None) -> dict[str, Output]:
    """Return the output of --picture; refuse another format, and --river without a picture."""
    if picture is None:
        if river is not None:
            raise InputError(f"--river {river}: is the river of a picture; add --picture FILE.png, or leave it out")
        return {}
    if picture.suffix not in PICTURES:
        raise InputError(f"{picture}: a picture is written as .png; name the file so")
    return {"picture": replaceable_file(picture, PICTURES)}


def check_river(record: xr.Dataset, river: str | None) -> None:
    """Refuse a river that a record lacks."""
    from hydromae.io.names import shortened

    names = [str(name) for name in record["catchment"].values]
    if river is not None and river not in names:
        raise InputError(f"--river {river}: is not in the record; choose one of {shortened(names)}")


def draw_river(answer: xr.Dataset, river: str | None, picture: Path) -> None:
    """Write the picture of a river."""
    from hydromae.report.river_plot import plot, save_picture

    save_picture(plot(answer, river), picture)
