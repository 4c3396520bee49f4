"""Values as text, and the templates of a report, which escape every value."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

Settings = dict[str, object]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hydromae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    return environment


def render(template: str, **values: object) -> Markup:
    """A template of the package with these values; all but `Markup` are escaped."""
    return Markup(_environment().get_template(template).render(values))


def format_number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign; a dash for NaN, and no negative zero."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def format_date(value: object) -> str:
    """A date such as 1 Oct 2012, with non-breaking spaces; any other value as text."""
    try:
        day = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{day.day}\N{NO-BREAK SPACE}{day:%b}\N{NO-BREAK SPACE}{day.year}"


def format_period(period: object) -> str:
    """First and last day of a period; any other value as text."""
    return " to ".join(map(format_date, period)) if isinstance(period, list | tuple) else str(period)


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def format_value(value: object) -> str:
    """A setting as text: strings joined by commas, other values as JSON."""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
