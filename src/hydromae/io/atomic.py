"""Atomic writes of files and folders, and checksums."""

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
"""Error codes that only occur on writing."""


def write_text_atomic(file: Path, text: str, remedy: str, fault: str = "cannot be written") -> None:
    """Write a temporary file, then rename it: a reader sees the old or the new text, never a part.

    Args:
        file: The file; its folder is created if necessary.
        remedy, fault: Remedy and fault of the error message.

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
    """Write a dataset as NetCDF through memory, because HDF5 aborts the process on a full disk.

    Raises:
        OSError: The file cannot be written; the caller removes the partial file.
    """
    image = dataset.to_netcdf(engine="h5netcdf", encoding=encoding)
    with file.open("wb") as opened:
        opened.write(image)


class HDF5Stream:
    """File object for h5py that defers write errors, because HDF5 aborts the process on a full disk.

    `check` and the end of the context raise the first error.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("r+b" if file.exists() else "w+b", buffering=0)
        self._fault: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; bytes that could not be written are read as zeros."""
        count = self._file.readinto(buffer)
        buffer[count:] = bytes(len(buffer) - count)
        return len(buffer)

    def write(self, content: Any) -> int:
        """Write all bytes, or none after the first error."""
        remaining = memoryview(content)
        while len(remaining) and self._fault is None:
            try:
                remaining = remaining[self._file.write(remaining) :]
            except OSError as error:
                self._fault = error
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        """Resize the file."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._fault = self._fault or error
            return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: writes are unbuffered."""

    def check(self) -> None:
        """Raise the first error."""
        if self._fault is not None:
            raise self._fault

    def __enter__(self) -> HDF5Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        if kind is None:
            self.check()


def digest(file: Path, kind: str) -> str:
    """Return the checksum of a file as hexadecimal digits; `kind` is an algorithm of `hashlib`."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    return digest(file, "sha256")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix that replaces `path` at the end; after an error, `path` stays as it was."""
    path, token = path.resolve(), uuid.uuid4().hex[:8]
    temporary, backup = (path.with_name(f".hydromae-{token}.{word}{path.suffix}") for word in ("partial", "before"))
    try:
        yield temporary
        if path.is_dir():  # a folder cannot be replaced atomically
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
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_error(path: str | Path, error: Exception) -> InputError:
    """Return the error for a path that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return InputError(f"{path}: cannot be written ({reason}); make room there, or name another path")


@contextlib.contextmanager
def atomic_files(folder: Path, owned: Sequence[str], marker: str) -> Iterator[Path]:
    """Yield a folder whose files replace those named `owned` in `folder` at the end; other files stay.

    The file `marker`, without which nothing reads the folder, is removed first and written last, so that old and new files
    are never read together. After an error, the folder stays as it was.
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
