"""What `make bench` runs (`RUNS`) and what must come of it (`ROWS`); to add or rename one is to change a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
RECIPE_WINDOWS = 4000
"""Windows of the seed's recipe: ten epochs."""

Found = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A benchmark with its options.

    Attributes
    ----------
    script : str
    words : tuple of str
    long : tuple of str
        Options that a quick run leaves out.
    reads : (str, str) or None
        Which real data it may read instead of invented ones, and its option for them.
    """

    script: str
    words: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    reads: tuple[str, str] | None = None

    def command(self, quick: bool, data: dict[str, Path | None]) -> list[str]:
        """What to start, without the interpreter and `--out`."""
        words = [f"benchmarks/{self.script}", *self.words]
        words += ["--quick"] if quick else self.long
        given = data.get(self.reads[0]) if self.reads else None
        return words + ([self.reads[1], str(given)] if self.reads and given else [])


NATIONAL, RIVERS = ("national", "--store"), ("rivers", "--store")
RUNS: dict[str, Run] = {
    "fast fp32": Run("step.py", ("--preset", "fast", "--precision", "fp32"), ("--steps", "10"), NATIONAL),
    "fast bf16": Run("step.py", ("--preset", "fast", "--precision", "bf16"), ("--steps", "200"), NATIONAL),
    "base fp32": Run("step.py", ("--preset", "base", "--precision", "fp32"), ("--steps", "5"), NATIONAL),
    "base bf16": Run("step.py", ("--preset", "base", "--precision", "bf16"), ("--steps", "5"), NATIONAL),
    "rivers": Run("step.py", ("--preset", "rivers"), ("--steps", "20"), RIVERS),
    "loading": Run("loading.py", (), ("--steps", "5")),
    "prepare": Run("prepare.py", (), (), ("raw", "--raw")),
    "door": Run("door.py"),
}
"""Every benchmark by name, in the order in which they run."""


def percent(value: float) -> str:
    """A share."""
    return f"{100 * value:.0f} %"


def gib(value: float) -> str:
    """Bytes, in GiB."""
    return f"{value / GIB:.2f} GiB"


def seconds(value: float) -> str:
    """Seconds, or minutes or hours where there are many."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if value >= 1.5 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def plain(value: float) -> str:
    """A number of three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


@dataclass(frozen=True)
class Row:
    """One condition on what benchmarks found.

    Attributes
    ----------
    work : str
    runs : tuple of str
        Names in `RUNS` that the figure is made of.
    figure : function of the figures by run
    sign : str
        "≥" or "≤".
    bound : float
    shown : function
        How figure and bound are written.
    """

    work: str
    runs: tuple[str, ...]
    figure: Callable[[Found], float]
    sign: str
    bound: float
    shown: Callable[[float], str]

    def judged(self, found: Found, failed: dict[str, str], commands: dict[str, str]) -> dict[str, Any]:
        """The row with its figure, whether that is enough, and by which commands; without a figure it says why."""
        missing = [name for name in self.runs if name not in found]
        value, why = None, "; ".join(failed.get(name, f"{name} did not run") for name in missing)
        if not missing:
            try:
                value = float(self.figure(found))
            except (KeyError, IndexError, TypeError) as error:
                why = f"{' and '.join(self.runs)} wrote no {error}"
        enough = None if value is None else value >= self.bound if self.sign == "≥" else value <= self.bound
        return {
            "work": self.work,
            "target": f"{self.sign} {self.shown(self.bound)}",
            "figure": value,
            "shown": f"not measured: {why}" if value is None else self.shown(value),
            "reached": enough,
            "commands": [commands[name] for name in self.runs if name in commands],
        }


def first(name: str, *keys: str) -> Callable[[Found], float]:
    """A figure of a run's only (or first) row; several keys are added up, one with a minus is taken off."""

    def look(found: Found) -> float:
        row = found[name][0] if isinstance(found[name], list) else found[name]
        return sum(-row[key[1:]] if key.startswith("-") else row[key] for key in keys)

    return look


def cased(case: str, key: str) -> Callable[[Found], float]:
    """A figure of one case of the loading benchmark."""
    return lambda found: {row["case"]: row for row in found["loading"]}[case][key]


def ratio(key: str, above: str, below: str) -> Callable[[Found], float]:
    """A figure of one run over that of another."""
    return lambda found: first(above, key)(found) / first(below, key)(found)


ABOVE_DATA = ("peak_above_start_bytes", "-data_bytes")
FAST, BASE = "training step, `fast`", "training step, `base`"
DOOR, FILL = "`rivers`, 599 × 365, one forward through the door", "fill the national record, with quantiles"
WINDOWS, PREPARE, START = "windows from the store to the model", "prepare the national record", "start"
CASES = ("fast-1", "fast-16", "rivers-2")
ROWS: list[Row] = [
    Row(
        f"{FAST}, fp32: share of the GEMM rate", ("fast fp32",), first("fast fp32", "share_of_gemm"), "≥", 0.75, percent
    ),
    Row(
        f"{FAST}, bf16: share of the GEMM rate", ("fast bf16",), first("fast bf16", "share_of_gemm"), "≥", 0.45, percent
    ),
    Row(f"{FAST}, fp32: memory above the data", ("fast fp32",), first("fast fp32", *ABOVE_DATA), "≤", GIB, gib),
    Row(
        f"{FAST}, fp32: time over that of `base`",
        ("fast fp32", "base fp32"),
        ratio("step_s", "fast fp32", "base fp32"),
        "≤",
        1 / 3,
        percent,
    ),
    Row(
        f"{BASE}, fp32: share of the GEMM rate", ("base fp32",), first("base fp32", "share_of_gemm"), "≥", 0.70, percent
    ),
    Row(
        f"{BASE}, bf16: share of the GEMM rate", ("base bf16",), first("base bf16", "share_of_gemm"), "≥", 0.25, percent
    ),
    Row(f"{BASE}, fp32: memory above the data", ("base fp32",), first("base fp32", *ABOVE_DATA), "≤", 2 * GIB, gib),
    Row(f"{DOOR}: share of the GEMM rate", ("door",), first("door", "forward_share_of_gemm"), "≥", 0.5, percent),
    Row(f"{FILL}", ("door",), first("door", "fill_s"), "≤", 240.0, seconds),
    Row(
        f"the seed's recipe, `fast`, bf16: {RECIPE_WINDOWS:,} windows, extrapolated from 200 steps",
        ("fast bf16",),
        lambda found: RECIPE_WINDOWS * first("fast bf16", "step_s")(found) / first("fast bf16", "batch")(found),
        "≤",
        7200.0,
        seconds,
    ),
    Row("training step, `rivers`, 365 days × 24 sites × 2", ("rivers",), first("rivers", "step_s"), "≤", 0.25, seconds),
    *(
        Row(f"{WINDOWS}, a second ({case})", ("loading",), cased(case, "windows_per_s"), "≥", 400, plain)
        for case in CASES
    ),
    *(
        Row(f"step with loader / without ({case})", ("loading",), cased(case, "step_ratio"), "≤", 1.03, plain)
        for case in CASES
    ),
    Row(f"{PREPARE}: memory", ("prepare",), first("prepare", "prepare_peak_bytes"), "≤", 2 * GIB, gib),
    Row(f"{PREPARE}: speed of plain zarr", ("prepare",), first("prepare", "speed_of_plain"), "≥", 0.5, percent),
    Row(
        "the record in memory, 45 years of 3 maps, one copy a machine",
        ("loading",),
        cased("fast-1", "record_bytes_45_years"),
        "≤",
        1.1e9,
        gib,
    ),
    Row(f"{START}: `hydromae --help`", ("door",), first("door", "help_s"), "≤", 0.3, seconds),
    Row(f"{START}: `predict` on a small file", ("door",), first("door", "predict_s"), "≤", 5.0, seconds),
]
"""The table of the issue, a condition a line."""
