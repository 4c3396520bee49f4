"""Folders as they were downloaded, with a file (or two) for each gauge: what a file says, and a record of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers import table
from hydromae.data.readers.keys import day_keys
from hydromae.data.readers.nrfa import numeric
from hydromae.data.readers.record import site_names
from hydromae.errors import InputError
from hydromae.modalities import ATTRIBUTES, MODALITIES
from hydromae.progress import counted

WEATHER = tuple(variable.name for variable in MODALITIES["weather"].variables)
SAMPLED = 10
"""Files that are opened to say what a folder holds."""
BRITISH = re.compile(r"\d{1,2}/\d{1,2}/\d{4}", re.ASCII)
"""Dates of a file that went through a spreadsheet: day/month/year."""


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
    """

    name: int | str
    days: pd.DatetimeIndex
    series: Mapping[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, float] = field(default_factory=dict)


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
    """

    name: str
    source: str
    columns: Mapping[str, tuple[tuple[str, str], ...]]
    is_one: Callable[[Path], bool]
    open: Callable[[Path], Gauge]
    traits: Callable[[Path], xr.Dataset | None]


@dataclass(frozen=True)
class Found:
    """Files of a product in a folder, and the names of the others."""

    product: Product
    folder: Path
    files: tuple[Path, ...]
    others: tuple[str, ...] = ()

    @cached_property
    def traits(self) -> xr.Dataset | None:
        """Attributes from the product's own tables."""
        return self.product.traits(self.folder)

    def plan(self) -> list[str]:
        """What will be read and what is missing, in lines; from a few files and the tables of traits."""
        gauges, known = [self.product.open(file) for file in self.files[:SAMPLED]], self.traits
        there = {series for gauge in gauges for series in gauge.series}
        choices = self.product.columns
        used = {
            variable: next((column for column, _ in choices.get(variable, ()) if column in there), None)
            for variable in (*WEATHER, "riverflow")
        }
        traits = {trait for gauge in gauges for trait in gauge.traits}
        if known is not None:
            traits |= {str(name) for name in known.variables if known[name].notnull().any()}
        lacking = [name for name, column in used.items() if column is None]
        lacking += [attribute.name for attribute in ATTRIBUTES if attribute.name not in traits]
        told = ", ".join(f"{name} ({column})" for name, column in used.items() if column is not None)
        return [
            f"{self.folder}: {self.product.name}, {len(self.files)} files of series; {self.product.source}",
            f"uses {told or 'nothing'}",
            *([f"missing: {', '.join(lacking)}"] if lacking else []),
            *([f"no series in {len(self.others)} files: {', '.join(self.others[:SAMPLED])}"] if self.others else []),
        ]

    def read(self, attributes: xr.Dataset | None = None) -> xr.Dataset:
        """A water record of all files; `attributes` take the place of the product's own.

        Raises
        ------
        InputError
            A file that is not what its name says, a day that a gauge has twice, units or areas that are missing.
        """
        held: dict[int | str, list[Gauge]] = {}
        for file in counted(self.files, "files read", len(self.files)):
            gauge = self.product.open(file)
            held.setdefault(gauge.name, []).append(gauge)
        if len({type(name) for name in held}) > 1:
            raise InputError(f"{self.folder}: some of its gauges have numbers, others text; keep one kind of them")
        known = attributes if attributes is not None else self.traits
        raw = _raw(held, self.product, str(self.folder))
        return table.from_dataset(raw, known, str(self.folder))


def find(folder: Path, products: Iterable[Product]) -> Found | None:
    """The one product that a folder holds files of, however deep; None where it holds none.

    Raises
    ------
    InputError
        It holds files of two.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    found = []
    for product in products:
        mine = tuple(file for file in files if product.is_one(file))
        if mine:
            others = tuple(sorted(str(file.relative_to(folder)) for file in set(files) - set(mine)))
            found.append(Found(product, folder, mine, others))
    if len(found) > 1:
        told = " and of ".join(f"{one.product.name} ({one.files[0].name})" for one in found[:2])
        raise InputError(f"{folder}: holds files of {told}; name the folder of one of them")
    return found[0] if found else None


def days_of(frame: pd.DataFrame, name: str, where: str) -> pd.DatetimeIndex:
    """Days of a column, as YYYY-MM-DD or, where all are so, as day/month/year."""
    told = np.asarray(frame[name].astype(str), dtype=str)
    if len(told) and all(BRITISH.fullmatch(day.strip()) for day in told):
        parsed = pd.to_datetime(pd.Series(told).str.strip(), format="%d/%m/%Y", errors="coerce").to_numpy()
        if np.isnat(parsed).any():
            wrong = told[np.isnat(parsed)][0]
            raise InputError(f"{where}: {name} holds {wrong}, which is no day/month/year; write YYYY-MM-DD")
        frame = frame.assign(**{name: parsed})
    days = day_keys(frame, name, where)
    if days.has_duplicates:
        raise InputError(f"{where}: has {days[days.duplicated()][0]:%Y-%m-%d} twice; keep one row a day")
    return days


def gauge_of(name: str, frame: pd.DataFrame, date: str, columns: Iterable[str], where: Path) -> Gauge:
    """A gauge from a table with a column of dates."""
    if date not in frame.columns:
        listed = ", ".join(map(str, frame.columns[:8]))
        raise InputError(f"{where}: no column {date}; this is not the file its name says (columns are {listed})")
    series = {column: numeric(frame, column, where) for column in columns if column in frame.columns}
    return Gauge(named(name), days_of(frame, date, str(where)), series)


def named(name: str) -> int | str:
    """A gauge's number where its name is one."""
    return int(name) if name.isdecimal() and not (name.startswith("0") and name != "0") else name


def _raw(held: Mapping[int | str, list[Gauge]], product: Product, where: str) -> xr.Dataset:
    """Series of all gauges side by side on the days of any of them, with their units, and what files say of traits."""
    names = sorted(held, key=lambda name: (isinstance(name, str), name))
    every = pd.DatetimeIndex(np.unique(np.concatenate([g.days.to_numpy() for part in held.values() for g in part])))
    there = {column for part in held.values() for gauge in part for column in gauge.series}
    variables: dict[str, tuple] = {}
    for variable, choices in product.columns.items():
        chosen = next(((column, spelled) for column, spelled in choices if column in there), None)
        if chosen is not None:
            values, spelled = _side_by_side(held, names, every, *chosen, where)
            variables[variable] = (("time", "catchment"), values, {"units": spelled})
    if not variables:
        wanted = ", ".join(column for choices in product.columns.values() for column, _ in choices)
        raise InputError(f"{where}: none of {wanted} is in its files of {product.name}; download series of days")
    traits = {trait for part in held.values() for gauge in part for trait in gauge.traits}
    for trait in sorted(traits):
        told = [next((g.traits[trait] for g in held[name] if trait in g.traits), np.nan) for name in names]
        variables[trait] = ("catchment", np.array(told, dtype=np.float64))
    return xr.Dataset(variables, {"time": every, "catchment": site_names(np.array(names), where)})


def _side_by_side(
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
            raise InputError(f"{where}: gauge {name} has {column} in {len(having)} files; keep one of them")
        for gauge in having:
            values[every.get_indexer(gauge.days), place] = gauge.series[column]
            said.add(gauge.units.get(column, spelled))
    if len(said) > 1:
        raise InputError(f"{where}: {column} comes in {' and '.join(sorted(said))}; download it in one of them")
    return values, said.pop()
