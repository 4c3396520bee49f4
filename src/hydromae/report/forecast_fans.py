"""Hydrographs of forecasts: a fan of the leads of each issue day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from markupsafe import Markup

from hydromae.report.chart import CHART_SIZE, area_path, line_path
from hydromae.report.plots import INTERVALS, FlowAxes, Hydrograph, central_interval
from hydromae.report.text import format_number

MAX_FAN_DAYS = 180
"""Days of a chart with fans: in a longer one they are too narrow to see."""


def fan_chart(by_lead: Mapping[int, Hydrograph], label: str) -> Markup:
    """Observed flow, and for each issue day the predicted means of its leads with their 50 % and 90 % intervals.

    Args:
        by_lead: Predictions of the same days by lead [days]; their day minus the lead is the issue day.
        label: One sentence for screen readers.
    """
    graph = next(iter(by_lead.values()))
    axes = FlowAxes.of(graph, list(by_lead.values()))
    marks = [axes.rain_bars(graph)]
    fans = list(_fans(by_lead))
    for share, kind in INTERVALS:
        bounds = {lead: central_interval(one, share) for lead, one in by_lead.items()}
        for issue, leads in fans if all(bounds.values()) else ():
            low, high = (
                _from_issue(graph, issue, [ends[end][issue + lead] for lead in leads if (ends := bounds[lead])])
                for end in (0, 1)
            )
            x = axes.time(np.concatenate([[issue], issue + leads]).astype(float))
            marks.append(area_path(x, axes.flow(high), axes.flow(low), kind))
    marks.append(line_path(axes.at, axes.flow(graph.truth), "truth"))
    for issue, leads in fans:
        x = axes.time(np.concatenate([[issue], issue + leads]).astype(float))
        means = _from_issue(graph, issue, [by_lead[lead].mean[issue + lead] for lead in leads])
        marks.append(line_path(x, axes.flow(means), "mean"))
        marks += [line_path(x[n : n + 1], axes.flow(means[n : n + 1]), "mean") for n in range(1, len(x))]
    marks.append(_tooltips(by_lead, axes))
    return axes.chart(Markup().join(marks), graph, label)


def _fans(by_lead: Mapping[int, Hydrograph]) -> Iterator[tuple[int, Int[np.ndarray, " L"]]]:
    """Number of each issue day, and its leads with a prediction; the issue day may be the one before the chart."""
    count = len(next(iter(by_lead.values())).days)
    for issue in range(-1, count):
        leads = [
            lead
            for lead, one in sorted(by_lead.items())
            if issue + lead < count and np.isfinite(one.mean[issue + lead])
        ]
        if leads:
            yield issue, np.array(leads)


def _from_issue(graph: Hydrograph, issue: int, values: Sequence[float | np.ndarray]) -> Float[np.ndarray, " L"]:
    """Values of the leads after the observed flow of the issue day; without an observation, NaN."""
    return np.array([graph.truth[issue] if issue >= 0 else np.nan, *values], dtype=float)


def _tooltips(by_lead: Mapping[int, Hydrograph], axes: FlowAxes) -> Markup:
    """A transparent column for each day, with its rain, observed flow and predictions."""
    graph, columns = next(iter(by_lead.values())), []
    bounds = {lead: central_interval(one, 0.9) for lead, one in by_lead.items()}
    for k, day in enumerate(graph.days):
        text = f"{day.day} {day:%b %Y}\nrain {format_number(graph.precipitation[k], 1)}"
        text += f"\nobserved {format_number(graph.truth[k])}"
        for lead, one in sorted(by_lead.items()):
            if np.isfinite(one.mean[k]):
                text += f"\n{lead} day{'' if lead == 1 else 's'} ahead {format_number(one.mean[k])}"
                ends = bounds[lead]
                text += f" ({format_number(ends[0][k])} to {format_number(ends[1][k])})" if ends else ""
        left = axes.time.at(float(k)) - CHART_SIZE / len(graph.days) / 2
        column = Markup('<rect x="{:.1f}" width="{:.1f}" height="1000"><title>{}</title></rect>')
        columns.append(column.format(left, axes.width, text))
    return Markup('<g class="days">{}</g>').format(Markup().join(columns))
