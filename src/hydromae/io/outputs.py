"""Outputs of commands: checked before any work, so that no other file is lost, and locked by one process at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hydromae.errors import InputError
from hydromae.io.atomic import write_error
from hydromae.io.folders import PROVENANCE, SIDECAR, FolderKind, is_answer, path_exists

PROBE_BYTES = 2**14
EXCEL = ".xlsx"
TABLES, PAGES, PICTURES = (".csv", ".parquet", EXCEL), (".html", ".htm"), (".png",)
ANSWERS = (".nc", ".zarr", *TABLES)
"""Suffixes of tables, pages, pictures and answers."""
PACKAGE = Path(__file__).parents[1]
_locked_files: set[Path] = set()
"""Lock files that this process holds."""


@dataclass(frozen=True)
class Output:
    """File or folder that a command writes.

    Attributes:
        fault: Returns why a path must not be written, or None.
        is_folder: Whether files are written into a folder; else `path` is written as a whole.
        allowed_inputs: Inputs that may be in the folder, because they are never written.
        is_exclusive: Whether one process at a time writes there.
    """

    path: Path
    fault: Callable[[Path], str | None]
    is_folder: bool = False
    allowed_inputs: tuple[Path, ...] = ()
    is_exclusive: bool = True


def output_folder(path: Path, kind: FolderKind, allowed_inputs: Sequence[object] = ()) -> Output:
    """Return a folder of a kind, whose other files stay."""
    return Output(
        path, kind.fault, is_folder=True, allowed_inputs=tuple(one for one in allowed_inputs if isinstance(one, Path))
    )


def new_output(path: Path) -> Output:
    """Return a file or folder that must not exist."""

    def fault(path: Path) -> str | None:
        return "exists already; remove it or name another path" if path_exists(path) else None

    return Output(path, fault)


def shared_folder(path: Path, is_exclusive: bool = True) -> Output:
    """Return a folder to which files are added; the command does not replace files of others."""

    def fault(path: Path) -> str | None:
        return "is a file; name a folder" if path_exists(path) and not path.is_dir() else None

    return Output(path, fault, is_folder=True, is_exclusive=is_exclusive)


def replaceable_file(path: Path, suffixes: tuple[str, ...]) -> Output:
    """Return a file; an existing one is replaced if it has one of the suffixes."""

    def fault(path: Path) -> str | None:
        if path.is_dir():
            return "is a folder; name a file"
        if path_exists(path) and not path.is_file() and not path.is_symlink():
            return "is not a regular file; name another file"
        if path.is_file() and path.suffix.lower() not in suffixes:
            return f"exists already and is not a {' or '.join(suffixes)} file; name another file"
        return None

    return Output(path, fault)


def answer_output(path: Path, suffixes: tuple[str, ...] = ANSWERS) -> Output:
    """Return the file of an answer; an existing file is replaced, a folder only if it is an answer.

    Raises:
        InputError: If the suffix is unknown, the folder does not exist, or a package is missing.
    """
    if path.suffix not in suffixes:
        suffix_list = ", ".join(suffixes)
        raise InputError(f"{path}: cannot write '{path.suffix or 'no suffix'}'; name it with one of {suffix_list}")
    if path.suffix == EXCEL and not find_spec("openpyxl"):
        raise InputError(f"{path}: Excel files need openpyxl: pip install 'hydromae[excel]'")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make {path.absolute().parent} first")

    def fault(path: Path) -> str | None:
        if path.suffix != ".zarr":
            return replaceable_file(path, suffixes).fault(path)
        if not path_exists(path):
            return None
        if not path.is_dir():
            return "is a file; name another path"
        return None if is_answer(path) else "is a folder, but not an answer of hydromae; name another path"

    return Output(path, fault)


def provenance_output(path: Path) -> Output:
    """Return the provenance file of a table; an existing one is replaced if it is a provenance file."""

    def fault(path: Path) -> str | None:
        if not path_exists(path) or PROVENANCE.has_marker(path):
            return None
        return "exists already and is not the provenance of an answer; move it, or name another answer"

    return Output(path.with_name(f"{path.name}{SIDECAR}"), fault)


def answer_outputs(path: Path) -> dict[str, Output]:
    """Return the outputs of an answer: its file, and for a table its provenance file."""
    places = {"out": answer_output(path)}
    return places | ({"provenance": provenance_output(path)} if path.suffix in TABLES else {})


@contextmanager
def reserve_outputs(outputs: Sequence[Output], inputs: Sequence[Path] = ()) -> Iterator[None]:
    """Check and lock the outputs of a command while it runs.

    Args:
        inputs: Files and folders that the command reads, which must not be written.

    Raises:
        InputError: An output is, contains or is inside an input; files of others would be lost; it cannot be written; or
            another process writes it.
    """
    for output in outputs:
        with _as_input_error(output):
            _check_not_an_input(output, inputs)
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(reserve_output(output))
        yield


@contextmanager
def reserve_output(output: Output) -> Iterator[None]:
    """Check and lock one output; the lock is reentrant within a process.

    Raises:
        InputError: As `reserve_outputs`.
    """
    with ExitStack() as stack:
        with _as_input_error(output):
            if output.is_folder:
                _check_output(output)  # before a lock changes its folder
            if output.is_exclusive:
                stack.enter_context(_locked(output))
                _check_output(output)
            folder, _ = _lock_location(output)
            _probe(next(location for location in (folder, *folder.parents) if location.exists()))
        yield


def _check_not_an_input(output: Output, inputs: Sequence[Path]) -> None:
    """Refuse an output that is, contains or is inside an input, also through links."""
    identity, parent_identities = _identity(output.path), _identities(output.path.resolve().parents)
    if _identity(PACKAGE) in parent_identities | {identity}:
        raise InputError(f"{output.path}: is inside the installed package; name a path outside it")
    for location in inputs:
        status = _identity(location)
        if status is None:
            continue
        if status == identity or (
            identity is not None and location.is_dir() and output.path.is_file() and _contains(location, identity)
        ):
            raise InputError(f"{output.path}: is the input {location}; name another path to write to")
        if status in parent_identities and location.is_dir():
            raise InputError(f"{output.path}: is inside the input {location}; name a path outside it")
        if (
            identity is not None
            and identity in _identities(location.resolve().parents)
            and location not in output.allowed_inputs
        ):
            raise InputError(f"{output.path}: contains the input {location}; name another path to write to")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a path, which are the same through all links; None if it does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _identities(paths: Iterable[Path]) -> set[tuple[int, int] | None]:
    return {_identity(path) for path in paths} - {None}


def _contains(folder: Path, file: tuple[int, int]) -> bool:
    """Return whether a folder contains a file or a link to it."""
    return any(_identity(Path(location, name)) == file for location, _, names in os.walk(folder) for name in names)


def _check_output(output: Output) -> None:
    fault = output.fault(output.path)
    if fault is not None:
        raise InputError(f"{output.path}: {fault}")


@contextmanager
def _as_input_error(output: Output) -> Iterator[None]:
    """Convert system errors to InputError."""
    try:
        yield
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # RuntimeError: links that form a circle; ValueError: a zero byte
        raise write_error(output.path, error) from error


def _lock_location(output: Output) -> tuple[Path, str]:
    """Return the folder that must be writable, and the name of its lock file."""
    path = output.path.resolve()
    if output.is_folder:
        return path, ".lock"
    return path.parent, f".hydromae-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.lock"


@contextmanager
def _locked(output: Output) -> Iterator[None]:
    """Lock an output; the system releases the lock if the process dies."""
    from filelock import FileLock, Timeout

    folder, name = _lock_location(output)
    lock = folder / name
    if lock in _locked_files:
        yield
        return
    created = [location for location in (folder, *folder.parents) if not location.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(lock, timeout=0)
    try:
        file_lock.acquire()
    except Timeout:
        raise InputError(
            f"{output.path}: another process of hydromae writes there; wait for it, or name another path"
        ) from None
    _locked_files.add(lock)
    try:
        yield
    finally:
        _locked_files.discard(lock)
        lock.unlink(missing_ok=True)  # before release, so that a waiting process notices that the file is gone
        file_lock.release()
        with suppress(OSError):  # not empty: outputs stay
            for location in created:
                location.rmdir()


def _probe(folder: Path) -> None:
    """Write a few bytes into a folder, and remove them."""
    probe = folder / f".hydromae-probe-{os.getpid()}"
    try:
        with probe.open("wb") as stream:
            stream.write(bytes(PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        probe.unlink(missing_ok=True)
