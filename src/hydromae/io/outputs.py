"""Where a command writes: checked before any work, so that what lies there is safe, and held by one process at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hydromae.errors import InputError, first_line
from hydromae.io.folders import PROVENANCE, SIDECAR, Kind, is_answer, is_there

PROBE_BYTES = 2**14
TABLES, PAGES, PICTURES = (".csv", ".parquet"), (".html", ".htm"), (".png",)
ANSWERS = (".nc", ".zarr", *TABLES)
"""Suffixes of tables, pages, pictures and answers."""
PACKAGE = Path(__file__).parents[1]
_held: set[Path] = set()
"""Lock files that this process holds."""


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        fault: Why nothing may be written there, from the path; None where it may.
        inside: Whether it is a folder into which files are written; else it comes to lie at `path` as a whole.
        read: Inputs that may lie in the folder, because they are read and never written.
        alone: Whether one process at a time writes there.
    """

    path: Path
    fault: Callable[[Path], str | None]
    inside: bool = False
    read: tuple[Path, ...] = ()
    alone: bool = True


def folder_of(path: Path, kind: Kind, read: Sequence[object] = ()) -> Output:
    """A folder of a kind; what lies there and is not of the command's own stays."""
    return Output(path, kind.fault, inside=True, read=tuple(one for one in read if isinstance(one, Path)))


def new_place(path: Path) -> Output:
    """A file or folder where nothing may lie yet."""

    def fault(path: Path) -> str | None:
        return "something is there already; remove it or choose another place" if is_there(path) else None

    return Output(path, fault)


def shared_folder(path: Path, alone: bool = True) -> Output:
    """A folder to which files are added; the command itself refuses to replace one that it did not write."""

    def fault(path: Path) -> str | None:
        return "is a file; name a folder" if is_there(path) and not path.is_dir() else None

    return Output(path, fault, inside=True, alone=alone)


def replaced_file(path: Path, suffixes: tuple[str, ...]) -> Output:
    """A file; one that lies there is replaced if it has one of the suffixes."""

    def fault(path: Path) -> str | None:
        if path.is_dir():
            return "is a folder; name a file"
        if is_there(path) and not path.is_file() and not path.is_symlink():
            return "is no ordinary file; name another file"
        if path.is_file() and path.suffix.lower() not in suffixes:
            return f"lies there already and is no {' or '.join(suffixes)} file; name another file"
        return None

    return Output(path, fault)


def answer_place(path: Path, suffixes: tuple[str, ...] = ANSWERS) -> Output:
    """The file of an answer; a file that lies there is replaced, a folder only if it is an answer itself.

    Raises:
        InputError: If the suffix is not known, or the folder is not there.
    """
    if path.suffix not in suffixes:
        known = ", ".join(suffixes)
        raise InputError(f"{path}: cannot write '{path.suffix or 'no suffix'}'; name it with one of {known}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make {path.absolute().parent} first")

    def fault(path: Path) -> str | None:
        if path.suffix != ".zarr":
            return replaced_file(path, suffixes).fault(path)
        if not is_there(path):
            return None
        if not path.is_dir():
            return "is a file; name another place"
        return None if is_answer(path) else "is a folder, and no answer of hydromae; name another place"

    return Output(path, fault)


def provenance_place(path: Path) -> Output:
    """The file beside a table that says what made it; one that lies there is replaced if it is such a file."""

    def fault(path: Path) -> str | None:
        if not is_there(path) or PROVENANCE.signed(path):
            return None
        return "lies there already and is no provenance of an answer; move it, or name another answer"

    return Output(path.with_name(f"{path.name}{SIDECAR}"), fault)


def answer_places(path: Path) -> dict[str, Output]:
    """Where an answer is written, and beside a table its provenance."""
    places = {"out": answer_place(path)}
    return places | ({"provenance": provenance_place(path)} if path.suffix in TABLES else {})


@contextmanager
def writing(outputs: Sequence[Output], inputs: Sequence[Path] = ()) -> Iterator[None]:
    """Check where a command writes, before its work, and hold it for this process until the work is done.

    Args:
        inputs: Files and folders that the command reads; none of them may be written.

    Raises:
        InputError: An output is an input, lies in one or holds one; something lies there that would be lost; it cannot be
            written; or another process writes there.
    """
    for output in outputs:
        with _named(output):
            _refuse_inputs(output, inputs)
    with ExitStack() as held:
        for output in outputs:
            held.enter_context(holding(output))
        yield


@contextmanager
def holding(output: Output) -> Iterator[None]:
    """Check one output and hold it, in this process alone; a process that holds it already may enter again.

    Raises:
        InputError: As `writing`.
    """
    with ExitStack() as held:
        with _named(output):
            if output.inside:
                _refuse(output)  # before a lock changes its folder
            if output.alone:
                held.enter_context(_locked(output))
                _refuse(output)
            folder, _ = _place_of(output)
            _probe(next(place for place in (folder, *folder.parents) if place.exists()))
        yield


def _refuse_inputs(output: Output, inputs: Sequence[Path]) -> None:
    """Refuse an output that is an input, lies in one, or holds one, under whatever names."""
    own, around = _identity(output.path), _identities(output.path.resolve().parents)
    if _identity(PACKAGE) in around | {own}:
        raise InputError(f"{output.path}: lies inside the installed package; name a place outside it")
    for place in inputs:
        found = _identity(place)
        if found is None:
            continue
        if found == own or (own is not None and place.is_dir() and output.path.is_file() and _holds(place, own)):
            raise InputError(f"{output.path}: is read as the input {place}; name another place to write to")
        if found in around and place.is_dir():
            raise InputError(f"{output.path}: lies inside the input {place}; name a place outside it")
        if own is not None and own in _identities(place.resolve().parents) and place not in output.read:
            raise InputError(f"{output.path}: holds the input {place}; name another place to write to")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of what lies at a path, the same under all its names; None where nothing can be seen there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _identities(paths: Iterable[Path]) -> set[tuple[int, int] | None]:
    return {_identity(path) for path in paths} - {None}


def _holds(folder: Path, file: tuple[int, int]) -> bool:
    """Whether a file has a name in a folder, such as a link."""
    return any(_identity(Path(place, name)) == file for place, _, names in os.walk(folder) for name in names)


def _refuse(output: Output) -> None:
    fault = output.fault(output.path)
    if fault is not None:
        raise InputError(f"{output.path}: {fault}")


@contextmanager
def _named(output: Output) -> Iterator[None]:
    """Turn what the system objects to into one line."""
    try:
        yield
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # RuntimeError: links that form a circle; ValueError: a zero byte
        why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise InputError(f"{output.path}: cannot be written ({why}); name another place") from error


def _place_of(output: Output) -> tuple[Path, str]:
    """The folder that must be writable, and the name of the lock file in it."""
    path = output.path.resolve()
    if output.inside:
        return path, ".lock"
    return path.parent, f".hydromae-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.lock"


@contextmanager
def _locked(output: Output) -> Iterator[None]:
    """Hold a lock; the system releases it where this process dies."""
    from filelock import FileLock, Timeout

    folder, name = _place_of(output)
    lock = folder / name
    if lock in _held:
        yield
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(lock, timeout=0)
    try:
        file_lock.acquire()
    except Timeout:
        raise InputError(
            f"{output.path}: another process of hydromae writes there; wait for it, or name another place"
        ) from None
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        lock.unlink(missing_ok=True)  # while it is held: who waits for it sees that its file has no name any more
        file_lock.release()
        with suppress(OSError):  # not empty: what was written stays
            for place in made:
                place.rmdir()


def _probe(folder: Path) -> None:
    """Write a few bytes into a folder, and remove them."""
    probe = folder / f".hydromae-probe-{os.getpid()}"
    try:
        with probe.open("wb") as opened:
            opened.write(bytes(PROBE_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
    finally:
        probe.unlink(missing_ok=True)
