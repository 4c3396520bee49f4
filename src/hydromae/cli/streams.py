"""The standard streams: closed, full, or read by a program that has gone; none of that is a traceback."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

from hydromae.errors import InputError


class Screen(Console):
    """A console that goes on in silence where the program that reads it has gone, as `| head` does."""

    def on_broken_pipe(self) -> None:
        """Called by rich in place of the error."""
        redirect_to_null(self.file)


def show(console: Console, *renderables: Any, **options: Any) -> None:
    """As the console's `print`.

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
            f"standard output: cannot be written ({error.strerror or error}); send it to another place"
        ) from error


def reopen_closed_streams() -> None:
    """Open the streams that were closed when Python started, so that no file of the user's takes their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name in ("stdout", "stderr"):
        if vars(sys)[name] is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def flush_streams() -> None:
    """Write what Python still holds of the streams; where that fails, it must not fail again when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            redirect_to_null(stream)


def redirect_to_null(stream: Any) -> None:
    """Send what comes yet to nowhere."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # no file of the system, or closed
        return
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, number)
    os.close(null_device)
