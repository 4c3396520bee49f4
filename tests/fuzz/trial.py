"""One input: made, handed to the command line under a time limit, and judged."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import itertools
import signal
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from unittest import mock

from hydromae.cli import COMMANDS, main

SECONDS = 120
"""An input that takes longer is a hang."""
PATHS: dict[str, Callable[[str], object]] = {"model": Path, "out": Path, "attributes": Path, "days": int}
REMARK = "(outside_training in the answer"
"""Of the line on what lies outside the training of a model, which is no fault."""
REFUSED, RIGHT, FAULT = "refused", "right", "FAULT"


@dataclass(frozen=True)
class Trial:
    """A command with an input that may be broken.

    Attributes
    ----------
    arguments : list of str
        For `hydromae.cli.main`.
    said : str
        What was done to the input.
    names : tuple of str
        A refusal must name one of them.
    outputs : tuple of Path
        What must not be there after a refusal.
    check : callable
        After success: what is wrong with the answer, or None.
    valid : bool
        The change kept the meaning, so a refusal is wrong.
    """

    arguments: list[str]
    said: str
    names: tuple[str, ...]
    outputs: tuple[Path, ...] = ()
    check: Callable[[], str | None] = lambda: None
    valid: bool = False


@dataclass(frozen=True)
class Outcome:
    """How one input ended: `refused`, `right` or `FAULT`, and why."""

    verdict: str
    why: str = ""
    line: str = field(default="", compare=False)


class Hang(BaseException):
    """The time limit; no handler of the product catches it."""


@contextlib.contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raise `Hang` after so many seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True)  # a library that hangs in C never sees the alarm
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(trial: Trial) -> Outcome:
    """Run a trial: exit code 2 and one line that names the input, or a right answer."""
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as warned, limit(SECONDS):
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(trial.arguments)
        except Hang:
            return Outcome(FAULT, f"hang: {trial.said}")
        except BaseException:
            return Outcome(FAULT, f"{trial.said}: {traceback.format_exc(limit=-12)}")
    said = [*err.getvalue().splitlines(), *(str(w.message) for w in warned if shown(w))]
    lines = [line for line in said if REMARK not in line]
    if code == 2:
        fault = _refusal(trial, lines)
    else:
        fault = f"warns {lines[0]}" if lines else f"exit code {code}" if code else _checked(trial)
    if fault is not None:
        return Outcome(FAULT, f"{trial.said}: {fault}")
    return Outcome(REFUSED, line=lines[0]) if code == 2 else Outcome(RIGHT)


def run(arguments: list[str]) -> int:
    """`main`, without the 15 ms that tyro takes for arguments as plain as these; every fourth time with them."""
    name, *rest = arguments
    if name == "pretrain" or zlib.crc32(" ".join(rest).encode()) % 4 == 0:
        return main(arguments)
    places = list(itertools.takewhile(lambda word: not word.startswith("--"), rest))
    options: dict[str, object] = {"json": True}
    words = iter(rest[len(places) :])
    for word in words:
        key = word.removeprefix("--").replace("-", "_")
        if key == "training_period":
            options[key] = (next(words), next(words))
        elif key != "json":
            options[key] = PATHS.get(key, str)(next(words))
    command = COMMANDS[name](*map(Path, places), **options)
    with mock.patch("hydromae.cli.parse", lambda _: command):
        return main(arguments)


def shown(warning: warnings.WarningMessage) -> bool:
    """Whether Python shows such a warning to a user: not those meant for developers."""
    hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    return not issubclass(warning.category, hidden)


def _refusal(trial: Trial, lines: list[str]) -> str | None:
    if trial.valid:
        return f"a valid input was refused: {lines}"
    if len(lines) != 1:
        return f"{len(lines)} lines on stderr: {lines[:4]}"
    if not any(name in lines[0] for name in trial.names):
        return f"the line names none of {trial.names}: {lines[0]}"
    left = [path for path in trial.outputs if path.exists()]
    left += [p for path in trial.outputs for p in path.parent.glob(f"*{path.name}*partial*")]
    return f"left {left[0].name}" if left else None


def _checked(trial: Trial) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return trial.check()
    except Exception:
        return f"the check failed: {traceback.format_exc(limit=-6)}"
