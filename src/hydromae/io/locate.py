"""Finding the one file of a kind in a folder, and days that no file of it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.io.folders import SIDECAR


def files_in(folder: Path, *endings: str) -> list[Path]:
    """Files of a folder, however deep, in order of their paths: with one of the endings, or all.

    What is hidden, or in a hidden folder, in one that macOS packs beside files (`__MACOSX`), or inside a Zarr group, is none,
    nor is the provenance of an answer.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (name.startswith((".", "__MACOSX")) or name.endswith(".zarr"))]
        found += [Path(root, name) for name in names if not (name.startswith(".") or name.endswith(SIDECAR))]
    return sorted(file for file in found if (file.suffix in endings or not endings) and file.is_file())


def check_no_missing_days(missing: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError if there are days of a variable that none of its files holds."""
    for name, days in missing.items():
        if len(days):
            raise InputError(
                f"{folder}: no file of {name} holds {str(days[0])[:10]} ({len(days)} such days); add it, choose a "
                "--period without it, or --allow-missing"
            )


def one_of(folder: Path, patterns: tuple[str, ...], exclude: str | None = None) -> Path | None:
    """The one file of the first pattern that matches any, None where none does.

    Args:
        patterns: Globs, the best one first.
        exclude: Names that hold this word, in whatever case, do not count.

    Raises:
        InputError: Two files match the same pattern.
    """
    for pattern in patterns:
        found = sorted(p for p in folder.glob(pattern) if exclude is None or exclude not in p.name.lower())
        if len(found) > 1:
            raise InputError(
                f"{folder}: {len(found)} files match {pattern}: {found[0].name}, {found[1].name}; name one, or move one"
            )
        if found:
            return found[0]
    return None


SYNTHETIC_MARKER = ".hydromae-invented"
"""File in a folder that `hydromae virtual` wrote in the layout of a product: what its data are."""
RECORDS = ("camels_gb_daily.nc", "*.nc", "*.zarr", "*.parquet", "*.csv")
"""How the one record in a folder is called, the best name first."""
ATTRIBUTES_FILE = ("*attributes*.csv",)
"""How the table of attributes beside it is called."""


def find_record(folder: Path, with_maps: bool = False) -> Path | None:
    """The one record in a folder that is no table of attributes, None where there is none.

    Where maps lie there, NetCDF files are those, but for `camels_gb_daily.nc`.

    Raises:
        InputError: There are two of a kind.
    """
    patterns = tuple(pattern for pattern in RECORDS if not (with_maps and pattern == "*.nc"))
    return one_of(folder, patterns, exclude="attributes")
