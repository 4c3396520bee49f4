"""Days ahead: a record or a table made longer by days of which nothing is known."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.conventions import STATIC
from hydromae.io.dataset import find_dimension
from hydromae.io.table_keys import CATCHMENTS, DATES, dates_after, day_keys, flat_frame, key_column
from hydromae.io.wide_table import is_wide


def with_days(data: xr.Dataset | pd.DataFrame, days: int) -> xr.Dataset | pd.DataFrame:
    """A record with `days` more days after its last one, NaN in every variable of time; what was there stays.

    Args:
        data: As for `table.from_dataset` or `table.from_frame`. A long table gets a row a day for each of its catchments,
            with the static attributes of that catchment, and has days and catchments as columns. Dates go on in the format,
            the hour and the time zone of the last one.
        days: At least 1.

    Raises:
        InputError: If there is no day to add, or the data have no dates.
    """
    if days < 1:
        raise InputError(f"days {days}: a forecast needs at least one day ahead")
    if isinstance(data, pd.DataFrame):
        return _longer_table(data, days)
    time = find_dimension(data, ("time", *DATES)) if isinstance(data, xr.Dataset) else None
    index = None if time is None else data.indexes.get(time)
    if not isinstance(index, pd.DatetimeIndex) or not len(index):
        raise InputError("the dataset: has no coordinate time of dates; a forecast follows the last date")
    ahead = pd.date_range(index.max(), periods=days + 1, freq="D")[1:]
    return data.reindex({time: index.append(ahead)})


def _longer_table(frame: pd.DataFrame, days: int) -> pd.DataFrame:
    """A table longer by rows of which only the days, the catchments and their static attributes are known."""
    where = "the table"
    flat = flat_frame(frame)
    date = key_column(flat, DATES, where, "date column")
    ahead = dates_after(pd.Series(flat[date]), day_keys(flat, date, where), days).rename(date)
    if is_wide(flat):
        rows = pd.DataFrame({date: ahead}).set_axis(flat.columns[flat.columns == date], axis=1)
    else:
        site = key_column(flat, CATCHMENTS, where, "catchment column")
        known = [name for name in STATIC if name in flat.columns]
        first = flat.groupby(site, sort=False, as_index=False, observed=True)[known].first() if known else None
        rows = (flat[[site]].drop_duplicates() if first is None else first).merge(ahead, how="cross")
    longer = pd.concat([flat, rows.reindex(columns=flat.columns)], ignore_index=True)
    longer = longer.astype({label: kind for label, kind in flat.dtypes.items() if kind.kind == "f" or kind == "str"})
    longer.attrs = dict(frame.attrs)
    if not is_wide(flat) or flat.shape[1] == frame.shape[1]:
        return longer
    return longer.set_index(flat.columns[0]).rename_axis(frame.index.names)
