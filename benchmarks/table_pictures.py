"""Pictures of the documentation, drawn from its tables.

python benchmarks/table_pictures.py    # docs/tables/*.csv -> docs/results.svg, docs/performance.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
MACHINES = {"zen5": "Zen 5", "intel": "Intel", "zen4": "Zen 4"}
"""Columns of `performance.csv`, one per machine."""


def results(table: pd.DataFrame) -> Figure:
    """Median NSE and 10th percentile of each task, the model beside the best baseline.

    Args:
        table: `test_period.csv`: task, nse_median, nse_p10, baseline_nse_median, baseline_nse_p10.
    """
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    rows = np.arange(len(table), dtype=float)
    for prefix, label, color, shift in (
        ("", "hydromae", "tab:blue", -0.15),
        ("baseline_", "best baseline", "0.55", 0.15),
    ):
        median, low = table[f"{prefix}nse_median"], table[f"{prefix}nse_p10"]
        axes.hlines(rows + shift, low, median, color=color, linewidth=2)
        axes.plot(median, rows + shift, "o", color=color, label=label)
    axes.set(yticks=rows, yticklabels=table["task"], xlim=(0, 1), xlabel="NSE: 10th percentile to median")
    axes.invert_yaxis()
    axes.grid(axis="x", color="0.9")
    axes.legend(loc="upper left")
    return figure


def performance(table: pd.DataFrame) -> Figure:
    """Share of the limit that each measured part reaches, one bar per machine, with its target.

    Args:
        table: `performance.csv`: measure, bound, target, unit, and one column per machine; only shares with a least value
            are drawn.
    """
    shares = table[(table["unit"] == "%") & (table["bound"] == "at least")]
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    rows = np.arange(len(shares), dtype=float)
    for number, (column, label) in enumerate(MACHINES.items()):
        axes.barh(rows + (number - 1) * 0.25, shares[column], 0.24, label=label, color=f"C{number}")
    axes.vlines(shares["target"], rows - 0.42, rows + 0.42, color="black", linewidth=2, label="target")
    labels = [str(name).removesuffix(": share of the GEMM rate") for name in shares["measure"]]
    axes.set(yticks=rows, yticklabels=labels, xlim=(0, 100), xlabel="share of the limit [%]")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


PICTURES = {"results": ("test_period", results), "performance": ("performance", performance)}
"""Each picture with its table and the function that draws it."""


def main() -> None:
    """Draw every picture; the same table gives the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the tables and of the pictures")
    docs = parser.parse_args().docs
    for name, (table, draw) in PICTURES.items():
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
            figure = draw(pd.read_csv(docs / "tables" / f"{table}.csv"))
            figure.savefig(docs / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)
        print(docs / f"{name}.svg")


if __name__ == "__main__":
    main()
