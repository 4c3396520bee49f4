"""Windows from a record to the model: how many a second, what share of a step they cost, and what the record takes.

    python benchmarks/loading.py --out loading.json
    python benchmarks/loading.py --case fast-1 --store STORE --seconds 60 --out loading.json

The record is invented (the shipped land mask): 5 modalities, 94 land patches x 3 maps, 604 catchments, in windows of 30
days; for `rivers`, windows of 365 days with the 24 nearest catchments. Every case runs as a process of its own. The step is
a real update of the training loop, with its batches from the loader and, in turn, with one batch that is there already.
The limit of a window is its bytes over the rate at which numpy copies memory. For the memory of the record two processes
hold it as two ranks do; PSS counts a page that n processes share as 1/n of a page in each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from rich.console import Console
from rich.table import Table

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.shared_arrays import SharedFolder
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.distributed import ProcessGroup
from hydromae.grid import GridSpec
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import grid_of, open_store
from hydromae.train.sampler import DistributedWindowSampler, MaskedBatches, prefetched_batches
from hydromae.train.trainer import start_run
from hydromae.train.updates import TrainerSetup, TrainingRun
from prepare import copy_rate
from timed import invented, shrunk

CASES = {"fast-1": ("fast", 1), "fast-4": ("fast", 4), "rivers-2": ("rivers", 2)}
"""Preset and windows in a batch."""
PAIRS = 2
"""Least number of steps with the loader and without that a case is timed with."""
YEARS_DAYS = 16436
"""Days of 45 years, 1970 to 2014."""
MIB = 2**20
HOST = ProcessGroup(0, 1, torch.device("cpu"))


def prepared(case: str, quick: bool, store: Path | None) -> tuple[Config, xr.Dataset, Scaling, GridSpec | None]:
    """Configuration, record, scaling and grid of a case; the whole period is trained on, and nothing but steps is due."""
    preset, batch = CASES[case]
    config, catchments = PRESETS[preset], 604
    if quick:
        config, catchments = shrunk(config), 24
    if store is None:
        dataset = invented(list(config.model.modalities), catchments, 20 if quick else 730)
    else:
        dataset = open_store(store)
    first, last = (str(day)[:10] for day in dataset["time"].values[[0, -1]])
    config = config.having(
        data={"training_period": (first, last), "validation_period": (first, last)},
        train={
            "batch_size": batch,
            "epochs": 1000,
            "validate_every": 1000,
            "checkpoint_every": 1000,
            "log_every": 10**6,
        },
    )
    grid = grid_of(dataset) if "grid" in dataset.attrs else GridSpec() if "cell" in dataset.dims else None
    return config, dataset, Scaling.fit(dataset, (first, last)), grid


def tensors(batch: Batch, hidden: Hidden) -> Iterator[torch.Tensor]:
    """What is made anew for every batch."""
    for held in (batch.values, batch.observed, hidden):
        yield from held.values()


def batch_seconds(masked: MaskedBatches, count: int) -> tuple[float, float]:
    """Median seconds and processor seconds of a batch with its masks, made in this process."""
    clock, worked = [], []
    for index in range(count + 1):
        began, work = time.perf_counter(), time.process_time()
        masked[index]
        clock.append(time.perf_counter() - began)
        worked.append(time.process_time() - work)
    return statistics.median(clock[1:]), statistics.median(worked[1:])  # the first meets an empty cache


def worker_seconds(masked: MaskedBatches, config: Config, count: int) -> tuple[float, float]:
    """Seconds of the clock a batch that threads make, and seconds that this one works for it, once they are under way."""
    ahead = 4 * max(1, config.train.workers)
    taken = prefetched_batches(MaskedBatches(masked.windows, masked.sampler, config), 0, count + ahead, HOST.device)
    for _ in range(ahead):
        next(taken)
    began, work = time.perf_counter(), time.thread_time()
    for _ in range(count):
        next(taken)
    return (time.perf_counter() - began) / count, (time.thread_time() - work) / count


def step_seconds(run: TrainingRun, budget: float) -> tuple[list[float], list[float]]:
    """Seconds of updates with the loader and without, one of each in turn, after one to warm up, for `budget` seconds."""
    ready = itertools.repeat(run.training_batches[0])
    loaded = prefetched_batches(run.training_batches, 0, run.steps, HOST.device)
    took: tuple[list[float], list[float]] = ([], [])

    def update(taken: Iterable[tuple[Batch, Hidden]]) -> float:
        began = time.perf_counter()
        run.update(iter(taken), lambda progress: None)
        return time.perf_counter() - began

    update(ready)
    while len(took[0]) < PAIRS or sum(map(sum, took)) < budget:
        for kind in (0, 1) if len(took[0]) % 2 else (1, 0):
            took[kind].append(update((loaded, ready)[kind]))
    return took


def resident(pids: list[int], folder: Path) -> dict[str, int]:
    """RSS and PSS of processes, in all and of the files of a folder [bytes]."""
    found: dict[str, int] = dict.fromkeys(("record_rss", "record_pss", "rss", "pss"), 0)
    for pid in pids:
        whole = Path(f"/proc/{pid}/smaps").read_text()
        for part in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", whole):
            for key in ("Rss", "Pss"):
                size = 1024 * int(re.findall(rf"^{key}: +(\d+)", part, re.MULTILINE)[0])
                found[key.lower()] += size
                if str(folder) in part.partition("\n")[0]:
                    found[f"record_{key.lower()}"] += size
    return {f"{key}_bytes": value for key, value in found.items()}


def hold(case: str, quick: bool, store: Path | None, folder: Path, lays: bool) -> None:
    """Be one rank: hold the record, have two threads make batches, say so, and wait."""
    config, dataset, scaling, grid = prepared(case, quick, store)
    record = to_record_arrays(dataset, config, scaling, grid, SharedFolder(folder, lays, is_cached=True))
    cut = windows(record, config, config.data.training_period, seed=0, augment=True, update=config.train.batch_size)
    masked = MaskedBatches(
        cut, DistributedWindowSampler.of(config.train.batch_size, HOST, config.train.batch_size), config
    )
    taken = prefetched_batches(
        MaskedBatches(cut, masked.sampler, config.having(train={"workers": 2})), 0, 10**6, HOST.device
    )
    for _ in range(2 if quick else 20):
        next(taken)
    print("holds", flush=True)
    sys.stdin.read()


def two_ranks(words: list[str], folder: Path) -> dict[str, int]:
    """What two processes that hold the record take of memory."""
    running: list[subprocess.Popen[str]] = []
    try:
        for kind in ("lays", "maps"):
            command = [sys.executable, __file__, *words, "--hold", kind, "--folder", str(folder)]
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            stdout = running[-1].stdout
            assert stdout is not None
            stdout.readline()
        return resident([process.pid for process in running], folder)
    finally:
        for process in running:
            process.communicate()  # closes its input, at which it ends


def measured(case: str, budget: float, quick: bool, store: Path | None) -> dict[str, Any]:
    """All figures of a case but the memory of two processes, in this one."""
    config, dataset, scaling, grid = prepared(case, quick, store)
    rate = copy_rate()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = start_run(
            TrainerSetup(config, dataset, scaling, out, grid, None, False, "torch", lambda line: None, {}), HOST
        )
        count, size = 5 if quick else 40 // config.train.batch_size + 5, config.train.batch_size
        seconds, worked = batch_seconds(run.training_batches, count)
        two = config.having(train={"workers": 2})
        ahead, taking = worker_seconds(run.training_batches, two, count)
        with_loader, without = step_seconds(run, 0.0 if quick else budget)
        record = run.training_batches.windows.record
        made = sum(tensor.nbytes for tensor in tensors(*run.training_batches[0])) / size
    held = sum(values.nbytes for values in record.values.values())
    step = statistics.median(without)
    return {
        "case": case,
        "quick": quick,
        "store": None if store is None else str(store),
        "threads": torch.get_num_threads(),
        "batch": size,
        "days": config.data.sequence_length,
        "windows_per_s": size / seconds,
        "windows_per_cpu_s": size / worked,
        "windows_per_s_2_workers": size / ahead,
        "taking_s": taking / size,
        "window_bytes": made,
        "memory_bytes_per_s": rate,
        "limit_windows_per_s": rate / made,
        "share_of_limit": size / seconds * made / rate,
        "batch_s": seconds,
        "step_s": step,
        "step_with_loader_s": statistics.median(with_loader),
        "step_ratio": statistics.median(with_loader) / step,
        "share_of_step": worked / step,
        "record_days": len(record.days),
        "record_bytes": held,
        "record_bytes_45_years": held * YEARS_DAYS // len(record.days),
    }


def alone(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """One case: its figures from a process of its own, and the memory of two more."""
    words = ["--case", case, "--seconds", str(options.seconds), *["--quick"] * options.quick]
    words += ["--store", str(options.store)] if options.store else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        subprocess.run([sys.executable, __file__, *words, "--inside", str(file)], check=True, env=os.environ)
        figures = json.loads(file.read_text())
        held = two_ranks(words, Path(folder) / "record") if sys.platform == "linux" else {}
    return figures | held


def shown(rows: list[dict[str, Any]]) -> Table:
    """The figures as a table, a column a case."""
    lines = {
        "windows in a batch, days, threads": lambda r: f"{r['batch']}, {r['days']}, {r['threads']}",
        "windows a second": lambda r: f"{r['windows_per_s']:,.0f}",
        "windows a second of the processor": lambda r: f"{r['windows_per_cpu_s']:,.0f}",
        "windows a second from 2 workers": lambda r: f"{r['windows_per_s_2_workers']:,.0f}",
        "the step's thread works for one of them, ms": lambda r: f"{1e3 * r['taking_s']:.2f}",
        "limit (numpy copies its bytes)": lambda r: f"{r['limit_windows_per_s']:,.0f}",
        "step, s": lambda r: f"{r['step_s']:.3f}",
        "step with loader / without": lambda r: f"{r['step_ratio']:.3f}",
        "loader as a share of a step": lambda r: f"{r['share_of_step']:.2%}",
        "record, MB": lambda r: f"{r['record_bytes'] / 1e6:,.0f} ({r['record_days']} days)",
        "the same for 45 years, MB": lambda r: f"{r['record_bytes_45_years'] / 1e6:,.0f}",
        "2 ranks: record, RSS in all, MB": lambda r: f"{r.get('record_rss_bytes', 0) / 1e6:,.0f}",
        "the same, PSS (what the machine holds)": lambda r: f"{r.get('record_pss_bytes', 0) / 1e6:,.0f}",
        "the same, with all else, PSS": lambda r: f"{r.get('pss_bytes', 0) / 1e6:,.0f}",
    }
    table = Table("windows", *(str(row["case"]) for row in rows))
    for title, text in lines.items():
        table.add_row(title, *(text(row) for row in rows))
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=(*CASES, "all"), default="all")
    parser.add_argument(
        "--seconds", type=float, default=30, help="how long steps with and without the loader are timed"
    )
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--store", type=Path, help="a store that hydromae prepare wrote, instead of invented noise")
    parser.add_argument("--quick", action="store_true", help="narrow and short, for a test")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)  # the process of one case
    parser.add_argument("--hold", choices=("lays", "maps"), help=argparse.SUPPRESS)  # one of two ranks
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store is not None and options.case == "all":
        parser.error("--store holds what one kind of preset reads; name it with --case")
    if options.hold:
        hold(options.case, options.quick, options.store, options.folder, options.hold == "lays")
        return
    if options.inside:
        figures = measured(options.case, options.seconds, options.quick, options.store)
        options.inside.write_text(json.dumps(figures))
        return
    rows = [alone(case, options) for case in (CASES if options.case == "all" else (options.case,))]
    Console().print(shown(rows))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
