"""Write a store from blocks of days in one pass, with the scaling."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from hydromae.grid import GridSpec
from hydromae.store.scaling import Moments, training_days
from hydromae.store.zarr_store import atomic_output, write_blocks, write_metadata
from hydromae.variables import VARIABLES


def write_streamed(
    template: xr.Dataset,
    blocks: Iterable[xr.Dataset],
    out: str | Path,
    sources: list[dict[str, Any]],
    training_period: tuple[str, str],
    grid: GridSpec,
) -> str:
    """Write a store from blocks; at most two blocks are in memory.

    Args:
        template: The record without values.
        blocks: The values, `SHARD_DAYS` days at a time.
        sources, training_period, grid: As in `zarr_store.write_store`.

    Returns:
        str: The path.

    Raises:
        InputError: From the blocks; no training day in the record, or no observations on them.
    """
    training_days(template[["time"]], training_period)  # raises before anything is written
    moments = Moments(training_period)
    names = [str(name) for name in template.data_vars if name in VARIABLES]
    with (
        atomic_output(out) as temporary,
        closing(prefetch(_with_moments(blocks, template.indexes["time"], moments, names))) as recorded,
    ):
        write_blocks(temporary, template, recorded)
        scaling = moments.scaling(names, template)
        write_metadata(temporary, scaling=scaling, sources=sources, grid=grid, training_period=training_period)
    return str(out)


def _with_moments(
    blocks: Iterable[xr.Dataset], days: pd.Index, moments: Moments, names: list[str]
) -> Iterator[xr.Dataset]:
    """Yield the blocks and add their training days to the moments."""
    low, high = days.slice_locs(*moments.period)
    start = 0
    for block in blocks:
        stop = start + block.sizes["time"]
        training = slice(max(low - start, 0), max(min(high, stop) - start, 0))
        for name in names:
            moments.add(name, block[name].values[training])
        start = stop
        yield block


def prefetch(blocks: Iterator[xr.Dataset]) -> Generator[xr.Dataset]:
    """Yield the blocks while a thread computes the next one."""
    with ThreadPoolExecutor(1) as executor:
        next_block = executor.submit(next, blocks, None)
        while (block := next_block.result()) is not None:
            next_block = executor.submit(next, blocks, None)
            yield block
