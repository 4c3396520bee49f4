"""Days ahead: a record or a table made longer by days of which nothing is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers.keys import CATCHMENTS, DATES, day_keys, flat_frame, key_column
from hydromae.data.readers.record import STATIC
from hydromae.data.readers.wide import is_wide
from hydromae.errors import InputError


def with_days(data: xr.Dataset | pd.DataFrame, days: int) -> xr.Dataset | pd.DataFrame:
    """A record with `days` more days after its last one, NaN in every variable of time; what was there stays.

    Parameters
    ----------
    data : Dataset or DataFrame
        As for `table.from_dataset`, `table.from_frame` or `wide.to_long`. A long table gets a row a day for each of its
        catchments, with the static attributes of that catchment.
    days : int
        At least 1.

    Raises
    ------
    InputError
        If there is no day to add, or the data have no dates.
    """
    if days < 1:
        raise InputError(f"days {days}: a forecast needs at least one day ahead")
    if isinstance(data, pd.DataFrame):
        return _longer_table(data, days)
    index = data.indexes.get("time") if isinstance(data, xr.Dataset) else None
    if not isinstance(index, pd.DatetimeIndex) or not len(index):
        raise InputError("the dataset: has no coordinate time of dates; a forecast follows the last date")
    return data.reindex(time=index.append(_after(index.values.max(), days)))


def _longer_table(frame: pd.DataFrame, days: int) -> pd.DataFrame:
    where = "the table"
    flat = flat_frame(frame)
    if is_wide(frame):
        return _longer_wide(frame, flat, days)
    date, site = key_column(flat, DATES, where, "date column"), key_column(flat, CATCHMENTS, where, "catchment column")
    last = day_keys(flat, date, where).to_numpy().max()
    known = [name for name in STATIC if name in flat.columns]
    rows = flat.groupby(site, sort=False, as_index=False)[known].first() if known else flat[[site]].drop_duplicates()
    ahead = pd.Series(_after(last, days), name=date)
    written = ahead if pd.api.types.is_datetime64_any_dtype(flat[date]) else ahead.dt.strftime("%Y-%m-%d")
    longer = pd.concat([flat, rows.merge(written, how="cross")], ignore_index=True)
    return longer.reindex(columns=flat.columns)


def _longer_wide(frame: pd.DataFrame, flat: pd.DataFrame, days: int) -> pd.DataFrame:
    """A table with a column a river, longer by rows of NaN, with its days where they were: in the index, or a column."""
    date = next(name for name in DATES if name in flat.columns)
    ahead = pd.DataFrame({date: _after(day_keys(flat, date, "the table").to_numpy().max(), days)})
    rest = pd.DataFrame(np.nan, index=ahead.index, columns=[name for name in flat.columns if name != date])
    if date in frame.columns:
        if not pd.api.types.is_datetime64_any_dtype(flat[date]):
            ahead[date] = ahead[date].dt.strftime("%Y-%m-%d")
        longer = pd.concat([frame, pd.concat([ahead, rest], axis=1)], ignore_index=True).reindex(columns=frame.columns)
    else:
        index = pd.DatetimeIndex(ahead[date], name=frame.index.name, tz=None)
        plain = frame.set_axis(day_keys(flat, date, "the table").rename(frame.index.name), axis=0)
        longer = pd.concat([plain, rest.set_axis(index, axis=0)])
    longer.attrs = dict(frame.attrs)
    return longer


def _after(last: pd.Timestamp | np.datetime64, days: int) -> pd.DatetimeIndex:
    return pd.date_range(last, periods=days + 1, freq="D")[1:]
