"""Series of single gauges from downloaded files, and their combination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.attributes import numeric_column
from hydromae.io.best_column import describe_fallbacks
from hydromae.io.conventions import site_names
from hydromae.io.names import shortened
from hydromae.io.table_keys import day_keys
from hydromae.io.timestamps import check_daily_step, infer_step
from hydromae.io.value_ranges import COLUMN, PROCESSING, joined_notes


@dataclass(frozen=True)
class Gauge:
    """Series and attributes of one gauge from one file.

    Attributes:
        series (mapping of str to array (T,)): Series by the names of the product, NaN if unobserved.
        units: Units of series that the file states.
        static_attributes: Attributes in the file, under the NRFA names.
        file: Name of the file, for messages.
    """

    name: int | str
    days: pd.DatetimeIndex
    series: Mapping[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)
    static_attributes: Mapping[str, float] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True)
class Product:
    """Downloaded product with one or more files per gauge.

    Attributes:
        name, source: Name; reference and licence.
        columns (mapping of str to tuple of (str, str)): Columns of each variable with their units, the best first.
        is_product_file: Returns whether a file has series of the product.
        open: Reads a file of series as a gauge.
        static_attributes: Reads attributes (catchment) from tables in a folder, None without tables.
        is_table: Returns whether a file is one of these tables.
        notes: How columns that are not measured as they are were computed.
    """

    name: str
    source: str
    columns: Mapping[str, tuple[tuple[str, str], ...]]
    is_product_file: Callable[[Path], bool]
    open: Callable[[Path], Gauge]
    static_attributes: Callable[[Path], xr.Dataset | None]
    is_table: Callable[[Path], bool] = lambda path: False
    notes: Mapping[str, str] = field(default_factory=dict)


def unique_days(frame: pd.DataFrame, name: str, source: str) -> pd.DatetimeIndex:
    """Return the days of a column (YYYY-MM-DD, or all day/month/year); refuse duplicates."""
    days = day_keys(frame, name, source)
    check_daily_step(infer_step(days), source)
    if days.has_duplicates:
        raise InputError(f"{source}: has {days[days.duplicated()][0]:%Y-%m-%d} twice; keep one row a day")
    return days


def gauge_from_table(name: str, frame: pd.DataFrame, date: str, columns: Iterable[str], source: Path) -> Gauge:
    """Return a gauge from a table with a column of dates."""
    if date not in frame.columns:
        raise InputError(
            f"{source}: no column {date}; the name of the file does not fit its content "
            f"(columns are {shortened(frame.columns)})"
        )
    series = {column: numeric_column(frame, column, source) for column in columns if column in frame.columns}
    return Gauge(gauge_number(name), unique_days(frame, date, str(source)), series, file=source.name)


def gauge_number(name: str) -> int | str:
    """Return the name of a gauge, as an integer if it is one."""
    return int(name) if name.isdecimal() and not (name.startswith("0") and name != "0") else name


def concat_gauges(gauges_by_name: Mapping[int | str, list[Gauge]], product: Product, source: str) -> xr.Dataset:
    """Combine the series and attributes of all gauges on all days.

    A gauge takes the best series of a variable that has values. If its units differ from those of the best series, it is a
    separate variable under its own name.
    """
    names = sorted(gauges_by_name, key=lambda name: (isinstance(name, str), name))
    all_days = pd.DatetimeIndex(
        np.unique(np.concatenate([g.days.to_numpy() for part in gauges_by_name.values() for g in part]))
    )
    variables: dict[str, tuple] = {}
    for variable, choices in product.columns.items():
        variables |= _series_of(
            variable, choices, [_one_of_each(gauges_by_name[name], source) for name in names], names, all_days, source
        )
    for _, _, attrs in variables.values():
        notes = (attrs.get(PROCESSING), product.notes.get(attrs[COLUMN]))
        attrs |= {PROCESSING: joined_notes(*notes)} if any(notes) else {}
    if not variables:
        column_list = ", ".join(column for choices in product.columns.values() for column, _ in choices)
        raise InputError(f"{source}: none of {column_list} is in its files of {product.name}; download series of days")
    static_attributes = {
        attribute_name
        for part in gauges_by_name.values()
        for gauge in part
        for attribute_name in gauge.static_attributes
    }
    for attribute_name in sorted(static_attributes):
        values = [
            next(
                (
                    g.static_attributes[attribute_name]
                    for g in gauges_by_name[name]
                    if attribute_name in g.static_attributes
                ),
                np.nan,
            )
            for name in names
        ]
        variables[attribute_name] = ("catchment", np.array(values, dtype=np.float64))
    return xr.Dataset(variables, {"time": all_days, "catchment": site_names(np.array(names), source)})


def choose_series(series: Mapping[str, np.ndarray], choices: Iterable[tuple[str, str]]) -> str | None:
    """Return the best series of a gauge with a value, or the best of its series, or None without series."""
    available = [column for column, _ in choices if column in series]
    return next(
        (column for column in available if np.isfinite(series[column]).any()), available[0] if available else None
    )


def _one_of_each(gauges: list[Gauge], source: str) -> dict[str, Gauge]:
    """Return the file of each series of a gauge; refuse a series in two files."""
    gauge_by_column: dict[str, Gauge] = {}
    for gauge in gauges:
        for column in gauge.series:
            if column in gauge_by_column:
                files = f"{gauge_by_column[column].file}, {gauge.file}"
                raise InputError(f"{source}: gauge {gauge.name} has {column} in 2 files: {files}; keep one of them")
            gauge_by_column[column] = gauge
    return gauge_by_column


def _series_of(
    variable: str,
    choices: tuple[tuple[str, str], ...],
    files: list[dict[str, Gauge]],
    names: list[int | str],
    all_days: pd.DatetimeIndex,
    source: str,
) -> dict[str, tuple]:
    """Return a variable of all gauges, and separate variables for series in other units."""
    chosen_columns = [choose_series({n: g.series[n] for n, g in one.items()}, choices) for one in files]
    used_columns = [(column, units_text) for column, units_text in choices if column in chosen_columns]
    variables: dict[str, tuple] = {}
    for column, units_text in used_columns:
        site_indices = [site_index for site_index, one in enumerate(chosen_columns) if one == column]
        units_found = {files[site_index][column].units.get(column, units_text) for site_index in site_indices}
        if len(units_found) > 1:
            raise InputError(
                f"{source}: {column} has the units {' and '.join(sorted(units_found))}; download it in one of them"
            )
        (units,) = units_found
        same_units_name = next((name for name, (_, _, attrs) in variables.items() if attrs["units"] == units), None)
        name = same_units_name or (variable if not variables else column)
        empty = np.full((len(all_days), len(files)), np.nan, np.float32)
        _, values, attrs = variables.setdefault(name, (("time", "catchment"), empty, {"units": units, COLUMN: column}))
        for site_index in site_indices:
            gauge = files[site_index][column]
            values[all_days.get_indexer(gauge.days), site_index] = gauge.series[column]
        if same_units_name is not None:
            fallbacks = {column: [names[site_index] for site_index in site_indices]}
            attrs[PROCESSING] = joined_notes(attrs.get(PROCESSING), describe_fallbacks(used_columns[0][0], fallbacks))
    return variables
