"""A table in long form laid out as days by catchments, its values as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from hydromae.errors import InputError
from hydromae.io.attributes import numbers
from hydromae.io.csv_parquet import read_csv, read_parquet
from hydromae.io.names import named
from hydromae.io.table_keys import CATCHMENTS, DATES, day_keys, flat_frame, key_column, refuse_twice, site_keys
from hydromae.io.unobserved import marked


@dataclass(frozen=True)
class LongTable:
    """One row a day and catchment, in any order.

    Attributes:
        date, site: Its key columns.
        day, row (int arrays (N,)): Where the values of each row belong on `days` and among `catchments`.
        days (array (T,)): Every day from the first to the last (datetime64[D]).
        catchments (array (C,)): In order of appearance.
        columns: Columns of known quantities (`io.names.named`).
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
        """From `.csv`, `.csv.gz` or `.parquet`.

        Raises:
            InputError: No such file, no table, keys that are missing, empty, no dates or twice, or no known column.
        """
        where, place = str(path), Path(path)
        if not place.is_file():
            raise InputError(f"{where}: no such file; check the path")
        frame = flat_frame(read_parquet(path) if where.endswith((".parquet", ".pq")) else read_csv(path))
        date = key_column(frame, DATES, where, "date column")
        site = key_column(frame, CATCHMENTS, where, "catchment column")
        known = tuple(str(c) for c in frame.columns if named(c) is not None)
        if not known or frame.empty:
            raise InputError(f"{where}: no value of riverflow, precipitation, temperature or evaporation in it")
        dates = day_keys(frame, date, where)
        every = pd.date_range(dates.min(), dates.max(), unit="ns")
        day = every.get_indexer(dates).astype(np.int64)
        row, catchments = site_keys(frame, site, where)
        refuse_twice(day, row, every, catchments, where)
        return cls(place, frame, date, site, day, row, every.to_numpy().astype("datetime64[D]"), catchments, known)

    def values(self, column: str) -> Float[np.ndarray, "T C"]:
        """A column as it stands, −99999 and ±inf among it; NaN where it is empty, or where there is no row."""
        laid = np.full((len(self.days), len(self.catchments)), np.nan)
        laid[self.day, self.row] = numbers(self.frame, column, self.path)
        return laid

    def marks(self, column: str) -> Bool[np.ndarray, "T C"]:
        """True where a value of a column is marked as filled in."""
        laid = np.zeros((len(self.days), len(self.catchments)), dtype=bool)
        laid[self.day, self.row] = marked(self.frame, column, self.path)
        return laid
