"""One training step: seconds, FLOPs, peak memory and parameters of a preset at the seed's full size.

    python benchmarks/step.py --preset base --out step.json

The record is invented here (numpy, the shipped land mask): 5 modalities, 30 days, 94 land patches x 3 maps, 604
catchments; for `rivers`, windows of 365 days with the 24 nearest catchments, two at a time. Every preset runs as a process
of its own, so that its peak memory is its own. FLOPs are those of forward and backward that torch.utils.flop_counter
counts, plus two things that it does not see on a CPU (`flops.py`, whose closed formula stands beside them).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table

from flops import counted, formula, lstm_flops
from hydromae.batch import Batch
from hydromae.config import Config
from hydromae.data.record import Record, record_of
from hydromae.data.scaling import Scaling
from hydromae.data.store import open_store
from hydromae.data.windows import windows
from hydromae.grid import GridSpec
from hydromae.losses import loss
from hydromae.masking import Hidden, draw
from hydromae.modalities import ATTRIBUTES, MODALITIES
from hydromae.model.mae import HydroMAE
from hydromae.presets import PRESETS
from hydromae.train.engine import OwnEngine
from hydromae.train.world import World
from tally import Sizes

FULL = ("base", "fast", "rivers")
LAND_PERCENT = 5  # from which a cell counts as land: 94 patches of at least half land, as in the seed
GIB = 2**30
TYPICAL = {"temperature": (10.0, 5.0), "soil_moisture": (0.3, 0.05)}


def invented(modalities: list[str], catchments: int, days: int) -> xr.Dataset:
    """A record of noise in the right units, at the right places; what it says does not matter to the clock."""
    generator = np.random.default_rng(0)
    grid = GridSpec()
    with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as file:
        cells = np.flatnonzero(np.load(file)["land_percent"].ravel() >= LAND_PERCENT)
    variables = {}
    for name in modalities:
        dim, size = ("cell", len(cells)) if MODALITIES[name].kind == "map" else ("catchment", catchments)
        for variable in MODALITIES[name].variables:
            mean, spread = TYPICAL.get(variable.name, (3.0, 1.0))
            values = np.abs(generator.normal(mean, spread, (days, size))).astype(np.float32)
            variables[variable.name] = (("time", dim), values, {"units": variable.units})
    traits = {a.name: ("catchment", generator.uniform(1.0, 100.0, catchments)) for a in ATTRIBUTES}
    easting, northing = grid.cell_position(generator.choice(cells, catchments))
    return xr.Dataset(
        variables | traits,
        coords={
            "time": pd.date_range("2001-01-01", periods=days, unit="ns"),
            "catchment": 1 + np.arange(catchments),
            "cell": cells,
            "easting": ("catchment", easting),
            "northing": ("catchment", northing),
        },
    )


def shrunk(config: Config) -> Config:
    """A preset narrow and short enough for a test."""
    days = {"sequence_length": 6, "stride": 1, "warm_up_days": 0}
    if config.data.sites is not None:
        days["sites"] = 6
    return config.having(data=days, model={"d_model": 16, "decoder_dim": 16, "heads": 2})


def prepared(name: str, quick: bool, precision: str | None) -> tuple[Config, int, int]:
    """Configuration, catchments and days of a preset."""
    config, catchments = PRESETS[name], 604
    if quick:
        config, catchments = shrunk(config), 24
    days = config.data.sequence_length + 10
    last = str(pd.Timestamp("2001-01-01") + pd.Timedelta(days=days - 1))[:10]
    period = ("2001-01-01", last)
    batch = 2 if config.data.sites is not None else 1
    train = {"batch_size": batch} | ({"precision": precision} if precision else {})
    return config.having(data={"training_period": period}, train=train), catchments, days


def step(engine: OwnEngine, batch: Batch, hidden: Hidden, config: Config) -> tuple[float, float, float]:
    """Seconds of forward (with the loss), backward and optimizer."""
    began = time.perf_counter()
    total, _ = loss(engine.predict(batch, hidden), batch, hidden, config)
    forward = time.perf_counter()
    engine.backward(total)
    backward = time.perf_counter()
    engine.update(config.optimizer.lr)
    return forward - began, backward - forward, time.perf_counter() - backward


def flops_of(engine: OwnEngine, batch: Batch, hidden: Hidden, config: Config) -> tuple[int, int]:
    """FLOPs of forward and backward: counted, and of LSTMs by formula."""
    seen = counted(lambda: loss(engine.predict(batch, hidden), batch, hidden, config)[0].backward())
    engine.model.zero_grad(set_to_none=True)
    series = [value for name, value in batch.values.items() if MODALITIES[name].kind == "series"]
    return seen, lstm_flops(engine.model, series[0][..., 0].numel())


def gemm_rate(rows: int, width: int, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """FLOPs a second of a product [rows, width] x [width, 4 width], the shape of a feed-forward part."""
    left, right = torch.randn(rows, width).to(dtype), torch.randn(width, 4 * width).to(dtype)
    times: list[float] = []
    left @ right
    while sum(times) < seconds:
        began = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - began)
    return 2 * rows * width * 4 * width / statistics.median(times)


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    On Linux the kernel's VmHWM: ru_maxrss there also remembers the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def data_bytes(record: Record, batch: Batch) -> int:
    """Size of the record in memory and of one batch of it."""
    return sum(held.nbytes for held in record.values.values()) + sum(
        value.nbytes + batch.observed[name].nbytes for name, value in batch.values.items()
    )


def measured(name: str, steps: int, quick: bool, precision: str | None, store: Path | None) -> dict[str, object]:
    """All figures of one preset, in this process; on the last days of a store where one is given."""
    start = peak_bytes()
    config, catchments, days = prepared(name, quick, precision)
    torch.manual_seed(0)
    model = HydroMAE(config)
    if store is None:
        dataset = invented(list(model.embeddings), catchments, days)
    else:
        dataset = open_store(store).isel(time=slice(-days, None)).load()
        period = tuple(str(day)[:10] for day in dataset["time"].values[[0, -1]])
        config = config.having(data={"training_period": period})
    scaling = Scaling.fit(dataset, config.data.training_period)
    record = record_of(dataset, config, scaling, GridSpec())
    cut = windows(record, config, config.data.training_period, seed=0, augment=True, update=config.train.batch_size)
    batch = cut(range(config.train.batch_size))
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(0))
    engine = OwnEngine(model.know(scaling), config, World(0, 1, torch.device("cpu")), 1)
    step(engine, batch, hidden, config)
    forward, backward, update = (
        statistics.median(t) for t in zip(*(step(engine, batch, hidden, config) for _ in range(steps)), strict=True)
    )
    peak = peak_bytes()
    products, recurrent = flops_of(engine, batch, hidden, config)
    rows = sum(batch.values[key.split("+")[0]][..., 0].numel() for key in model.addresses)
    rates = {
        kind: gemm_rate(min(rows, 8192), config.model.d_model, dtype, 0.05 if quick else 0.5)
        for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    rate = (products + recurrent) / (forward + backward)
    return {
        "preset": name,
        "quick": quick,
        "store": None if store is None else str(store),
        "batch": config.train.batch_size,
        "precision": config.train.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "days": config.data.sequence_length,
        "patches": len(record.patches),
        "catchments": int(batch.places["series"].present[0].sum()),
        "tokens": rows,
        "parameters": sum(p.numel() for p in model.parameters()),
        "forward_s": forward,
        "backward_s": backward,
        "optimizer_s": update,
        "step_s": forward + backward + update,
        "flops_counted": products,
        "flops_lstm": recurrent,
        "flops": products + recurrent,
        "flops_formula": formula(config, Sizes.of(batch, hidden, config.model)).total,
        "flops_per_s": rate,
        "gemm_fp32_flops_per_s": rates["fp32"],
        "gemm_bf16_flops_per_s": rates["bf16"],
        "share_of_gemm": rate / rates[config.train.precision],
        "start_bytes": start,
        "data_bytes": data_bytes(record, batch),
        "peak_bytes": peak,
        "peak_above_start_bytes": peak - start,
    }


def alone(name: str, options: argparse.Namespace) -> dict[str, object]:
    """One preset in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.json"
        command = [sys.executable, __file__, "--preset", name, "--steps", str(options.steps), "--out", str(file)]
        command += ["--quick"] * options.quick + (["--precision", options.precision] if options.precision else [])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        return json.loads(file.read_text())[0]


def shown(rows: list[dict]) -> Table:
    """The figures as a table, a column a preset."""
    lines = {
        "batch, precision, threads": lambda r: f"{r['batch']}, {r['precision']}, {r['threads']}",
        "days, patches, catchments": lambda r: f"{r['days']}, {r['patches']}, {r['catchments']}",
        "tokens": lambda r: f"{r['tokens']:,}",
        "parameters": lambda r: f"{r['parameters']:,}",
        "forward, s": lambda r: f"{r['forward_s']:.3f}",
        "backward, s": lambda r: f"{r['backward_s']:.3f}",
        "optimizer, s": lambda r: f"{r['optimizer_s']:.3f}",
        "step, s": lambda r: f"{r['step_s']:.3f}",
        "FLOPs of forward + backward, G": lambda r: f"{r['flops'] / 1e9:,.1f}",
        "the same by closed formula, G": lambda r: f"{r['flops_formula'] / 1e9:,.1f}",
        "of them LSTM, by formula, G": lambda r: f"{r['flops_lstm'] / 1e9:,.1f}",
        "rate, GFLOP/s": lambda r: f"{r['flops_per_s'] / 1e9:.1f}",
        "GEMM at this width, fp32 / bf16, GFLOP/s": lambda r: (
            f"{r['gemm_fp32_flops_per_s'] / 1e9:.1f} / {r['gemm_bf16_flops_per_s'] / 1e9:.1f}"
        ),
        "share of that rate": lambda r: f"{r['share_of_gemm']:.0%}",
        "peak memory above start, GiB": lambda r: f"{r['peak_above_start_bytes'] / GIB:.2f}",
        "of it data, GiB": lambda r: f"{r['data_bytes'] / GIB:.3f}",
        "at start (torch and imports), GiB": lambda r: f"{r['start_bytes'] / GIB:.2f}",
    }
    table = Table("one training step", *(str(row["preset"]) for row in rows))
    for title, text in lines.items():
        table.add_row(title, *(text(row) for row in rows))
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=(*FULL, "all"), default="all")
    parser.add_argument("--steps", type=int, default=3, help="steps of which the median counts, after a warm-up")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="instead of the preset's own")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--store", type=Path, help="a store that hydromae prepare wrote, instead of invented noise")
    parser.add_argument("--quick", action="store_true", help="narrow and short, for a test")
    options = parser.parse_args()
    if options.store is not None and options.preset == "all":
        parser.error("--store holds what one kind of preset reads; name it with --preset")
    if options.preset == "all":
        rows = [alone(name, options) for name in FULL]
    else:
        rows = [measured(options.preset, options.steps, options.quick, options.precision, options.store)]
    Console().print(shown(rows))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
