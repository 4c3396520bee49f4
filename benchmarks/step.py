"""One training step: seconds, FLOPs, peak memory and parameters of a preset at the seed's full size.

    python benchmarks/step.py --preset base --out step.json
    python benchmarks/step.py --ratio --precision fp32 --out ratio.json

The record is invented (`timed.py`: numpy, the shipped land mask): 5 modalities, 30 days, 94 land patches x 3 maps, 604
catchments; for `rivers`, windows of 365 days with the 24 nearest catchments, two at a time. Every preset runs as a process
of its own, so that its peak memory is its own.

Its limit is the rate of plain products of the model's own shape and precision: the tokens of a stream that are kept, from the
width to four widths. That is measured right before and right after every step, so that a step and its limit meet the same
machine; the share is the median over the steps. FLOPs are the useful ones of forward and backward, by the closed formula of
`flops.py`; beside them stands what torch's counter sees, which is also what is made again instead of kept, and the places of
lines that are filled up. `--ratio` holds `fast` and `base` in one process, and they take steps in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from clock import Gemm, Spent, median, peak_bytes
from hydromae.variables import MODALITIES
from timed import CATCHMENTS, Trial, prepared

FULL = ("base", "fast", "rivers")
GIB = 2**30
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def trial_of(name: str, options: argparse.Namespace) -> Trial:
    """A preset as the options want it, after one step."""
    config = prepared(name, options.quick, options.precision)
    if options.batch:
        config = config.having(train={"batch_size": options.batch})
    catchments = 24 if options.quick else CATCHMENTS
    trial = Trial.invented(config, catchments) if options.store is None else Trial.stored(config, options.store)
    trial.step()
    return trial


def kept_rows(trial: Trial) -> int:
    """Tokens of the model's largest stream that its encoder works on, at most 8192."""
    sizes = trial.sizes
    streams = trial.config.model.shared
    kept = max(sizes.of_kind(MODALITIES[names[0]].kind) * sizes.kept_of(names) for names in streams)
    return min(round(sizes.windows * sizes.days * kept), 8192)


def between(trial: Trial, steps: int, quick: bool) -> tuple[list[tuple[Spent, Spent, Spent]], list[Spent], Spent]:
    """Steps, the rate of products around each of them, and the rate of the other precision around them all."""
    rows, width, seconds = kept_rows(trial), trial.config.model.d_model, 0.02 if quick else 0.2
    own, other = (
        Gemm(rows, width, 4 * width, DTYPES[kind]) for kind in sorted(DTYPES, key=trial.config.train.precision.__ne__)
    )
    first, taken, rates = other.rate(seconds), [], [own.rate(seconds)]
    for _ in range(steps):
        taken.append(trial.step())
        rates.append(own.rate(seconds))
    around = [_half(before, after) for before, after in pairwise(rates)]
    return taken, around, _half(first, other.rate(seconds))


def _half(one: Spent, other: Spent) -> Spent:
    return Spent((one.s + other.s) / 2, (one.cpu_s + other.cpu_s) / 2)


def measured(name: str, options: argparse.Namespace) -> dict[str, object]:
    """All figures of one preset, in this process; on the last days of a store where one is given."""
    start = peak_bytes()
    trial = trial_of(name, options)
    taken, around, other = between(trial, options.steps, options.quick)
    peak = peak_bytes()
    config, said, seen, recurrent = trial.config, trial.formula(), trial.seen(), trial.lstm()
    forward, backward, update = (median(part) for part in zip(*taken, strict=True))
    worked = [ahead + back for ahead, back, _ in taken]
    shares = [Spent(1 / one.s / rate.s, 1 / one.cpu_s / rate.cpu_s) for one, rate in zip(worked, around, strict=True)]
    share, spent, own = median(shares), median(worked), median(around)
    rates = {kind: own if kind == config.train.precision else other for kind in DTYPES}
    return {
        "preset": name,
        "quick": options.quick,
        "store": None if options.store is None else str(options.store),
        "batch": config.train.batch_size,
        "precision": config.train.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "days": config.data.sequence_length,
        "patches": trial.sizes.patches,
        "catchments": int(trial.batch.site_metadata["series"].valid[0].sum()),
        "tokens": trial.tokens,
        "parameters": sum(p.numel() for p in trial.model.parameters()),
        "forward_s": forward.s,
        "backward_s": backward.s,
        "optimizer_s": update.s,
        "step_s": forward.s + backward.s + update.s,
        "step_cpu_s": forward.cpu_s + backward.cpu_s + update.cpu_s,
        "flops": said.total,
        "flops_again": said.again,
        "flops_lstm": recurrent,
        "flops_counted": seen + recurrent,
        "flops_per_s": said.total / spent.s,
        "gemm_rows": kept_rows(trial),
        **{f"gemm_{kind}_flops_per_s": rate.s for kind, rate in rates.items()},
        **{f"gemm_{kind}_flops_per_cpu_s": rate.cpu_s for kind, rate in rates.items()},
        "share_of_gemm": said.total * share.s,
        "share_of_gemm_cpu": said.total * share.cpu_s,
        "share_of_gemm_counted": (seen + recurrent) * share.s,
        "share_of_gemm_counted_cpu": (seen + recurrent) * share.cpu_s,
        "start_bytes": start,
        "data_bytes": trial.data_bytes(),
        "peak_bytes": peak,
        "peak_above_start_bytes": peak - start,
    }


def ratio(options: argparse.Namespace, above: str = "fast", below: str = "base") -> dict[str, object]:
    """Whole steps of two presets in one process, in turn, and the median of their ratios."""
    trials = [trial_of(name, options) for name in (above, below)]
    pairs = []
    for _ in range(options.steps):
        whole = [[*trial.step()] for trial in trials]
        pairs.append([Spent(sum(part.s for part in one), sum(part.cpu_s for part in one)) for one in whole])
    upper, lower = (median(one) for one in zip(*pairs, strict=True))
    return {
        "presets": f"{above} / {below}",
        "quick": options.quick,
        "precision": trials[0].config.train.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "steps": options.steps,
        f"{above}_s": upper.s,
        f"{above}_cpu_s": upper.cpu_s,
        f"{below}_s": lower.s,
        f"{below}_cpu_s": lower.cpu_s,
        "ratio": statistics.median(a.s / b.s for a, b in pairs),
        "ratio_cpu": statistics.median(a.cpu_s / b.cpu_s for a, b in pairs),
        "ratio_flops": trials[0].formula().total / trials[1].formula().total,
    }


def alone(name: str, options: argparse.Namespace) -> dict[str, object]:
    """One preset in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.json"
        command = [sys.executable, __file__, "--preset", name, "--steps", str(options.steps), "--out", str(file)]
        command += ["--quick"] * options.quick + (["--precision", options.precision] if options.precision else [])
        command += ["--batch", str(options.batch)] if options.batch else []
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
        "step, s (of processor)": lambda r: f"{r['step_s']:.3f} ({r['step_cpu_s']:.3f})",
        "FLOPs of forward + backward, G": lambda r: f"{r['flops'] / 1e9:,.1f}",
        "of them LSTM, G": lambda r: f"{r['flops_lstm'] / 1e9:,.1f}",
        "made again, G": lambda r: f"{r['flops_again'] / 1e9:,.1f}",
        "all that torch counts, G": lambda r: f"{r['flops_counted'] / 1e9:,.1f}",
        "rate, GFLOP/s": lambda r: f"{r['flops_per_s'] / 1e9:.1f}",
        "GEMM at this shape, fp32 / bf16, GFLOP/s": lambda r: (
            f"{r['gemm_fp32_flops_per_s'] / 1e9:.1f} / {r['gemm_bf16_flops_per_s'] / 1e9:.1f}"
        ),
        "share of that rate (by processor)": lambda r: f"{r['share_of_gemm']:.0%} ({r['share_of_gemm_cpu']:.0%})",
        "of all that is counted (by processor)": lambda r: (
            f"{r['share_of_gemm_counted']:.0%} ({r['share_of_gemm_counted_cpu']:.0%})"
        ),
        "peak memory above start, GiB": lambda r: f"{r['peak_above_start_bytes'] / GIB:.2f}",
        "of it data, GiB": lambda r: f"{r['data_bytes'] / GIB:.3f}",
        "at start (torch and imports), GiB": lambda r: f"{r['start_bytes'] / GIB:.2f}",
    }
    table = Table("one training step", *(str(row["preset"]) for row in rows))
    for title, text in lines.items():
        table.add_row(title, *(text(row) for row in rows))
    return table


def compared(row: dict) -> Table:
    """The ratio as a table."""
    above, below = row["presets"].split(" / ")
    table = Table("steps in turn", above, below, row["presets"])
    for title, key in (("s", "_s"), ("s of processor", "_cpu_s")):
        part = row["ratio" + key.removesuffix("_s")]
        table.add_row(title, f"{row[above + key]:.3f}", f"{row[below + key]:.3f}", f"{part:.1%}")
    table.add_row("FLOPs", "", "", f"{row['ratio_flops']:.1%}")
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=(*FULL, "national", "all"), default="all")
    parser.add_argument(
        "--ratio", action="store_true", help="steps of `fast` and `base` in turn, instead of presets alone"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps of which the median counts, after a warm-up")
    parser.add_argument("--batch", type=int, help="windows in a step, instead of one (`rivers`: two)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="instead of the preset's own")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--store", type=Path, help="a store that hydromae prepare wrote, instead of invented noise")
    parser.add_argument("--quick", action="store_true", help="narrow and short, for a test")
    options = parser.parse_args()
    if options.store is not None and options.preset == "all" and not options.ratio:
        parser.error("--store holds what one kind of preset reads; name it with --preset")
    if options.ratio:
        rows = [ratio(options)]
        table = compared(rows[0])
    else:
        names = FULL if options.preset == "all" else ()
        rows = [alone(name, options) for name in names] or [measured(options.preset, options)]
        table = shown(rows)
    Console().print(table)
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
