"""The door: one forward pass over 599 rivers and a year, how its time grows, the national record filled, and start-up.

    python benchmarks/door.py --store rivers.zarr --out door.json

The machine's limits are measured first: products at the model's shapes in fp32 and bf16, and copies in memory. Of the forward
pass it is shown in both precisions how much of the limit of the same precision it reaches, and in which kinds of operations
its time goes. FLOPs are torch's count, plus LSTMs by formula (`flops.lstm_flops`). Without --store the values are invented
(noise; the clock does not mind) and no record is filled.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from clock import gemm_rate
from flops import CPU_ATTENTION, lstm_flops
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, nothing
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import cut_batch
from hydromae.config import Precision
from hydromae.datasets.reader import load_record as read
from hydromae.inference.predictor import Model, load
from hydromae.io.write import write_answer
from hydromae.runtime import autocast
from hydromae.variables import ATTRIBUTES
from timed import invented

DAYS, RIVERS, HIDDEN = 365, 599, 0.3
SIZES = {
    "quick": {"days": [(20, 20), (40, 20)], "windows": [(460, 5), (730, 5)], "rivers": [(40, 10), (40, 20), (40, 40)]},
    "full": {
        "days": [(91, 599), (182, 599), (365, 599)],
        "windows": [(730, 150), (1460, 150), (2920, 150), (5840, 150)],
        "rivers": [(DAYS, 75), (DAYS, 150), (DAYS, 300), (DAYS, 599)],
    },
}
"""Days and rivers whose answers show the growth: with days inside one window, with days in many windows, which overlap (two
years take three, and from there on their number grows with the days), and with rivers."""
KINDS: dict[str, tuple[str, ...]] = {
    "LSTM": ("mkldnn_rnn", "lstm"),
    "products": ("addmm", "mm", "bmm", "baddbmm", "linear", "matmul", "einsum"),
    "attention": ("_scaled_dot_product", "_softmax"),
    "norms": ("native_layer_norm",),
    "moves": ("copy_", "index", "gather", "scatter", "cat", "_index_put_impl_", "clone", "stack"),
}
"""Kinds of operations by how their names in torch begin, after `aten::`; all others are sums and activations."""


def question(days: int, rivers: int, store: Path | None = None) -> xr.Dataset:
    """The last days of a store, or noise; flow is hidden on a share of the days of each river."""
    if store is None:
        dataset = invented(["weather", "riverflow"], rivers, days).drop_vars("cell")
        dataset = dataset.assign({a.name: dataset[a.name] / 100 for a in ATTRIBUTES})  # a share is not above 1
    else:
        dataset = read(store).isel(time=slice(-days, None), catchment=slice(0, rivers)).load()
    seen = np.random.default_rng(1).random(dataset["riverflow"].shape) >= HIDDEN
    return dataset.assign(riverflow=dataset["riverflow"].where(seen))


def best(work: Callable[[], object], times: int) -> dict[str, float]:
    """Shortest wall-clock and processor time of several runs, after one that does not count [s]."""
    wall, cpu = [], []
    work()
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {"s": min(wall), "cpu_s": min(cpu)}


def limits(width: int, quick: bool) -> dict[str, float]:
    """What the machine can do: products [8192, width] x [width, 4 width] in FLOP/s, and copies in bytes/s."""
    seconds = 0.05 if quick else 1.0
    held = torch.zeros(2**20 if quick else 2**27, dtype=torch.uint8)
    there = torch.empty_like(held)
    return {
        "gemm_fp32_flops_per_s": gemm_rate(8192, width, torch.float32, seconds),
        "gemm_bf16_flops_per_s": gemm_rate(8192, width, torch.bfloat16, seconds),
        "copy_bytes_per_s": 2 * held.numel() / best(lambda: there.copy_(held), 5)["s"],
    }


def asked(model: Model, dataset: xr.Dataset) -> tuple[Batch, Hidden, Hidden]:
    """One window of the whole dataset, nothing hidden but what is NaN, and what is asked: every token with a NaN."""
    record = to_record_arrays(dataset, model.config, model.scaling, model.grid)
    batch = cut_batch(record, np.zeros(1, np.int64), dataset.sizes["time"])
    return batch, nothing(batch), {name: (~seen).any(dim=-1) for name, seen in batch.observed.items()}


def by_kind(work: Callable[[], object]) -> dict[str, float]:
    """Seconds of processor time of a call, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        work()
    seconds = dict.fromkeys((*KINDS, "sums and activations"), 0.0)
    for entry in watched.key_averages():
        name = entry.key.removeprefix("aten::")
        kind = next((k for k, begins in KINDS.items() if name.startswith(begins)), "sums and activations")
        seconds[kind] += entry.self_cpu_time_total / 1e6
    return seconds


def forward(model: Model, dataset: xr.Dataset, precision: Precision, times: int, gemm: float) -> dict[str, Any]:
    """The network's forward pass over a dataset in one window, in a precision."""
    batch, hidden, wanted = asked(model, dataset)

    def once() -> object:
        with torch.inference_mode(), autocast(model.device, precision):
            return model.network(batch, hidden, wanted)

    spent = best(once, times)
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    # Not in inference mode, where autocast does not reach an LSTM's weights under the counter.
    with torch.no_grad(), autocast(model.device, precision), counter:
        model.network(batch, hidden, wanted)
    recurrent = lstm_flops(model.network, batch.values["riverflow"][..., 0].numel()) // 3
    flops = counter.get_total_flops() + recurrent
    return {
        **spent,
        "flops": flops,
        "flops_lstm": recurrent,
        "flops_per_s": flops / spent["s"],
        "share_of_gemm": flops / spent["s"] / gemm,
        "cpu_s_by_kind": by_kind(once),
    }


def growth(model: Model, sizes: dict[str, list[tuple[int, int]]], times: int) -> dict[str, Any]:
    """Seconds of whole answers to so many days and rivers, and the exponent of what grows."""
    found = {}
    for name, pairs in sizes.items():
        grows = 1 if name == "rivers" else 0
        spent = {pair[grows]: _answer(model, *pair, times) for pair in pairs}
        found[name] = {"at": spent, "exponent": exponent(spent)}
    return found


def _answer(model: Model, days: int, rivers: int, times: int) -> dict[str, float]:
    asking = question(days, rivers)
    return best(lambda: model.predict(asking), times)


def exponent(spent: dict[int, dict[str, float]]) -> float:
    """Slope of log processor time on log size, by least squares."""
    return float(np.polyfit(np.log(list(spent)), np.log([one["cpu_s"] for one in spent.values()]), 1)[0])


def filled(model: Model, store: Path) -> dict[str, float]:
    """Seconds to read a whole record, answer every NaN with quantiles, and write NetCDF."""
    began = time.perf_counter()
    dataset = read(store)
    known = time.perf_counter()
    answer = model.predict(dataset)
    answered = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_answer(answer, Path(folder) / "answer.nc")
    return {
        "days": dataset.sizes["time"],
        "rivers": dataset.sizes["catchment"],
        "answered": int((answer["riverflow_origin"] > 0).sum()),
        "read_s": known - began,
        "answer_s": answered - known,
        "write_s": time.perf_counter() - answered,
        "s": time.perf_counter() - began,
    }


def started(words: list[str], times: int) -> dict[str, float]:
    """Shortest wall-clock and processor time of a fresh Python with these words [s]."""
    wall, cpu = [], []
    for _ in range(times):
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
    return {"s": min(wall), "cpu_s": min(cpu)}


def starts(model: str, times: int) -> dict[str, dict[str, float]]:
    """Start-up: the help, an answer to a small file, and what `import torch` alone costs."""
    with tempfile.TemporaryDirectory() as folder:
        small, out = Path(folder) / "small.nc", Path(folder) / "answer.nc"
        question(60, 5).to_netcdf(small, engine="h5netcdf")
        predict = ["predict", str(small), "--model", model, "--out", str(out), "--device", "cpu"]
        return {
            "hydromae --help": started(["-m", "hydromae", "--help"], times),
            "hydromae predict, 5 rivers, 60 days": started(["-m", "hydromae", *predict], times),
            "import torch alone": started(["-c", "import torch"], times),
        }


def shown(found: dict[str, Any]) -> list[Table]:
    """The figures as tables."""
    limit, summary = found["limits"], Table("the door", f"{found['threads']} threads, torch {found['torch']}")
    gemm = (limit["gemm_fp32_flops_per_s"] / 1e9, limit["gemm_bf16_flops_per_s"] / 1e9)
    summary.add_row("limit: products fp32 / bf16", f"{gemm[0]:.0f} / {gemm[1]:.0f} GFLOP/s")
    summary.add_row("limit: copies in memory", f"{limit['copy_bytes_per_s'] / 1e9:.1f} GB/s")
    for precision, one in found["forward"].items():
        said = f"{one['s']:.2f} s, {one['flops_per_s'] / 1e9:.0f} GFLOP/s, {one['share_of_gemm']:.0%} of its products"
        summary.add_row(f"forward of {found['rivers']} rivers, {found['days']} days, {precision}", said)
    for name, one in found["growth"].items():
        summary.add_row(f"an answer grows with {name} as their power", f"{one['exponent']:.2f}")
    for name, one in found["start"].items():
        summary.add_row(name, f"{one['s']:.2f} s ({one['cpu_s']:.2f} s of processor)")
    if (fill := found["fill"]) is not None:
        parts = f"read {fill['read_s']:.0f}, answer {fill['answer_s']:.0f}, write {fill['write_s']:.0f}"
        summary.add_row(f"all of {fill['rivers']} rivers, {fill['days']} days", f"{fill['s']:.0f} s: {parts}")
    kinds = Table("where a forward pass goes", *(f"{name}, s of processor" for name in found["forward"]))
    for kind in next(iter(found["forward"].values()))["cpu_s_by_kind"]:
        kinds.add_row(kind, *(f"{one['cpu_s_by_kind'][kind]:.2f}" for one in found["forward"].values()))
    return [summary, kinds]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gb-rivers", help="a shipped name, a run, or a model folder")
    parser.add_argument(
        "--store", type=Path, help="a record of catchments, measured instead of noise, and filled whole"
    )
    parser.add_argument("--times", type=int, default=3, help="runs of which the shortest counts, after a warm-up")
    parser.add_argument("--no-fill", action="store_true", help="measure the store's last year, but do not fill it")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--quick", action="store_true", help="few rivers and days, for a test")
    options = parser.parse_args()
    model, quick = load(options.model, "cpu"), options.quick
    days, rivers = (40, 30) if quick else (DAYS, RIVERS)
    limit = limits(model.config.model.d_model, quick)
    year = question(days, rivers, options.store)
    found: dict[str, Any] = {
        "model": options.model,
        "quick": quick,
        "store": None if options.store is None else str(options.store),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "days": year.sizes["time"],
        "rivers": year.sizes["catchment"],
        "limits": limit,
        "forward": {
            precision: forward(model, year, precision, options.times, limit[f"gemm_{precision}_flops_per_s"])
            for precision in ("fp32", "bf16")
        },
    }
    found["growth"] = growth(model, SIZES["quick" if quick else "full"], 1 if quick else options.times)
    found["start"] = starts(options.model, 1 if quick else max(5, options.times))
    found["fill"] = None if options.store is None or options.no_fill else filled(model, options.store)
    for table in shown(found):
        Console().print(table)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
