"""Pictures of the documentation, drawn from its tables.

python benchmarks/table_pictures.py    # docs/tables/*.csv -> docs/results.svg, docs/performance.svg, docs/few_gauges.svg
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
QUESTIONS = {"simulate": "simulate: NSE", "ungauged": "ungauged: NSE", "forecast-1": "forecast, 1 day: NSE"}
LOWEST = {"simulate": 0.55, "ungauged": 0.2, "forecast-1": 0.6}
"""Lower limits of the axes of `few_gauges`."""
WAYS = {
    "fine-tuned": ("gb-rivers, fine-tuned", {"color": "tab:blue"}),
    "shipped": ("gb-rivers as shipped", {"color": "tab:blue", "linestyle": ":"}),
    "random": ("the same model from random weights", {"color": "tab:orange"}),
    "lstm": ("regional LSTM", {"color": "0.4"}),
}
"""Methods of `few_gauges.csv`, with their labels and lines."""
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


def few_gauges(table: pd.DataFrame) -> Figure:
    """Median NSE against years of flow, a row of panels for each question and a column for each number of gauges.

    Args:
        table: `few_gauges.csv`: question, method, nse_median, gauges, years.
    """
    questions, gauges = list(QUESTIONS), sorted(table["gauges"].unique())
    size = {"figsize": (7.2, 6.4), "layout": "constrained", "sharex": True, "sharey": "row", "squeeze": False}
    figure, panels = plt.subplots(len(questions), len(gauges), **size)
    for row, question in enumerate(questions):
        for axes, count in zip(panels[row], gauges, strict=True):
            part = table[(table["question"] == question) & (table["gauges"] == count)].sort_values("years")
            for method, (label, style) in WAYS.items():
                one = part[part["method"] == method]
                axes.plot(one["years"], one["nse_median"], marker="o", markersize=4, label=label, **style)
            axes.set(xscale="log", xticks=(1, 5, 20), xticklabels=("1", "5", "20"))
            axes.minorticks_off()
            axes.grid(color="0.9")
            if row == 0:
                axes.set_title(f"{count} gauges")
        panels[row][0].set(ylabel=QUESTIONS[question], ylim=(LOWEST[question], None))
    for axes in panels[-1]:
        axes.set_xlabel("years of flow")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


PICTURES = {
    "results": ("test_period", results),
    "performance": ("performance", performance),
    "few_gauges": ("few_gauges", few_gauges),
}
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
