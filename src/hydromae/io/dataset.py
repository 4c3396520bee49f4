"""Layout of a user's dataset, which is kept for the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.io import units
from hydromae.io.names import (
    COLUMNS,
    FLOW,
    ORIGIN,
    OUTSIDE_TRAINING,
    QUANTILE,
    QUANTILES,
    SourceColumn,
    parse_column_name,
    quantile_suffix,
    select_columns,
    with_units,
)
from hydromae.io.table_keys import CATCHMENTS, DATES, plain_label
from hydromae.io.timestamps import to_days
from hydromae.io.unobserved import check_packing
from hydromae.variables import VARIABLES


@dataclass(frozen=True)
class DatasetLayout:
    """Layout of a dataset: dimensions, names, order, types, units, and variables that do not belong to a record.

    Attributes:
        original: The original dataset.
        time, site: Names of the dimensions of days and catchments.
        columns (mapping of str to (str, str)): Original name and units of each variable of the record.
        days (DatetimeIndex (T,)): Day of each time.
        choices: All original variables of each variable, the best (that of `columns`) first.
    """

    original: xr.Dataset
    time: str
    site: str
    columns: Mapping[str, tuple[str, str]]
    days: pd.DatetimeIndex
    choices: Mapping[str, tuple[SourceColumn, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: xr.Dataset, source: str = "the dataset") -> DatasetLayout:
        """Return the layout of a dataset.

        Raises:
            InputError: No variable is known, or a name is ambiguous.
        """
        given = coordinates_to_variables(given)
        check_packing(given, source)
        choices = _find_columns(given, source)
        time, site = (find_dimension(given, names) or names[0] for names in (("time", *DATES), CATCHMENTS))
        time_index = given.indexes.get(time)
        days = to_days(time_index, source) if isinstance(time_index, pd.DatetimeIndex) else pd.DatetimeIndex([])
        best_columns = {n: (one.column, str(one.units or VARIABLES[n].units)) for n, (one, *_) in choices.items()}
        return cls(given, time, site, best_columns, days, choices)

    @property
    def flow(self) -> tuple[str, str]:
        """Return name and units of the column of flow in a table."""
        column, units_text = self.columns.get(FLOW, (FLOW, VARIABLES[FLOW].units))
        return with_units(column, units_text), units_text

    def restore(self, answer: xr.Dataset, record: xr.Dataset) -> xr.Dataset:
        """Return the original dataset with unobserved values predicted, quantiles of flow and of maps, and origins.

        Days, dimensions, names, units and observed values stay; `riverflow` is added if it was absent.
        """
        answer, record = answer.reindex(time=self.days), record.reindex(time=self.days)
        area = answer.get("catchment-area")
        new_variables: dict[str, xr.Variable] = {}
        for name in (str(n) for n in answer.data_vars if n in VARIABLES):
            column, units_text = self.columns.get(name, (name, VARIABLES[name].units))
            values = self._with_own_dimensions(units.from_canonical(answer[name], name, units_text, area))
            if column in self.original:
                observed = self._with_own_dimensions(record[name].notnull())
                if len(self.choices.get(name, ())) > 1:
                    observed = observed & self.original[column].variable.notnull()
                new_variables[column] = _fill_unobserved(self.original[column].variable, values, observed)
            elif name == FLOW:
                new_variables[column] = xr.Variable(values.dims, values.data, answer[name].attrs)
        coordinates = {}
        for name in (name for name in VARIABLES if f"{name}{QUANTILES}" in answer):
            new_variables[f"{name}{QUANTILES}"] = self._quantiles(name, answer, record, area)
            coordinates = {"quantile": answer["quantile"].values}
        new_variables |= {
            n: self._with_own_dimensions(answer[n]) for n in (*origin_names(answer), OUTSIDE_TRAINING) if n in answer
        }
        return self.original.assign(new_variables).assign_coords(coordinates)

    to_dataset = restore

    def to_frame(self, answer: xr.Dataset, record: xr.Dataset) -> pd.DataFrame:
        """Return a long table of series, quantiles and origins; unusual units are in the name of the column."""
        restored = self.restore(answer, record).transpose(self.time, self.site, ...)
        whole = (self.time, self.site)
        names = {column: with_units(column, units_text) for column, units_text in self.columns.values()}
        sites = restored[self.site].values if self.site in restored.coords else answer["catchment"].values
        columns = {
            "date": np.repeat(restored[self.time].values, len(sites)),
            "catchment": np.tile(sites, restored.sizes[self.time]),
        }
        series = [str(n) for n, v in restored.data_vars.items() if v.dims == whole and not str(n).endswith(ORIGIN)]
        columns |= {names.get(name, name): restored[name].values.ravel() for name in series}
        if QUANTILE in restored:
            levels = {quantile_suffix(float(level)): n for n, level in enumerate(restored["quantile"].values)}
            quantile = restored[QUANTILE].transpose("quantile", *whole)
            columns |= {f"{FLOW}{suffix}": quantile[n].values.ravel() for suffix, n in levels.items()}
        columns |= {name: restored[name].values.ravel() for name in origin_names(restored)}
        if OUTSIDE_TRAINING in restored:
            columns[OUTSIDE_TRAINING] = np.tile(restored[OUTSIDE_TRAINING].values, restored.sizes[self.time])
        return pd.DataFrame(columns)

    def selected(self, values: xr.DataArray, variable: str) -> np.ndarray:
        """Return values (time, …) of an answer on the days of the dataset."""
        return values.sel(time=self.days).values

    def _quantiles(self, name: str, answer: xr.Dataset, record: xr.Dataset, area: xr.DataArray | None) -> xr.Variable:
        """Return quantiles of a variable, which equal observed values."""
        column, units_text = self.columns.get(name, (name, VARIABLES[name].units))
        quantiles = answer[f"{name}{QUANTILES}"]
        quantile = self._with_own_dimensions(units.from_canonical(quantiles, name, units_text, area))
        order = ("quantile", self.time, "cell" if "cell" in quantiles.dims else self.site)
        if column in self.original:
            given = self.original[column].variable
            kind = given.dtype if given.dtype.kind == "f" else np.dtype(np.float32)
            observed = self._with_own_dimensions(record[name].notnull()) & given.notnull()
            quantile = quantile.astype(kind).where(~observed, given.astype(kind))  # type: ignore[arg-type]
        return xr.Variable(order, quantile.transpose(*order).data, quantiles.attrs | {"units": units_text})

    def _with_own_dimensions(self, values: xr.DataArray) -> xr.Variable:
        """Rename dimensions to those of the dataset and drop coordinates."""
        renamed = {"time": self.time, "catchment": self.site}
        return xr.Variable([renamed.get(str(dim), str(dim)) for dim in values.dims], values.data, values.attrs)


@dataclass(frozen=True)
class CanonicalAnswer:
    """Answer in canonical units with cached conversions."""

    answer: xr.Dataset

    cache: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def in_units(self, name: str, units_text: str) -> np.ndarray:
        """Return values (..., time, catchment) of a variable in the units of a column, converted once for all catchments."""
        if (name, units_text) not in self.cache:
            variable = FLOW if name == QUANTILE else name
            area = self.answer.get("catchment-area")
            self.cache[name, units_text] = time_by_catchment(
                units.from_canonical(self.answer[name], variable, units_text, area)
            )
        return self.cache[name, units_text]


def time_by_catchment(values: xr.DataArray) -> np.ndarray:
    """Transpose to (..., time, catchment)."""
    return values.transpose(..., "time", "catchment").values


def _find_columns(given: xr.Dataset, source: str) -> dict[str, tuple[SourceColumn, ...]]:
    """Apply `names.select_columns` to a dataset; the attribute `units` overrides units in names."""
    attributes = ((), (find_dimension(given, CATCHMENTS),))
    columns = [
        str(name)
        for name, variable_values in given.data_vars.items()
        if name in COLUMNS or variable_values.dims not in attributes
    ]
    attached = {name: given[name].attrs.get("units") for name in columns}
    with_text = {name: units for name, units in attached.items() if isinstance(units, str) and units.strip()}
    return select_columns(columns, source, with_text)


def origin_names(answer: xr.Dataset) -> list[str]:
    """Return the names of origin variables (`riverflow_origin`), that of flow first."""
    names = [f"{name}{ORIGIN}" for name in (FLOW, *VARIABLES)]
    return [name for name in dict.fromkeys(names) if name in answer.data_vars]


def coordinates_to_variables(dataset: xr.Dataset) -> xr.Dataset:
    """Reset coordinates that are variables of a record."""
    names = [n for n in dataset.coords if n not in dataset.indexes]
    return dataset.reset_coords(
        [n for n in names if n in COLUMNS or (dataset[n].ndim > 1 and parse_column_name(n) is not None)]
    )


def find_dimension(dataset: xr.Dataset, names: tuple[str, ...]) -> str | None:
    """Return the dimension with one of these names in any case, or None."""
    by_label = {plain_label(dim): str(dim) for dim in dataset.dims}
    return next((by_label[name] for name in names if name in by_label), None)


def _fill_unobserved(given: xr.Variable, values: xr.Variable, observed: xr.Variable) -> xr.Variable:
    """Fill unobserved values, keeping the type."""
    observed = observed.transpose(*given.dims)
    if bool(observed.all()):
        return given
    kind = given.dtype if given.dtype.kind == "f" else np.dtype(np.float64)
    return given.where(observed, values.transpose(*given.dims).astype(kind))  # type: ignore[arg-type]
