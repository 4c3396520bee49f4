"""HDF5 files of daily maps, merged or monthly, read without links to other files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Shaped

from hydromae.errors import InputError, first_line
from hydromae.io.safety import external_reason
from hydromae.io.seed_layout import CHUNK_DAYS
from hydromae.io.timestamps import check_daily_step, infer_step
from hydromae.io.unobserved import declared_missing
from hydromae.variables import VARIABLES

MAX_MAP_CELLS = 10**7
"""Maximum cells of a map, against excessive memory."""

Days = Shaped[np.ndarray, " T"]


@dataclass(frozen=True)
class MapFile:
    """File of daily maps of one variable: `data[days, rows, columns]` and `dates`, or one dataset per day.

    Attributes:
        variable: A name of `variables.VARIABLES`.
        days (array (T,)): Days (datetime64[D]), ascending.
        shape (int, int): Rows and columns of a map.
        units: Units in the file, default canonical.
        merged: Whether the file has one array of all days.
        missing: Numbers that the first map declares as missing (`_FillValue`, `missing_value`).
    """

    path: Path
    variable: str
    days: Days
    shape: tuple[int, int]
    units: str
    merged: bool
    missing: tuple[float, ...] = ()

    @classmethod
    def open(cls, path: str | Path, variable: str) -> MapFile:
        """Read days, shape and units of a file; `pieces` reads its maps.

        Raises:
            InputError: Not HDF5 or truncated; invalid, unsorted or duplicate dates, or a wrong number of dates; maps of other
                types or shapes; links and virtual datasets.
        """
        path = Path(path)
        with open_hdf5(path) as file:
            merged = not {"data", "dates"}.isdisjoint(file)
            days = _dates(file, path) if merged else _keys(file, path)
            check_daily_step(infer_step(days), path)
            name = "data" if merged else str(days[0])
            dataset = internal_dataset(file, name, path)
            rows = dataset.shape[-2:] if dataset.ndim == (3 if merged else 2) else ()
            if len(rows) != 2 or min(rows) < 1:
                expected = "(days, rows, columns)" if merged else "(rows, columns)"
                raise InputError(f"{path}: {name} has the shape {dataset.shape}; maps need {expected}")
            if rows[0] * rows[1] > MAX_MAP_CELLS:
                raise InputError(f"{path}: maps of {rows[0]} × {rows[1]} cells; more than {MAX_MAP_CELLS} are not read")
            if merged and dataset.shape[0] != len(days):
                raise InputError(f"{path}: {dataset.shape[0]} maps, but {len(days)} dates; write one date per map")
            units = _units(dataset, name, variable, path)
            return cls(path, variable, days, (rows[0], rows[1]), units, merged, declared_missing(dataset.attrs))

    def pieces(self, first: int, last: int) -> Iterator[tuple[slice, Float32[np.ndarray, "T rows columns"]]]:
        """Yield the stored maps of days `first` to `last` (exclusive, indices of `days`), at most 30 days at a time."""
        with open_hdf5(self.path) as file:
            while first < last:
                stop = min(last, (first // CHUNK_DAYS + 1) * CHUNK_DAYS)
                yield slice(first, stop), self._maps(file, first, stop)
                first = stop

    def _maps(self, file: h5py.File, first: int, last: int) -> Float32[np.ndarray, "T rows columns"]:
        if self.merged:
            return _numeric_dataset(file, "data", self.path)[first:last].astype(np.float32, copy=False)
        maps = np.empty((last - first, *self.shape), np.float32)
        for index, day in enumerate(np.datetime_as_string(self.days[first:last])):
            dataset = _numeric_dataset(file, str(day), self.path)
            if dataset.shape != self.shape:
                raise InputError(
                    f"{self.path}: {day} has the shape {dataset.shape}, other days {self.shape}; regrid it"
                )
            if _units(dataset, str(day), self.variable, self.path) != self.units:
                raise InputError(f"{self.path}: {day} has other units than {self.days[0]}; write one unit a file")
            maps[index] = dataset[()]
        return maps


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; raise InputError if it cannot be read."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable HDF5 file ({first_line(error)}); it may be cut short: copy or write it again"
        ) from error


def internal_dataset(file: h5py.File, name: str, path: str | Path) -> h5py.Dataset:
    """Return a dataset with values in the file itself; refuse links, virtual and external datasets."""
    if file.get(name, getlink=True) is None:
        raise InputError(f"{path}: no {name} in it (it has {', '.join(list(file)[:4]) or 'nothing'}); write it again")
    dataset = None if external_reason(file, name) else file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise InputError(
            f"{path}: {name} is empty, a group, or a link to another place; copy its values into this file"
        )
    return dataset


def _dates(file: h5py.File, path: Path) -> Days:
    dataset = internal_dataset(file, "dates", path)
    if dataset.ndim != 1 or dataset.dtype.kind not in "SO" or len(dataset) > 10**6:
        raise InputError(
            f"{path}: dates is {dataset.dtype} of shape {dataset.shape}; write bytes YYYY-MM-DD, one per map"
        )
    texts = [d.decode() if isinstance(d, bytes) else str(d) for d in dataset[()].tolist()]
    days = parsed(texts, path)
    step = np.diff(days).astype(np.int64)
    if (step <= 0).any():
        row_index = int((step <= 0).argmax()) + 1
        is_duplicate = days[row_index] in days[:row_index]
        fault = "occurs twice; give one map a day" if is_duplicate else f"follows {days[row_index - 1]}; sort the days"
        raise InputError(f"{path}: {days[row_index]} {fault}")
    return days


def _keys(file: h5py.File, path: Path) -> Days:
    return np.sort(parsed(list(file), path))


def parsed(texts: list[str], path: Path) -> Days:
    """Parse texts `YYYY-MM-DD` as days; refuse others."""
    if not texts:
        raise InputError(f"{path}: has no days; a file of maps contains data and dates, or a dataset a day")
    try:
        days = np.array(texts, dtype="datetime64[D]")
        wrong_index = np.flatnonzero(np.datetime_as_string(days) != np.array(texts))
    except ValueError:
        wrong_index = np.array([index for index, text in enumerate(texts) if not _is_day(text)])
        days = np.empty(0, dtype="datetime64[D]")
    if len(wrong_index):
        raise InputError(f"{path}: {texts[wrong_index[0]]!r} is not a day; write YYYY-MM-DD")
    return days


def _is_day(text: str) -> bool:
    try:
        return str(np.datetime64(text, "D")) == text
    except ValueError:
        return False


def _numeric_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    dataset = internal_dataset(file, name, path)
    if dataset.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} is of type {dataset.dtype}; write float32")
    return dataset


def _units(dataset: h5py.Dataset, name: str, variable: str, path: Path) -> str:
    units = dataset.attrs.get("units", VARIABLES[variable].units)
    spelled = units.decode() if isinstance(units, bytes) else units
    if not isinstance(spelled, str):
        raise InputError(f"{path}: the units of {name} are {units!r}; write {VARIABLES[variable].units!r}")
    return spelled
