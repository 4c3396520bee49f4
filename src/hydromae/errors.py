"""What ends a command: bad input, the one exception that a user can cause, and a signal."""

from __future__ import annotations

import signal


class InputError(ValueError):
    """Bad input: one line that names the file or argument, the value, and the remedy. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        """Whatever names and values from a file hold, the message stays one printable line."""
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


def first_line(error: Exception) -> str:
    """The first line of another library's exception, short enough to stand inside a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


SIGNALS: dict[int, str] = {signal.SIGINT: "Ctrl+C", signal.SIGTERM: "SIGTERM"}
"""Signals that end a command, and what they are called in messages."""


class Interrupted(KeyboardInterrupt):
    """A training run was ended by a signal.

    Attributes:
        signal: SIGINT or SIGTERM.
        step: Of the checkpoint that was written for it; None where there was no time for one.
    """

    def __init__(self, number: int, line: str, step: int | None = None) -> None:
        super().__init__(line)
        self.signal, self.step = number, step


def signal_of(error: KeyboardInterrupt) -> int:
    """The signal that ended the work; Ctrl+C where Python itself received it."""
    return error.signal if isinstance(error, Interrupted) else signal.SIGINT
