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


NATIONAL, RIVERS, RECORD = ("national", "--store"), ("rivers", "--store"), ("record", "--store")
RUNS: dict[str, Run] = {
    "fast fp32": Run("step.py", ("--preset", "fast", "--precision", "fp32"), ("--steps", "10"), NATIONAL),
    "fast bf16": Run("step.py", ("--preset", "fast", "--precision", "bf16"), ("--steps", "200"), NATIONAL),
    "base fp32": Run("step.py", ("--preset", "base", "--precision", "fp32"), ("--steps", "5"), NATIONAL),
    "base bf16": Run("step.py", ("--preset", "base", "--precision", "bf16"), ("--steps", "5"), NATIONAL),
    "ratio": Run("step.py", ("--ratio", "--precision", "fp32"), ("--steps", "3"), NATIONAL),
    "rivers": Run("step.py", ("--preset", "rivers"), ("--steps", "20"), RIVERS),
    "growth": Run("growth.py"),
    "loading": Run("loading.py", (), ("--seconds", "20")),
    "prepare": Run("prepare.py", (), (), ("raw", "--raw")),
    "door": Run("door.py", (), ("--times", "2"), RECORD),
}
"""Every benchmark by name, in the order in which they run."""


def percent(value: float) -> str:
    """A share."""
    return f"{100 * value:.0f} %"


def gib(value: float) -> str:
    """Bytes, in GiB."""
    return f"{value / GIB:.2f} GiB"


def gigabytes(value: float) -> str:
    """Bytes, in GB."""
    return f"{value / 1e9:.2f} GB"


def seconds(value: float) -> str:
    """Seconds, or minutes or hours where there are many."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if value >= 1.5 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def plain(value: float) -> str:
    """A number of four digits."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


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


def behind(*keys: str) -> Callable[[Found], float]:
    """A figure of the door's, inside figures."""

    def look(found: Found) -> float:
        held = found["door"]
        for key in keys:
            held = held[key]
        return held

    return look


def cased(case: str, key: str) -> Callable[[Found], float]:
    """A figure of one case of the loading benchmark."""
    return lambda found: {row["case"]: row for row in found["loading"]}[case][key]


def share(work: str, run: str, bound: float) -> Row:
    """A step's share of the GEMM rate of its own precision."""
    return Row(f"{work}: {SHARE}", (run,), first(run, "share_of_gemm"), "≥", bound, percent)


def above_data(work: str, run: str, bound: float) -> Row:
    """What a step takes of memory beside the data."""
    figure = first(run, "peak_above_start_bytes", "-data_bytes")
    return Row(f"{work}: memory above the data", (run,), figure, "≤", bound, gib)


def door(work: str, sign: str, bound: float, shown: Callable[[float], str], *keys: str) -> Row:
    """A figure of the door's."""
    return Row(work, ("door",), behind(*keys), sign, bound, shown)


def loaded(case: str) -> tuple[Row, Row]:
    """What the loader must reach in a case."""
    rate, cost = cased(case, "windows_per_s"), cased(case, "step_ratio")
    return (
        Row(f"windows from the store to the model, a second ({case})", ("loading",), rate, "≥", 400, plain),
        Row(f"step with loader / without ({case})", ("loading",), cost, "≤", 1.03, plain),
    )


def grows(preset: str, what: str) -> Row:
    """How a training step's time may grow."""

    def slope(found: Found) -> float:
        return {row["preset"]: row for row in found["growth"]}[preset]["growth"][what]["exponent"]

    return Row(f"growth of a training step, `{preset}`, with {what}: exponent", ("growth",), slope, "≤", 1.1, plain)


def recipe(found: Found) -> float:
    """Seconds of the seed's ten epochs, from the steps measured."""
    return RECIPE_WINDOWS * first("fast bf16", "step_s")(found) / first("fast bf16", "batch")(found)


SHARE = "share of the GEMM rate"
FAST, BASE, FORWARD = "training step, `fast`", "training step, `base`", "`rivers`, 599 × 365, one forward"
PREPARE, START = "prepare the national record", "start"
SMALL = "hydromae predict, 5 rivers, 60 days"
RECIPE = f"the seed's recipe, `fast`, bf16: {RECIPE_WINDOWS:,} windows, extrapolated from 200 steps"
COPY = cased("fast-1", "record_bytes_45_years")
ROWS: list[Row] = [
    share(f"{FAST}, fp32", "fast fp32", 0.75),
    share(f"{FAST}, bf16", "fast bf16", 0.45),
    above_data(f"{FAST}, fp32", "fast fp32", GIB),
    Row(f"{FAST}, fp32: time over that of `base`, in turn", ("ratio",), first("ratio", "ratio"), "≤", 1 / 3, percent),
    share(f"{BASE}, fp32", "base fp32", 0.70),
    share(f"{BASE}, bf16", "base bf16", 0.25),
    above_data(f"{BASE}, fp32", "base fp32", 2 * GIB),
    door(f"{FORWARD}, fp32: {SHARE}", "≥", 0.5, percent, "forward", "fp32", "share_of_gemm"),
    door(f"{FORWARD}, bf16: {SHARE}", "≥", 0.5, percent, "forward", "bf16", "share_of_gemm"),
    door("fill 599 rivers, 1970–2014, every NaN, with quantiles", "≤", 240.0, seconds, "fill", "s"),
    Row(RECIPE, ("fast bf16",), recipe, "≤", 7200.0, seconds),
    Row("training step, `rivers`, 365 days × 24 sites × 2", ("rivers",), first("rivers", "step_s"), "≤", 0.25, seconds),
    *(row for case in ("fast-1", "fast-4", "rivers-2") for row in loaded(case)),
    Row(f"{PREPARE}: memory", ("prepare",), first("prepare", "prepare_peak_bytes"), "≤", 2 * GIB, gib),
    Row(f"{PREPARE}: speed of plain zarr", ("prepare",), first("prepare", "speed_of_plain"), "≥", 0.5, percent),
    Row("the record in memory, 45 years of 3 maps, one copy a machine", ("loading",), COPY, "≤", 1.1e9, gigabytes),
    *(grows(preset, what) for preset in ("fast", "rivers") for what in ("days", "sites", "batch")),
    door("growth of an answer with days: exponent", "≤", 1.1, plain, "growth", "days", "exponent"),
    door("growth of an answer with rivers: exponent", "≤", 1.1, plain, "growth", "rivers", "exponent"),
    door(f"{START}: `hydromae --help`", "≤", 0.3, seconds, "start", "hydromae --help", "s"),
    door(f"{START}: `predict` on a small file", "≤", 5.0, seconds, "start", SMALL, "s"),
]
"""The table of the issue, a condition a line."""
