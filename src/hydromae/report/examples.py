"""The hydrographs of a report: for each task rivers of low, median and high score."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool

from hydromae.report.forecast_fans import MAX_FAN_DAYS, fan_chart
from hydromae.report.labels import question_label
from hydromae.report.plots import MAX_DAYS, Hydrograph, hydrograph_chart, shown_days
from hydromae.report.sections import Section
from hydromae.report.text import format_date, format_number

LEAD = re.compile(r"(forecast(?:-blind)?)-(\d+)")
"""Row of scores of a forecast: its task and its lead [days]."""


def example_groups(examples: xr.Dataset, questions: list[str], labels: Mapping[str, str]) -> list[Section]:
    """For each of the questions the hydrograph of median score, and the others; one group for all leads of a forecast.

    Args:
        examples: The examples of an evaluation.
        questions: Rows of scores that are shown.
        labels: Names of the rivers by catchment.
    """
    groups: dict[str, dict[str, list[int]]] = {}
    for index in range(examples.sizes.get("example", 0)):
        row, catchment = (str(examples[name].values[index]) for name in ("question", "catchment"))
        if row in questions:
            lead = LEAD.fullmatch(row)
            task, river = (lead.group(1), catchment) if lead else (row, f"{catchment} {index}")
            groups.setdefault(task, {}).setdefault(river, []).append(index)
    sections = []
    for task, rivers in groups.items():
        parts = [examples.isel(example=members) for members in rivers.values()]
        ranked = sorted(parts, key=lambda part: np.nan_to_num(_middle_score(part), nan=-np.inf))
        figures = [_figure(part, labels) for part in ranked]
        middle = figures.pop((len(ranked) - 1) // 2)
        sections.append({"title": question_label(task).title, "middle": middle, "others": figures})
    return sections


def _middle_score(part: xr.Dataset) -> float:
    """NSE of the middle of the examples of a river."""
    return float(part["nse"].values[part.sizes["example"] // 2])


def _figure(part: xr.Dataset, labels: Mapping[str, str]) -> Section:
    """The figure of a river: the examples of one question, or of the leads of a forecast."""
    first = part.isel(example=0)
    catchment = str(first["catchment"].item())
    river = {"river": labels.get(catchment, catchment)}
    if LEAD.fullmatch(str(first["question"].item())):
        return river | _forecast_figure(part, river["river"])
    graph, nse = _hydrograph(first, MAX_DAYS), float(first["nse"].item())
    count = f"All {len(graph.days)}" if graph.hidden.all() else f"{int(graph.hidden.sum())} of {len(graph.days)}"
    days = f"{count} days predicted by {first['method'].item()}, {_first_to_last(graph)}"
    title = question_label(str(first["question"].item())).title
    label = f"Hydrograph of {river['river']}. {title}. {days}, NSE {format_number(nse)}"
    score = f"NSE {format_number(nse)} over the whole period"
    return river | {"score": score, "days": days, "chart": hydrograph_chart(graph, label)}


def _forecast_figure(part: xr.Dataset, river: str) -> Section:
    """The fans of the forecasts of a river."""
    predicted = np.asarray(np.isfinite(part["mean"].to_numpy()).any(axis=0))
    by_lead, scores = {}, []
    for index in range(part.sizes["example"]):
        example = part.isel(example=index)
        match = LEAD.fullmatch(str(example["question"].item()))
        assert match is not None
        by_lead[int(match.group(2))] = _hydrograph(example, MAX_FAN_DAYS, predicted)
        scores.append(format_number(float(example["nse"].item())))
    graph = next(iter(by_lead.values()))
    leads = ", ".join(str(lead) for lead in by_lead)
    score = f"NSE {', '.join(scores)} for {leads} day{'' if leads == '1' else 's'} ahead, over the whole period"
    days = f"Forecasts by {part['method'].values[0]}, {_first_to_last(graph)}; dots are the scored leads"
    return {"score": score, "days": days, "chart": fan_chart(by_lead, f"Forecasts of {river}. {score}. {days}")}


def _hydrograph(example: xr.Dataset, limit: int, scored: Bool[np.ndarray, " T"] | None = None) -> Hydrograph:
    """An example as a hydrograph of at most `limit` days, those with the most scored ones; predicted days are hidden."""
    truth, mean = (example[name].to_numpy().astype(float) for name in ("truth", "mean"))
    scored = np.isfinite(mean) if scored is None else scored
    days = shown_days(np.isfinite(truth) & scored, np.isfinite(truth) | scored, limit)
    levels, quantiles = np.empty(0), np.empty((0, len(truth)))
    if "quantile_value" in example:
        values = example["quantile_value"].transpose("quantile", "time").sortby("quantile").astype(float)
        levels, quantiles = values["quantile"].to_numpy().astype(float), values.to_numpy()
    has_rain = "precipitation" in example
    rain = example["precipitation"].to_numpy().astype(float) if has_rain else np.full(len(truth), np.nan)
    time = pd.DatetimeIndex(example["time"].values[days])
    return Hydrograph(time, truth[days], mean[days], np.isfinite(mean[days]), levels, quantiles[:, days], rain[days])


def _first_to_last(graph: Hydrograph) -> str:
    return f"{format_date(graph.days[0])} to {format_date(graph.days[-1])}"
