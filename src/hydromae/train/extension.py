"""Build of DeepSpeed's C++ extension for CPUs, once per machine and with a limited wait.

torch marks a build with a file, `lock`. A killed build leaves the file, and every later start waits for it without limit
(https://github.com/pytorch/pytorch/issues/189245). hydromae uses a kernel lock, which ends with its process, and its own
cache, in which a leftover `lock` file belongs to an ended process. Only in a cache that the user chose is the file waited
for.
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
"""Environment variable of torch for the cache of extensions."""
BUILD_TIMEOUT = 900.0
"""Shortest limit of the wait for a build of another running process [s]."""
NOTICE_DELAY, POLL_INTERVAL = 2.0, 0.1
"""Wait before a message, and time between two checks [s]."""


def build_extension(load: Callable[[], object], timeout: float, log: Callable[[str], None]) -> None:
    """Build the extension if necessary, in one process at a time, and load it.

    Args:
        load: Builds the extension in the folder of `TORCH_EXTENSIONS_DIR` if necessary, and loads it.
        timeout: Longest wait for a `lock` file in the user's cache [s].
        log: Called once with a message during the wait.

    Raises:
        InputError: The wait is too long, or the build fails.
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
    """The cache of hydromae for the versions of Python, torch and DeepSpeed and the type of CPU."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python, cpu = f"py{sys.version_info.major}{sys.version_info.minor}", torch.backends.cpu.get_cpu_capability()
    key = f"{python}-torch{torch.__version__}-deepspeed{version('deepspeed')}-{cpu}"
    return root / "hydromae" / "extensions" / key.replace(" ", "-").lower()


def lock_files(cache: Path, name: str = "*") -> list[Path]:
    """The `lock` files in a cache of torch, with or without a folder for each version."""
    return sorted([*cache.glob(f"{name}/lock"), *cache.glob(f"*/{name}/lock")])


def lock_age(lock: Path) -> str:
    """Age of a file as text."""
    try:
        seconds = time.time() - lock.stat().st_mtime
    except OSError:
        return "removed now"
    return f"{seconds:.0f} s old" if seconds < 600 else f"{seconds / 3600:.1f} h old"


def torch_cache() -> Path:
    """The cache of extensions of torch."""
    from torch.utils.cpp_extension import get_default_build_root

    return Path(os.environ.get(CACHE_VARIABLE) or get_default_build_root())


@contextmanager
def _build_lock(folder: Path, timeout: float, log: Callable[[str], None], ignoring_files: bool) -> Iterator[None]:
    """Acquire the kernel lock of a folder when it has no `lock` file, or regardless of such files."""
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
                f"{leftover[0]}: {lock_age(leftover[0])}, marks a build of DeepSpeed's extension",
            )
            remedy = "if no build runs, remove this file and start again, or use --engine torch"
        except Timeout:
            limit, fault = max(timeout, BUILD_TIMEOUT), f"{folder}: another process builds DeepSpeed's extension"
            remedy = "end that process if it hangs, or use --engine torch"
        waited = time.monotonic() - start_time
        if waited > limit:
            raise InputError(f"{fault}, still after {waited:.0f} s; {remedy}")
        if waited > NOTICE_DELAY and not is_announced:
            is_announced = True
            log(f"{fault}; waiting at most {limit:.0f} s for its end")
        time.sleep(POLL_INTERVAL)


def _load_from(folder: Path, load: Callable[[], object]) -> None:
    """Load from a locked cache, in which a build is complete or absent."""
    complete, partial = folder / "whole", folder / "partial"
    with _torch_extensions_dir(complete if complete.is_dir() else partial):
        if complete.is_dir():
            for leftover in lock_files(complete, EXTENSION_NAME):
                leftover.unlink()
            load()
        else:
            shutil.rmtree(partial, ignore_errors=True)
            load()
            if partial.is_dir():  # absent if this process had already loaded the extension
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
