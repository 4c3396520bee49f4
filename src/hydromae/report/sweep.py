"""The figure of a sweep: scores by trial and by each setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from hydromae.io.atomic import atomic_path
from hydromae.train.sweep import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
SCORED, LOWEST, FAILED = "#2b6cb0", "#c05621", "#888888"


def draw_sweep(trials: Sequence[Trial], file: Path) -> Path:
    """Draw trials as PNG: scores by trial with the lowest so far, and by each setting; failed trials are crosses.

    Args:
        trials: At least one, in order.
        file: The PNG file.
    """
    names = sorted({name for trial in trials for name in trial.values})
    rows = math.ceil((1 + len(names)) / COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).flat
    numbers = np.array([float(trial.number) for trial in trials])
    scores = np.array([math.nan if trial.score is None else trial.score for trial in trials])
    first = next(panels)
    _points(first, "trial", numbers, scores)
    first.step(numbers, np.fmin.accumulate(scores), where="post", color=LOWEST, linewidth=1)
    for name in names:
        values = np.array([float(trial.values.get(name, math.nan)) for trial in trials])
        _points(next(panels), name.replace("_", " "), values, scores)
    for empty in panels:
        empty.set_visible(False)
    figure.supylabel("score: mean over modalities of the squared error (scaled)", fontsize="small")
    with atomic_path(file) as aside:
        figure.savefig(aside, dpi=120)
    return file


def _points(panel: Axes, label: str, values: np.ndarray, scores: np.ndarray) -> None:
    is_scored = np.isfinite(scores)
    panel.plot(values[is_scored], scores[is_scored], "o", color=SCORED, markersize=4)
    if is_scored.any():
        lowest = int(np.nanargmin(scores))
        panel.plot(values[lowest], scores[lowest], "o", color=LOWEST, markersize=7)
    height = float(np.nanmax(scores)) if is_scored.any() else 0.0
    panel.plot(values[~is_scored], np.full((~is_scored).sum(), height), "x", color=FAILED, markersize=5)
    panel.set_xlabel(label, fontsize="small")
    panel.tick_params(labelsize="x-small")
    finite_values = values[np.isfinite(values)]
    if (finite_values == finite_values.round()).all():
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif finite_values.min() > 0 and finite_values.max() >= 10 * finite_values.min():
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panel.xaxis.set_minor_formatter(NullFormatter())
