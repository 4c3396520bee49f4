"""A table in wide form: a row for each day, a column for each river, flow in it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hydromae.data.readers.keys import CATCHMENTS, DATES, flat_frame
from hydromae.data.readers.names import COLUMNS
from hydromae.errors import InputError

UNITS = "units"


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
    long = flat.melt(id_vars=date, var_name="catchment", value_name=f"riverflow [{units}]")
    return long.rename(columns={date: "date"})


def to_wide(answer: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The answer to `to_long(frame)` in the form of the frame: its columns filled, and beside them those of each quantile.

    A column `39001` brings `39001_q05` and so on, and `39001_origin`.
    """
    result = frame.copy()
    days = len(frame)
    names = [name for name in flat_frame(frame).columns if name not in DATES]
    values = {str(column).partition(" [")[0]: answer[column].to_numpy() for column in answer.columns}
    told, beside = [key for key in values if key.startswith("riverflow_")], dict[str, np.ndarray]()
    for place, name in enumerate(names):
        mine = slice(place * days, (place + 1) * days)
        filled = values["riverflow"][mine]
        given = frame[name].to_numpy()
        kept = given.dtype if given.dtype.kind == "f" else np.dtype(np.float64)
        result[name] = np.where(pd.isna(given), filled, given).astype(kept)
        beside |= {f"{name}{key.removeprefix('riverflow')}": values[key][mine] for key in told}
    return pd.concat([result, pd.DataFrame(beside, index=frame.index)], axis=1)
