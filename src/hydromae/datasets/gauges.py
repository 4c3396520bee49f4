"""What a file of a downloaded product says of one gauge, and all gauges side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.attributes import numeric
from hydromae.io.best_column import told_of
from hydromae.io.conventions import site_names
from hydromae.io.table_keys import day_keys
from hydromae.io.timestamps import refuse_step, step_of
from hydromae.io.value_ranges import COLUMN, PROCESSING


@dataclass(frozen=True)
class Gauge:
    """What one file says of one gauge.

    Attributes:
        series (mapping of str to array (T,)): By the product's own names, NaN where nothing was observed.
        units: Of series whose file says them.
        traits: What the file says of the catchment, under the NRFA names.
        file: Its name, for messages.
    """

    name: int | str
    days: pd.DatetimeIndex
    series: Mapping[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, float] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True)
class Product:
    """A product of which a folder may hold files.

    Attributes:
        name, source: Whose it is; where it comes from, and its licence.
        columns (mapping of str to tuple of (str, str)): For each variable the series that give it, the best one first, with
            their units.
        is_one: Whether a file is one of its series.
        open: A file of series as a gauge.
        traits: Attributes of catchments (catchment) from tables in the folder, None where there are none.
        is_table: Whether a file is one of these tables.
    """

    name: str
    source: str
    columns: Mapping[str, tuple[tuple[str, str], ...]]
    is_one: Callable[[Path], bool]
    open: Callable[[Path], Gauge]
    traits: Callable[[Path], xr.Dataset | None]
    is_table: Callable[[Path], bool] = lambda path: False


def days_of(frame: pd.DataFrame, name: str, where: str) -> pd.DatetimeIndex:
    """Days of a column, as YYYY-MM-DD or, where all are so, as day/month/year; none of them twice."""
    days = day_keys(frame, name, where)
    refuse_step(step_of(days), where)
    if days.has_duplicates:
        raise InputError(f"{where}: has {days[days.duplicated()][0]:%Y-%m-%d} twice; keep one row a day")
    return days


def gauge_of(name: str, frame: pd.DataFrame, date: str, columns: Iterable[str], where: Path) -> Gauge:
    """A gauge from a table with a column of dates."""
    if date not in frame.columns:
        listed = ", ".join(map(str, frame.columns[:8]))
        raise InputError(f"{where}: no column {date}; this is not the file its name says (columns are {listed})")
    series = {column: numeric(frame, column, where) for column in columns if column in frame.columns}
    return Gauge(named(name), days_of(frame, date, str(where)), series, file=where.name)


def named(name: str) -> int | str:
    """A gauge's number where its name is one."""
    return int(name) if name.isdecimal() and not (name.startswith("0") and name != "0") else name


def side_by_side(held: Mapping[int | str, list[Gauge]], product: Product, where: str) -> xr.Dataset:
    """Series of all gauges side by side on the days of any of them, with their units, and what files say of traits.

    A gauge has of each variable the best series that holds a value. Where that is in other units than the variable's best
    series, it is a variable of its own under its own name.
    """
    names = sorted(held, key=lambda name: (isinstance(name, str), name))
    every = pd.DatetimeIndex(np.unique(np.concatenate([g.days.to_numpy() for part in held.values() for g in part])))
    variables: dict[str, tuple] = {}
    for variable, choices in product.columns.items():
        variables |= _series_of(
            variable, choices, [_one_of_each(held[name], where) for name in names], names, every, where
        )
    if not variables:
        wanted = ", ".join(column for choices in product.columns.values() for column, _ in choices)
        raise InputError(f"{where}: none of {wanted} is in its files of {product.name}; download series of days")
    traits = {trait for part in held.values() for gauge in part for trait in gauge.traits}
    for trait in sorted(traits):
        told = [next((g.traits[trait] for g in held[name] if trait in g.traits), np.nan) for name in names]
        variables[trait] = ("catchment", np.array(told, dtype=np.float64))
    return xr.Dataset(variables, {"time": every, "catchment": site_names(np.array(names), where)})


def chosen_series(series: Mapping[str, np.ndarray], choices: Iterable[tuple[str, str]]) -> str | None:
    """The best series of a gauge that holds a value; where none does the best one, None where it has none."""
    there = [column for column, _ in choices if column in series]
    return next((column for column in there if np.isfinite(series[column]).any()), there[0] if there else None)


def _one_of_each(gauges: list[Gauge], where: str) -> dict[str, Gauge]:
    """Series of a gauge -> its file of it; a series that stands in two files is refused."""
    found: dict[str, Gauge] = {}
    for gauge in gauges:
        for column in gauge.series:
            if column in found:
                files = f"{found[column].file}, {gauge.file}"
                raise InputError(f"{where}: gauge {gauge.name} has {column} in 2 files: {files}; keep one of them")
            found[column] = gauge
    return found


def _series_of(
    variable: str,
    choices: tuple[tuple[str, str], ...],
    files: list[dict[str, Gauge]],
    names: list[int | str],
    every: pd.DatetimeIndex,
    where: str,
) -> dict[str, tuple]:
    """A variable of all gauges, and beside it the series in other units that some gauge has instead of it."""
    chosen = [chosen_series({n: g.series[n] for n, g in one.items()}, choices) for one in files]
    used = [(column, spelled) for column, spelled in choices if column in chosen]
    variables: dict[str, tuple] = {}
    for column, spelled in used:
        mine = [place for place, one in enumerate(chosen) if one == column]
        said = {files[place][column].units.get(column, spelled) for place in mine}
        if len(said) > 1:
            raise InputError(f"{where}: {column} comes in {' and '.join(sorted(said))}; download it in one of them")
        (units,) = said
        same = next((name for name, (_, _, attrs) in variables.items() if attrs["units"] == units), None)
        name = same or (variable if not variables else column)
        blank = np.full((len(every), len(files)), np.nan, np.float32)
        _, values, attrs = variables.setdefault(name, (("time", "catchment"), blank, {"units": units, COLUMN: column}))
        for place in mine:
            gauge = files[place][column]
            values[every.get_indexer(gauge.days), place] = gauge.series[column]
        if same is not None:
            taken = {column: [names[place] for place in mine]}
            attrs[PROCESSING] = "; ".join(filter(None, (attrs.get(PROCESSING), told_of(used[0][0], taken))))
    return variables
