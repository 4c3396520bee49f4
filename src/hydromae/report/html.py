"""Small pieces that every section uses: headings, keys, dates and values in words. What comes from data is escaped."""

from __future__ import annotations

import json
from datetime import datetime
from html import escape

Settings = dict[str, object]


def key_sample(kind: str, shape: str) -> str:
    """A small picture of a line or an area, for a key."""
    drawn = (
        f'<rect class="{kind}" width="26" height="11"/>' if shape == "area" else f'<path class="{kind}" d="M0 6H26"/>'
    )
    return f'<svg viewBox="0 0 26 11" aria-hidden="true">{drawn}</svg>'


def chart_key(entries: list[tuple[str, str, str]]) -> str:
    """A key below a chart: entries are (CSS class, "line" or "area", words)."""
    items = "".join(f"<li>{key_sample(kind, shape)}{escape(words)}</li>" for kind, shape, words in entries)
    return f'<ul class="key">{items}</ul>'


def section(name: str, title: str, lead: str, body: str) -> str:
    """A section with its heading; `lead` and `body` are HTML."""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2><p>{lead}</p>{body}</section>'


def format_date(value: object) -> str:
    """A date as a reader says it, with spaces that do not break; anything else as it stands."""
    try:
        day = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{day.day}\N{NO-BREAK SPACE}{day:%b}\N{NO-BREAK SPACE}{day.year}"


def format_period(settings: Settings) -> str:
    """The evaluated period in words."""
    period = settings["period"]
    return " to ".join(format_date(end) for end in period) if isinstance(period, list | tuple) else str(period)


def format_duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def format_value(value: object) -> str:
    """A setting as text."""
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
