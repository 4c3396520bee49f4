"""What a file of a downloaded product says of one gauge, and all gauges side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers.keys import day_keys
from hydromae.data.readers.nrfa import numeric
from hydromae.data.readers.record import site_names
from hydromae.data.readers.stamps import refuse_step, step_of
from hydromae.errors import InputError


@dataclass(frozen=True)
class Gauge:
    """What one file says of one gauge.

    Attributes
    ----------
    name : int or str
    days : DatetimeIndex
    series : mapping of str to array (T,)
        By the product's own names, NaN where nothing was observed.
    units : mapping of str to str
        Of series whose file says them.
    traits : mapping of str to float
        What the file says of the catchment, under the NRFA names.
    file : str
        Its name, for messages.
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

    Attributes
    ----------
    name, source : str
        Whose it is; where it comes from, and its licence.
    columns : mapping of str to tuple of (str, str)
        For each variable the series that give it, the best one first, with their units.
    is_one : function
        Whether a file is one of its series.
    open : function
        A file of series as a gauge.
    traits : function
        Attributes of catchments (catchment) from tables in the folder, None where there are none.
    is_table : function
        Whether a file is one of these tables.
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
    """Series of all gauges side by side on the days of any of them, with their units, and what files say of traits."""
    names = sorted(held, key=lambda name: (isinstance(name, str), name))
    every = pd.DatetimeIndex(np.unique(np.concatenate([g.days.to_numpy() for part in held.values() for g in part])))
    there = {column for part in held.values() for gauge in part for column in gauge.series}
    variables: dict[str, tuple] = {}
    for variable, choices in product.columns.items():
        chosen = next(((column, spelled) for column, spelled in choices if column in there), None)
        if chosen is not None:
            values, spelled = _together(held, names, every, *chosen, where)
            variables[variable] = (("time", "catchment"), values, {"units": spelled})
    if not variables:
        wanted = ", ".join(column for choices in product.columns.values() for column, _ in choices)
        raise InputError(f"{where}: none of {wanted} is in its files of {product.name}; download series of days")
    traits = {trait for part in held.values() for gauge in part for trait in gauge.traits}
    for trait in sorted(traits):
        told = [next((g.traits[trait] for g in held[name] if trait in g.traits), np.nan) for name in names]
        variables[trait] = ("catchment", np.array(told, dtype=np.float64))
    return xr.Dataset(variables, {"time": every, "catchment": site_names(np.array(names), where)})


def _together(
    held: Mapping[int | str, list[Gauge]],
    names: list[int | str],
    every: pd.DatetimeIndex,
    column: str,
    spelled: str,
    where: str,
) -> tuple[np.ndarray, str]:
    values = np.full((len(every), len(names)), np.nan, np.float32)
    said: set[str] = set()
    for place, name in enumerate(names):
        having = [gauge for gauge in held[name] if column in gauge.series]
        if len(having) > 1:
            files = ", ".join(gauge.file for gauge in having)
            raise InputError(f"{where}: gauge {name} has {column} in {len(having)} files: {files}; keep one of them")
        for gauge in having:
            values[every.get_indexer(gauge.days), place] = gauge.series[column]
            said.add(gauge.units.get(column, spelled))
    if len(said) > 1:
        raise InputError(f"{where}: {column} comes in {' and '.join(sorted(said))}; download it in one of them")
    return values, said.pop()
