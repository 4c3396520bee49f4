"""Merge monthly files of maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from hydromae.datasets.map_files import MapSeries, month_files
from hydromae.errors import InputError
from hydromae.io.parse import every_day, parse_period
from hydromae.io.seed_layout import CHUNK_DAYS, MISSING, MergedFile
from hydromae.progress import report_progress
from hydromae.store.zarr_store import atomic_output
from hydromae.variables import VARIABLES


def merge(folder: str | Path, out: str | Path, period: tuple[str, str], allow_missing: bool = False) -> dict[str, Any]:
    """Merge the monthly files in a folder for a period, with at most one month in memory.

    Args:
        folder: Monthly files of one variable, such as `precipitation_processed` with `precipitation_1989_01.h5`.
        out: The merged file (`.h5`): `data[days, rows, columns]`, as stored, and `dates`.
        period (str, str): First and last day.
        allow_missing: Write −99999 on days without a map instead of refusing.

    Returns:
        dict: `path`, `variable`, `days`, and `missing_days` (written as −99999).

    Raises:
        InputError: No monthly files, several variables, an invalid file, a missing day, or different shapes or units.
    """
    folder_path = Path(folder)
    if Path(out).suffix != ".h5":
        raise InputError(f"{out}: a merged file ends in .h5; name it so")
    days = every_day(*parse_period(period))
    variable = _variable(folder_path)
    files = month_files(folder_path, variable, np.empty(0, dtype="datetime64[D]"))
    for file in files:
        if (file.shape, file.units) != (files[0].shape, files[0].units):
            raise InputError(
                f"{file.path}: {file.shape[0]} × {file.shape[1]} cells in {file.units}, but {files[0].path.name} has "
                f"{files[0].shape[0]} × {files[0].shape[1]} in {files[0].units}; merge files of one grid and unit"
            )
    maps = MapSeries.over(tuple(files), days)
    no_file = maps.days[maps.file < 0]
    if len(no_file) and not allow_missing:
        raise InputError(
            f"{folder}: no file holds {no_file[0]} ({len(no_file)} such days from {days[0]} to {days[-1]}); add it, or write "
            "−99999 there with --allow-missing"
        )
    with atomic_output(out) as temporary, MergedFile(temporary, files[0].units, maps.days, files[0].shape) as merged:
        empty = np.full((CHUNK_DAYS, *files[0].shape), MISSING, np.float32)
        for run, file, begin in maps.runs(0, len(maps.days)):
            length = run.stop - run.start
            if file is None:
                for start_day in range(0, length, CHUNK_DAYS):
                    merged.append(empty[: length - start_day])
            else:
                for _, values in file.pieces(begin, begin + length):
                    merged.append(values)
            report_progress("days merged", run.stop, len(maps.days))
    return {"path": str(out), "variable": variable, "days": len(maps.days), "missing_days": [str(d) for d in no_file]}


def _variable(folder: Path) -> str:
    """Return the only variable with monthly files in a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    matches = (re.fullmatch(r"(.+)_\d{4}_\d{2}\.h5", path.name) for path in folder.glob("*.h5"))
    variables_found = sorted({match[1] for match in matches if match})
    if len(variables_found) != 1:
        content = (
            f"monthly files of {', '.join(variables_found)}"
            if variables_found
            else "no monthly file such as precipitation_1989_01.h5"
        )
        raise InputError(f"{folder}: {content} in it; name a folder that holds one variable")
    if variables_found[0] not in VARIABLES:
        raise InputError(
            f"{folder}: {variables_found[0]} is not a known variable; name the files {', '.join(VARIABLES)}"
        )
    return variables_found[0]
