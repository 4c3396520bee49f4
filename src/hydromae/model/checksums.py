"""Checksums of the files of a model folder, so that a damaged model is refused."""

from __future__ import annotations

import json
from pathlib import Path

from hydromae.errors import InputError
from hydromae.io.atomic import sha256

CHECKSUMS, MODEL_CARD = "checksums.json", "README.md"


def write_checksums(folder: Path) -> None:
    """Write `checksums.json`: the SHA-256 of every file of the folder except the model card, which users edit."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name not in (CHECKSUMS, MODEL_CARD)]
    checksums = {file.name: sha256(file) for file in files}
    (folder / CHECKSUMS).write_text(json.dumps(checksums, indent=1), encoding="utf-8")


def checksum_of(folder: Path, name: str) -> str:
    """SHA-256 of a file of a verified folder, from `checksums.json` if it is listed there."""
    checksum_file = folder / CHECKSUMS
    checksums = json.loads(checksum_file.read_text(encoding="utf-8")) if checksum_file.is_file() else {}
    return str(checksums[name]) if name in checksums else sha256(folder / name)


def verify_checksums(folder: Path) -> None:
    """Check the files of a folder against `checksums.json`, where there is one.

    Raises:
        InputError: A file is missing or differs.
    """
    checksum_file = folder / CHECKSUMS
    if not checksum_file.exists() and not checksum_file.is_symlink():
        return
    try:
        checksums = json.loads(checksum_file.read_text(encoding="utf-8")) if checksum_file.is_file() else None
    except (ValueError, OSError, RecursionError):
        checksums = None
    if not isinstance(checksums, dict):
        raise InputError(f"{checksum_file}: cannot be read; restore it, or delete it if the files beside it are sound")
    for name, expected in checksums.items():
        file = folder / Path(name).name
        if not file.is_file() or sha256(file) != expected:
            raise InputError(
                f"{file}: is not what was written here; restore it, or delete {CHECKSUMS} if the change is your own"
            )
