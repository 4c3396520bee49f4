"""The frame of a chart: scales, ticks and axes as HTML around an inline SVG that stretches while its text does not."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import MaxNLocator

CHART_SIZE = 1000.0  # width and height of every chart's own coordinates; CSS decides the size on the page


@dataclass(frozen=True)
class Scale:
    """Maps values between `low` and `high` onto 0 … 1000, towards `low` at 1000 where `down` is True.

    Attributes:
        low, high: Values at both ends, in the units of the axis.
        down: True for a vertical axis, whose numbers grow upward while SVG counts downward.
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
    """A label at a position (0 … 1000); a `minor` one vanishes on a narrow screen."""

    position: float
    label: str
    minor: bool = False


def format_number(value: float, digits: int = 2) -> str:
    """A number for readers: a true minus sign, a dash for NaN, never a negative zero."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def line_path(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], kind: str, title: str = "") -> str:
    """A line through points in chart coordinates, broken where a point is not finite; a lone point becomes a dot."""
    segments, dots = [], []
    for run in finite_runs(x, y):
        points = [f"{right:.1f} {low:.1f}" for right, low in zip(x[run], y[run], strict=True)]
        (segments if len(points) > 1 else dots).append("M" + "L".join(points))
    title_element = f"<title>{escape(title)}</title>" if title else ""
    drawn = f'<path class="{kind}" d="{"".join(segments)}">{title_element}</path>' if segments else ""
    return drawn + (f'<path class="{kind} dot" d="{"h0".join(dots)}h0"/>' if dots else "")


def area_path(
    x: Float[np.ndarray, " N"], upper: Float[np.ndarray, " N"], lower: Float[np.ndarray, " N"], kind: str
) -> str:
    """The area between two lines, parted where either is not finite; a lone point becomes a bar of its day's width."""
    half = 0.35 * float(x[1] - x[0]) if len(x) > 1 else 0.35 * CHART_SIZE
    shapes = []
    for run in finite_runs(upper, lower):
        positions = x[run] if len(run) > 1 else x[run[0]] + np.array([-half, half])
        edges = [np.broadcast_to(line[run], positions.shape) for line in (upper, lower)]
        forward = [f"{right:.1f} {high:.1f}" for right, high in zip(positions, edges[0], strict=True)]
        backward = [f"{right:.1f} {low:.1f}" for right, low in zip(positions[::-1], edges[1][::-1], strict=True)]
        shapes.append("M" + "L".join(forward + backward) + "Z")
    return f'<path class="{kind}" d="{"".join(shapes)}"/>' if shapes else ""


def finite_runs(*lines: Float[np.ndarray, " N"]) -> list[Int[np.ndarray, " K"]]:
    """Positions of every run of points at which all lines are finite."""
    finite = np.flatnonzero(np.all(np.isfinite(lines), axis=0))
    parts = np.split(finite, np.flatnonzero(np.diff(finite) > 1) + 1)
    return [part for part in parts if len(part)]


def chart_frame(
    marks: str, label: str, bottom: list[Tick], left: list[Tick], kind: str = "", axis_title: str = ""
) -> str:
    """A whole chart: `marks` (SVG in chart coordinates) with grid lines, tick labels and a title for screen readers.

    Args:
        marks: SVG elements, already escaped.
        label: One sentence that says what the chart shows; escaped here.
        bottom, left: Labels below and beside the chart.
        kind: Extra CSS class, which sets the height.
        axis_title: What the vertical axis measures, with units; escaped here.
    """
    grid = "".join(f'<path class="grid" d="M0 {tick.position:.1f}H1000"/>' for tick in left)
    below = "".join(
        f'<span class="bottom{" minor" if tick.minor else ""}" style="left:{tick.position / 10:.2f}%">'
        f"{escape(tick.label)}</span>"
        for tick in bottom
    )
    beside = "".join(
        f'<span class="left" style="top:{tick.position / 10:.2f}%">{escape(tick.label)}</span>' for tick in left
    )
    head = f'<p class="axis">{escape(axis_title)}</p>' if axis_title else ""
    return (
        f'{head}<div class="chart {kind}"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{grid}{marks}</svg><div aria-hidden="true">{below}{beside}</div></div>'
    )
