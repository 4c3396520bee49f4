"""How the time of a training step grows with days, sites and windows: exponents of `fast`, `rivers`, `national`, and a plot.

    python benchmarks/growth.py --out growth.json --plot growth.svg

Everything else stays as it is while one of them grows. Sites are, for `fast`, the patches and catchments of a part of the
country; for `rivers` and `national`, the catchments of a window, and `national` grows with the patches of a window, too. The
sizes of a series take their steps in turn, in one process; each counts with its shortest processor time, which other work on
the machine does not lengthen. The exponent is the slope of a line through logarithms (least squares): 1 where time is
proportional to size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from clock import Spent
from hydromae.config import Config
from timed import CATCHMENTS, Trial, lasting, prepared

Place = tuple[float, ...]
"""Days of a window, sites (catchments, or a share of the country), windows of a batch; for `national` patches of a window."""
SIZES: dict[str, dict[str, list[Place]]] = {
    "fast": {
        "days": [(8, 0.5, 1), (15, 0.5, 1), (30, 0.5, 1), (60, 0.5, 1)],
        "sites": [(15, 0.125, 1), (15, 0.25, 1), (15, 0.5, 1), (15, 1.0, 1)],
        "batch": [(15, 0.25, 1), (15, 0.25, 2), (15, 0.25, 4), (15, 0.25, 8)],
    },
    "rivers": {
        "days": [(91, 24, 2), (182, 24, 2), (365, 24, 2), (730, 24, 2)],
        "sites": [(365, 24, 1), (365, 48, 1), (365, 96, 1), (365, 192, 1)],
        "batch": [(365, 24, 1), (365, 24, 2), (365, 24, 4), (365, 24, 8)],
    },
    "national": {
        "days": [(45, 24, 1, 16), (90, 24, 1, 16), (180, 24, 1, 16), (360, 24, 1, 16)],
        "sites": [(60, 24, 1, 16), (60, 48, 1, 16), (60, 96, 1, 16), (60, 192, 1, 16)],
        "batch": [(60, 24, 1, 16), (60, 24, 2, 16), (60, 24, 4, 16), (60, 24, 8, 16)],
        "patches": [(60, 24, 1, 11), (60, 24, 1, 22), (60, 24, 1, 44), (60, 24, 1, 88)],
    },
}
QUICK: dict[str, dict[str, list[Place]]] = {
    "fast": {
        "days": [(3, 0.25, 1), (6, 0.25, 1)],
        "sites": [(3, 0.25, 1), (3, 0.5, 1)],
        "batch": [(3, 0.25, 1), (3, 0.25, 2)],
    },
    "rivers": {"days": [(6, 6, 2), (12, 6, 2)], "sites": [(6, 6, 2), (6, 12, 2)], "batch": [(6, 6, 1), (6, 6, 2)]},
    "national": {
        "days": [(6, 6, 1, 4), (12, 6, 1, 4)],
        "sites": [(6, 6, 1, 4), (6, 12, 1, 4)],
        "batch": [(6, 6, 1, 4), (6, 6, 2, 4)],
        "patches": [(6, 6, 1, 4), (6, 6, 1, 8)],
    },
}
GROWS = ("days", "sites", "batch", "patches")
"""Which number of a place grows."""
MARKS = dict(zip(GROWS, "os^D", strict=True))


def trial_at(name: str, place: Place, quick: bool) -> Trial:
    """A preset's model and a batch of that size."""
    days, sites, size, *patches = place
    config = prepared(name, quick, None)
    if patches:
        config = config.having(data={"patches_per_window": int(patches[0])})
    return _sized(config, int(days), sites, int(size), 24 if quick else CATCHMENTS)


def _sized(config: Config, days: int, sites: float, size: int, catchments: int) -> Trial:
    warm = min(config.data.warm_up_days, days // 4)
    data = {"sequence_length": days, "stride": 1, "warm_up_days": warm}
    config = lasting(config.having(data=data, train={"batch_size": size}))
    if config.data.catchments_per_window is None:
        return Trial.invented(config, round(sites * catchments), land=sites)
    return Trial.invented(config.having(data={"catchments_per_window": int(sites)}), catchments)


def steps_in_turn(steps: dict[float, Callable[[], object]], times: int) -> dict[float, Spent]:
    """The shortest of so many runs of each, by each clock.

    Before each of them the same step is taken once more: in training, too, a step finds the memory that the last one had, and
    not that of another size, which the system has to clear page by page.
    """
    spent: dict[float, list[Spent]] = {size: [] for size in steps}
    for _ in range(times):
        for size, step in steps.items():
            step()
            began = Spent.now()
            step()
            spent[size].append(Spent.now() - began)
    return {size: Spent(min(o.s for o in one), min(o.cpu_s for o in one)) for size, one in spent.items()}


def exponent(spent: dict[float, Spent]) -> float:
    """Slope of log processor time on log size, by least squares."""
    return float(np.polyfit(np.log(list(spent)), np.log([one.cpu_s for one in spent.values()]), 1)[0])


def grown(name: str, quick: bool, times: int) -> dict[str, Any]:
    """Seconds and exponents of one preset."""
    found: dict[str, Any] = {}
    for what, places in (QUICK if quick else SIZES)[name].items():
        trials = {float(place[GROWS.index(what)]): trial_at(name, place, quick) for place in places}
        spent = steps_in_turn({size: trial.step for size, trial in trials.items()}, times)
        found[what] = {
            "at": [
                {"size": size, "s": one.s, "cpu_s": one.cpu_s, "tokens": trials[size].tokens}
                for size, one in spent.items()
            ],
            "exponent": exponent(spent),
        }
    return {
        "preset": name,
        "quick": quick,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "growth": found,
    }


def drawn(rows: list[dict[str, Any]], file: Path) -> None:
    """Time over size, both relative to the smallest, with the line of proportional growth and that of exponent 1.1."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), sharey=True, squeeze=False)[0], rows, strict=True):
        for what, one in row["growth"].items():
            size = np.array([at["size"] for at in one["at"]])
            time = np.array([at["cpu_s"] for at in one["at"]])
            axes.loglog(
                size / size[0], time / time[0], marker=MARKS[what], label=f"{what}: exponent {one['exponent']:.2f}"
            )
        span = np.array([1.0, max(one["at"][-1]["size"] / one["at"][0]["size"] for one in row["growth"].values())])
        axes.loglog(span, span, color="0.5", linewidth=1, label="proportional")
        axes.loglog(span, span**1.1, color="0.5", linewidth=1, linestyle=":", label="exponent 1.1")
        axes.set(title=f"a training step of {row['preset']}", xlabel="times the smallest size")
        axes.legend(frameon=False)
    figure.axes[0].set_ylabel("times the processor time of the smallest")
    figure.savefig(file)


def shown(rows: list[dict[str, Any]]) -> Table:
    """The exponents, and the seconds that they are fitted to."""
    table = Table("a training step of", "grows with", "s of processor at each size", "exponent")
    for row in rows:
        for what, one in row["growth"].items():
            times = ", ".join(f"{at['size']:g}: {at['cpu_s']:.3f}" for at in one["at"])
            table.add_row(row["preset"], what, times, f"{one['exponent']:.2f}")
    return table


def main() -> None:
    """Measure, print, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=tuple(SIZES), action="append", help="only this one")
    parser.add_argument("--times", type=int, default=3, help="steps of each size of which the shortest counts")
    parser.add_argument("--plot", type=Path, help="draw the growth here (SVG or PNG)")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--quick", action="store_true", help="narrow and short, for a test")
    options = parser.parse_args()
    rows = [grown(name, options.quick, options.times) for name in options.preset or SIZES]
    Console().print(shown(rows))
    if options.plot is not None:
        drawn(rows, options.plot)
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
