"""The charts of a report: a hydrograph, the distribution of scores, and the loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hydromae.report.chart import SIDE, Scale, Tick, band, frame, number, path
from hydromae.report.metrics_log import Losses
from hydromae.report.summary import percentile

RAIN_SHARE = 0.3  # part of a hydrograph's height that the highest rain bar takes
HEADROOM = 1.2  # height of the flow axis over the highest line
MOST_TAIL = 1.6  # a 90 % interval may stretch the flow axis to so many times the highest line, and is cut there
POINTS = 800  # at most twice as many points in a drawn loss curve
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
LONGEST = 365  # days that a hydrograph shows
LINES = 8  # line styles in the style sheet, the model's first


@dataclass(frozen=True)
class Hydrograph:
    """One river over some days.

    Attributes:
        days (DatetimeIndex (T,)): Consecutive days.
        truth, mean (arrays (T,)): River flow measured and answered [mm/day].
        hidden (array (T,)): True where the method did not see the truth.
        levels (array (Q,)): Probabilities of the quantiles, ascending; empty where there are none.
        quantiles (array (Q, T)): River flow at these probabilities [mm/day].
        precipitation (array (T,)): Catchment rain [mm/day].
    """

    days: pd.DatetimeIndex
    truth: Float[np.ndarray, " T"]
    mean: Float[np.ndarray, " T"]
    hidden: Bool[np.ndarray, " T"]
    levels: Float[np.ndarray, " Q"]
    quantiles: Float[np.ndarray, "Q T"]
    precipitation: Float[np.ndarray, " T"]


def runs(flags: Bool[np.ndarray, " T"]) -> list[tuple[int, int]]:
    """First and last+1 position of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def shown_days(scored: Bool[np.ndarray, " T"], known: Bool[np.ndarray, " T"]) -> slice:
    """The days of a hydrograph: all that are known, or where they are many, the first 365 with the most scored days."""
    places = np.flatnonzero(known)
    if len(places) == 0:
        return slice(0, min(len(known), LONGEST))
    first, last = int(places[0]), int(places[-1]) + 1
    if last - first <= LONGEST:
        return slice(first, last)
    total = np.concatenate([[0], np.cumsum(scored[first:last])])
    begin = first + int(np.argmax(total[LONGEST:] - total[:-LONGEST]))
    return slice(begin, begin + LONGEST)


def top_of(*values: Float[np.ndarray, "*N"]) -> float:
    """The largest finite value, or 1 where none is above zero."""
    highest = max((float(np.nanmax(part)) for part in values if np.isfinite(part).any()), default=0.0)
    return highest if highest > 0 else 1.0


def interval(graph: Hydrograph, share: float) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]] | None:
    """Lower and upper ends of the central interval that should hold `share` of the truth; None without its quantiles.

    The ends are interpolated between the levels at hand; an interval wider than the outermost levels is not drawn.
    """
    low, high = (1 - share) / 2, (1 + share) / 2
    levels = graph.levels
    if len(levels) < 2 or low < levels[0] - 1e-6 or high > levels[-1] + 1e-6:
        return None

    def at(level: float) -> Float[np.ndarray, " T"]:
        right = int(np.clip(np.searchsorted(levels, level), 1, len(levels) - 1))
        weight = (level - levels[right - 1]) / (levels[right] - levels[right - 1])
        return (1 - weight) * graph.quantiles[right - 1] + weight * graph.quantiles[right]

    return at(low), at(high)


def day_ticks(days: pd.DatetimeIndex, east: Scale) -> list[Tick]:
    """Labels of a time axis: days, months or years, whichever gives a handful."""
    span = len(days)
    if span <= 45:
        every = 7 if span > 15 else 3
        at = list(range(0, span, every))
        return [
            Tick(east.at(float(k)), f"{days.day[k]} {MONTHS[days.month[k] - 1]}", minor=n % 2 == 1)
            for n, k in enumerate(at)
        ]
    step = max(1, round(span / 30.4 / 8))
    step = next(size for size in (1, 2, 3, 6, 12, 24, 60, 120, 600, 1200) if size >= step)
    month = days.year * 12 + days.month - 1
    firsts = np.flatnonzero((days.day == 1) & (month % step == 0))
    words = [str(days.year[k]) if days.month[k] == 1 else MONTHS[days.month[k] - 1] for k in firsts]
    return [Tick(east.at(float(k)), word, n % 2 == 1) for n, (k, word) in enumerate(zip(firsts, words, strict=True))]


def day_tooltips(graph: Hydrograph, east: Scale) -> str:
    """An invisible column a day, whose tooltip says the day's numbers."""
    width = SIDE / max(len(graph.days), 1)
    found = interval(graph, 0.9)
    columns = []
    for k, day in enumerate(graph.days):
        words = f"{day.day} {day:%b %Y}\nrain {number(graph.precipitation[k], 1)}\nmeasured {number(graph.truth[k])}"
        if graph.hidden[k]:
            words += f"\nanswered {number(graph.mean[k])}"
            words += f" ({number(found[0][k])} to {number(found[1][k])})" if found else ""
        left = east.at(float(k)) - width / 2
        columns.append(f'<rect x="{left:.1f}" width="{width:.1f}" height="1000"><title>{escape(words)}</title></rect>')
    return f'<g class="days">{"".join(columns)}</g>'


def hydrograph(graph: Hydrograph, label: str) -> str:
    """Rain from above, truth and answer with its 50 % and 90 % intervals below, hidden days shaded."""
    count = len(graph.days)
    wide = interval(graph, 0.9)
    drawn = top_of(graph.truth, graph.mean)
    tail = min(top_of(wide[1]), MOST_TAIL * drawn) if wide else drawn
    flow = Scale(0.0, HEADROOM * max(drawn, tail), down=True)
    rain = Scale(0.0, top_of(graph.precipitation) / RAIN_SHARE)
    east = Scale(-0.5, count - 0.5)
    at, width = east(np.arange(count, dtype=float)), SIDE / max(count, 1)
    marks = [
        f'<rect class="hidden" x="{first * width:.1f}" width="{(last - first) * width:.1f}" height="1000"/>'
        for first, last in runs(graph.hidden)
        if last - first > 1  # single days, as a forecast's, carry a dot and no ground
    ]
    fallen = np.nan_to_num(rain(graph.precipitation))
    bars = "".join(
        f"M{middle - 0.4 * width:.1f} 0h{0.8 * width:.1f}v{depth:.1f}h{-0.8 * width:.1f}z"
        for middle, depth in zip(at, fallen, strict=True)
        if depth > 0
    )
    marks.append(f'<path class="rain" d="{bars}"/>')
    for share, kind in ((0.9, "wide"), (0.5, "narrow")):
        found = interval(graph, share)
        if found:
            ends = [np.where(graph.hidden, flow(end), np.nan) for end in found]
            marks.append(band(at, ends[1], ends[0], kind))
    marks.append(path(at, flow(graph.truth), "truth"))
    marks.append(path(at, np.where(graph.hidden, flow(graph.mean), np.nan), "mean"))
    marks.append(day_tooltips(graph, east))
    left = [Tick(flow.at(value), f"{value:g}") for value in flow.ticks(4)]
    axis = f"River flow [mm/day]. Rain hangs from above, highest bar {number(top_of(graph.precipitation), 0)} mm/day."
    return frame("".join(marks), label, day_ticks(graph.days, east), left, "tall", axis)


@dataclass(frozen=True)
class Curve:
    """One line of a distribution: a method, its CSS class, and NSE of each catchment, NaN where it gave no answer."""

    method: str
    kind: str
    nse: Float[np.ndarray, " C"]


def distribution(curves: list[Curve], label: str) -> str:
    """Cumulative distribution of NSE over catchments; a missing answer counts as worse than all.

    Args:
        curves: The model's first, which is drawn over the others.
        label: One sentence for screen readers.
    """
    nse, share = Scale(-0.5, 1.0), Scale(0.0, 1.0, down=True)
    marks = []
    for curve in reversed(curves):
        ordered = np.sort(np.nan_to_num(curve.nse, nan=-np.inf))
        height = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        inside = ordered > nse.low
        base = 1.0 - inside.mean() if len(ordered) else 0.0
        levels = np.concatenate([[base, base], np.repeat(height[inside], 2)])
        steps = np.concatenate([[nse.low], np.repeat(ordered[inside], 2), [nse.high]])
        marks.append(
            path(
                nse(steps),
                share(levels),
                f"line {curve.kind}",
                f"{curve.method}: median {number(percentile(curve.nse, 50.0))}",
            )
        )
    bottom = [*(Tick(nse.at(tick), number(tick, 1)) for tick in (-0.5, 0.0, 0.5, 1.0)), Tick(nse.at(0.75), "NSE")]
    left = [Tick(share.at(tick), f"{100 * tick:.0f}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return frame("".join(marks), label, bottom, left, "square", "Catchments with a lower NSE [%]")


def loss_curve(losses: Losses, label: str) -> str:
    """Training loss of every step (faint), its running median, and validation loss (dots), on a logarithmic axis.

    Args:
        losses: The journal of a run; at least one loss is a positive number.
        label: One sentence for screen readers.
    """
    step, loss = losses.step[losses.drawable], losses.loss[losses.drawable]
    smooth = pd.Series(loss).rolling(max(1, len(loss) // 40), min_periods=1, center=True).median().to_numpy()
    every = max(1, len(loss) // POINTS)
    checked = np.nan_to_num(losses.validation_loss, posinf=0.0) > 0
    shown = np.log10(np.concatenate([loss, losses.validation_loss[checked]]))
    low, high = float(shown.min()), float(np.percentile(shown, 99.5))
    reach = Scale(low - 0.05, max(high, low + 0.1) + 0.05, down=True)
    east = Scale(0.0, float(max(losses.step.max(), 1)))

    def down(values: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
        return reach(np.minimum(np.log10(values), reach.high))

    at = east(step[::every])
    marks = path(at, down(loss[::every]), "raw") + path(at, down(smooth[::every]), "line l0", "running median")
    for first, value in zip(losses.step[checked], losses.validation_loss[checked], strict=True):
        place = f"M{east.at(first):.1f} {float(down(np.array([value]))[0]):.1f}h0"
        marks += f'<path class="check" d="{place}"><title>step {first:.0f}: {value:.4g}</title></path>'
    words = [f"{tick:,.0f}".replace(",", " ") for tick in east.ticks(6)]
    bottom = [Tick(east.at(tick), words[n], minor=n % 2 == 1) for n, tick in enumerate(east.ticks(6))]
    return frame(marks, label, bottom, loss_ticks(reach), "", "Loss, logarithmic")


def loss_ticks(reach: Scale) -> list[Tick]:
    """Labels of a logarithmic axis: 1, 2, 5 of each decade where they fit, else its ends."""
    decades = range(int(np.floor(reach.low)), int(np.ceil(reach.high)) + 1)
    values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    inside = [value for value in values if reach.low <= np.log10(value) <= reach.high]
    if len(inside) < 2:
        inside = [10**reach.low, 10**reach.high]
    every = -(-len(inside) // 6)
    return [Tick(reach.at(float(np.log10(value))), f"{value:.3g}") for value in inside[::every]]
