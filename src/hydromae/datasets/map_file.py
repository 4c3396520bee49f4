"""HDF5 files of daily maps, merged or of one month, read without following anything that leads out of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Shaped

from hydromae.errors import InputError, first_line
from hydromae.io.safety import elsewhere
from hydromae.io.seed_layout import CHUNK_DAYS
from hydromae.io.timestamps import refuse_step, step_of
from hydromae.io.unobserved import DECLARED
from hydromae.variables import VARIABLES

LARGEST_MAP = 10**7
"""Cells; a declared size beyond it is a fault, or a trap for memory."""

Days = Shaped[np.ndarray, " T"]


@dataclass(frozen=True)
class MapFile:
    """A file of daily maps of one variable: `data[days, rows, columns]` and `dates`, or one dataset a day.

    Attributes:
        variable: A name of `variables.VARIABLES`.
        days (array (T,)): Its days (datetime64[D]), ascending.
        shape (int, int): Rows and columns of every map.
        units: As the file spells them; canonical where it says nothing.
        merged: Whether it holds one array of all days.
        missing: Numbers that its first maps declare as missing (`_FillValue`, `missing_value`).
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
        """Read days, shape and units of a file; its maps are read by `pieces`.

        Raises:
            InputError: Not HDF5 or cut short; no `dates`; dates that are no dates, not ascending, twice, or not as many as
                maps; maps that are no numbers or of different shapes; links and virtual datasets, which may point at other
                files.
        """
        path = Path(path)
        with opened(path) as file:
            merged = not {"data", "dates"}.isdisjoint(file)
            days = _dates(file, path) if merged else _keys(file, path)
            refuse_step(step_of(days), path)
            name = "data" if merged else str(days[0])
            held = inside(file, name, path)
            rows = held.shape[-2:] if held.ndim == (3 if merged else 2) else ()
            if len(rows) != 2 or min(rows) < 1:
                needed = "(days, rows, columns)" if merged else "(rows, columns)"
                raise InputError(f"{path}: {name} has the shape {held.shape}; maps need {needed}")
            if rows[0] * rows[1] > LARGEST_MAP:
                raise InputError(f"{path}: maps of {rows[0]} × {rows[1]} cells; more than {LARGEST_MAP} are not read")
            if merged and held.shape[0] != len(days):
                raise InputError(f"{path}: {held.shape[0]} maps, but {len(days)} dates; write one date a map")
            units = _units(held, name, variable, path)
            return cls(path, variable, days, (rows[0], rows[1]), units, merged, _missing(held))

    def pieces(self, first: int, last: int) -> Iterator[tuple[slice, Float32[np.ndarray, "T rows columns"]]]:
        """Maps of days `first` to `last` (exclusive, counted in `days`), as they are stored, at most 30 days at a time."""
        with opened(self.path) as file:
            while first < last:
                stop = min(last, (first // CHUNK_DAYS + 1) * CHUNK_DAYS)
                yield slice(first, stop), self._maps(file, first, stop)
                first = stop

    def _maps(self, file: h5py.File, first: int, last: int) -> Float32[np.ndarray, "T rows columns"]:
        if self.merged:
            return _numbers(file, "data", self.path)[first:last].astype(np.float32, copy=False)
        maps = np.empty((last - first, *self.shape), np.float32)
        for index, day in enumerate(np.datetime_as_string(self.days[first:last])):
            held = _numbers(file, str(day), self.path)
            if held.shape != self.shape:
                raise InputError(f"{self.path}: {day} has the shape {held.shape}, other days {self.shape}; regrid it")
            if _units(held, str(day), self.variable, self.path) != self.units:
                raise InputError(f"{self.path}: {day} has other units than {self.days[0]}; write one unit a file")
            maps[index] = held[()]
        return maps


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, or one line that says why it cannot be read."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable HDF5 file ({first_line(error)}); it may be cut short: copy or write it again"
        ) from error


def inside(file: h5py.File, name: str, path: str | Path) -> h5py.Dataset:
    """A dataset whose values lie in the file itself; links, virtual and external datasets are refused unread."""
    if file.get(name, getlink=True) is None:
        raise InputError(f"{path}: no {name} in it (it holds {', '.join(list(file)[:4]) or 'nothing'}); write it again")
    held = None if elsewhere(file, name) else file[name]
    if not isinstance(held, h5py.Dataset) or held.shape is None:
        raise InputError(
            f"{path}: {name} is empty, a group, or a link to another place; copy its values into this file"
        )
    return held


def _dates(file: h5py.File, path: Path) -> Days:
    held = inside(file, "dates", path)
    if held.ndim != 1 or held.dtype.kind not in "SO" or len(held) > 10**6:
        raise InputError(f"{path}: dates is {held.dtype} of shape {held.shape}; write bytes YYYY-MM-DD, one a map")
    written = [d.decode() if isinstance(d, bytes) else str(d) for d in held[()].tolist()]
    days = parsed(written, path)
    step = np.diff(days).astype(np.int64)
    if (step <= 0).any():
        at = int((step <= 0).argmax()) + 1
        twice = days[at] in days[:at]
        what = "comes twice; give one map a day" if twice else f"comes after {days[at - 1]}; sort the days"
        raise InputError(f"{path}: {days[at]} {what}")
    return days


def _keys(file: h5py.File, path: Path) -> Days:
    return np.sort(parsed(list(file), path))


def parsed(written: list[str], path: Path) -> Days:
    """Texts `YYYY-MM-DD` as days; anything else is refused by name."""
    if not written:
        raise InputError(f"{path}: there is no day in it; a file of maps holds data and dates, or a dataset a day")
    try:
        days = np.array(written, dtype="datetime64[D]")
        wrong = np.flatnonzero(np.datetime_as_string(days) != np.array(written))
    except ValueError:
        wrong = np.array([index for index, text in enumerate(written) if not _is_day(text)])
        days = np.empty(0, dtype="datetime64[D]")
    if len(wrong):
        raise InputError(f"{path}: {written[wrong[0]]!r} is no day; write YYYY-MM-DD")
    return days


def _is_day(text: str) -> bool:
    try:
        return str(np.datetime64(text, "D")) == text
    except ValueError:
        return False


def _numbers(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    held = inside(file, name, path)
    if held.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} is of type {held.dtype}; write float32")
    return held


def _missing(held: h5py.Dataset) -> tuple[float, ...]:
    told = [np.asarray(held.attrs[name]).ravel() for name in DECLARED if name in held.attrs]
    return tuple(float(one) for part in told if part.dtype.kind in "iuf" for one in part)


def _units(held: h5py.Dataset, name: str, variable: str, path: Path) -> str:
    units = held.attrs.get("units", VARIABLES[variable].units)
    spelled = units.decode() if isinstance(units, bytes) else units
    if not isinstance(spelled, str):
        raise InputError(f"{path}: the units of {name} are {units!r}; write {VARIABLES[variable].units!r}")
    return spelled
