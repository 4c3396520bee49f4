"""Standard streams that are closed, full or a broken pipe, without a traceback."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

from hydromae.errors import InputError


class Screen(Console):
    """A console that continues silently after a broken pipe, such as `| head`."""

    def on_broken_pipe(self) -> None:
        """Discard further output (called by rich instead of raising)."""
        redirect_to_null(self.file)


def show(console: Console, *renderables: Any, **options: Any) -> None:
    """Print as `Console.print` does.

    Raises:
        InputError: The stream cannot be written, such as a file on a full disk.
    """
    try:
        console.print(*renderables, **options)
    except BrokenPipeError:
        redirect_to_null(console.file)
    except OSError as error:
        redirect_to_null(console.file)
        raise InputError(
            f"standard output: cannot be written ({error.strerror or error}); redirect it to another file"
        ) from error


def reopen_closed_streams() -> None:
    """Open streams that were closed at the start of Python, so that no other file gets their descriptors."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name in ("stdout", "stderr"):
        if vars(sys)[name] is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def flush_streams() -> None:
    """Flush the streams; after a failure, discard the rest, so that Python does not fail again at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            redirect_to_null(stream)


def redirect_to_null(stream: Any) -> None:
    """Discard all further output of a stream."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # not a file of the system, or closed
        return
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, number)
    os.close(null_device)
