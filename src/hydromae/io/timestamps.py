"""Time stamps of daily values: their days, and steps that are not daily."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int

from hydromae.errors import InputError

ROUNDING_MARGIN = pd.Timedelta(10, "s")
"""Rounding error of stamps before midnight."""
LAST_SECOND = pd.Timedelta(86399, "s")
"""23:59:59, if all stamps of a record have it, is the end of the same day."""
OFFSET = re.compile(r"\bsince\b.*(?::\d{1,2}(?:\.\d*)?|\s)\s*([+-])(\d{1,2}):?(\d{2})?$", re.ASCII)
"""Units of time with an offset from UTC: `hours since 1999-09-01 00:00:00 +1:00`."""
ZONE = re.compile(r"(?<=\d)\s*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$", re.ASCII)
"""A time zone at the end of a stamp that has an hour."""
DAILY_WORDS = frozenset("d day days daily p1d p0y0m1dt0h0m0s".split())  # noqa: SIM905
STEPS = {
    "hour": "hourly values",
    "hourly": "hourly values",
    "1hr": "hourly values",
    "pt1h": "hourly values",
    "mon": "monthly values",
    "month": "monthly values",
    "monthly": "monthly values",
    "p1m": "monthly values",
    "mon-30y": "monthly means of 30 years",
    "seas": "seasonal values",
    "seas-30y": "seasonal means of 30 years",
    "season": "seasonal values",
    "seasonal": "seasonal values",
    "ann": "yearly values",
    "ann-30y": "yearly means of 30 years",
    "annual": "yearly values",
    "year": "yearly values",
    "yearly": "yearly values",
    "yr": "yearly values",
    "p1y": "yearly values",
    "week": "weekly values",
    "weekly": "weekly values",
    "p7d": "weekly values",
    "p1w": "weekly values",
}
"""Declared steps (`frequency`, `time_coverage_resolution`, the period of the NRFA) and their description."""
BANDS = ((7, 7, "weekly values"), (28, 31, "monthly values"), (89, 92, "seasonal values"), (365, 366, "yearly values"))
"""Minimum and maximum days between values, and their description."""
MIN_STEP_DAYS, MIN_VALUES = 5, 4
"""Steps from which values are means of several days, and the minimum number of values to detect them."""


def to_days(index: pd.DatetimeIndex, source: str) -> pd.DatetimeIndex:
    """Return the days of stamps in nanoseconds without hours; refuse dates outside the range of nanoseconds."""
    try:
        days = index.floor("D")
        time_of_day = index - days
        if not len(index) or (time_of_day == LAST_SECOND).all():
            return days.as_unit("ns")
        return (index + ROUNDING_MARGIN).floor("D").as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise InputError(f"{source}: time runs from {index.min()} to {index.max()}; keep to 1678 … 2261") from error


def local_time(dataset: xr.Dataset, time: str = "time") -> xr.Dataset:
    """Restore the local time of time units with an offset (`… +01:00`), which decoding converted to UTC."""
    if time not in dataset.coords or not np.issubdtype(dataset[time].dtype, np.datetime64):
        return dataset
    units_text = str(dataset[time].encoding.get("units", ""))
    offset = OFFSET.search(units_text)
    if offset is None:
        return dataset
    sign, hours, minutes = offset.groups()
    shift = np.timedelta64((60 * int(hours) + int(minutes or 0)) * (1 if sign == "+" else -1), "m")
    stamps = dataset[time]
    local = stamps.copy(data=stamps.values + shift)
    local.encoding = {**stamps.encoding, "units": units_text[: offset.start(1)].rstrip()}
    return dataset.assign_coords({time: local})


def strip_zone(stamp: str) -> str:
    """Remove the time zone from a stamp.

    Examples:
        >>> [strip_zone(stamp) for stamp in ("2009-03-29T00:00:00+01:00", "2009-03-29", "2009-03-29 09:00Z")]
        ['2009-03-29T00:00:00', '2009-03-29', '2009-03-29 09:00']
    """
    return ZONE.sub("", stamp) if ":" in stamp or "T" in stamp else stamp


def infer_step(stamps: pd.DatetimeIndex | np.ndarray) -> str | None:
    """Return the step of stamps (`monthly values`), None if they may be daily, with or without gaps.

    Args:
        stamps: Stamps of one series, in any order.
    """
    ordered = np.unique(np.asarray(stamps, "datetime64[ns]"))
    days = np.unique(ordered.astype("datetime64[D]"))
    if len(ordered) >= 2 * len(days) and len(ordered) > 2:
        return _subdaily_step(ordered)
    steps = np.diff(days).astype(np.int64)
    if not len(steps) or steps.min() < MIN_STEP_DAYS:
        return None
    if len(days) < MIN_VALUES:
        return _step_from_calendar(days)
    band = next((name for low, high, name in BANDS if steps.min() >= low and steps.max() <= high), None)
    return band or _step_from_calendar(days) or _step_from_multiples(steps)


def check_daily_step(step: str | None, source: str | Path) -> None:
    """Raise InputError if values are not daily."""
    if step:
        raise InputError(f"{source}: has {step}; give daily values")


def dataset_step(dataset: xr.Dataset, hint: str = "") -> str | None:
    """Return the step of a file: "" for daily, a description (`monthly values`), None for one value without metadata.

    Args:
        dataset: Dataset with a coordinate `time`; its attributes `frequency` and `time_coverage_resolution` and the bounds of
            time are used.
        hint: Another name of the step, such as a part of the file name.
    """
    declared = [dataset.attrs.get(key, "") for key in ("frequency", "time_coverage_resolution")]
    words = [str(one).strip().lower() for one in (*declared, hint)]
    word = next((one for one in words if one in DAILY_WORDS or one in STEPS), "")
    if word in STEPS:
        return STEPS[word]
    times = dataset["time"].values.ravel()
    has_several = len(np.unique(times.astype("datetime64[D]"))) > 1
    return infer_step(times) or _step_from_bounds(dataset) or ("" if has_several or word else None)


def check_steps_by_row(
    day: Int[np.ndarray, " N"], row: Int[np.ndarray, " N"], days: pd.DatetimeIndex, names: np.ndarray, source: str
) -> None:
    """Refuse a table with a catchment whose values are not daily; `day` and `row` are the indices of each value."""
    if not len(day):
        return
    number = days.to_numpy().astype("datetime64[D]").astype(np.int64)
    first, span = number.min(), np.ptp(number) + 1
    key = np.unique(row * span + (number[day] - first))
    starts = np.flatnonzero(np.diff(key // span, prepend=-1))
    steps = np.diff(key, prepend=key[:1])
    steps[starts] = span  # from one catchment to the next
    for start_index in np.flatnonzero(np.minimum.reduceat(steps, starts) >= MIN_STEP_DAYS):
        end = starts[start_index + 1] if start_index + 1 < len(starts) else len(key)
        stamps = (key[starts[start_index] : end] % span + first).astype("datetime64[D]")
        check_daily_step(infer_step(stamps), f"{source}: catchment {names[key[starts[start_index]] // span]}")


def check_hours(stamps: pd.DatetimeIndex, source: str) -> None:
    """Refuse stamps with three or more regular steps per day."""
    ordered = np.unique(stamps.to_numpy())
    days = np.unique(ordered.astype("datetime64[D]"))
    if (
        len(ordered) > 2 * len(days) + 2
        and len(set(np.diff(ordered).astype("timedelta64[s]").astype(np.int64).tolist())) < 3
    ):
        check_daily_step(_subdaily_step(ordered), source)


def _step_from_bounds(dataset: xr.Dataset) -> str | None:
    """Return the step from the bounds of the first time, or None."""
    name = str(dataset["time"].attrs.get("bounds", dataset["time"].encoding.get("bounds", "time_bnds")))
    if name not in dataset.variables or dataset[name].dtype.kind != "M" or dataset[name].shape[-1:] != (2,):
        return None
    ends = dataset[name].values.reshape(-1, 2)[0]
    width = int(np.round((ends[1] - ends[0]) / np.timedelta64(1, "D")))
    if width <= 1:
        return ""
    return next((name for low, high, name in BANDS if low <= width <= high), f"means of {width} days")


def _subdaily_step(stamps: np.ndarray) -> str:
    step = int(np.median(np.diff(stamps).astype("timedelta64[s]").astype(np.int64)))
    if step == 3600:
        return "hourly values"
    return (
        f"values of every {step // 3600} hours" if step % 3600 == 0 else f"values of every {max(1, step // 60)} minutes"
    )


def _step_from_calendar(days: np.ndarray) -> str | None:
    """Return the calendar step, with gaps: at most one value per month, on the same, the last or a middle day."""
    index = pd.DatetimeIndex(days)
    months = index.year * 12 + index.month
    day = np.asarray(index.day)
    ends = (index + pd.Timedelta(1, "D")).day == 1
    bounds = bool((day == 1).all() or ends.all())
    is_same_day = bounds or bool((day == day[0]).all()) or bool(((day >= 14) & (day <= 17)).all())
    if not is_same_day or months.has_duplicates or (len(days) < 3 and not bounds):
        return None
    if len(set(index.month)) == 1:
        return "yearly values"
    steps = np.diff(np.asarray(months))
    return "seasonal values" if (steps % 3 == 0).all() and len(days) > 2 else "monthly values"


def _step_from_multiples(steps: np.ndarray) -> str | None:
    """Return a step of a constant number of days, with gaps."""
    smallest = int(steps.min())
    if (steps % smallest != 0).any() or (len(steps) < 5 and len(set(steps.tolist())) > 1):
        return None
    return "weekly values" if smallest == 7 else f"values of every {smallest} days"
