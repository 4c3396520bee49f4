"""A page of warnings: the chance of each threshold by river and day, without scripts and without other files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hydromae import __version__
from hydromae.evaluate.events import WARNING_PROBABILITY
from hydromae.report.labels import threshold_label
from hydromae.report.text import format_date, render

SHADES = (0.05, 0.2, WARNING_PROBABILITY, 0.6, 0.85)
"""Probabilities at which a cell gets the next colour."""


def warnings_html(table: pd.DataFrame, source: str, members: int | None, rivers: Mapping[str, str]) -> str:
    """Return the page of a table of warnings (`evaluate.warnings.warning_table`); of several issue days, the last one.

    Args:
        table: The table.
        source: What was forecast and with which model, in a line.
        members: Number of members of the ensemble of weather; None without an ensemble.
        rivers: Label of each catchment (`sections.river_labels`).
    """
    latest = table.iloc[np.flatnonzero(table["issue_time"].to_numpy() == table["issue_time"].to_numpy().max())]
    latest = latest.assign(
        catchment=[rivers[str(catchment)] for catchment in latest["catchment"]],
        threshold=[threshold_label(name) for name in latest["threshold"]],
    )
    flow = next(column for column in latest.columns if column.startswith("flow ["))
    warned = latest.iloc[np.flatnonzero(latest["warning"])].sort_values(
        ["date", "probability"], ascending=[True, False]
    )
    return render(
        "warnings.html",
        style=Markup((files("hydromae") / "report" / "style.css").read_text(encoding="utf-8")),
        version=__version__,
        issue=format_date(str(latest["issue_time"].iloc[0])[:10]),
        source=source,
        members=members,
        limit=round(100 * WARNING_PROBABILITY),
        units=flow.removeprefix("flow [").removesuffix("]"),
        warned=[
            {**row, "date": format_date(str(row["date"])[:10]), "flow": row[flow]} for row in warned.to_dict("records")
        ],
        thresholds=[_threshold(latest, name, flow) for name in dict.fromkeys(latest["threshold"])],
    )


def _threshold(table: pd.DataFrame, name: str, flow: str) -> dict[str, Any]:
    """Return title, days and rows of the table of a threshold."""
    rows = table.iloc[np.flatnonzero(table["threshold"] == name)]
    by_river = rows.pivot_table(index="catchment", columns="date", values="probability", sort=False, dropna=False)
    limits = rows.drop_duplicates("catchment").set_index("catchment")[flow]
    rivers = [
        {"name": river, "flow": limits[river], "cells": [_cell(value) for value in values]}
        for river, values in zip(by_river.index, by_river.to_numpy(), strict=True)
    ]
    return {
        "name": name,
        "side": rows["side"].iloc[0],
        "days": [format_date(str(day)[:10]) for day in by_river.columns],
        "rivers": rivers,
    }


def _cell(probability: float) -> dict[str, Any]:
    """Return the text and the shade of a probability."""
    if not np.isfinite(probability):
        return {"text": "–", "shade": 0}
    percent = round(100 * probability)
    text = "<1 %" if percent < 1 and probability > 0 else f"{percent} %"
    return {"text": text, "shade": int(np.searchsorted(SHADES, probability, side="right"))}
