"""Fill short gaps of a table by linear interpolation, with marks of filled values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hydromae.errors import InputError
from hydromae.io.locate import one_of
from hydromae.io.long_table import LongTable
from hydromae.io.table_keys import format_like
from hydromae.io.unobserved import FILLED_SUFFIX
from hydromae.preprocess.missing import codes_of
from hydromae.preprocess.missing_sources import TABLES
from hydromae.store.zarr_store import atomic_output


def fill(source: str | Path, out: str | Path, longest: int = 7, variables: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write a copy of a long table with short gaps filled, and a boolean column `<column>_filled` beside each column.

    Args:
        source: Long CSV or parquet, or a folder in the raw layout with a parquet file.
        out: The copy (`.parquet`): the rows of the table in their order, then new rows for filled days.
        longest: Maximum length of a filled gap [days]; longer gaps and gaps at the ends of a record stay.
        variables: Columns to fill; default all known columns.

    Returns:
        dict: `path`, and `filled`: number of filled values by column.

    Raises:
        InputError: Not a table, no such column, or `longest` below 1.
    """
    if longest < 1:
        raise InputError(f"longest fill {longest}: below 1 day; give the longest gap that is filled")
    if Path(out).suffix != ".parquet":
        raise InputError(f"{out}: a filled table is written as .parquet; name it so")
    table = LongTable.read(_table_path(Path(source)))
    unknown = [name for name in variables if name not in table.columns]
    if unknown:
        raise InputError(f"{table.path}: no variable {unknown[0]} in it; it has {', '.join(table.columns)}")
    shape = (len(table.days), len(table.catchments))
    is_absent = np.ones(shape, dtype=bool)
    is_absent[table.day, table.row] = False
    copy, is_added = table.frame.copy(), np.zeros(shape, dtype=bool)
    values, counts = {}, {}
    for column in variables or table.columns:
        marked_before = table.marks(column)
        values[column], is_filled = fill_gaps_linearly(table.values(column), marked_before, longest)
        counts[column] = int(is_filled.sum())
        is_added |= is_filled & is_absent
        value_type = np.float32 if copy[column].dtype == np.float32 else np.float64
        copy[column] = values[column][table.day, table.row].astype(value_type)
        copy[f"{column}{FILLED_SUFFIX}"] = (is_filled | marked_before)[table.day, table.row]
    if is_added.any():
        copy = pd.concat([copy, _rows(copy, table, is_added, values)], ignore_index=True)
    with atomic_output(out) as temporary:
        copy.to_parquet(temporary, index=False)
    return {"path": str(out), "filled": counts}


def fill_gaps_linearly(
    values: Float[np.ndarray, "T C"], marked: Bool[np.ndarray, "T C"], longest: int
) -> tuple[Float[np.ndarray, "T C"], Bool[np.ndarray, "T C"]]:
    """Fill gaps of up to `longest` days linearly in time; return values, and True where filled.

    Other missing values (`missing.KINDS`, including marked values) stay.
    """
    is_observed = codes_of(values, marked) == 0
    day = np.arange(len(values))[:, None]
    marked_before = np.maximum.accumulate(np.where(is_observed, day, -1), axis=0)
    after = np.minimum.accumulate(np.where(is_observed, day, len(values))[::-1], axis=0)[::-1]
    is_filled = ~is_observed & (marked_before >= 0) & (after < len(values)) & (after - marked_before - 1 <= longest)
    day_index, site = np.nonzero(is_filled)
    low, high = marked_before[day_index, site], after[day_index, site]
    start, end = values[low, site], values[high, site]
    filled = values.copy()
    filled[day_index, site] = start + (end - start) * (day_index - low) / (high - low)
    return filled, is_filled


def _table_path(source: Path) -> Path:
    table_path = one_of(source, ("riverflow_evaporation_*.parquet", "*.parquet")) if source.is_dir() else source
    if table_path is None or not str(table_path).endswith(TABLES):
        raise InputError(f"{source}: only tables in long form are filled; give a .parquet or .csv file")
    return table_path


def _rows(
    copy: pd.DataFrame, table: LongTable, is_added: Bool[np.ndarray, "T C"], values: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return rows for filled days without a row, in the types of the copy."""
    day, row = np.nonzero(is_added)
    dates = pd.Series(table.days[day].astype("datetime64[s]"))
    first_date = copy[table.date].iloc[0]
    if isinstance(first_date, str):
        dates = pd.Series([format_like(first_date, day) for day in dates], dtype=object)
    elif not pd.api.types.is_datetime64_any_dtype(copy[table.date]):
        dates = dates.dt.date
    columns = {table.date: dates.astype(copy[table.date].dtype), table.site: table.catchments[row]}
    for name, column_values in values.items():
        columns[name] = pd.Series(column_values[day, row]).astype(copy[name].dtype)
        columns[f"{name}{FILLED_SUFFIX}"] = np.isfinite(column_values[day, row])
    return pd.DataFrame(columns)
