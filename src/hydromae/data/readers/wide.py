"""A table in wide form: a row for each day, a column for each river, flow in it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from hydromae.data.readers.keys import CATCHMENTS, DATES, flat_frame
from hydromae.data.readers.names import COLUMNS
from hydromae.data.readers.unobserved import ORIGIN
from hydromae.errors import InputError

UNITS = "units"
BESIDE = re.compile(r"(.+)_(?:origin|q\d+(?:\.\d+)?)")
"""Columns that an answer has beside the column of a river."""


def is_wide(frame: pd.DataFrame) -> bool:
    """Whether a table has days, and neither a column of catchments nor one of a known variable."""
    flat = flat_frame(frame)
    known = {*CATCHMENTS, *COLUMNS}
    plain = [str(column).partition("[")[0].partition("(")[0].strip() for column in flat.columns]
    return any(name in flat.columns for name in DATES) and not known.intersection(plain)


def to_long(frame: pd.DataFrame) -> pd.DataFrame:
    """The same flow in long form; its units are those of `frame.attrs["units"]`.

    Raises
    ------
    InputError
        It does not say its units.
    """
    units = frame.attrs.get(UNITS)
    if not isinstance(units, str) or not units.strip():
        raise InputError('the table: is wide and does not say its units; set table.attrs["units"], such as "m3 s-1"')
    flat = flat_frame(frame)
    date = next(name for name in DATES if name in flat.columns)
    rivers = rivers_of(flat)
    long = flat.melt(date, rivers, var_name="catchment", value_name=f"riverflow [{units}]")
    origins = {f"{name}{ORIGIN}" for name in rivers}.intersection(map(str, flat.columns))
    if origins:  # the answer to such a table
        held = [
            flat[f"{name}{ORIGIN}"] if f"{name}{ORIGIN}" in origins else pd.Series(0, flat.index) for name in rivers
        ]
        long[f"riverflow{ORIGIN}"] = pd.concat(held, ignore_index=True)
    return long.rename(columns={date: "date"})


def rivers_of(frame: pd.DataFrame) -> list[Any]:
    """The columns of a wide table that hold flow: not its days, and not what an answer puts beside a river (`39001_q05`)."""
    names = {str(name) for name in frame.columns}
    beside = {str(name) for name in frame.columns if (river := BESIDE.fullmatch(str(name))) and river[1] in names}
    return [name for name in frame.columns if name not in DATES and str(name) not in beside]


def to_wide(answer: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The answer to `to_long(frame)` in the form of the frame: its columns filled, and beside them those of each quantile.

    A column `39001` brings `39001_q05` and so on, and `39001_origin`.
    """
    flat, days = flat_frame(frame), len(frame)
    names = rivers_of(flat)
    result = frame[[name for name in frame.columns if name in names or name in DATES]].copy()
    values = {str(column).partition(" [")[0]: answer[column].to_numpy() for column in answer.columns}
    told, beside = [key for key in values if key.startswith("riverflow_")], dict[str, np.ndarray]()
    for place, name in enumerate(names):
        mine = slice(place * days, (place + 1) * days)
        kept = np.float32 if frame[name].dtype == np.float32 else np.float64
        result[name] = values["riverflow"][mine].astype(kept)
        beside |= {f"{name}{key.removeprefix('riverflow')}": values[key][mine] for key in told}
    return pd.concat([result, pd.DataFrame(beside, index=frame.index)], axis=1)
