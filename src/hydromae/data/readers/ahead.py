"""Days ahead: a record or a table made longer by days of which nothing is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers.keys import CATCHMENTS, DATES, day_keys, flat_frame, key_column
from hydromae.data.readers.record import STATIC
from hydromae.errors import InputError


def with_days(data: xr.Dataset | pd.DataFrame, days: int) -> xr.Dataset | pd.DataFrame:
    """A record with `days` more days after its last one, NaN in every variable of time; what was there stays.

    Parameters
    ----------
    data : Dataset or DataFrame
        As for `table.from_dataset` or `table.from_frame`. A table gets a row a day for each of its catchments, with the
        static attributes of that catchment.
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
    date, site = key_column(flat, DATES, where, "date column"), key_column(flat, CATCHMENTS, where, "catchment column")
    last = day_keys(flat, date, where).to_numpy().max()
    known = [name for name in STATIC if name in flat.columns]
    rows = flat.groupby(site, sort=False, as_index=False)[known].first() if known else flat[[site]].drop_duplicates()
    ahead = pd.Series(_after(last, days), name=date)
    written = ahead if pd.api.types.is_datetime64_any_dtype(flat[date]) else ahead.dt.strftime("%Y-%m-%d")
    longer = pd.concat([flat, rows.merge(written, how="cross")], ignore_index=True)
    return longer.reindex(columns=flat.columns)


def _after(last: pd.Timestamp | np.datetime64, days: int) -> pd.DatetimeIndex:
    return pd.date_range(last, periods=days + 1, freq="D")[1:]
