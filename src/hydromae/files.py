"""Files that are written whole or not at all, and the sum by which one is known."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from hydromae.errors import InputError


def write_whole(file: Path, text: str, remedy: str, fault: str = "cannot be written") -> None:
    """Write beside the file, then rename: a reader meets what lay there or all of the text, never a part.

    Parameters
    ----------
    file : Path
        Its folder is made where there is none.
    text : str
    remedy, fault : str
        What the message tells a user to do where the disk refuses, and what it says went wrong.

    Raises
    ------
    InputError
        Names the file.
    """
    aside = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise InputError(f"{file}: {fault} ({error.strerror}); {remedy}") from error


def digest(file: Path, kind: str) -> str:
    """Sum of a file's bytes, in hexadecimal digits; `kind` is one of `hashlib`'s."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    return digest(file, "sha256")
