"""The frame of a chart: scales, ticks and axes as HTML around an inline SVG that stretches while its text does not."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

SIDE = 1000.0  # width and height of every chart's own coordinates; CSS decides the size on the page


@dataclass(frozen=True)
class Scale:
    """Maps values between `low` and `high` onto 0 … 1000, towards `low` at 1000 where `down` is True.

    Attributes
    ----------
    low, high : float
        Values at both ends, in the units of the axis.
    down : bool
        True for a vertical axis, whose numbers grow upward while SVG counts downward.
    """

    low: float
    high: float
    down: bool = False

    def __call__(self, values: Float[np.ndarray, "*N"] | float) -> Float[np.ndarray, "*N"]:
        """Positions of `values`."""
        share = (np.asarray(values, dtype=float) - self.low) / (self.high - self.low)
        return SIDE * (1.0 - share if self.down else share)

    def ticks(self, count: int) -> list[float]:
        """About `count` round numbers inside the scale."""
        found = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]


@dataclass(frozen=True)
class Tick:
    """A label at a position (0 … 1000); a `minor` one vanishes on a narrow screen."""

    position: float
    label: str
    minor: bool = False


def number(value: float, digits: int = 2) -> str:
    """A number for readers: a true minus sign, a dash for NaN, never a negative zero."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def path(east: Float[np.ndarray, " N"], down: Float[np.ndarray, " N"], kind: str, title: str = "") -> str:
    """A line through points in chart coordinates, broken where a point is not finite."""
    finite = np.isfinite(east) & np.isfinite(down)
    starts = finite & ~np.concatenate([[False], finite[:-1]])
    words = [
        f"{'M' if first else 'L'}{right:.1f} {low:.1f}"
        for right, low, first in zip(east[finite], down[finite], starts[finite], strict=True)
    ]
    if len(words) == 0:
        return ""
    return f'<path class="{kind}" d="{"".join(words)}">{f"<title>{escape(title)}</title>" if title else ""}</path>'


def band(
    east: Float[np.ndarray, " N"], upper: Float[np.ndarray, " N"], lower: Float[np.ndarray, " N"], kind: str
) -> str:
    """The area between two lines; days on which either is not finite part it."""
    finite = np.flatnonzero(np.isfinite(upper) & np.isfinite(lower))
    shapes = []
    for run in np.split(finite, np.flatnonzero(np.diff(finite) > 1) + 1):
        if len(run) > 1:
            there = [f"{right:.1f} {high:.1f}" for right, high in zip(east[run], upper[run], strict=True)]
            back = [f"{right:.1f} {low:.1f}" for right, low in zip(east[run[::-1]], lower[run[::-1]], strict=True)]
            shapes.append("M" + "L".join(there + back) + "Z")
    return f'<path class="{kind}" d="{"".join(shapes)}"/>' if shapes else ""


def frame(marks: str, label: str, bottom: list[Tick], left: list[Tick], kind: str = "", axis_title: str = "") -> str:
    """A whole chart: `marks` (SVG in chart coordinates) with grid lines, tick labels and a title for screen readers.

    Parameters
    ----------
    marks : str
        SVG elements, already escaped.
    label : str
        One sentence that says what the chart shows; escaped here.
    bottom, left : list of Tick
        Labels below and beside the chart.
    kind : str
        Extra CSS class, which sets the height.
    axis_title : str
        What the vertical axis measures, with units; escaped here.
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
