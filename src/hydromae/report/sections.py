"""The sections of a report, each a function from numbers to HTML; everything that comes from data is escaped here."""

from __future__ import annotations

import json
from datetime import datetime
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.report.britain import Dots, britain, land_symbol, legend
from hydromae.report.chart import number
from hydromae.report.journal import Losses
from hydromae.report.plots import LINES, Curve, Hydrograph, distribution, hydrograph, loss_curve
from hydromae.report.summary import Row, counted, counted_scores, needed_days, questions, row, table
from hydromae.report.words import question

Settings = dict[str, object]


def sample(kind: str, shape: str) -> str:
    """A small picture of a line or an area, for a key."""
    drawn = (
        f'<rect class="{kind}" width="26" height="11"/>' if shape == "area" else f'<path class="{kind}" d="M0 6H26"/>'
    )
    return f'<svg viewBox="0 0 26 11" aria-hidden="true">{drawn}</svg>'


def key(entries: list[tuple[str, str, str]]) -> str:
    """A key below a chart: entries are (CSS class, "line" or "area", words)."""
    items = "".join(f"<li>{sample(kind, shape)}{escape(words)}</li>" for kind, shape, words in entries)
    return f'<ul class="key">{items}</ul>'


def section(name: str, title: str, lead: str, body: str) -> str:
    """A section with its heading; `lead` and `body` are HTML."""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2><p>{lead}</p>{body}</section>'


def headline(scores: xr.Dataset, model: str) -> str:
    """One tile a question: the model's median NSE, and the best baseline's."""
    tiles = []
    for name in questions(scores):
        rows = table(scores, name, model)
        own = next((line for line in rows if line.method == model), None)
        rivals = [line for line in rows if line.method != model]
        beside = f"best baseline {number(rivals[0].nse)}, {rivals[0].method}" if rivals else "no baseline was run"
        tiles.append(
            f'<li><span class="name">{escape(question(name).title)}</span><b>{number(own.nse if own else np.nan)}</b>'
            f"<span>{escape(beside)}</span></li>"
        )
    return f'<ul class="tiles" aria-label="Median NSE over catchments">{"".join(tiles)}</ul>'


def header(scores: xr.Dataset, settings: Settings, title: str, model: str) -> str:
    """What was asked, and the headline numbers."""
    period = f" in {period_of(settings)}" if "period" in settings else ""
    count = len(
        np.unique(np.concatenate([np.flatnonzero(counted(scores, name)) for name in questions(scores)] or [[]]))
    )
    return (
        f'<header><p class="eyebrow">hydromae evaluation</p><h1>{escape(title)}</h1>'
        f'<p class="lead">Measured river flow was taken out of the record of {count} catchments{escape(period)}, and '
        f"<b>{escape(model)}</b> was asked to put it back. Below: the Nash-Sutcliffe efficiency (NSE) of its answers, "
        "median over catchments. 1 is perfect; 0 is no better than the river's own mean.</p>"
        f"{headline(scores, model)}</header>"
    )


def period_of(settings: Settings) -> str:
    """The evaluated period in words."""
    period = settings["period"]
    return " to ".join(date(end) for end in period) if isinstance(period, list | tuple) else str(period)


def date(value: object) -> str:
    """A date as a reader says it, with spaces that do not break; anything else as it stands."""
    try:
        day = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{day.day}\N{NO-BREAK SPACE}{day:%b}\N{NO-BREAK SPACE}{day.year}"


def maps(scores: xr.Dataset, model: str) -> str:
    """Britain once a question, each catchment coloured by the model's NSE."""
    figures = []
    for name in questions(scores):
        part = counted_scores(scores, name, model)
        nse = part["nse"].to_numpy().astype(float)
        dots = Dots(
            [str(catchment) for catchment in part["catchment"].values],
            part["easting"].to_numpy().astype(float),
            part["northing"].to_numpy().astype(float),
            nse,
        )
        line = row(scores, name, model)
        title = question(name).title
        words = f"{title}: map of {len(nse)} catchments, median NSE {number(line.nse)}"
        caption = f"{len(nse)} catchments, median {number(line.nse)}"
        caption += f", {line.unanswered} without an answer (hollow)" if line.unanswered else ""
        figures.append(
            f"<figure><figcaption><b>{escape(title)}</b><br>{caption}</figcaption>{britain(dots, words)}</figure>"
        )
    body = f'{land_symbol()}<div class="maps">{"".join(figures)}</div>{legend()}'
    return section(
        "where", "Where it works", "NSE of each catchment, at its gauge. Point at a dot for its number.", body
    )


def graph_of(examples: xr.Dataset, k: int) -> Hydrograph:
    """One example as a hydrograph, without the days at either end on which nothing is known."""
    one = examples.isel(example=k)
    known = np.flatnonzero(np.isfinite(one["truth"].to_numpy()) | np.isfinite(one["mean"].to_numpy()))
    one = one.isel(time=slice(int(known[0]), int(known[-1]) + 1)) if len(known) else one
    return Hydrograph(
        pd.DatetimeIndex(one["time"].values),
        one["truth"].to_numpy().astype(float),
        one["mean"].to_numpy().astype(float),
        one["hidden"].to_numpy().astype(bool),
        one["quantile"].to_numpy().astype(float),
        one["riverflow_quantile"].transpose("quantile", "time").to_numpy().astype(float),
        one["precipitation"].to_numpy().astype(float),
    )


def example(examples: xr.Dataset, k: int) -> str:
    """The figure of one example."""
    one, graph = examples.isel(example=k), graph_of(examples, k)
    words = question(str(one["question"].item()))
    name, nse = str(one["catchment"].item()), float(one["nse"].item())
    hidden = f"all {len(graph.days)}" if graph.hidden.all() else f"{int(graph.hidden.sum())} of {len(graph.days)}"
    days = f"{hidden} days hidden, {date(graph.days[0])} to {date(graph.days[-1])}"
    label = f"Hydrograph of catchment {name}. {words.title}, {days}, NSE {number(nse)}"
    return (
        f"<figure><figcaption><b>Catchment {escape(name)}</b>, NSE {number(nse)}<br>{escape(words.title)}. "
        f"{days[0].upper()}{days[1:]}.</figcaption>{hydrograph(graph, label)}</figure>"
    )


def examples_section(examples: xr.Dataset) -> str:
    """Hydrographs with their intervals."""
    entries = [
        ("rain", "area", "rain"),
        ("truth", "line", "measured"),
        ("mean", "line", "answered (mean)"),
        ("narrow", "area", "50 % interval"),
        ("wide", "area", "90 % interval"),
        ("hidden", "area", "hidden from the model"),
    ]
    figures = "".join(example(examples, k) for k in range(examples.sizes["example"]))
    lead = "The model saw nothing of the measured line where the ground is shaded. Point at a day for its numbers."
    return section("rivers", "Rivers, day by day", lead, f'{key(entries)}<div class="examples">{figures}</div>')


def score_cells(line: Row, best: float) -> str:
    """The numbers of one line of the score table."""
    mark = ' class="best"' if np.isfinite(best) and round(line.nse, 3) >= round(best, 3) else ""
    answered = f"{line.catchments - line.unanswered} of {line.catchments}" if line.unanswered else str(line.catchments)
    cells = [number(value, 3) for value in (line.nse25, line.nse10, line.kge, line.crps)]
    rest = "".join(f"<td>{cell}</td>" for cell in (*cells, answered))
    return f"<td{mark}>{number(line.nse, 3)}</td>{rest}"


def score_table(scores: xr.Dataset, model: str) -> str:
    """Model against baselines, question by question."""
    bodies = []
    for name in questions(scores):
        rows, words = table(scores, name, model), question(name)
        best = max((line.nse for line in rows if np.isfinite(line.nse)), default=np.nan)
        lines = "".join(
            f'<tr class="{"model" if line.method == model else "baseline"}"><th scope="row">{escape(line.method)}</th>'
            f"{score_cells(line, best)}</tr>"
            for line in rows
        )
        bodies.append(
            f'<tbody><tr class="question"><th scope="rowgroup" colspan="7"><span><b>{escape(words.title)}</b>. Hidden: '
            f"{escape(words.removed)}. Seen: {escape(words.stays)}. "
            f"From {needed_days(scores, name)} scored days.</span></th></tr>{lines}</tbody>"
        )
    names = ("Method", "NSE median", "NSE 25th", "NSE 10th", "KGE median", "CRPS [mm/day]", "Catchments")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = (
        '<div class="scroll" role="region" tabindex="0" aria-label="Scores of every method"><table><thead><tr>'
        f"{head}</tr></thead>{''.join(bodies)}</table></div>"
    )
    lead = (
        "NSE and KGE are computed for each catchment over all its hidden days with a measurement, then summarised over "
        "catchments: the median, and the values that 25 % and 10 % of catchments fall below. A missing answer counts "
        "as worse than any score."
    )
    return section("scores", "Against the baselines", lead, body)


def distributions(scores: xr.Dataset, model: str) -> str:
    """Cumulative distributions of NSE, one chart a question."""
    order = [model, *(str(name) for name in scores["method"].values if name != model)]
    figures = []
    for name in questions(scores):
        rows, title = table(scores, name, model), question(name).title
        lines = [
            (line.method, f"l{order.index(line.method) % LINES}", counted_scores(scores, name, line.method)["nse"])
            for line in rows
        ]
        chart = distribution(
            [Curve(method, kind, nse.to_numpy().astype(float)) for method, kind, nse in lines],
            f"{title}: cumulative distribution of NSE over catchments",
        )
        entries = [(kind, "line", method) for method, kind, _ in lines]
        figures.append(f"<figure><figcaption><b>{escape(title)}</b></figcaption>{chart}{key(entries)}</figure>")
    lead = "Lines further to the right and lower are better. Scores below −0.5 stand at the left edge."
    return section("spread", "Good rivers and bad ones", lead, f'<div class="curves">{"".join(figures)}</div>')


def reliability(scores: xr.Dataset, model: str) -> str:
    """How often the truth fell inside the intervals."""
    rows = [(name, line) for name in questions(scores) for line in table(scores, name, model)]
    rows = [(name, line) for name, line in rows if np.isfinite(line.coverage50) or np.isfinite(line.coverage90)]
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(question(name).title)}</th><td>{escape(line.method)}</td>'
        f"<td>{number(100 * line.coverage50, 0)} %</td><td>{number(100 * line.coverage90, 0)} %</td></tr>"
        for name, line in rows
    )
    body = (
        '<div class="scroll" role="region" tabindex="0" aria-label="Coverage of the intervals"><table><thead><tr>'
        '<th scope="col">Question</th><th scope="col">Method</th><th scope="col">in the 50 % interval</th>'
        f'<th scope="col">in the 90 % interval</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )
    lead = "Share of measured days inside the interval, median over catchments. Honest intervals hold 50 % and 90 %."
    return section("reliability", "Can the intervals be trusted?", lead, body)


def training(losses: Losses | None) -> str:
    """The loss curve."""
    if losses is None:
        return ""
    words = f"{len(losses.step):,} entries in the journal, {duration(float(np.nanmax([0.0, *losses.seconds])))}."
    skipped = int((~losses.drawable).sum())
    if skipped:
        words += f" Not drawn: {skipped} without a positive finite loss."
    if not losses.drawable.any():
        return section("training", "Training", words, "")
    entries = [("raw", "line", "loss of a step"), ("l0", "line", "running median")]
    if np.isfinite(losses.validation_loss).any():
        entries.append(("check", "line", "validation"))
    return section("training", "Training", words, loss_curve(losses, "Loss by training step") + key(entries))


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def plain(value: object) -> str:
    """A setting as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def made(settings: Settings, card: Settings, licence: str) -> str:
    """Settings, seed, command and licence: what is needed to make the page again."""
    pairs = {**card, **settings}
    if "period" in settings:
        pairs["period"] = period_of(settings)
    terms = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(plain(value))}</dd>"
        for name, value in pairs.items()
        if name not in ("command", "data_licence")
    )
    terms += f"<dt>data</dt><dd>{escape(licence)}</dd>"
    command = settings.get("command")
    words = " ".join(str(word) for word in command) if isinstance(command, list | tuple) else plain(command)
    shown = f'<pre tabindex="0" aria-label="Command">{escape(words)}</pre>' if command else ""
    return section("made", "How this page was made", "Everything needed to repeat it.", f"<dl>{terms}</dl>{shown}")
