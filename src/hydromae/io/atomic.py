"""Files that are written whole or not at all, and the sum by which one is known."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from hydromae.errors import InputError, first_line

if TYPE_CHECKING:
    import xarray as xr


UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""What a system answers only where something is written."""


def write_text_atomic(file: Path, text: str, remedy: str, fault: str = "cannot be written") -> None:
    """Write beside the file, then rename: a reader meets what lay there or all of the text, never a part.

    Args:
        file: Its folder is made where there is none.
        remedy, fault: What the message tells a user to do where the disk refuses, and what it says went wrong.

    Raises:
        InputError: Names the file.
    """
    temporary = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"{file}: {fault} ({error.strerror}); {remedy}") from error


def write_netcdf(dataset: xr.Dataset, file: Path, encoding: Mapping[Any, dict[str, Any]] | None = None) -> None:
    """Write a dataset as NetCDF, as an image in memory first: HDF5 ends the whole process where a disk is full.

    Raises:
        OSError: Where the disk refuses; what is left of the file is the caller's to remove.
    """
    image = dataset.to_netcdf(engine="h5netcdf", encoding=encoding)
    with file.open("wb") as opened:
        opened.write(image)


class HDF5Stream:
    """A file for h5py to write to, which takes everything: where the disk is full, HDF5 would end the whole process.

    What went wrong is raised by `check`, and at the end of the context.
    """

    def __init__(self, file: Path) -> None:
        """Open a file that is there, or a new one."""
        self._file = file.open("r+b" if file.exists() else "w+b", buffering=0)
        self._fault: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """Bytes from where the file stands."""
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; what could not be written is read as zeros."""
        count = self._file.readinto(buffer)
        buffer[count:] = bytes(len(buffer) - count)
        return len(buffer)

    def write(self, content: Any) -> int:
        """Write all of it, or none from the first fault on."""
        remaining = memoryview(content)
        while len(remaining) and self._fault is None:
            try:
                remaining = remaining[self._file.write(remaining) :]
            except OSError as error:
                self._fault = error
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        """Cut, or lengthen."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._fault = self._fault or error
            return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is held back."""

    def check(self) -> None:
        """Raise what went wrong."""
        if self._fault is not None:
            raise self._fault

    def __enter__(self) -> HDF5Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        if kind is None:
            self.check()


def digest(file: Path, kind: str) -> str:
    """Sum of a file's bytes, in hexadecimal digits; `kind` is one of `hashlib`'s."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    return digest(file, "sha256")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to, with its suffix; at the end that takes the place of what lay at `path`.

    Until then, and where anything fails, what lay there stays.
    """
    path, token = path.resolve(), uuid.uuid4().hex[:8]
    temporary, backup = (path.with_name(f".hydromae-{token}.{word}{path.suffix}") for word in ("partial", "before"))
    try:
        yield temporary
        if path.is_dir():  # a folder cannot be replaced in one step
            path.rename(backup)
        try:
            temporary.replace(path)
        except BaseException:
            if backup.exists():
                backup.rename(path)
            raise
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error
    finally:
        remove(temporary)
        remove(backup)


def remove(path: Path) -> None:
    """Remove a file or a folder that hydromae made, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_error(path: str | Path, error: Exception) -> InputError:
    """The line on a place that the system does not let be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return InputError(f"{path}: cannot be written ({reason}); make room there, or name another path")


@contextlib.contextmanager
def atomic_files(folder: Path, owned: Sequence[str], marker: str) -> Iterator[Path]:
    """Give a folder to write files to; at the end they take the place of those named `own` in `folder`, and of no others.

    `sign`, without which nothing reads the folder, is taken away first and put back last: half of what lay there and half
    of what was written is never read as one. What lay there stays where anything fails.
    """
    temporary = folder / f".hydromae-{uuid.uuid4().hex[:8]}.partial"
    new, backup = temporary / "new", temporary / "before"
    new.mkdir(parents=True)
    backup.mkdir()
    try:
        yield new
        written = sorted((file.name for file in new.iterdir()), key=lambda name: name == marker)
        try:
            for name in sorted(owned, key=lambda name: name != marker):
                if (folder / name).exists():
                    (folder / name).rename(backup / name)
            for name in written:
                (new / name).rename(folder / name)
        except BaseException:
            for name in written:
                if not (new / name).exists():
                    (folder / name).rename(new / name)
            for file in sorted(backup.iterdir(), key=lambda file: file.name == marker):
                file.rename(folder / file.name)
            raise
    except (OSError, SafetensorError) as error:
        raise write_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
