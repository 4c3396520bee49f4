"""Long tables as (time, catchment) arrays with their original values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from hydromae.errors import InputError
from hydromae.io.attributes import parse_numbers
from hydromae.io.csv_parquet import read_csv, read_parquet
from hydromae.io.names import parse_column_name
from hydromae.io.table_keys import CATCHMENTS, DATES, check_duplicate_rows, day_keys, flat_frame, key_column, site_keys
from hydromae.io.unobserved import is_filled


@dataclass(frozen=True)
class LongTable:
    """Table with one row per day and catchment, in any order.

    Attributes:
        date, site: Key columns.
        day, row (int arrays (N,)): Index of the day and the catchment of each row.
        days (array (T,)): All days from the first to the last (datetime64[D]).
        catchments (array (C,)): In order of appearance.
        columns: Columns of known variables (`io.names.parse_column_name`).
    """

    path: Path
    frame: pd.DataFrame
    date: str
    site: str
    day: Int[np.ndarray, " N"]
    row: Int[np.ndarray, " N"]
    days: Shaped[np.ndarray, " T"]
    catchments: Shaped[np.ndarray, " C"]
    columns: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> LongTable:
        """Read `.csv`, `.csv.gz` or `.parquet`.

        Raises:
            InputError: No such file, not a table, missing, invalid or duplicate keys, or no known column.
        """
        source, table_path = str(path), Path(path)
        if not table_path.is_file():
            raise InputError(f"{source}: no such file; check the path")
        frame = flat_frame(read_parquet(path) if source.endswith((".parquet", ".pq")) else read_csv(path))
        date = key_column(frame, DATES, source, "date column")
        site = key_column(frame, CATCHMENTS, source, "catchment column")
        value_columns = tuple(str(c) for c in frame.columns if parse_column_name(c) is not None)
        if not value_columns or frame.empty:
            raise InputError(f"{source}: no value of riverflow, precipitation, temperature or evaporation in it")
        dates = day_keys(frame, date, source)
        all_days = pd.date_range(dates.min(), dates.max(), unit="ns")
        day = all_days.get_indexer(dates).astype(np.int64)
        row, catchments = site_keys(frame, site, source)
        check_duplicate_rows(day, row, all_days, catchments, source)
        return cls(
            table_path,
            frame,
            date,
            site,
            day,
            row,
            all_days.to_numpy().astype("datetime64[D]"),
            catchments,
            value_columns,
        )

    def values(self, column: str) -> Float[np.ndarray, "T C"]:
        """Return the original values of a column, with −99999 and ±inf; NaN for empty cells and missing rows."""
        grid_values = np.full((len(self.days), len(self.catchments)), np.nan)
        grid_values[self.day, self.row] = parse_numbers(self.frame, column, self.path)
        return grid_values

    def marks(self, column: str) -> Bool[np.ndarray, "T C"]:
        """Return True where a value of a column is marked as filled."""
        grid_values = np.zeros((len(self.days), len(self.catchments)), dtype=bool)
        grid_values[self.day, self.row] = is_filled(self.frame, column, self.path)
        return grid_values
