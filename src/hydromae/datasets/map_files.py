"""The HDF5 files of one variable: merged ones and months, and which of them holds a day."""

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
    """The files of one variable, and where each day of a period lies in them.

    Attributes:
        days (array (T,)): The period.
        file, index (int arrays (T,)): Number of the file of each day, −1 where none holds it, and the day's place in that
            file.
    """

    files: tuple[MapFile, ...]
    days: Days
    file: Int[np.ndarray, " T"]
    index: Int[np.ndarray, " T"]

    @classmethod
    def over(cls, files: tuple[MapFile, ...], days: Days) -> MapSeries:
        """Each day from a merged file before a month, from that with most of the period, from the smaller of two equals."""
        file, index = np.full(len(days), -1), np.zeros(len(days), dtype=np.int64)
        shared_days = [int(np.isin(f.days, days).sum()) for f in files]
        for file_index in sorted(
            range(len(files)), key=lambda n: (not files[n].merged, -shared_days[n], len(files[n].days))
        ):
            held = files[file_index].days
            day_index = np.searchsorted(held, days).clip(max=len(held) - 1)
            is_new = (file < 0) & (held[day_index] == days)
            file[is_new], index[is_new] = file_index, day_index[is_new]
        return cls(files, days, file, index)

    def runs(self, first: int, last: int) -> Iterator[tuple[slice, MapFile | None, int]]:
        """Days `first` to `last` (exclusive) in runs of consecutive days of one file, and where a run begins in it.

        A slice counts from `first`; a run that no file holds comes with None.
        """
        file, index = self.file[first:last], self.index[first:last]
        step = np.where(file[1:] < 0, 0, 1)
        ends = np.flatnonzero((np.diff(file) != 0) | (np.diff(index) != step)) + 1
        for start, stop in zip([0, *ends], [*ends, last - first], strict=True):
            held = self.files[file[start]] if file[start] >= 0 else None
            yield slice(int(start), int(stop)), held, int(index[start])

    def block(self, first: int, last: int, cell: Int[np.ndarray, " N"]) -> Float32[np.ndarray, "T N"]:
        """Days `first` to `last` (exclusive) on the given cells, in canonical units, NaN = unobserved."""
        values = np.full((last - first, len(cell)), np.nan, np.float32)
        for run, file, begin in self.runs(first, last):
            if file is not None:
                values[run] = _read(file, begin, begin + run.stop - run.start, cell)
        return values


def _read(file: MapFile, first: int, last: int, cell: Int[np.ndarray, " N"]) -> Float32[np.ndarray, "T N"]:
    values = np.empty((last - first, len(cell)), np.float32)
    for piece, maps in file.pieces(first, last):  # small enough to stay in the processor's cache on the way
        raw = maps.reshape(len(maps), -1).take(cell, axis=1)
        observed = unobserved_to_nan(xr.DataArray(raw, dims=("time", "cell"), attrs={"missing_value": file.missing}))
        values[piece.start - first : piece.stop - first] = units.convert(
            observed, file.variable, file.units, str(file.path)
        ).values
    record = xr.Dataset({file.variable: (("time", "cell"), values, {"units": file.units})})
    return check_ranges(record, str(file.path))[file.variable].values


def map_files(folder: Path, variable: str) -> tuple[MapFile, ...]:
    """The files of a variable: merged ones, and the months of which they lack a day.

    Both are looked for in the folder and in its `{variable}_processed`.

    Raises:
        InputError: There is none, or one is wrong (`MapFile.open`) or holds a day that does not belong into it by its name.
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
    """Monthly files of a variable, but for months whose every day is covered by other files (ascending, each once)."""
    files = []
    for path, name in named_files(folder, variable, r"(\d{4})_(0[1-9]|1[0-2])"):
        first = np.datetime64(f"{name[1]}-{name[2]}", "M")
        begin, end = first.astype("datetime64[D]"), (first + 1).astype("datetime64[D]")
        if np.diff(np.searchsorted(covered_days, [begin, end]))[0] < (end - begin).astype(int):
            files.append(_within_name(MapFile.open(path, variable), str(first), str(first + 1)))
    return files


def named_files(folder: Path, variable: str, rest: str = r"[a-z0-9_]+") -> Iterator[tuple[Path, re.Match[str]]]:
    pattern = re.compile(rf"{FILE_STEMS.get(variable, variable)}_{rest}\.h5")
    for day_index in (folder, folder / f"{variable}_processed"):
        for path in sorted(day_index.glob("*.h5")):
            if match := pattern.fullmatch(path.name):
                yield path, match


def _within_name(file: MapFile, first: str, after: str) -> MapFile:
    wrong = (file.days < np.datetime64(first, "D")) | (file.days >= np.datetime64(after, "D"))
    if wrong.any():
        raise InputError(
            f"{file.path}: {file.days[wrong][0]} does not belong into it by its name; rename or rewrite it"
        )
    return file
