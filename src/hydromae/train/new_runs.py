"""Folders of runs named with their start time (`--new-run`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from hydromae.distributed import ProcessGroup
from hydromae.errors import InputError

TIMESTAMP_FORMAT = "%Y-%m-%dT%H-%M-%S"
SECONDS_PER_DAY = 86_400


def refuse_new_and_resume(new_run: bool, resume: bool) -> None:
    """Refuse both options together."""
    if new_run and resume:
        raise InputError("--new-run and --resume: one starts a run, the other resumes one; give one of them")


@contextmanager
def run_folder(out: Path, new_run: bool, process_group: ProcessGroup) -> Iterator[Path]:
    """The folder of a run: `out`, or a new one inside it, which is removed if it is empty after an InputError."""
    folder = make_run_folder(out, process_group) if new_run else out
    try:
        yield folder
    except InputError:
        if new_run and process_group.is_main:
            with suppress(OSError):
                folder.rmdir()
        raise


def make_run_folder(out: Path, process_group: ProcessGroup) -> Path:
    """Make a folder inside `out` named with the current time [UTC], the same in every process.

    Raises:
        InputError: In every process, if the main process cannot make it.
    """
    second = 0
    with process_group.fail_together():
        if process_group.is_main:
            second = _make_first_free(out, int(time.time()))
    days, seconds = process_group.sum(
        torch.tensor(divmod(second, SECONDS_PER_DAY))
    ).tolist()  # each is exact also in fp32
    return out / _folder_name(int(days) * SECONDS_PER_DAY + int(seconds))


def _make_first_free(out: Path, second: int) -> int:
    """Make the folder of the first second from `second` on that has none, and return that second."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):
                (out / _folder_name(second)).mkdir()
                return second
            second += 1
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); make room there, or name another folder"
        ) from None


def _folder_name(second: int) -> str:
    return time.strftime(TIMESTAMP_FORMAT, time.gmtime(second))
