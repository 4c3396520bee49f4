"""The seal of a folder: a sum of every file in it, so that damage is found and never answered with."""

from __future__ import annotations

import json
from pathlib import Path

from hydromae.errors import InputError
from hydromae.io.atomic import sha256

SEAL, CARD = "seal.json", "README.md"


def write_seal(folder: Path) -> None:
    """Write `seal.json`, last of all: the SHA-256 of every file of the folder but its card, which people edit."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name not in (SEAL, CARD)]
    sums = {file.name: sha256(file) for file in files}
    (folder / SEAL).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def sum_of(folder: Path, name: str) -> str:
    """SHA-256 of a file of a folder that `check_seal` let pass: as the seal has it, else of the file."""
    seal = folder / SEAL
    sums = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else {}
    return str(sums[name]) if name in sums else sha256(folder / name)


def check_seal(folder: Path) -> None:
    """Refuse a folder of which a sealed file is gone or changed; one without a seal is taken as it is.

    Raises:
        InputError: Names the file.
    """
    seal = folder / SEAL
    if not seal.exists() and not seal.is_symlink():
        return
    try:
        sums = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else None
    except (ValueError, OSError, RecursionError):
        sums = None
    if not isinstance(sums, dict):
        raise InputError(f"{seal}: cannot be read; restore it, or delete it if the files beside it are sound")
    for name, told in sums.items():
        file = folder / Path(name).name
        if not file.is_file() or sha256(file) != told:
            raise InputError(
                f"{file}: is not what was written here; restore it, or delete {SEAL} if the change is your own"
            )
