"""Every benchmark, one after the other, and one table: what each work must reach, and does. `make bench` calls it.

    python benchmarks/table.py --out bench.json --markdown bench.md
    python benchmarks/table.py --only rivers --only loading

Each benchmark runs in a process of its own and measures its own limit beside it; a row is one condition on the figures of
one or more of them (`rows.py`). The machine must be idle: its load is asked before the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rows import ROWS, RUNS, Run

HERE = Path(__file__).resolve().parent
IDLE = 0.5
"""Load of the last minute above which a machine is not idle."""
RECORD_DAYS = 16436
"""1970 to 2014."""
WIDTH = 130
"""Columns where the output is no terminal."""


def ran(name: str, run: Run, quick: bool, data: dict[str, Path | None]) -> tuple[Any, str | None, dict[str, Any]]:
    """One benchmark: its figures or what went wrong, and how it was run."""
    words = run.command(quick, data)
    load, began = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, str(HERE / run.script), *words[1:], "--out", str(out)]
        ended = subprocess.run(command, capture_output=True, text=True)
        named = [word if word != str(data.get("record")) else "RECORD" for word in ("python", *words)]
        told = {"command": " ".join(named), "load_before": load, "seconds": time.perf_counter() - began}
        if ended.returncode or not out.is_file():
            lines = (ended.stderr or ended.stdout).strip().splitlines() or [f"code {ended.returncode}"]
            return None, f"{name} failed ({lines[-1]})", told
        return json.loads(out.read_text(encoding="utf-8")), None, told


def noise(folder: Path, quick: bool) -> Path:
    """A record of noise, 599 rivers and 45 years, of which nearly a third of the flow is missing: what the door fills."""
    from door import question

    file = folder / "record.nc"
    question(*((60, 12) if quick else (RECORD_DAYS, 599))).to_netcdf(file, engine="h5netcdf")
    return file


def gathered(names: Iterable[str], quick: bool, data: dict[str, Path | None], console: Console) -> dict[str, Any]:
    """All of these benchmarks, one after the other, and every row judged that any of them is needed for."""
    names = list(names)
    found, failed, runs = {}, {}, {}
    for number, name in enumerate(names):
        figures, fault, runs[name] = ran(name, RUNS[name], quick, data)
        if fault is None:
            found[name] = figures
        else:
            failed[name] = fault
        busy = runs[name]["load_before"] > IDLE and not number
        console.print(
            f"{number + 1}/{len(names)} {name}: {runs[name]['seconds']:.0f} s"
            + (f"; the machine was not idle (load {runs[name]['load_before']:.1f})" if busy else "")
            + (f"; {fault}" if fault else ""),
            markup=False,
        )
    commands = {name: told["command"] for name, told in runs.items()}
    rows = [row.judged(found, failed, commands) for row in ROWS if set(row.runs) & set(names)]
    return {
        "machine": {"system": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()},
        "quick": quick,
        "seconds": sum(told["seconds"] for told in runs.values()),
        "failed": failed,
        "runs": runs,
        "rows": rows,
        "figures": found,
    }


def reached(row: dict[str, Any]) -> str:
    """Yes, no, or nothing where there is no figure."""
    return {True: "yes", False: "no", None: "–"}[row["reached"]]


def markdown(all_: dict[str, Any]) -> str:
    """The rows as a table for docs/performance.md."""
    lines = ["| work | reach | here | reached | command |", "|---|---|---|---|---|"]
    for row in all_["rows"]:
        commands = ", ".join(f"`{command}`" for command in row["commands"])
        lines.append(f"| {row['work']} | {row['target']} | {row['shown']} | {reached(row)} | {commands} |")
    return "\n".join(lines) + "\n"


def shown(all_: dict[str, Any]) -> Table:
    """The rows as a table for the terminal."""
    table = Table(
        "work", "reach", "here", "reached", "command", title="quick: the figures mean nothing" * all_["quick"]
    )
    for row in all_["rows"]:
        table.add_row(row["work"], row["target"], row["shown"], reached(row), "\n".join(row["commands"]))
    return table


def main() -> None:
    """Run, print, write; ends with code 1 where a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=tuple(RUNS), help="a benchmark; may be given again")
    parser.add_argument(
        "--national", type=Path, help="a national store for `base` and `fast`, instead of invented noise"
    )
    parser.add_argument("--rivers", type=Path, help="a catchment store for `rivers`, instead of invented noise")
    parser.add_argument("--record", type=Path, help="a catchment record (NetCDF, Zarr, CSV) to fill, instead of noise")
    parser.add_argument("--raw", type=Path, help="a folder in the seed's raw layout for prepare, instead of Virtual GB")
    parser.add_argument("--out", type=Path, help="write rows and all figures here as JSON")
    parser.add_argument("--markdown", type=Path, help="write the table here, for docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="every benchmark narrow and short, for a test")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    data = {name: vars(options)[name] for name in ("national", "rivers", "raw", "record")}
    names = options.only or list(RUNS)
    with tempfile.TemporaryDirectory() as folder:
        if "door" in names and options.record is None:
            data["record"] = noise(Path(folder), options.quick)
        all_ = gathered(names, options.quick, data, console)
    console.print(shown(all_))
    console.print(f"{all_['seconds'] / 60:.1f} minutes")
    if options.out is not None:
        options.out.write_text(json.dumps(all_, indent=1), encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(markdown(all_), encoding="utf-8")
    sys.exit(bool(all_["failed"]))


if __name__ == "__main__":
    main()
