"""Whether the tests that docs/seed.md names can fail: each row's feature is broken, and its named tests are run.

    python benchmarks/mutations.py                       # all rows; about half an hour of one core
    python benchmarks/mutations.py --rows ZeRO --jobs 2  # rows whose first cell holds this text

`mutations.toml` holds the mutations: a text that stands once in a file, and what takes its place. The named tests first run
on a copy of the repository as it is, then once for each mutation of the copy. A mutation is caught where a named test of the
row fails; one that cannot be imported proves nothing and counts as an error. The exit code is 1 where a mutation survives.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import queue
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mutated import PRELOADED, run_tests

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
COPIED = ("src", "tests", "benchmarks", "configs", "docs", "train_mae.py", "pyproject.toml")
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MKL_CBWR": "COMPATIBLE",
}
PROCESSES = multiprocessing.get_context("forkserver")
AT_WORK: set[int] = set()
"""Processes that run tests."""
LONGEST = 600.0
"""Seconds for each test, after which the tests of a mutation are ended."""


@dataclass(frozen=True)
class Row:
    """A row of docs/seed.md: its first cell, and the tests that its last one names, as pytest calls them."""

    name: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Mutation:
    """A breakage: `old` stands once in `file` (from the root of the repository); `rows` are the first cells it breaks."""

    what: str
    rows: tuple[str, ...]
    file: str
    old: str
    new: str

    @property
    def modules(self) -> list[str]:
        """The module of the package that the mutation changes, or none."""
        path = Path(self.file).with_suffix("")
        return [".".join(path.parts[1:]).removesuffix(".__init__")] if path.parts[0] == "src" else []

    def applied(self, text: str) -> str:
        """The text of the file with the breakage.

        Raises
        ------
        ValueError
            Where `old` does not stand in it exactly once.
        """
        if text.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self.what}: {self.file} holds the old text {text.count(self.old)} times")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a mutation for one row: `caught`, `survived`, or `error` with `why`."""

    row: str
    mutation: str
    state: str
    caught_by: str
    seconds: float
    why: str = ""


def read(file: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / file).read_text(encoding="utf-8")


def rows_of(text: str) -> list[Row]:
    """The rows of docs/seed.md."""
    rows = []
    for line in text.splitlines():
        cells = line.strip().removesuffix("|").split(" | ")
        named = NAMED.findall(cells[-1])
        if line.startswith("| ") and named:
            rows.append(Row(cells[0].removeprefix("| "), tuple(f"tests/{file}::{test}" for file, test in named)))
    return rows


def mutations_of(text: str) -> list[Mutation]:
    """The mutations of `mutations.toml`."""
    return [Mutation(**{**one, "rows": tuple(one["rows"])}) for one in tomllib.loads(text)["mutation"]]


def copied(folder: Path) -> Path:
    """A copy of the folders that the tests read, in a new folder inside `folder`."""
    tree = folder / "copy"
    tree.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "_build", "gallery")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=skip)
        else:
            shutil.copy2(source, tree / name)
    return tree


@contextlib.contextmanager
def broken(tree: Path, mutation: Mutation) -> Any:
    """The copy with a mutation. Its time of change is unique, so that no compiled file of another text is taken for it."""
    file = tree / mutation.file
    plain, times = file.read_text(encoding="utf-8"), file.stat()
    try:
        file.write_text(mutation.applied(plain), encoding="utf-8")
        os.utime(file, ns=(time.time_ns(), time.time_ns() - 10**9 * (10**6 + time.monotonic_ns() % 10**6)))
        yield
    finally:
        file.write_text(plain, encoding="utf-8")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def tested(
    tree: Path, tests: Sequence[str], modules: Sequence[str] = (), groups: Sequence[Sequence[str]] = ((),)
) -> list[dict[str, Any]]:
    """Run tests in a copy; what `mutated.py` recorded of each. With the default `groups` none stops the others."""
    report = tree.parent / "report.jsonl"
    report.write_text("")
    process = PROCESSES.Process(target=run_tests, args=(tree, list(tests), report, list(modules), list(groups)))
    process.start()
    assert process.pid is not None
    AT_WORK.add(process.pid)
    process.join(LONGEST * len(tests))
    late = process.exitcode is None
    ended(process.pid)
    AT_WORK.discard(process.pid)
    process.join()
    noted = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    if late:
        noted.append({"fault": f"not ended after {LONGEST * len(tests):g} s"})
    if not noted:
        noted.append({"fault": report.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")[-500:]})
    return noted


def tried(tree: Path, mutation: Mutation, rows: Sequence[Row], seconds: Mapping[str, float]) -> list[Outcome]:
    """Break the copy, run the tests that the rows name, the fastest first, and report which failed.

    Only tests with `seconds`, which pass on the copy as it is, are run.
    """
    groups = [[test for test in row.tests if test in seconds] for row in rows]
    tests = sorted({test for group in groups for test in group}, key=lambda test: seconds[test])
    began = time.monotonic()
    with broken(tree, mutation):
        noted = tested(tree, tests, mutation.modules, groups)
    took, faults = round(time.monotonic() - began, 1), [one["fault"] for one in noted if "fault" in one]
    failed = [] if faults else [one["test"] for one in noted if one["outcome"] == "failed"]
    found = []
    for row, group in zip(rows, groups, strict=True):
        caught = next((test for test in failed if test in group), "")
        state = "error" if faults else "caught" if caught else "survived"
        found.append(Outcome(row.name, mutation.what, state, caught, took, "; ".join(faults)))
    return found


def unbroken(tree: Path, tests: Sequence[str]) -> dict[str, float]:
    """Seconds of each test that passes on the copy as it is; others are named on stderr."""
    noted, seconds = tested(tree, tests), dict.fromkeys(tests, 0.0)
    passed = {one["test"] for one in noted if one.get("outcome") == "passed"}
    for one in noted:
        if one.get("outcome") == "failed" or "fault" in one:
            sys.stderr.write(
                f"fails without any mutation: {one.get('id', tests)}: {one.get('error') or one.get('fault')}\n"
            )
            passed.discard(one.get("test", ""))
        seconds[one.get("test", "")] = seconds.get(one.get("test", ""), 0.0) + one.get("seconds", 0.0)
    sys.stderr.writelines(f"does not pass here: {test}\n" for test in tests if test not in passed)
    return {test: seconds[test] for test in tests if test in passed}


def table(found: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = ["| row | mutation | caught by | seconds |", "|---|---|---|---|"]
    for one in found:
        cell = f"`{one.caught_by.removeprefix('tests/')}`" if one.state == "caught" else f"**{one.state}** {one.why}"
        lines.append(f"| {one.row} | {one.mutation} | {cell} | {one.seconds:g} |")
    return "\n".join(lines) + "\n"


def all_tried(chosen: Sequence[tuple[Mutation, list[Row]]], jobs: int) -> tuple[list[Outcome], list[str]]:
    """Every mutation with its rows, in copies of the repository, as many as `jobs`; and tests that do not pass unbroken."""
    tests = sorted({test for _, rows in chosen for row in rows for test in row.tests})
    files = sorted({test.split("::")[0] for test in tests})
    parts = [[test for test in tests if test.startswith(f"{file}::")] for file in files]
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="mutations-") as name, ThreadPoolExecutor(jobs) as pool:
        free: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            free.put(copied(Path(name) / str(number)))

        def in_copy(task: Callable[[Path], Any]) -> Any:
            tree = free.get()
            try:
                return task(tree)
            finally:
                free.put(tree)

        try:
            seconds: dict[str, float] = {}
            for part in pool.map(in_copy, [partial(unbroken, tests=part) for part in parts]):
                seconds |= part
            tasks = [partial(tried, mutation=one, rows=rows, seconds=seconds) for one, rows in chosen]
            for outcomes in pool.map(in_copy, tasks):
                found += outcomes
                sys.stderr.writelines(f"{one.state}: {one.row}: {one.mutation}\n" for one in outcomes)
                sys.stderr.flush()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(AT_WORK):
                ended(process)
            raise
    return found, [test for test in tests if test not in seconds]


def ended(process: int) -> None:
    """End a process and all that it started: a failed test may leave some."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutations of the chosen rows, print and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose first cell holds this text")
    parser.add_argument("--jobs", type=int, default=1, help="copies that are tested at a time")
    parser.add_argument("--json", type=Path, help="also write the outcomes as JSON")
    parser.add_argument("--out", type=Path, default=Path("mutations.md"), help="the table, in Markdown")
    options = parser.parse_args(arguments)
    rows = [row for row in rows_of(read("docs/seed.md")) if options.rows.lower() in row.name.lower()]
    chosen = []
    for mutation in mutations_of(read("benchmarks/mutations.toml")):
        if broken_rows := [row for row in rows if row.name in mutation.rows]:
            chosen.append((mutation, broken_rows))
    found, failing = all_tried(chosen, options.jobs)
    order = {row.name: place for place, row in enumerate(rows)}
    found.sort(key=lambda one: order[one.row])
    options.out.write_text(table(found), encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")
    wrong = [f"no mutation: {row.name}" for row in rows if row.name not in {one.row for one in found}]
    wrong += [f"does not pass without any mutation: {test}" for test in failing]
    caught = sum(one.state == "caught" for one in found)
    sys.stdout.write(table(found) + f"\n{len(rows)} rows, {len(found)} breakages, {caught} caught\n")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return int(caught < len(found) or bool(wrong))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.update(ONE_THREAD | dict(os.environ))
    PROCESSES.set_forkserver_preload(list(PRELOADED))
    sys.exit(main())
