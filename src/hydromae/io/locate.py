"""Find files in a folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.io.folders import SIDECAR


def files_in(folder: Path, *endings: str) -> list[Path]:
    """Return all files below a folder, sorted, with one of the endings if given.

    Hidden files and folders, `__MACOSX`, Zarr groups and provenance files are skipped.
    """
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (name.startswith((".", "__MACOSX")) or name.endswith(".zarr"))]
        files += [Path(root, name) for name in names if not (name.startswith(".") or name.endswith(SIDECAR))]
    return sorted(file for file in files if (file.suffix in endings or not endings) and file.is_file())


def check_no_missing_days(missing: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError if a day of a variable is in none of its files."""
    for name, days in missing.items():
        if len(days):
            raise InputError(
                f"{folder}: no file of {name} has {str(days[0])[:10]} ({len(days)} such days); add it, choose a "
                "--period without it, or --allow-missing"
            )


def one_of(
    folder: Path, patterns: tuple[str, ...], exclude: str | None = None, ignored: Collection[Path] = ()
) -> Path | None:
    """Return the only file of the first matching pattern, or None.

    Args:
        patterns: Globs, the best one first.
        exclude: Skip names with this word in any case.
        ignored: Skip these files.

    Raises:
        InputError: Two files match the same pattern.
    """
    for pattern in patterns:
        matching = (p for p in folder.glob(pattern) if p not in ignored)
        files = sorted(p for p in matching if exclude is None or exclude not in p.name.lower())
        if len(files) > 1:
            raise InputError(
                f"{folder}: {len(files)} files match {pattern}: {files[0].name}, {files[1].name}; name one, or move one"
            )
        if files:
            return files[0]
    return None


SYNTHETIC_MARKER = ".hydromae-invented"
"""File that marks a synthetic folder of `hydromae virtual` and contains its credit."""
RECORDS = ("camels_gb_daily.nc", "*.nc", "*.zarr", "*.parquet", "*.csv")
"""Patterns of the record in a folder, the best first."""
ATTRIBUTES_FILE = ("*attributes*.csv",)
"""Patterns of the table of attributes."""


def find_record(folder: Path, maps: Collection[Path] = ()) -> Path | None:
    """Return the only record in a folder that is neither a table of attributes nor one of the maps, or None.

    Raises:
        InputError: Two files match.
    """
    return one_of(folder, RECORDS, exclude="attributes", ignored=maps)
