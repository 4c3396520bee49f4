"""Charts as inline SVG: scales, ticks, lines and areas. The SVG is stretched to the page, the text around it is HTML."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from hydromae.report.text import render

CHART_SIZE = 1000.0
"""Width and height of a chart in its own coordinates; CSS sets the size on the page."""


@dataclass(frozen=True)
class Scale:
    """A linear map from `low` … `high` to 0 … 1000.

    Attributes:
        low, high: Values at both ends, in the units of the axis.
        down: Map to 1000 … 0, for a vertical axis.
    """

    low: float
    high: float
    down: bool = False

    def __call__(self, values: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
        """Positions of `values`."""
        fraction = (values - self.low) / (self.high - self.low)
        return CHART_SIZE * (1.0 - fraction if self.down else fraction)

    def at(self, value: float) -> float:
        """Position of one value."""
        return float(self(np.array([value]))[0])

    def ticks(self, count: int) -> list[float]:
        """About `count` round numbers inside the scale."""
        tick_values = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in tick_values if self.low - slack <= tick <= self.high + slack]


@dataclass(frozen=True)
class Tick:
    """A label at a position (0 … 1000); a `minor` one is hidden on a narrow screen."""

    position: float
    label: str
    minor: bool = False


def line_path(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], kind: str, title: str = "") -> Markup:
    """A line through points in chart coordinates, interrupted where a point is not finite; a single point is a dot."""
    segments, dots = [], []
    for run in finite_runs(x, y):
        points = [f"{right:.1f} {low:.1f}" for right, low in zip(x[run], y[run], strict=True)]
        (segments if len(points) > 1 else dots).append("M" + "L".join(points))
    title_element = Markup("<title>{}</title>").format(title) if title else Markup()
    line = Markup('<path class="{}" d="{}">{}</path>').format(kind, "".join(segments), title_element)
    dot = Markup('<path class="{} dot" d="{}h0"/>').format(kind, "h0".join(dots))
    return Markup().join([line] * bool(segments) + [dot] * bool(dots))


def area_path(
    x: Float[np.ndarray, " N"], upper: Float[np.ndarray, " N"], lower: Float[np.ndarray, " N"], kind: str
) -> Markup:
    """The area between two lines, interrupted where either is not finite; a single point is a bar as wide as its day."""
    half = 0.35 * float(x[1] - x[0]) if len(x) > 1 else 0.35 * CHART_SIZE
    shapes = []
    for run in finite_runs(upper, lower):
        positions = x[run] if len(run) > 1 else x[run[0]] + np.array([-half, half])
        edges = [np.broadcast_to(line[run], positions.shape) for line in (upper, lower)]
        forward = [f"{right:.1f} {high:.1f}" for right, high in zip(positions, edges[0], strict=True)]
        backward = [f"{right:.1f} {low:.1f}" for right, low in zip(positions[::-1], edges[1][::-1], strict=True)]
        shapes.append("M" + "L".join(forward + backward) + "Z")
    return Markup('<path class="{}" d="{}"/>').format(kind, "".join(shapes)) if shapes else Markup()


def finite_runs(*lines: Float[np.ndarray, " N"]) -> list[Int[np.ndarray, " K"]]:
    """Positions of each run of points at which all lines are finite."""
    finite = np.flatnonzero(np.all(np.isfinite(lines), axis=0))
    parts = np.split(finite, np.flatnonzero(np.diff(finite) > 1) + 1)
    return [part for part in parts if len(part)]


def chart_frame(
    marks: Markup, label: str, bottom: list[Tick], left: list[Tick], kind: str = "", axis_title: str = ""
) -> Markup:
    """A chart: `marks` with grid lines, tick labels and a description.

    Args:
        marks: SVG elements in chart coordinates.
        label: One sentence that describes the chart for screen readers.
        bottom, left: Labels below and to the left of the chart.
        kind: Additional CSS class, which sets the height.
        axis_title: Quantity of the vertical axis, with units.
    """
    return render("chart.html", marks=marks, label=label, bottom=bottom, left=left, kind=kind, axis_title=axis_title)
