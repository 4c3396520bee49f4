"""The charts of a report: hydrographs, the distribution of scores, and the loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from markupsafe import Markup

from hydromae.evaluate.summary import percentile
from hydromae.report.chart import CHART_SIZE, Scale, Tick, area_path, chart_frame, line_path
from hydromae.report.loss_history import LossHistory
from hydromae.report.text import format_number

RAIN_SHARE = 0.3  # height of the highest rain bar, as a share of the height of the hydrograph
HEADROOM = 1.2  # end of the flow axis, as a multiple of the highest value
MAX_TAIL = 1.6  # largest end of the 90 % interval in the flow axis, as a multiple of the highest line
POINTS = 800  # a loss curve has fewer than twice as many points
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MAX_DAYS = 365  # days of a hydrograph
INTERVALS = ((0.9, "wide"), (0.5, "narrow"))  # probability and CSS class of the intervals
LINE_STYLES = 8  # line styles in the style sheet; the first is that of the model


@dataclass(frozen=True)
class Hydrograph:
    """Observed and predicted flow of a catchment.

    Attributes:
        days (DatetimeIndex (T,)): Consecutive days.
        truth, mean (arrays (T,)): Observed flow and predicted mean [mm/day].
        hidden (array (T,)): True on days that were hidden from the method.
        levels (array (Q,)): Levels of the quantiles, ascending; empty without quantiles.
        quantiles (array (Q, T)): Quantiles of flow [mm/day].
        precipitation (array (T,)): Catchment mean precipitation [mm/day].
    """

    days: pd.DatetimeIndex
    truth: Float[np.ndarray, " T"]
    mean: Float[np.ndarray, " T"]
    hidden: Bool[np.ndarray, " T"]
    levels: Float[np.ndarray, " Q"]
    quantiles: Float[np.ndarray, "Q T"]
    precipitation: Float[np.ndarray, " T"]


def true_runs(flags: Bool[np.ndarray, " T"]) -> list[tuple[int, int]]:
    """First and last+1 position of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def shown_days(scored: Bool[np.ndarray, " T"], known: Bool[np.ndarray, " T"], limit: int = MAX_DAYS) -> slice:
    """The days of a hydrograph: all known days, or the first `limit` of them with the most scored days."""
    known_index = np.flatnonzero(known)
    if len(known_index) == 0:
        return slice(0, min(len(known), limit))
    first, last = int(known_index[0]), int(known_index[-1]) + 1
    if last - first <= limit:
        return slice(first, last)
    total = np.concatenate([[0], np.cumsum(scored[first:last])])
    begin = first + int(np.argmax(total[limit:] - total[:-limit]))
    return slice(begin, begin + limit)


def axis_top(*values: Float[np.ndarray, "*N"]) -> float:
    """The largest finite value; 1 if none is positive."""
    highest = max((float(np.nanmax(part)) for part in values if np.isfinite(part).any()), default=0.0)
    return highest if highest > 0 else 1.0


def central_interval(graph: Hydrograph, share: float) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]] | None:
    """Lower and upper end of the central interval of probability `share`, interpolated between the levels.

    None if the interval is wider than the outermost levels.
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


def day_ticks(days: pd.DatetimeIndex, x_scale: Scale) -> list[Tick]:
    """Labels of a time axis: days, months or years, about eight."""
    span = len(days)
    if span <= 45:
        every = 7 if span > 15 else 3
        at = list(range(0, span, every))
        return [
            Tick(x_scale.at(float(k)), f"{days.day[k]} {MONTHS[days.month[k] - 1]}", minor=n % 2 == 1)
            for n, k in enumerate(at)
        ]
    step = max(1, round(span / 30.4 / 8))
    step = next(size for size in (1, 2, 3, 6, 12, 24, 60, 120, 600, 1200) if size >= step)
    month = days.year * 12 + days.month - 1
    firsts = np.flatnonzero((days.day == 1) & (month % step == 0))
    text = [str(days.year[k]) if days.month[k] == 1 else MONTHS[days.month[k] - 1] for k in firsts]
    return [Tick(x_scale.at(float(k)), word, n % 2 == 1) for n, (k, word) in enumerate(zip(firsts, text, strict=True))]


def day_tooltips(graph: Hydrograph, x_scale: Scale) -> Markup:
    """A transparent column for each day, with a tooltip of the values of the day."""
    width = CHART_SIZE / max(len(graph.days), 1)
    bounds = central_interval(graph, 0.9)
    columns = []
    for k, day in enumerate(graph.days):
        text = f"{day.day} {day:%b %Y}\nrain {format_number(graph.precipitation[k], 1)}"
        text += f"\nobserved {format_number(graph.truth[k])}"
        if graph.hidden[k]:
            text += f"\npredicted {format_number(graph.mean[k])}"
            text += f" ({format_number(bounds[0][k])} to {format_number(bounds[1][k])})" if bounds else ""
        left = x_scale.at(float(k)) - width / 2
        column = Markup('<rect x="{:.1f}" width="{:.1f}" height="1000"><title>{}</title></rect>')
        columns.append(column.format(left, width, text))
    return Markup('<g class="days">{}</g>').format(Markup().join(columns))


def hydrograph_chart(graph: Hydrograph, label: str) -> Markup:
    """Rain from above; observed and predicted flow with its 50 % and 90 % intervals; hidden days are shaded."""
    axes = FlowAxes.of(graph, [graph])
    marks = [
        Markup('<rect class="hidden" x="{:.1f}" width="{:.1f}" height="1000"/>').format(
            first * axes.width, (last - first) * axes.width
        )
        for first, last in true_runs(graph.hidden)
        if last - first > 1  # a single day is a dot without shading
    ]
    marks.append(axes.rain_bars(graph))
    for share, kind in INTERVALS:
        bounds = central_interval(graph, share)
        if bounds:
            ends = [np.where(graph.hidden, axes.flow(end), np.nan) for end in bounds]
            marks.append(area_path(axes.at, ends[1], ends[0], kind))
    marks.append(line_path(axes.at, axes.flow(graph.truth), "truth"))
    marks.append(line_path(axes.at, np.where(graph.hidden, axes.flow(graph.mean), np.nan), "mean"))
    marks.append(day_tooltips(graph, axes.time))
    return axes.chart(Markup().join(marks), graph, label)


@dataclass(frozen=True)
class FlowAxes:
    """The axes of a hydrograph.

    Attributes:
        flow, rain, time: Scales of flow [mm/day], of rain [mm/day] from above, and of the number of a day.
        at (array (T,)): Position of each day.
        width: Width of a day.
    """

    flow: Scale
    rain: Scale
    time: Scale
    at: Float[np.ndarray, " T"]
    width: float

    @classmethod
    def of(cls, graph: Hydrograph, predictions: Sequence[Hydrograph]) -> FlowAxes:
        """Axes for the observed days of `graph` and one or more predictions of the same days."""
        wide = [bounds[1] for one in predictions if (bounds := central_interval(one, 0.9))]
        line_top = axis_top(graph.truth, *(one.mean for one in predictions))
        interval_top = min(axis_top(*wide), MAX_TAIL * line_top) if wide else line_top
        count = len(graph.days)
        time = Scale(-0.5, count - 0.5)
        return cls(
            Scale(0.0, HEADROOM * max(line_top, interval_top), down=True),
            Scale(0.0, axis_top(graph.precipitation) / RAIN_SHARE),
            time,
            time(np.arange(count, dtype=float)),
            CHART_SIZE / max(count, 1),
        )

    def rain_bars(self, graph: Hydrograph) -> Markup:
        """Bars of rain from above."""
        bars = "".join(
            f"M{middle - 0.4 * self.width:.1f} 0h{0.8 * self.width:.1f}v{depth:.1f}h{-0.8 * self.width:.1f}z"
            for middle, depth in zip(self.at, np.nan_to_num(self.rain(graph.precipitation)), strict=True)
            if depth > 0
        )
        return Markup('<path class="rain" d="{}"/>').format(bars)

    def chart(self, marks: Markup, graph: Hydrograph, label: str) -> Markup:
        """The chart of `marks` with its labels."""
        left = [Tick(self.flow.at(value), f"{value:g}") for value in self.flow.ticks(4)]
        highest = format_number(axis_top(graph.precipitation), 0)
        axis = f"River flow [mm/day]. Rain from above, highest bar {highest} mm/day."
        return chart_frame(marks, label, day_ticks(graph.days, self.time), left, "tall", axis)


@dataclass(frozen=True)
class Curve:
    """A method in a chart of distributions: its CSS class, and NSE of each catchment (NaN without a score)."""

    method: str
    kind: str
    nse: Float[np.ndarray, " C"]


def distribution_chart(curves: list[Curve], label: str) -> Markup:
    """Cumulative distribution of NSE over catchments; a catchment without a score ranks below every score.

    Args:
        curves: The first one is drawn above the others.
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
            line_path(
                nse(steps),
                share(levels),
                f"line {curve.kind}",
                f"{curve.method}: median {format_number(percentile(curve.nse, 50.0))}",
            )
        )
    bottom = [
        *(Tick(nse.at(tick), format_number(tick, 1)) for tick in (-0.5, 0.0, 0.5, 1.0)),
        Tick(nse.at(0.75), "NSE"),
    ]
    left = [Tick(share.at(tick), f"{100 * tick:.0f}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return chart_frame(Markup().join(marks), label, bottom, left, "square", "Catchments with a lower NSE [%]")


def loss_curve(losses: LossHistory, label: str) -> Markup:
    """Training loss of every step, its running median, and validation loss (dots), on a logarithmic axis.

    Args:
        losses: Losses of a run, at least one of them drawable.
        label: One sentence for screen readers.
    """
    step, loss = losses.step[losses.is_drawable], losses.loss[losses.is_drawable]
    smooth = pd.Series(loss).rolling(max(1, len(loss) // 40), min_periods=1, center=True).median().to_numpy()
    every = max(1, len(loss) // POINTS)
    has_validation = np.nan_to_num(losses.validation_loss, posinf=0.0) > 0
    shown = np.log10(np.concatenate([loss, losses.validation_loss[has_validation]]))
    low, high = float(shown.min()), float(np.percentile(shown, 99.5))
    loss_axis = Scale(low - 0.05, max(high, low + 0.1) + 0.05, down=True)
    x_scale = Scale(0.0, float(max(losses.step.max(), 1)))

    def y_positions(values: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
        return loss_axis(np.minimum(np.log10(values), loss_axis.high))

    at = x_scale(step[::every])
    marks = line_path(at, y_positions(loss[::every]), "raw") + line_path(
        at, y_positions(smooth[::every]), "line l0", "running median"
    )
    for first, value in zip(losses.step[has_validation], losses.validation_loss[has_validation], strict=True):
        marker_path = f"M{x_scale.at(first):.1f} {float(y_positions(np.array([value]))[0]):.1f}h0"
        title = f"step {first:.0f}: {value:.4g}"
        marks += Markup('<path class="check" d="{}"><title>{}</title></path>').format(marker_path, title)
    text = [f"{tick:,.0f}".replace(",", " ") for tick in x_scale.ticks(6)]
    bottom = [Tick(x_scale.at(tick), text[n], minor=n % 2 == 1) for n, tick in enumerate(x_scale.ticks(6))]
    return chart_frame(marks, label, bottom, loss_ticks(loss_axis), "", "Loss, logarithmic")


def loss_ticks(loss_axis: Scale) -> list[Tick]:
    """Labels of a logarithmic axis: 1, 2 and 5 of each decade, or its ends if fewer than two are inside."""
    decades = range(int(np.floor(loss_axis.low)), int(np.ceil(loss_axis.high)) + 1)
    values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    inside = [value for value in values if loss_axis.low <= np.log10(value) <= loss_axis.high]
    if len(inside) < 2:
        inside = [10**loss_axis.low, 10**loss_axis.high]
    every = -(-len(inside) // 6)
    return [Tick(loss_axis.at(float(np.log10(value))), f"{value:.3g}") for value in inside[::every]]
