"""Arrays of a record in memory, or in files that all processes of a machine map."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float16, Float32, Int, Shaped

from hydromae.errors import InputError
from hydromae.footprints import Footprints, footprint_mean
from hydromae.progress import report_progress
from hydromae.store.scaling import Scaling
from hydromae.store.validate import store_errors
from hydromae.store.zarr_store import SHARD_DAYS
from hydromae.variables import SERIES_BESIDE_MAPS, Modality

PAGE = 4096
"""Bytes of a memory page, or fewer."""


@dataclass(frozen=True)
class SharedFolder:
    """Files of one start of a run on one machine: its first process writes them, every process maps them.

    Attributes:
        folder: Folder of the files until all processes have mapped them (`remove`).
        is_writer: Whether this process writes them.
        is_cached: Whether they are read into memory at once; otherwise page by page, at the first use.
    """

    folder: Path
    is_writer: bool
    is_cached: bool

    def remove(self) -> None:
        """Unlink the files; mapped memory stays valid until the last process ends."""
        shutil.rmtree(self.folder, ignore_errors=True)


def materialize(
    shared: SharedFolder | None, name: str, shape: tuple[int, int, int], dtype: type, blocks: Iterable[np.ndarray]
) -> Shaped[np.ndarray, "T S F"]:
    """Consecutive blocks of days as one array, in memory or, read-only, in a shared file.

    Raises:
        InputError: If the file cannot be written or read.
    """
    if shared is None:
        whole, first = np.empty(shape, dtype=dtype), 0
        for block in blocks:
            whole[first : first + len(block)] = block
            first += len(block)
        return whole
    file = shared.folder / name
    try:
        if shared.is_writer:
            _write(file, blocks)
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):  # concerns the record, not the file
            raise
        raise InputError(f"{file}: cannot be written or read ({error}); make room there") from None
    if shared.is_cached:
        np.frombuffer(mapped, np.uint8)[::PAGE].max()  # touches every page
    return np.frombuffer(mapped, dtype).reshape(shape)


def _write(file: Path, blocks: Iterable[np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)  # a process of an earlier start may still map the old file
    with file.open("xb") as opened:
        for block in blocks:
            opened.write(np.ascontiguousarray(block).data)


def map_blocks(
    dataset: xr.Dataset,
    modality: Modality,
    scaling: Scaling,
    cell_layout: tuple[np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, int],
) -> Iterator[Float16[np.ndarray, "T P F"]]:
    """Blocks of days of a map modality: scaled cells in patches of shape (patches, pixels), NaN where unobserved."""
    name, (patch, pixel, inside) = modality.variables[0].name, cell_layout
    is_present = name in dataset and name in scaling and dataset[name].dims == ("time", "cell")
    for days in _day_slices(dataset, modality.name):
        block = np.full((days.stop - days.start, *shape), np.nan, dtype=np.float16)
        if is_present:
            block[:, patch, pixel] = scaling.scale(name, read_days(dataset, name, days)[:, inside])
        yield block


def series_blocks(
    dataset: xr.Dataset,
    modality: Modality,
    groups: Int[np.ndarray, "S V"],
    scaling: Scaling,
    footprints: Footprints | None = None,
) -> Iterator[Float32[np.ndarray, "T S F"]]:
    """Blocks of days of a series modality: scaled variables of groups of catchments, NaN where unobserved.

    Of a variable that the record has as maps, a catchment has its own series (`variables.SERIES_BESIDE_MAPS`) and, on days
    without a value, the mean of its footprint.
    """
    count = dataset.sizes["catchment"]
    valid = (groups >= 0).reshape(-1)
    slots = groups.reshape(-1)[valid]
    for days in _day_slices(dataset, modality.name):
        length = days.stop - days.start
        block = np.full((length, groups.size, len(modality.variables)), np.nan, dtype=np.float32)
        for channel, name in enumerate(variable.name for variable in modality.variables):
            values = _series_of(dataset, name, days, footprints, count)
            if name in scaling and values is not None:
                block[:, valid, channel] = scaling.scale(name, values.astype(np.float32))[:, slots]
        yield block.reshape(length, len(groups), -1)


def _series_of(
    dataset: xr.Dataset, name: str, days: slice, footprints: Footprints | None, count: int
) -> Shaped[np.ndarray, "T C"] | None:
    """Values of a variable at catchments; None where the record has neither series nor maps."""
    own = series_name(dataset, name)
    values = None
    if own in dataset and dataset[own].dims == ("time", "catchment"):
        values = read_days(dataset, own, days)
    if name in dataset and dataset[name].dims == ("time", "cell") and footprints is not None:
        mean = footprint_mean(footprints, read_days(dataset, name, days), count)
        values = mean if values is None else np.where(np.isfinite(values), values, mean)
    return values


def series_name(dataset: xr.Dataset, name: str) -> str:
    """Name of the series of a variable in a record."""
    beside = SERIES_BESIDE_MAPS.get(name)
    return beside.name if beside is not None and beside.name in dataset else name


def _day_slices(dataset: xr.Dataset, name: str) -> Iterator[slice]:
    days = dataset.sizes["time"]
    for first in range(0, days, SHARD_DAYS):
        yield slice(first, last := min(first + SHARD_DAYS, days))
        report_progress(f"days of {name} read", last, days)


def read_days(dataset: xr.Dataset, name: str, days: slice) -> Shaped[np.ndarray, "T N"]:
    """Some days of a variable; a damaged store raises InputError."""
    with store_errors(dataset.encoding.get("source", "the record")):
        return dataset[name][days].values
