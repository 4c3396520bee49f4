"""Several processes for a test: forked, so that nothing is imported twice, and started as a launcher would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from hydromae.errors import InputError


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

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def together(size: int, deed: Callable[[], None], folder: Path, seconds: float = 120) -> list[tuple[int | None, str]]:
    """A deed in `size` processes that find each other; exit code and words of each. One that hangs is killed: code −9."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": size}
    words = [folder / f"words-{rank}.txt" for rank in range(size)]
    for file in words:
        file.write_text("")
    running = [begin(deed, words[rank], **meeting, RANK=rank, LOCAL_RANK=rank) for rank in range(size)]
    until = time.monotonic() + seconds
    for process in running:
        process.join(max(0.1, until - time.monotonic()))
    for process in running:
        process.kill()
        process.join()
    return [(process.exitcode, file.read_text()) for process, file in zip(running, words, strict=True)]
