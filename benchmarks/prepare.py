"""Preparing a national record: seconds, memory, and how near that is to plain h5py and zarr.

    python benchmarks/prepare.py --out prepare.json
    python benchmarks/prepare.py --raw RAW --training-period 1970-01-01 2010-12-31 --out prepare.json

Three ways to the same arrays, each in a process of its own, one after the other, `--rounds` times; the fastest round
counts. `prepare` is `hydromae prepare --layout seed`. `plain` reads the same source files with h5py and pyarrow and writes
the same values with zarr, in the same chunks and codecs, and does nothing else: no hashes, no checks, no missing days, no
scaling. `copy` reads the prepared store with zarr and writes it again. Without `--raw` a small Virtual GB is written first.
The limit that is measured beside them is the rate at which numpy copies memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import torch  # noqa: F401  (prepare reads the land mask with it; its import is not what is measured)
import zarr
from rich.console import Console
from rich.table import Table

from clock import peak_bytes
from hydromae.io.seed_layout import CHUNK_DAYS
from hydromae.preprocess.prepare import prepare_seed
from hydromae.store.zarr_store import CODECS, SHARD_DAYS
from hydromae.variables import VARIABLES
from hydromae.virtual.seed_files import write_seed

WAYS = ("prepare", "plain", "copy")
MIB = 2**20


def copy_rate(size: int = 64 * MIB, times: int = 9) -> float:
    """Bytes a second that numpy copies, at best."""
    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        np.copyto(target, source)
        took.append(time.perf_counter() - began)
    return size / min(took)


def invented(folder: Path, quick: bool) -> tuple[str, str]:
    """Write a folder in the seed's layout; its training period."""
    if quick:
        write_seed(folder, 60, 0, "2010-11-12", 24)
        return "2010-11-12", "2010-12-31"
    write_seed(folder, 1095, 0, "2009-01-01", 604)
    return "2009-01-01", "2010-12-31"


def opened_group(store: Path) -> Any:
    """A store's Zarr group."""
    return zarr.open_group(store, mode="r")


def timed(store: Path) -> dict[str, Any]:
    """The arrays (time, site) of a store, by name."""
    group = opened_group(store)
    return {name: group[name] for name in VARIABLES if name in group}


def like(out: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """Empty arrays of the same shapes, chunks and codecs in a new group."""
    group = zarr.create_group(out)
    return {
        name: group.create_array(
            name, shape=a.shape, dtype=a.dtype, chunks=a.chunks, shards=a.shards, compressors=CODECS, fill_value=np.nan
        )
        for name, a in arrays.items()
    }


def plain(raw: Path, store: Path, out: Path) -> None:
    """Read what `prepare` read and write what it wrote, with h5py, pyarrow and zarr alone."""
    group, arrays = opened_group(store), timed(store)
    cell, written = np.asarray(group["cell"]), like(out, arrays)
    first = np.datetime64("1900-01-01") + int(np.asarray(group["time"][:1])[0])
    for source in json.loads(str(group.attrs["sources"])):
        if source["file"].endswith(".parquet"):
            table = pq.read_table(raw / source["file"], columns=["date", "evaporation", "discharge_vol"])
            kept = table["date"].to_numpy().astype("datetime64[D]") >= first
            flow = table["discharge_vol"].to_numpy()[kept].reshape(-1, arrays["riverflow"].shape[1])
            written["riverflow"][:] = flow * (86.4 / np.asarray(group["catchment-area"]))
            written["evaporation"][:] = table["evaporation"].to_numpy()[kept].reshape(flow.shape)
        elif source["file"].endswith(".h5"):
            (name,) = source["units"]
            plain_maps(raw / source["file"], first, cell, written[name])


def plain_maps(file: Path, first: np.datetime64, cell: np.ndarray, written: Any) -> None:
    """Land cells of a merged file, in blocks of one shard, each written at once."""
    with h5py.File(file) as opened:
        dates, maps = opened["dates"], opened["data"]
        assert isinstance(dates, h5py.Dataset) and isinstance(maps, h5py.Dataset)
        begin = int((np.datetime64(dates[0].decode()) - first) / np.timedelta64(1, "D"))
        for low in range(begin - begin % SHARD_DAYS, begin + len(maps), SHARD_DAYS):
            days = range(max(low, begin), min(low + SHARD_DAYS, begin + len(maps)))
            written[days.start : days.stop] = chunkwise(maps, days.start - begin, days.stop - begin, cell)


def chunkwise(maps: h5py.Dataset, first: int, last: int, cell: np.ndarray) -> np.ndarray:
    """Cells of some days, read so that no chunk is unpacked for less than it holds of them."""
    block, start = np.empty((last - first, len(cell)), np.float32), first
    while start < last:
        stop = min((start // CHUNK_DAYS + 1) * CHUNK_DAYS, last)
        block[start - first : stop - first] = maps[start:stop].reshape(stop - start, -1).take(cell, axis=1)
        start = stop
    return block


def copy(store: Path, out: Path) -> None:
    """Zarr to zarr, a shard at a time."""
    arrays = timed(store)
    for name, written in like(out, arrays).items():
        for start in range(0, written.shape[0], SHARD_DAYS):
            written[start : start + SHARD_DAYS] = arrays[name][start : start + SHARD_DAYS]


def measured(way: str, raw: Path, store: Path, out: Path, period: tuple[str, str]) -> dict[str, float]:
    """One way in this process: seconds of the clock and of the processor, and memory."""
    ways: dict[str, Callable[[], object]] = {
        "prepare": lambda: prepare_seed(raw, out, training_period=period),
        "plain": lambda: plain(raw, store, out),
        "copy": lambda: copy(store, out),
    }
    start, began, worked = peak_bytes(), time.perf_counter(), time.process_time()
    ways[way]()
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - worked,
        "start_bytes": start,
        "peak_bytes": peak_bytes(),
    }


def alone(way: str, raw: Path, folder: Path, period: tuple[str, str]) -> dict[str, float]:
    """One way in a process of its own; what `prepare` writes first is kept for the others."""
    file, store = folder / "figures.json", folder / "store.zarr"
    out = store if way == "prepare" and not store.exists() else folder / "again.zarr"
    words = ["--way", way, "--raw", raw, "--work", folder, "--target", out, "--out", file, "--training-period", *period]
    subprocess.run([sys.executable, __file__, *map(str, words)], check=True, env=os.environ)
    if out != store:
        shutil.rmtree(out)
    return json.loads(file.read_text())


def compared(raw: Path, work: Path, period: tuple[str, str], rounds: int) -> dict[str, Any]:
    """All ways in turn, the fastest round of each, and their ratios."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            found[way].append(alone(way, raw, work, period))
    store = timed(work / "store.zarr")
    size = sum(array.nbytes for array in store.values())
    best = {way: min(rows, key=lambda row: row["seconds"]) for way, rows in found.items()}
    figures: dict[str, Any] = {
        "days": next(iter(store.values())).shape[0],
        "cells": store["precipitation"].shape[1],
        "catchments": store["riverflow"].shape[1],
        "value_bytes": size,
        "rounds": rounds,
        "memory_bytes_per_s": copy_rate(),
    }
    for way, row in best.items():
        figures |= {f"{way}_{key}": value for key, value in row.items()}
        figures[f"{way}_bytes_per_s"] = size / row["seconds"]
    for way in ("plain", "copy"):
        figures[f"speed_of_{way}"] = best[way]["seconds"] / best["prepare"]["seconds"]
        cpu = [min(row["cpu_seconds"] for row in found[kind]) for kind in (way, "prepare")]
        figures[f"cpu_speed_of_{way}"] = cpu[0] / cpu[1]
    return figures


def shown(figures: dict[str, Any]) -> Table:
    """The figures as a table, a column a way."""
    table = Table("a national record", *WAYS)
    table.add_row("days, cells, catchments", f"{figures['days']}, {figures['cells']}, {figures['catchments']}", "", "")
    table.add_row("values, MB", f"{figures['value_bytes'] / 1e6:.0f}", "", "")
    lines: dict[str, Callable[[str], str]] = {
        "seconds": lambda way: f"{figures[f'{way}_seconds']:.2f}",
        "of the processor": lambda way: f"{figures[f'{way}_cpu_seconds']:.2f}",
        "MB of values a second": lambda way: f"{figures[f'{way}_bytes_per_s'] / 1e6:.0f}",
        "peak memory, MiB": lambda way: f"{figures[f'{way}_peak_bytes'] / MIB:.0f}",
        "of it at start (imports), MiB": lambda way: f"{figures[f'{way}_start_bytes'] / MIB:.0f}",
    }
    for title, text in lines.items():
        table.add_row(title, *(text(way) for way in WAYS))
    table.add_row("speed of prepare, as a share of", "", *(f"{figures[f'speed_of_{w}']:.0%}" for w in WAYS[1:]))
    table.add_row("the same of the processor's time", "", *(f"{figures[f'cpu_speed_of_{w}']:.0%}" for w in WAYS[1:]))
    table.add_row("limit: numpy copies, MB/s", f"{figures['memory_bytes_per_s'] / 1e6:.0f}", "", "")
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="a folder in the seed's raw layout, instead of an invented one")
    parser.add_argument("--training-period", nargs=2, default=("1989-01-01", "2010-12-31"), help="of --raw")
    parser.add_argument("--rounds", type=int, default=2, help="times that each way is gone")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument(
        "--work", type=Path, help="folder for what is written, which is removed; the machine's own else"
    )
    parser.add_argument("--quick", action="store_true", help="two months of 24 rivers, for a test")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # one process among those of `alone`
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        one = measured(
            options.way, options.raw, options.work / "store.zarr", options.target, tuple(options.training_period)
        )
        options.out.write_text(json.dumps(one))
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        raw, period = options.raw, tuple(options.training_period)
        if raw is None:
            raw = Path(folder) / "raw"
            period = invented(raw, options.quick)
        figures = compared(raw, Path(folder), period, 1 if options.quick else options.rounds)
    Console().print(shown(figures))
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
