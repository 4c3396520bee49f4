"""Table of evaporation and river flow of the raw layout: long parquet, read in blocks of days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import xarray as xr
from jaxtyping import Int

from hydromae.errors import InputError, first_line
from hydromae.io import units
from hydromae.io.names import shortened
from hydromae.io.table_keys import day_keys
from hydromae.io.timestamps import check_daily_step, infer_step
from hydromae.io.unobserved import FILLED_SUFFIX, is_filled, mark_columns, unobserved_to_nan
from hydromae.io.value_ranges import check_ranges

DATE, SITE = "date", "ID"
COLUMNS = {"evaporation": ("evaporation", "mm day-1"), "discharge_vol": ("riverflow", "m3 s-1")}
"""Column -> variable and units."""


@dataclass(frozen=True)
class FlowTable:
    """Table with the columns `date, ID, evaporation, discharge_vol` [mm/day, m³/s], and marks of filled values.

    Attributes:
        catchments (int array (C,)): All catchments of the table, ascending.
    """

    path: Path
    rows: pads.Dataset
    catchments: Int[np.ndarray, " C"]

    @classmethod
    def open(cls, path: str | Path) -> FlowTable:
        """Check the keys of the table; `days` reads its values.

        Raises:
            InputError: No such file, not parquet, a missing column or another type, invalid dates, or an ID that is not an
                integer.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        try:
            rows = pads.dataset(path, format="parquet")
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error
        _check_columns(rows.schema, path)
        catchments_found: set[int] = set()
        days: set[pd.Timestamp] = set()
        for batch in _batches(rows, [DATE, SITE], None, path):
            days |= set(_parsed(batch[DATE].unique(), path))
            catchments_found |= set(_catchment_numbers(batch[SITE].unique(), path).tolist())
        if not catchments_found:
            raise InputError(f"{path}: has no rows; a row contains the values of one catchment on one day")
        check_daily_step(infer_step(pd.DatetimeIndex(sorted(days))), path)
        return cls(path, rows, np.array(sorted(catchments_found), dtype=np.int64))

    def days(self, days: pd.DatetimeIndex, area: xr.DataArray) -> xr.Dataset:
        """Read `evaporation` and `riverflow` [mm/day] `(time, catchment)`, float32, NaN if unobserved.

        Args:
            days: Consecutive days.
            area (DataArray (catchment)): Catchment areas [km²], to convert m³/s to mm/day.

        Raises:
            InputError: A duplicate day of a catchment, flow without a catchment area, or a value out of range.
        """
        shape = (len(days), len(self.catchments))
        columns_values = {column: np.full(shape, np.nan, np.float32) for column in COLUMNS}
        row_count = np.zeros(shape, np.int64)
        column_names = self.rows.schema.names
        marks = dict.fromkeys(
            mark_name for column in COLUMNS for mark_name in mark_columns(column) if mark_name in column_names
        )
        for batch in _batches(self.rows, [DATE, SITE, *COLUMNS, *marks], self._between(days), self.path):
            cells = (
                days.get_indexer(_parsed(batch[DATE], self.path)),
                np.searchsorted(self.catchments, _catchment_numbers(batch[SITE], self.path)),
            )
            np.add.at(row_count, cells, 1)
            for column, values in columns_values.items():
                values[cells] = _observed_values(batch, column, self.path)
        self._check_duplicates(row_count, days)
        record = xr.Dataset(coords={"time": days, "catchment": self.catchments})
        for column, (name, spelled) in COLUMNS.items():
            raw = unobserved_to_nan(xr.DataArray(columns_values[column], dims=("time", "catchment")))
            record[name] = units.convert(raw, name, spelled, str(self.path), area).astype(np.float32)
        return check_ranges(record, str(self.path))

    def _between(self, days: pd.DatetimeIndex) -> pads.Expression:
        kind = self.rows.schema.field(DATE).type
        ends = (days[0], days[-1] + pd.Timedelta(days=1))
        lower, upper = (
            f"{day:%Y-%m-%d}" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else pa.scalar(day, kind)
            for day in ends
        )
        return (pc.field(DATE) >= lower) & (pc.field(DATE) < upper)

    def _check_duplicates(self, row_count: Int[np.ndarray, "T C"], days: pd.DatetimeIndex) -> None:
        if row_count.max(initial=0) > 1:
            day, row = (int(index[0]) for index in np.nonzero(row_count > 1))
            raise InputError(
                f"{self.path}: catchment {self.catchments[row]} has {days[day]:%Y-%m-%d} {row_count[day, row]} times; "
                "give one row a day"
            )


def _check_columns(schema: pa.Schema, path: Path) -> None:
    for name in (DATE, SITE, *COLUMNS):
        if schema.names.count(name) != 1:
            raise InputError(
                f"{path}: {schema.names.count(name)} columns {name}; it needs one (columns are {shortened(schema.names)})"
            )
    date = schema.field(DATE).type
    text = pa.types.is_string(date) or pa.types.is_large_string(date)
    if not (text or pa.types.is_date(date) or (pa.types.is_timestamp(date) and date.tz is None)):
        raise InputError(f"{path}: {DATE} is of type {date}; write dates without a time zone, or text YYYY-MM-DD")
    for name in COLUMNS:
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise InputError(f"{path}: {name} is of type {kind}; write numbers, empty where nothing was observed")
        mark_name = f"{name}{FILLED_SUFFIX}"
        if mark_name in schema.names and not pa.types.is_boolean(schema.field(mark_name).type):
            raise InputError(
                f"{path}: {mark_name} is of type {schema.field(mark_name).type}; write true where a value was filled in"
            )


def _batches(
    rows: pads.Dataset, columns: list[str], condition: pads.Expression | None, path: Path
) -> Iterator[pa.RecordBatch]:
    try:
        yield from rows.scanner(columns=columns, filter=condition, batch_readahead=2, fragment_readahead=1).to_batches()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error


def _parsed(dates: pa.Array, path: Path) -> pd.DatetimeIndex:
    if dates.null_count:
        raise InputError(f"{path}: {DATE} is empty in some row; write YYYY-MM-DD")
    if pa.types.is_date(dates.type):
        dates = dates.cast(pa.timestamp("s"))  # avoids one object per day
    return day_keys(pd.DataFrame({DATE: dates.to_pandas()}), DATE, str(path))


def _catchment_numbers(sites: pa.Array, path: Path) -> Int[np.ndarray, " N"]:
    if sites.null_count:
        raise InputError(f"{path}: {SITE} is empty in some row; name the catchment of every row")
    try:
        return sites.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: {SITE} is not all whole numbers ({first_line(error)}); write NRFA numbers"
        ) from error


def _observed_values(batch: pa.RecordBatch, column: str, path: Path) -> np.ndarray:
    """Return a column with NaN for empty or marked values."""
    values = batch[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
    marks = [mark_name for mark_name in mark_columns(column) if mark_name in batch.schema.names]
    if not marks:
        return values
    return np.where(is_filled(batch.select(marks).to_pandas(), column, path), np.nan, values)
