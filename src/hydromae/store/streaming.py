"""From blocks of days to a store: written and scaled as they go by, while the next one is made."""

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
    """A store of a record that is made block by block; memory holds two of them, whatever the period.

    Args:
        template: The record without its values.
        blocks: Its values, `SHARD_DAYS` days at a time.
        sources, training_period, grid: As in `zarr_store.write_store`; scaled by the training days of what was written.

    Returns:
        str: The path.

    Raises:
        InputError: What makes the blocks refuses; no training day is in the record, or nothing was observed on them.
    """
    training_days(template[["time"]], training_period)  # refused before anything is written
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
    """The blocks, which begin with the first of the days; the training days among them are added to the moments."""
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
    """The blocks, the next one made in a thread while the last is used; so two are held at a time."""
    with ThreadPoolExecutor(1) as executor:
        next_block = executor.submit(next, blocks, None)
        while (block := next_block.result()) is not None:
            next_block = executor.submit(next, blocks, None)
            yield block
