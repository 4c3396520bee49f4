"""Two commits, compared as ratios of seconds within one run: what `make bench-quick BASE=<commit>` calls.

    python benchmarks/compare.py --base main~5 --out compare.json

Both commits are checked out aside, and each runs this checkout's `workloads.py` with its own source, in a process that
stays. Those two take turns, A B, B A, so that what else the machine does falls on both alike. A ratio is one pair's: seconds
of the head over seconds of the base, below 1 where the head is faster. On a busy machine look at the processor's ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
HELP = "hydromae --help"
SHARE_OF_MEASURING = 0.75
"""Of the seconds allowed; the rest goes into starting and warming up."""
LEAST_PAIRS = 3
WIDTH = 110
"""Columns where the output is no terminal."""


def git(*words: str, folder: Path = HERE) -> str:
    """What git says; its own words where it refuses."""
    ended = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"git {' '.join(words)}: {ended.stderr.strip()}")
    return ended.stdout.strip()


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit in a worktree of their own, which is gone afterwards."""
    git("worktree", "add", "--detach", "--quiet", str(folder), commit)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


class Side:
    """One commit at work: a process that answers, and `hydromae --help` as often as it is asked."""

    def __init__(self, tree: Path, quick: bool) -> None:
        path = os.pathsep.join([str(tree / "src"), str(HERE)])
        self.environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "COLUMNS": "80"}
        words = [sys.executable, str(HERE / "workloads.py")] + ["--quick"] * quick
        self.process = subprocess.Popen(
            words, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tree
        )
        self.told = self._answer()
        if not Path(self.told["source"]).is_relative_to(tree):
            sys.exit(f"{self.told['source']}: was taken instead of {tree / 'src'}; another hydromae comes first here")

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"workloads.py ended with code {self.process.wait()}; its own words stand above")
        return json.loads(line)

    def ask(self, name: str) -> dict[str, Any]:
        """Seconds of one go, or what this commit lacks for it."""
        if name == HELP:
            return self._help()
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _help(self) -> dict[str, Any]:
        began, worked = time.perf_counter(), os.times()
        words = [sys.executable, "-m", "hydromae", "--help"]
        ended = subprocess.run(words, env=self.environment, capture_output=True)
        now = os.times()
        cpu = now.children_user + now.children_system - worked.children_user - worked.children_system
        if ended.returncode:
            return {"lacks": f"{HELP} ends with code {ended.returncode}"}
        return {"seconds": time.perf_counter() - began, "cpu": cpu, "answer": 0.0}

    def end(self) -> None:
        """Close its input, at which it ends."""
        self.process.communicate()


def paired(name: str, base: Side, head: Side, seconds: float) -> dict[str, Any]:
    """Pairs of goes until the time is up, at least a few; ratios of head over base."""
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    until = time.monotonic() + seconds
    first = base.ask(name), head.ask(name)  # each commit makes and warms up what it needs
    lacking = {side: told["lacks"] for side, told in zip(("base", "head"), first, strict=True) if "lacks" in told}
    if lacking:
        return {"work": name, "lacks": lacking}
    while len(pairs) < LEAST_PAIRS or time.monotonic() < until:
        turned = len(pairs) % 2 == 1
        told = [side.ask(name) for side in ((head, base) if turned else (base, head))]
        pairs.append((told[1], told[0]) if turned else (told[0], told[1]))
    ratios = [b["seconds"] / a["seconds"] for a, b in pairs]
    cpu = [b["cpu"] / a["cpu"] for a, b in pairs if a["cpu"]]
    return {
        "work": name,
        "pairs": len(pairs),
        "base_s": statistics.median(a["seconds"] for a, _ in pairs),
        "head_s": statistics.median(b["seconds"] for _, b in pairs),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "cpu_ratio": statistics.median(cpu) if cpu else None,
        "same_answer": first[0]["answer"] == first[1]["answer"],
    }


def shown(rows: list[dict[str, Any]], title: str) -> Table:
    """The ratios as a table, a row a workload."""
    table = Table("work", "pairs", "base, s", "head, s", "head / base", "range", "processor", "answers", title=title)
    for row in rows:
        if "lacks" in row:
            table.add_row(row["work"], "", "", "", "", f"{' and '.join(row['lacks'])} cannot")
            continue
        table.add_row(
            row["work"],
            str(row["pairs"]),
            f"{row['base_s']:.3f}",
            f"{row['head_s']:.3f}",
            f"{row['ratio']:.3f}",
            f"{row['lowest']:.3f}–{row['highest']:.3f}",
            "" if row["cpu_ratio"] is None else f"{row['cpu_ratio']:.3f}",
            "same" if row["same_answer"] else "differ",
        )
    return table


def main() -> None:
    """Check out, measure in turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the commit to compare with")
    parser.add_argument("--head", default="HEAD", help="the commit that is compared")
    parser.add_argument("--only", action="append", help="a workload by its name; may be given again")
    parser.add_argument("--seconds", type=float, default=180.0, help="for all of it, about")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--quick", action="store_true", help="narrow and short, for a test")
    options = parser.parse_args()
    commits = {side: git("rev-parse", "--short", f"{getattr(options, side)}^{{commit}}") for side in ("base", "head")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trees = {s: stack.enter_context(checked_out(c, Path(folder).resolve() / s)) for s, c in commits.items()}
        sides = {}
        for name, tree in trees.items():
            sides[name] = Side(tree, options.quick)
            stack.callback(sides[name].end)
        names = options.only or [*sides["base"].told["workloads"], HELP]
        each = SHARE_OF_MEASURING * options.seconds / len(names)
        rows = [paired(name, sides["base"], sides["head"], each) for name in names]
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(shown(rows, f"{commits['head']} (head) against {commits['base']} (base)"))
    for row in rows:
        for side, why in row.get("lacks", {}).items():
            console.print(f"{row['work']}: {side} cannot ({why})", markup=False)
    if options.out is not None:
        found = {"base": commits["base"], "head": commits["head"], "cores": os.cpu_count(), "rows": rows}
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
