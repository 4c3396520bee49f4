"""Draw the three answers of the demo: a gap, a river without a gauge, and a week ahead.

make demo
.venv/bin/python examples/three_questions.py demo docs/three_questions.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

FILLED, FORECAST, UNGAUGED = 1, 2, 3
BLUE, INK, SAND = "#1f6f9f", "#26323a", "#f1ead6"


def draw(axis: plt.Axes, answer: xr.Dataset, truth: xr.DataArray, days: slice, title: str) -> None:
    """One hydrograph: what was measured, what was hidden, and the answer with its intervals."""
    part, real = answer.isel(time=days), truth.isel(time=days)
    time, hidden = part["time"].values, part["riverflow_origin"].values > 0
    axis.fill_between(time, 0, 1, where=hidden, color=SAND, transform=axis.get_xaxis_transform(), lw=0, step="mid")
    quantile = part["riverflow_quantile"].where(part["riverflow_origin"] > 0)
    for low, high, shade in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
        bottom, top = (quantile.sel({"quantile": level}).values for level in (low, high))
        axis.fill_between(time, bottom, top, color=BLUE, alpha=shade, lw=0)
    axis.plot(time, real, color=INK, lw=0.9, label="truth")
    axis.plot(time, np.where(hidden, part["riverflow"], np.nan), color=BLUE, lw=1.6, label="answer")
    axis.set_title(title, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7)
    axis.xaxis.set_major_formatter(mpl.dates.ConciseDateFormatter(axis.xaxis.get_major_locator()))
    axis.set_ylim(bottom=0)


def main(demo: Path, out: Path) -> None:
    """Read the demo's folder and write the picture."""
    answer = xr.load_dataset(demo / "answer.nc", engine="h5netcdf")
    truth = xr.load_dataset(demo / "virtual.nc", engine="h5netcdf")["riverflow"].sel(time=answer["time"])
    origin = answer["riverflow_origin"]
    first = {code: int((origin == code).any("time").values.argmax()) for code in (FILLED, UNGAUGED)}
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.6), layout="constrained")
    panels = (
        (first[FILLED], slice(325, 425), "A gap, from neighbours and the days around it"),
        (first[UNGAUGED], slice(330, 695), "A river nobody gauged, from weather and neighbours"),
        (first[FILLED], slice(-45, None), "The week ahead"),
    )
    for axis, (catchment, days, title) in zip(axes, panels, strict=True):
        draw(axis, answer.isel(catchment=catchment), truth.isel(catchment=catchment), days, title)
    axes[0].set_ylabel("river flow [mm/day]", fontsize=8)
    axes[0].legend(frameon=False, fontsize=7)
    mpl.rcParams["svg.fonttype"] = "none"
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
