"""A page of the verification of issued forecasts, without scripts and without other files."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hydromae import __version__
from hydromae.evaluate.verification import Verification
from hydromae.report.chart import Scale, Tick, chart_frame, line_path
from hydromae.report.labels import threshold_label
from hydromae.report.text import format_date, render

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def verification_html(scores: Verification, days: pd.DatetimeIndex) -> str:
    """Return the page of a verification; `days` are the issue days."""
    first, last = (format_date(str(day)[:10]) for day in (days[0], days[-1]))
    totals = scores.events.groupby("threshold", sort=False, as_index=False)[["cases", "events"]].sum()
    return render(
        "verification.html",
        style=Markup((files("hydromae") / "report" / "style.css").read_text(encoding="utf-8")),
        version=__version__,
        period=first if len(days) == 1 else f"{first} to {last}",
        counts=scores.counts,
        conclusion=scores.conclusion(),
        leads=scores.leads.to_dict("records"),
        events=[row for row in scores.events.to_dict("records") if row["events"] > 0 or row["false_alarms"] > 0],
        totals=pd.DataFrame(totals).to_dict("records"),
        intervals=_diagram(
            scores.intervals["level"].to_numpy(),
            scores.intervals["share_below"].to_numpy(),
            "Share of observations that do not exceed each quantile; the diagonal is right",
            "Observations below the quantile [%]",
        ),
        reliability=[_reliability(scores.reliability, name) for name in dict.fromkeys(scores.reliability["threshold"])],
        threshold_label=threshold_label,
    )


def _reliability(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the rows of a threshold, and their diagram if there are two classes of chances."""
    rows = table.iloc[np.flatnonzero(table["threshold"] == name)]
    diagram = _diagram(
        rows["mean_probability"].to_numpy(),
        rows["share_of_events"].to_numpy(),
        f"Share of events by the predicted chance of {threshold_label(name)}; the diagonal is right",
        "Events [%]",
    )
    return {"name": name, "rows": rows.to_dict("records"), "diagram": diagram if len(rows) > 1 else ""}


def _diagram(x: np.ndarray, y: np.ndarray, label: str, axis_title: str) -> Markup:
    """A line of shares against probabilities, with the diagonal."""
    across, up = Scale(0.0, 1.0), Scale(0.0, 1.0, down=True)
    ends = np.array([0.0, 1.0])
    marks = Markup().join(
        [line_path(across(ends), up(ends), "line l2"), line_path(across(x), up(y), "line l0", axis_title)]
    )
    bottom = [Tick(across.at(tick), f"{100 * tick:.0f}") for tick in TICKS]
    left = [Tick(up.at(tick), f"{100 * tick:.0f}") for tick in TICKS]
    return chart_frame(marks, label, bottom, left, "square", axis_title)
