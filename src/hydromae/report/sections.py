"""The sections of a report, each a function from numbers to HTML; everything that comes from data is escaped."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.summary import counted_scores, counts_catchment, scored_questions, summarise
from hydromae.report.chart import format_number
from hydromae.report.gb_map import MapDots, catchment_map, land_symbol, map_legend
from hydromae.report.html import Settings, chart_key, format_date, format_duration, format_period, format_value, section
from hydromae.report.labels import question_label
from hydromae.report.loss_history import LossHistory
from hydromae.report.plots import (
    LINE_STYLES,
    Curve,
    Hydrograph,
    distribution_chart,
    hydrograph_chart,
    loss_curve,
    shown_days,
)
from hydromae.report.tables import headline, question_rows


def page_header(scores: xr.Dataset, settings: Settings, title: str, model: str) -> str:
    """What was asked, and the headline numbers."""
    period = f" from {format_period(settings)}" if "period" in settings else ""
    count = len(
        np.unique(
            np.concatenate(
                [np.flatnonzero(counts_catchment(scores, name)) for name in scored_questions(scores)] or [[]]
            )
        )
    )
    seen = settings.get("seen_in_training")
    overlap_warnings = "".join(
        f"<p><b>{escape(str(line))}</b></p>" for line in (seen if isinstance(seen, list) else [])
    )
    return (
        f'<header><p class="eyebrow">hydromae evaluation</p><h1>{escape(title)}</h1>'
        f'<p class="lead">Measured river flow was taken out of the record of {count} catchments{escape(period)}, and '
        f"<b>{escape(model)}</b> was asked to put it back. Below: the Nash-Sutcliffe efficiency (NSE) of its answers, "
        "median over catchments. 1 is perfect; 0 is no better than the river's own mean.</p>"
        f"{overlap_warnings}{headline(scores, model)}</header>"
    )


def maps_section(scores: xr.Dataset, model: str) -> str:
    """Britain once a question, each catchment coloured by the model's NSE; nothing where the record has no places."""
    if "easting" not in scores.variables:
        return ""
    figures, summary = [], summarise(scores)
    for name in scored_questions(scores):
        part = counted_scores(scores, name, model)
        nse = part["nse"].to_numpy().astype(float)
        dots = MapDots(
            [str(catchment) for catchment in part["catchment"].values],
            part["easting"].to_numpy().astype(float),
            part["northing"].to_numpy().astype(float),
            nse,
        )
        line = question_rows(summary, name, model)[0]
        if line.method != model:
            continue
        title = question_label(name).title
        text = f"{title}: map of {len(nse)} catchments, median NSE {format_number(line.nse_median)}"
        caption = f"{len(nse)} catchments, median NSE {format_number(line.nse_median)}"
        caption += f", {line.unanswered} without a score (hollow)" if line.unanswered else ""
        figures.append(
            f"<figure><figcaption><b>{escape(title)}</b><br>{caption}</figcaption>{catchment_map(dots, text)}</figure>"
        )
    body = f'{land_symbol()}<div class="maps">{"".join(figures)}</div>{map_legend()}'
    return section(
        "where", "Where it works", "NSE of each catchment, at its gauge. Point at a dot for its number.", body
    )


def example_hydrograph(examples: xr.Dataset, k: int) -> Hydrograph:
    """One example as a hydrograph; days with an answer are the hidden ones."""
    one = examples.isel(example=k)
    truth, mean = (one[name].to_numpy().astype(float) for name in ("truth", "mean"))
    days = shown_days(np.isfinite(truth) & np.isfinite(mean), np.isfinite(truth) | np.isfinite(mean))
    levels, quantiles = np.empty(0), np.empty((0, len(truth)))
    if "quantile_value" in one:
        example_quantiles = one["quantile_value"].transpose("quantile", "time").sortby("quantile")
        levels, quantiles = (
            example_quantiles["quantile"].to_numpy().astype(float),
            example_quantiles.to_numpy().astype(float),
        )
    rain = one["precipitation"].to_numpy().astype(float) if "precipitation" in one else np.full(len(truth), np.nan)
    return Hydrograph(
        pd.DatetimeIndex(one["time"].values[days]),
        truth[days],
        mean[days],
        np.isfinite(mean[days]),
        levels,
        quantiles[:, days],
        rain[days],
    )


def example_figure(examples: xr.Dataset, k: int) -> str:
    """The figure of one example."""
    one, graph = examples.isel(example=k), example_hydrograph(examples, k)
    text = question_label(str(one["question"].item()))
    name, nse = str(one["catchment"].item()), float(one["nse"].item())
    hidden = f"all {len(graph.days)}" if graph.hidden.all() else f"{int(graph.hidden.sum())} of {len(graph.days)}"
    days = f"{hidden} days answered by {one['method'].item()}, {format_date(graph.days[0])} to {format_date(graph.days[-1])}"
    label = f"Hydrograph of catchment {name}. {text.title}, {days}, NSE {format_number(nse)}"
    return (
        f"<figure><figcaption><b>Catchment {escape(name)}</b>, NSE {format_number(nse)} over the whole period<br>"
        f"{escape(days[0].upper() + days[1:])}.</figcaption>{hydrograph_chart(graph, label)}</figure>"
    )


def examples_section(examples: xr.Dataset) -> str:
    """Hydrographs with their intervals: the middling river of each question, and its other rivers folded away."""
    if examples.sizes.get("example", 0) == 0:
        return ""
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(examples["question"].values):
        groups.setdefault(str(name), []).append(k)
    body = []
    for name, members in groups.items():
        ranked = sorted(members, key=lambda k: np.nan_to_num(float(examples["nse"].values[k]), nan=-np.inf))
        middle = ranked[(len(ranked) - 1) // 2]
        others = "".join(example_figure(examples, k) for k in ranked if k != middle)
        more = f"<details><summary>More rivers</summary>{others}</details>" if others else ""
        body.append(f"<div><h3>{escape(question_label(name).title)}</h3>{example_figure(examples, middle)}{more}</div>")
    entries = [
        ("rain", "area", "rain"),
        ("truth", "line", "measured"),
        ("mean", "line", "answered (mean)"),
        ("narrow", "area", "50 % interval"),
        ("wide", "area", "90 % interval"),
        ("hidden", "area", "hidden from the model"),
    ]
    lead = (
        "A river in the middle of the scores for each question. The model saw nothing of the measured line where the "
        "ground is shaded, nor on days that carry a dot. Point at a day for its numbers."
    )
    return section(
        "rivers", "Rivers, day by day", lead, f'{chart_key(entries)}<div class="examples">{"".join(body)}</div>'
    )


def distributions_section(scores: xr.Dataset, model: str) -> str:
    """Cumulative distributions of NSE, one chart a question."""
    styles = line_styles(scores, model)
    figures, summary = [], summarise(scores)
    for name in scored_questions(scores):
        rows, title = question_rows(summary, name, model), question_label(name).title
        lines = [(line.method, styles[line.method], counted_scores(scores, name, line.method)["nse"]) for line in rows]
        chart = distribution_chart(
            [Curve(method, kind, nse.to_numpy().astype(float)) for method, kind, nse in lines],
            f"{title}: cumulative distribution of NSE over catchments",
        )
        entries = [(kind, "line", method) for method, kind, _ in lines]
        figures.append(f"<figure><figcaption><b>{escape(title)}</b></figcaption>{chart}{chart_key(entries)}</figure>")
    lead = "Lines further to the right and lower are better. Scores below −0.5 stand at the left edge."
    return section("spread", "Good rivers and bad ones", lead, f'<div class="curves">{"".join(figures)}</div>')


def line_styles(scores: xr.Dataset, model: str) -> dict[str, str]:
    """The CSS class of every method in all charts, `l0` the model's: two that answer one question never share one.

    Unless more answer it than there are styles; then one recurs.
    """
    summary = summarise(scores)
    methods_by_question = {
        name: {line.method for line in question_rows(summary, name, model)} for name in scored_questions(scores)
    }
    styles = {model: "l0"}
    for method_index, method in enumerate(name for name in map(str, scores["method"].values) if name != model):
        used_styles = {
            styles.get(other) for methods in methods_by_question.values() if method in methods for other in methods
        }
        free = [f"l{k}" for k in range(1, LINE_STYLES) if f"l{k}" not in used_styles]
        styles[method] = free[0] if free else f"l{1 + method_index % (LINE_STYLES - 1)}"
    return styles


def training_section(losses: LossHistory | None) -> str:
    """The loss curve."""
    if losses is None:
        return ""
    text = f"{len(losses.step):,} entries in the journal, {format_duration(float(np.nanmax([0.0, *losses.seconds])))}."
    skipped = int((~losses.is_drawable).sum())
    if skipped:
        text += f" Not drawn: {skipped} without a positive finite loss."
    if not losses.is_drawable.any():
        return section("training", "Training", text, "")
    entries = [("raw", "line", "loss of a step"), ("l0", "line", "running median")]
    if np.isfinite(losses.validation_loss).any():
        entries.append(("check", "line", "validation"))
    return section("training", "Training", text, loss_curve(losses, "Loss by training step") + chart_key(entries))


def provenance_section(settings: Settings, card: Settings) -> str:
    """Settings, seed, command, and whose data these are, where that is known: what is needed to make the page again."""
    pairs = {**card, **settings} | ({"data": card["data_licence"]} if "data_licence" in card else {})
    if "period" in settings:
        pairs["period"] = format_period(settings)
    terms = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(format_value(value))}</dd>"
        for name, value in pairs.items()
        if name not in ("command", "data_licence", "seen_in_training")
    )
    command = settings.get("command")
    text = " ".join(str(word) for word in command) if isinstance(command, list | tuple) else format_value(command)
    command_html = f'<pre tabindex="0" aria-label="Command">{escape(text)}</pre>' if command else ""
    return section(
        "made", "How this page was made", "Everything needed to repeat it.", f"<dl>{terms}</dl>{command_html}"
    )
