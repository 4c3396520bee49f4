"""The keys of a table in long form: which day and which catchment a row is about."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from hydromae.data.readers.record import site_names
from hydromae.data.readers.stamps import refuse_hours, refuse_steps_by_row, whole_days, without_zone
from hydromae.errors import InputError, first_line

DATES = ("date", "time")
DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}(?![\d.])", re.ASCII)
CATCHMENTS = ("catchment", "id", "ID", "gauge_id", "station")


def flat_frame(frame: pd.DataFrame, where: str = "the table") -> pd.DataFrame:
    """The table with dates and catchments as columns, also where they were levels of its index.

    Raises
    ------
    InputError
        Two columns have one name.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{where}: two columns are named {str(twice[0])!r}; keep one")
    keys = {*DATES, *CATCHMENTS}
    levels = [name for name in frame.index.names if name in keys]
    if levels:
        return frame.reset_index(level=levels)
    if isinstance(frame.index, pd.DatetimeIndex) and not keys.intersection(frame.columns) & set(DATES):
        return frame.rename_axis("date").reset_index()
    return frame


def key_column(frame: pd.DataFrame, names: tuple[str, ...], where: str, what: str) -> str:
    """The first of `names` that the table has."""
    for name in names:
        if name in frame.columns:
            return name
    listed = ", ".join(map(str, frame.columns[:8]))
    raise InputError(f"{where}: no {what}; name one {' or '.join(names)} (columns are {listed})")


def site_keys(frame: pd.DataFrame, name: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """For each row the place of its catchment in the second array, which holds each catchment once."""
    try:
        row, found = pd.factorize(frame[name], sort=False)
    except TypeError as error:
        raise InputError(f"{where}: {name} is not all names ({first_line(error)}); write numbers or text") from error
    if (row < 0).any():
        raise InputError(f"{where}: {name} is empty in row {int((row < 0).argmax())}; name the catchment of every row")
    again, catchments = pd.factorize(site_names(np.asarray(found), where), sort=False)
    return again[row], np.asarray(catchments)


def day_keys(frame: pd.DataFrame, name: str, where: str) -> pd.DatetimeIndex:
    """The day of each row, as its date is written, whatever the hour and the time zone."""
    held = pd.Series(frame[name])
    try:
        if not pd.api.types.is_datetime64_any_dtype(held):
            for told in held.dropna().unique():
                if not DATE.match(str(told)):  # "now" and 7 would be dates to pandas
                    raise ValueError(f"it holds {str(told)[:40]!r}")
            held = held.astype(str).where(held.notna()).map(without_zone, na_action="ignore")
        days = pd.DatetimeIndex(pd.to_datetime(held, format="ISO8601"))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: {name} is not all dates ({first_line(error)}); write YYYY-MM-DD") from error
    if days.hasnans:
        raise InputError(f"{where}: {name} is empty in row {int(days.isna().argmax())}; write YYYY-MM-DD")
    stamps = days.tz_localize(None)
    refuse_hours(stamps, where)
    return whole_days(stamps, where)


def refuse_twice(day: np.ndarray, row: np.ndarray, days: pd.DatetimeIndex, catchments: np.ndarray, where: str) -> None:
    """Refuse a catchment that has two rows of one day, or one a week, a month or a year."""
    refuse_steps_by_row(day, row, days, catchments, where)
    pair = day.astype(np.int64) * len(catchments) + row
    _, first = np.unique(pair, return_index=True)
    if len(first) < len(pair):
        again = np.setdiff1d(np.arange(len(pair)), first)[0]
        raise InputError(
            f"{where}: catchment {catchments[row[again]]} has {days[day[again]]:%Y-%m-%d} twice; give one row a day"
        )
