"""Pictures of an evaluation: where a method does well on each question, and which kinds of river it loses.

    python benchmarks/skill_picture.py scores --method hydromae --store rivers.zarr --out docs/results_map.png

Prints the median NSE of groups of rivers (base-flow index, area), which the picture shows as points.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from hydromae.evaluate.score import Evaluation
from hydromae.store.zarr_store import open_store

LOWEST = 0.4
"""NSE below which all colours are the same."""
GROUPS = {"bfihost": (0.0, 0.4, 0.6, 1.0), "catchment-area": (0.0, 70.0, 300.0, 1e6)}
"""Edges of groups of rivers by trait."""


def grouped(nse: np.ndarray, traits: xr.Dataset) -> pd.DataFrame:
    """Median NSE, its 10th percentile and the number of rivers of each group."""
    rows = []
    for name, edges in GROUPS.items():
        for low, high in pairwise(edges):
            chosen = nse[(traits[name].values > low) & (traits[name].values <= high) & np.isfinite(nse)]
            label = f"{name} {low:g} to {high:g}" if high < 1e6 else f"{name} above {low:g}"
            if len(chosen):
                rows.append((label, np.median(chosen), np.percentile(chosen, 10), len(chosen)))
    return pd.DataFrame(rows, columns=["rivers", "median", "p10", "count"])


def draw_map(axes: Axes, scores: xr.Dataset, nse: np.ndarray, title: str) -> None:
    """A dot for each river; the worst lie on top."""
    order = np.argsort(-np.nan_to_num(nse, nan=9.0))
    east, north = scores["easting"].values[order] / 1e3, scores["northing"].values[order] / 1e3
    dots = axes.scatter(east, north, c=nse[order], s=9, cmap="viridis", vmin=LOWEST, vmax=1.0, linewidths=0)
    axes.set(title=title, aspect="equal", xticks=[], yticks=[])
    axes.figure.colorbar(dots, ax=axes, shrink=0.6, label="NSE", extend="min")


def main() -> None:
    """Draw maps above, groups below."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--method", required=True)
    parser.add_argument("--store", type=Path, required=True, help="for the traits of the rivers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", nargs="+", help="rows of the scores; all where none is named")
    options = parser.parse_args()
    scores = Evaluation.load(options.evaluation).scores
    traits = open_store(options.store)[list(GROUPS)].sel(catchment=scores["catchment"].values).load()
    names = options.questions or [str(name) for name in scores["question"].values]
    figure, rows = plt.subplots(2, len(names), figsize=(3.2 * len(names), 7.2), layout="constrained", squeeze=False)
    for name, above, below in zip(names, *rows, strict=True):
        nse = scores["nse"].sel({"question": name, "method": options.method}).values
        draw_map(above, scores, nse, f"{name}: median {np.nanmedian(nse):.3f}")
        table = grouped(nse, traits)
        print(f"{name}\n{table.to_string(index=False, float_format='{:.3f}'.format)}\n")
        place = np.arange(len(table))
        below.hlines(place, table["p10"], table["median"], color="0.7", linewidth=3)
        below.plot(table["median"], place, "o", color="tab:blue")
        below.set(yticks=place, yticklabels=table["rivers"], xlim=(LOWEST - 0.2, 1.0), xlabel="NSE: p10 to median")
        below.invert_yaxis()
        if name != names[0]:
            below.set_yticklabels([])
    figure.savefig(options.out, dpi=90)
    print(f"{options.out}: a picture of {options.method}")


if __name__ == "__main__":
    main()
