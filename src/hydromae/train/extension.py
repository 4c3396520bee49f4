"""DeepSpeed's C++ extension for CPUs: built once, and never waited for without a word or without an end.

torch marks a build by a file, `lock`. A build that is killed leaves it, and every later start waits for it for ever
(https://github.com/pytorch/pytorch/issues/189245). A build of hydromae holds a lock of the kernel, which ends with its
process, and has a cache of its own: a file that is left there belongs to a dead process. Only one in a cache that the user
chose is waited for.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from hydromae.errors import InputError, first_line

EXTENSION_NAME = "deepspeed_shm_comm"
CACHE_VARIABLE = "TORCH_EXTENSIONS_DIR"
"""Environment variable of torch: the cache of extensions that the user chose."""
BUILD_TIMEOUT = 900.0
"""Longest wait for a build that another process is known to be at, where the timeout is shorter [s]."""
NOTICE_DELAY, POLL_INTERVAL = 2.0, 0.1
"""Wait before a line says what is waited for; time between two looks [s]."""


def build_extension(load: Callable[[], object], timeout: float, log: Callable[[str], None]) -> None:
    """Build the extension where there is none, one process at a time, and load it.

    Args:
        load: Builds in the folder that `TORCH_EXTENSIONS_DIR` names, or finds it built, and loads it.
        timeout: Longest wait for a `lock` file in the user's cache [s].
        log: Called with what is waited for, once.

    Raises:
        InputError: Where the wait was too long, naming the file, or where the extension cannot be built.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else default_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _build_lock(folder, timeout, log, ignoring_files=not chosen):
            if chosen:
                load()
            else:
                _load_from(folder, load)
    except (OSError, RuntimeError, ImportError) as error:
        raise InputError(
            f"{folder}: DeepSpeed's extension cannot be built there ({first_line(error)}); install a C++ compiler and ninja, "
            f"name a folder that can be written ({CACHE_VARIABLE}), or use --engine torch"
        ) from error


def default_cache() -> Path:
    """The cache of builds of hydromae, for these versions and this kind of CPU, for which the compiler optimises."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python, cpu = f"py{sys.version_info.major}{sys.version_info.minor}", torch.backends.cpu.get_cpu_capability()
    key = f"{python}-torch{torch.__version__}-deepspeed{version('deepspeed')}-{cpu}"
    return root / "hydromae" / "extensions" / key.replace(" ", "-").lower()


def lock_files(cache: Path, name: str = "*") -> list[Path]:
    """The `lock` files of builds in a cache of torch, with or without a folder for each version."""
    return sorted([*cache.glob(f"{name}/lock"), *cache.glob(f"*/{name}/lock")])


def lock_age(lock: Path) -> str:
    """How long a file has been there, in words."""
    try:
        seconds = time.time() - lock.stat().st_mtime
    except OSError:
        return "gone now"
    return f"there for {seconds:.0f} s" if seconds < 600 else f"there for {seconds / 3600:.1f} h"


def torch_cache() -> Path:
    """The cache of extensions that torch itself uses."""
    from torch.utils.cpp_extension import get_default_build_root

    return Path(os.environ.get(CACHE_VARIABLE) or get_default_build_root())


@contextmanager
def _build_lock(folder: Path, timeout: float, log: Callable[[str], None], ignoring_files: bool) -> Iterator[None]:
    """Hold the lock of the kernel in a folder, at a moment when no `lock` file is there, or whatever is."""
    from filelock import FileLock, Timeout

    start_time, is_announced, kernel_lock = time.monotonic(), False, FileLock(folder / "hydromae.lock", timeout=0)
    while True:
        try:
            with kernel_lock:
                leftover = [] if ignoring_files else lock_files(folder, EXTENSION_NAME)
                if not leftover:
                    yield
                    return
            limit, fault = (
                timeout,
                f"{leftover[0]}: {lock_age(leftover[0])}, the mark of a build of DeepSpeed's extension",
            )
            remedy = "where no build runs, remove this file and start again, or use --engine torch"
        except Timeout:
            limit, fault = max(timeout, BUILD_TIMEOUT), f"{folder}: another process builds DeepSpeed's extension"
            remedy = "end that process where it hangs, or use --engine torch"
        waited = time.monotonic() - start_time
        if waited > limit:
            raise InputError(f"{fault}, not gone after {waited:.0f} s; {remedy}")
        if waited > NOTICE_DELAY and not is_announced:
            is_announced = True
            log(f"{fault}; waiting for its end, {limit:.0f} s at most")
        time.sleep(POLL_INTERVAL)


def _load_from(folder: Path, load: Callable[[], object]) -> None:
    """Load from a cache where nobody else builds; a build lies there whole or not at all."""
    complete, partial = folder / "whole", folder / "partial"
    with _torch_extensions_dir(complete if complete.is_dir() else partial):
        if complete.is_dir():
            for leftover in lock_files(complete, EXTENSION_NAME):
                leftover.unlink()
            load()
        else:
            shutil.rmtree(partial, ignore_errors=True)
            load()
            if partial.is_dir():  # not where this process had loaded it before: then nothing was built
                partial.rename(complete)


@contextmanager
def _torch_extensions_dir(folder: Path) -> Iterator[None]:
    previous = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if previous is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = previous
