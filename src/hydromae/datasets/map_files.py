"""HDF5 files of one variable, merged and monthly, and the file of each day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float32, Int

from hydromae.datasets.map_file import Days, MapFile
from hydromae.errors import InputError
from hydromae.io import units
from hydromae.io.unobserved import unobserved_to_nan
from hydromae.io.value_ranges import check_ranges

FILE_STEMS = {"soil_moisture": "(?:soil_moisture|soil)"}


@dataclass(frozen=True)
class MapSeries:
    """Files of one variable, and the position of each day of a period.

    Attributes:
        days (array (T,)): Days of the period.
        file, index (int arrays (T,)): Index of the file of each day, −1 for none, and index of the day in that file.
    """

    files: tuple[MapFile, ...]
    days: Days
    file: Int[np.ndarray, " T"]
    index: Int[np.ndarray, " T"]

    @classmethod
    def over(cls, files: tuple[MapFile, ...], days: Days) -> MapSeries:
        """Select the file of each day: merged before monthly, then most days of the period, then the smaller file."""
        file, index = np.full(len(days), -1), np.zeros(len(days), dtype=np.int64)
        shared_days = [int(np.isin(f.days, days).sum()) for f in files]
        for file_index in sorted(
            range(len(files)), key=lambda n: (not files[n].merged, -shared_days[n], len(files[n].days))
        ):
            file_days = files[file_index].days
            day_index = np.searchsorted(file_days, days).clip(max=len(file_days) - 1)
            is_new = (file < 0) & (file_days[day_index] == days)
            file[is_new], index[is_new] = file_index, day_index[is_new]
        return cls(files, days, file, index)

    def runs(self, first: int, last: int) -> Iterator[tuple[slice, MapFile | None, int]]:
        """Yield runs of consecutive days of one file from `first` to `last` (exclusive), with the start index in the file.

        Slices are relative to `first`; the file of missing days is None.
        """
        file, index = self.file[first:last], self.index[first:last]
        step = np.where(file[1:] < 0, 0, 1)
        ends = np.flatnonzero((np.diff(file) != 0) | (np.diff(index) != step)) + 1
        for start, stop in zip([0, *ends], [*ends, last - first], strict=True):
            map_file = self.files[file[start]] if file[start] >= 0 else None
            yield slice(int(start), int(stop)), map_file, int(index[start])

    def block(self, first: int, last: int, cell: Int[np.ndarray, " N"]) -> Float32[np.ndarray, "T N"]:
        """Read days `first` to `last` (exclusive) on the given cells, in canonical units, NaN if unobserved."""
        values = np.full((last - first, len(cell)), np.nan, np.float32)
        for run, file, begin in self.runs(first, last):
            if file is not None:
                values[run] = _read_cells(file, begin, begin + run.stop - run.start, cell)
        return values


def _read_cells(file: MapFile, first: int, last: int, cell: Int[np.ndarray, " N"]) -> Float32[np.ndarray, "T N"]:
    values = np.empty((last - first, len(cell)), np.float32)
    for piece, maps in file.pieces(first, last):  # small pieces stay in the processor cache
        raw = maps.reshape(len(maps), -1).take(cell, axis=1)
        observed = unobserved_to_nan(xr.DataArray(raw, dims=("time", "cell"), attrs={"missing_value": file.missing}))
        values[piece.start - first : piece.stop - first] = units.convert(
            observed, file.variable, file.units, str(file.path)
        ).values
    record = xr.Dataset({file.variable: (("time", "cell"), values, {"units": file.units})})
    return check_ranges(record, str(file.path))[file.variable].values


def map_files(folder: Path, variable: str) -> tuple[MapFile, ...]:
    """Return the merged files of a variable, and the months with days that these lack.

    Both are in the folder or in its `{variable}_processed`.

    Raises:
        InputError: No file, an invalid file (`MapFile.open`), or a day that does not fit the name of its file.
    """
    merged = []
    for path, years in named_files(folder, variable, r"[a-z]+_(\d{4})_(\d{4})"):
        merged.append(_within_name(MapFile.open(path, variable), f"{years[1]}-01-01", f"{int(years[2]) + 1}-01-01"))
    covered_days = np.unique(np.concatenate([f.days for f in merged])) if merged else np.empty(0, dtype="datetime64[D]")
    available = (*merged, *month_files(folder, variable, covered_days))
    if not available:
        raise InputError(
            f"{folder}: no file of {variable}; put {variable}_train_1989_2010.h5 there, or monthly files into "
            f"{variable}_processed"
        )
    return available


def month_files(folder: Path, variable: str, covered_days: Days) -> list[MapFile]:
    """Return monthly files of a variable, except months that other files cover; `covered_days` are ascending and unique."""
    files = []
    for path, name in named_files(folder, variable, r"(\d{4})_(0[1-9]|1[0-2])"):
        first = np.datetime64(f"{name[1]}-{name[2]}", "M")
        begin, end = first.astype("datetime64[D]"), (first + 1).astype("datetime64[D]")
        if np.diff(np.searchsorted(covered_days, [begin, end]))[0] < (end - begin).astype(int):
            files.append(_within_name(MapFile.open(path, variable), str(first), str(first + 1)))
    return files


def named_files(folder: Path, variable: str, rest: str = r"[a-z0-9_]+") -> Iterator[tuple[Path, re.Match[str]]]:
    pattern = re.compile(rf"{FILE_STEMS.get(variable, variable)}_{rest}\.h5")
    for directory in (folder, folder / f"{variable}_processed"):
        for path in sorted(directory.glob("*.h5")):
            if match := pattern.fullmatch(path.name):
                yield path, match


def _within_name(file: MapFile, first: str, after: str) -> MapFile:
    wrong = (file.days < np.datetime64(first, "D")) | (file.days >= np.datetime64(after, "D"))
    if wrong.any():
        raise InputError(f"{file.path}: {file.days[wrong][0]} does not fit the name of the file; rename or rewrite it")
    return file
