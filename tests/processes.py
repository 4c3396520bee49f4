"""Processes for a test, which end with it: forked, so that nothing is imported twice, or programs with all that they start.

A limit ends what hangs. It is long, because a process beside others may be slow: no test is about speed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydromae.errors import InputError

LIMIT = 1200.0
"""After this long a process hangs [s]."""
MARK = "HYDROMAE_STARTED_BY"
"""Environment variable by which all that a program has started is known, whoever its parent is by now."""


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def begin(deed: Callable[[], None], told: Path, **environment: object) -> multiprocessing.process.BaseProcess:
    """Start a deed in a forked process; its InputError goes into `told`, with exit code 2, anything else is code 1."""

    def run() -> None:
        warnings.simplefilter("ignore")  # what torch says of itself at import is not what is tested
        os.environ.update({name: str(value) for name, value in environment.items()})
        code = 0
        try:
            deed()
        except InputError as error:
            told.write_text(str(error))
            code = 2
        except BaseException:
            told.write_text(traceback.format_exc())
            code = 1
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process


def together(
    size: int, deed: Callable[[], None], folder: Path, seconds: float = LIMIT, until_end_of: int | None = None
) -> list[tuple[int | None, str]]:
    """A deed in `size` processes that find each other; exit code and words of each. One that hangs is killed: code −9.

    All processes are waited for, or that of rank `until_end_of`, where others are meant to hang.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": size}
    words = [folder / f"words-{rank}.txt" for rank in range(size)]
    for file in words:
        file.write_text("")
    until = time.monotonic() + seconds
    with killed_at_the_end() as running:
        for rank in range(size):
            running.append(begin(deed, words[rank], **meeting, RANK=rank, LOCAL_RANK=rank))
        for process in running if until_end_of is None else [running[until_end_of]]:
            process.join(max(0.1, until - time.monotonic()))
    return [(process.exitcode, file.read_text()) for process, file in zip(running, words, strict=True)]


@contextmanager
def killed_at_the_end() -> Iterator[list[multiprocessing.process.BaseProcess]]:
    """A list of processes; none of them is left afterwards, whatever happens inside."""
    running: list[multiprocessing.process.BaseProcess] = []
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.join()


@contextmanager
def program(
    words: Sequence[object], environment: Mapping[str, str], **options: object
) -> Iterator[subprocess.Popen[str]]:
    """A program at work; neither it nor anything that it has started is left afterwards."""
    mark = uuid.uuid4().hex
    started = subprocess.Popen(
        [str(word) for word in words], env={**environment, MARK: mark}, text=True, start_new_session=True, **options
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        while kill_marked(mark):
            time.sleep(0.01)
        for stream in (started.stdin, started.stdout, started.stderr):
            if stream is not None:
                stream.close()


def kill_marked(mark: str) -> int:
    """Kill every process with a mark, where the system shows environments; how many there were."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
                found += 1
    return found
