"""Keys of a long table: the day and the catchment of each row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from hydromae.errors import InputError, first_line
from hydromae.io.conventions import site_names
from hydromae.io.names import shortened
from hydromae.io.timestamps import check_hours, check_steps_by_row, strip_zone, to_days

Label = Any
"""Label of a column: text, a number, or a tuple of several levels."""
DATES = ("date", "time", "datetime")
DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}(?![\d.])", re.ASCII)
DAY_MONTH_YEAR = re.compile(
    r"\s*(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T]+(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?\s*", re.ASCII
)
"""Day/month/year, with an optional time."""
CATCHMENTS = ("catchment", "id", "gauge_id", "station")
NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?", re.ASCII)
UNNAMED = ("", "index", "unnamed: 0")
"""Names of a first column that was an index without a name."""


def plain_label(label: Label) -> str:
    """Return a label in lower case without spaces; of several levels, the only one that is not empty."""
    parts = [str(part) for part in (label if isinstance(label, tuple) else (label,)) if str(part).strip()]
    return parts[0].strip().casefold() if len(parts) == 1 else ""


def flat_frame(frame: pd.DataFrame, source: str = "the table") -> pd.DataFrame:
    """Return the table with dates and catchments as columns, also if they were index levels.

    Raises:
        InputError: Two columns have one name.
    """
    duplicated = frame.columns[frame.columns.duplicated()]
    if len(duplicated):
        raise InputError(f"{source}: two columns are named {str(duplicated[0])!r}; keep one")
    key_levels = [name for name in frame.index.names if plain_label(name) in (*DATES, *CATCHMENTS)]
    if key_levels:
        return frame.reset_index(level=key_levels)
    if isinstance(frame.index, pd.DatetimeIndex) and find_key(frame, DATES) is None:
        return frame.rename_axis("date").reset_index()
    return frame


def find_key(frame: pd.DataFrame, names: tuple[str, ...]) -> Label | None:
    """Return the label of the first of `names` in a table, in any case; for dates also an unnamed first column."""
    labels = {plain_label(label): label for label in reversed(frame.columns)}
    key = next((labels[name] for name in names if name in labels), None)
    if key is None and names is DATES and len(frame.columns) and plain_label(frame.columns[0]) in UNNAMED:
        first = frame.columns[0]
        values = pd.Series(frame[first]).dropna()
        if len(values) and (_is_datetime(values) or _is_date(str(values.iloc[0]))):
            return first
    return key


def key_column(frame: pd.DataFrame, names: tuple[str, ...], source: str, what: str) -> Label:
    """Apply `find_key`, and raise InputError if the table has none."""
    key = find_key(frame, names)
    if key is None:
        raise InputError(f"{source}: no {what}; name one {' or '.join(names)} (columns are {shortened(frame.columns)})")
    return key


def as_numbers(names: pd.Series) -> pd.Series:
    """Convert names of catchments to integers if all are written as 39001 or 39001.0, but not 01013500."""
    texts = names.dropna().astype(str).str.strip()
    unique_texts = texts.unique()
    if (
        len(texts) < len(names)
        or not len(texts)
        or not all(NUMBER.fullmatch(one) and len(one) < 18 for one in unique_texts)
    ):
        return names
    numbers = {one: int(one.partition(".")[0]) for one in unique_texts}
    return texts.map(numbers).astype(np.int64)


def site_keys(frame: pd.DataFrame, name: Label, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the catchment of each row, and the distinct catchments."""
    try:
        row, key = pd.factorize(frame[name], sort=False)
    except TypeError as error:
        raise InputError(f"{source}: {name} is not all names ({first_line(error)}); write numbers or text") from error
    if (row < 0).any():
        raise InputError(f"{source}: {name} is empty in row {int((row < 0).argmax())}; name the catchment of every row")
    order, catchments = pd.factorize(site_names(np.asarray(key), source), sort=False)
    return order[row], np.asarray(catchments)


def day_keys(frame: pd.DataFrame, name: Label, source: str) -> pd.DatetimeIndex:
    """Return the day of each row as written, without hour and time zone."""
    dates = pd.Series(frame[name])
    try:
        if not _is_datetime(dates):
            dates = _iso(dates)
            for texts in dates.dropna().unique():
                if not DATE.match(str(texts)):  # pandas accepts "now" and 7 as dates
                    raise ValueError(f"it holds {str(texts)[:40]!r}")
            dates = dates.astype(str).where(dates.notna()).map(strip_zone, na_action="ignore")
        days = pd.DatetimeIndex(pd.to_datetime(dates, format="ISO8601"))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{source}: {name} is not all dates ({first_line(error)}); write YYYY-MM-DD") from error
    if days.hasnans:
        raise InputError(f"{source}: {name} is empty in row {int(days.isna().argmax())}; write YYYY-MM-DD")
    stamps = days.tz_localize(None)
    check_hours(stamps, source)
    return to_days(stamps, source)


def check_duplicate_rows(
    day: np.ndarray, row: np.ndarray, days: pd.DatetimeIndex, catchments: np.ndarray, source: str
) -> None:
    """Refuse a catchment with two rows on one day, or with weekly, monthly or yearly values."""
    check_steps_by_row(day, row, days, catchments, source)
    pair = day.astype(np.int64) * len(catchments) + row
    _, first = np.unique(pair, return_index=True)
    if len(first) < len(pair):
        order = np.setdiff1d(np.arange(len(pair)), first)[0]
        raise InputError(
            f"{source}: catchment {catchments[row[order]]} has {days[day[order]]:%Y-%m-%d} twice; give one row a day"
        )


def _is_datetime(values: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(values)


def _is_date(text: str) -> bool:
    return bool(DATE.match(text) or DAY_MONTH_YEAR.fullmatch(text))


def _iso(dates: pd.Series) -> pd.Series:
    """Convert day/month/year to YYYY-MM-DD if all of a column has this format."""
    texts = dates.dropna().astype(str)
    names: dict[str, str] = {}
    for text in texts.unique():
        match = DAY_MONTH_YEAR.fullmatch(text)
        if match is None:
            return dates
        day, month, year, hour = match.groups()
        names[text] = f"{year}-{month:0>2}-{day:0>2}" + (f" {hour:0>5}" if hour else "")
    for text, iso in names.items():
        if int(iso[5:7]) > 12:
            raise ValueError(f"{text.strip()}, which is not day/month/year")
    return texts.map(names).reindex(dates.index)


def format_like(text: str, day: pd.Timestamp) -> str:
    """Format a day like another date: YYYY-MM-DD, YYYYMMDD or day/month/year, with the rest of its text."""
    match_dmy = DAY_MONTH_YEAR.fullmatch(text)
    if match_dmy is None:
        date_text = f"{day:%Y-%m-%d}" if text[4] == "-" else f"{day:%Y%m%d}"
        match = DATE.match(text)
        assert match is not None
        return date_text + text[match.end() :]
    padded = len(match_dmy.group(1)) == 2 and len(match_dmy.group(2)) == 2
    short_date = f"{day:%d/%m/%Y}" if padded else f"{day.day}/{day.month}/{day.year}"
    return text[: match_dmy.start(1)] + short_date + text[match_dmy.end(3) :]


def append_columns(table: pd.DataFrame, added: dict[Label, pd.Series]) -> pd.DataFrame:
    """Append columns to a table, or replace those of the same name."""
    for label in [label for label in added if label in table.columns]:
        table[label] = added.pop(label)
    new_labels = pd.DataFrame(added, index=table.index)
    names = [*table.columns, *new_labels.columns]
    is_multi = table.columns.nlevels > 1
    labels = pd.MultiIndex.from_tuples(names, names=table.columns.names) if is_multi else pd.Index(names)
    combined = pd.concat([table.set_axis(range(len(table.columns)), axis=1), new_labels], axis=1).set_axis(
        labels, axis=1
    )
    combined.columns.names, combined.attrs = table.columns.names, dict(table.attrs)
    return combined
