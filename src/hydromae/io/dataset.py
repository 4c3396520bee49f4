"""The form of a dataset, kept while it is read, so that the answer comes back in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.io import units
from hydromae.io.names import COLUMNS, OUTSIDE, Choice, choices_in, named, quantile_suffix, with_units
from hydromae.io.table_keys import CATCHMENTS, DATES, plain_label
from hydromae.io.timestamps import whole_days
from hydromae.variables import VARIABLES

FLOW, QUANTILE, ORIGIN = "riverflow", "riverflow_quantile", "_origin"


@dataclass(frozen=True)
class DatasetLayout:
    """The form of a dataset: its dimensions, names, order, types, units and everything that is no variable of a record.

    Attributes:
        given: As it was handed over.
        time, site: Its dimensions of days and of catchments.
        named (mapping of str to (str, str)): For each variable of the record its own name, and its units.
        days (DatetimeIndex (T,)): The day of each of its times.
        choices: For each variable every variable of the dataset that gives it, the best one first, which is that of `named`.
    """

    given: xr.Dataset
    time: str
    site: str
    named: Mapping[str, tuple[str, str]]
    days: pd.DatetimeIndex
    choices: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: xr.Dataset, where: str = "the dataset") -> DatasetLayout:
        """The form of a dataset.

        Raises:
            InputError: No variable of a record is in it, or one is called almost so.
        """
        given = measured(given)
        choices = _choices(given, where)
        time, site = (find_dimension(given, names) or names[0] for names in (("time", *DATES), CATCHMENTS))
        stamps = given.indexes.get(time)
        days = whole_days(stamps, where) if isinstance(stamps, pd.DatetimeIndex) else pd.DatetimeIndex([])
        best = {n: (one.column, str(one.units or VARIABLES[n].units)) for n, (one, *_) in choices.items()}
        return cls(given, time, site, best, days, choices)

    @property
    def flow(self) -> tuple[str, str]:
        """Name of the column of flow in a table, and its units."""
        own, spelled = self.named.get(FLOW, (FLOW, VARIABLES[FLOW].units))
        return with_units(own, spelled), spelled

    def restore(self, answer: xr.Dataset, record: xr.Dataset) -> xr.Dataset:
        """The dataset with the answer where nothing was observed, and `riverflow_quantile` and `riverflow_origin` beside it.

        Its days, dimensions, names, units and every observed value stay; `riverflow` comes in where it had none.
        """
        answer, record = answer.reindex(time=self.days), record.reindex(time=self.days)
        area = answer.get("catchment-area")
        added: dict[str, xr.Variable] = {}
        for name in (str(n) for n in answer.data_vars if n in VARIABLES):
            own, spelled = self.named.get(name, (name, VARIABLES[name].units))
            values = self._own(units.from_canonical(answer[name], name, spelled, area))
            if own in self.given:
                observed = self._own(record[name].notnull())
                if len(self.choices.get(name, ())) > 1:
                    observed = observed & self.given[own].variable.notnull()
                added[own] = _laid_over(self.given[own].variable, values, observed)
            else:
                added[own] = xr.Variable(values.dims, values.data, answer[name].attrs)
        coordinates = {}
        if QUANTILE in answer:
            added |= self._beside(answer, record, area)
            coordinates = {"quantile": answer["quantile"].values}
        added |= {n: self._own(answer[n]) for n in (*origins_in(answer), OUTSIDE) if n in answer}
        return self.given.assign(added).assign_coords(coordinates)

    to_dataset = restore

    def to_frame(self, answer: xr.Dataset, record: xr.Dataset) -> pd.DataFrame:
        """A long table: the series of the dataset, quantiles and origins; a name says units that are not its usual ones."""
        restored = self.restore(answer, record).transpose(self.time, self.site, ...)
        whole = (self.time, self.site)
        names = {own: with_units(own, spelled) for own, spelled in self.named.values()}
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
        columns |= {name: restored[name].values.ravel() for name in origins_in(restored)}
        if OUTSIDE in restored:
            columns[OUTSIDE] = np.tile(restored[OUTSIDE].values, restored.sizes[self.time])
        return pd.DataFrame(columns)

    def selected(self, values: xr.DataArray, variable: str) -> np.ndarray:
        """Values (time, …) of an answer on the days of the dataset."""
        return values.sel(time=self.days).values

    def _beside(self, answer: xr.Dataset, record: xr.Dataset, area: xr.DataArray | None) -> dict[str, xr.Variable]:
        """Quantiles, which are the value itself where it was observed."""
        own, spelled = self.named.get(FLOW, (FLOW, VARIABLES[FLOW].units))
        quantile = self._own(units.from_canonical(answer[QUANTILE], FLOW, spelled, area))
        if own in self.given:
            flow = self.given[own].variable
            kind = flow.dtype if flow.dtype.kind == "f" else np.dtype(np.float32)
            observed = self._own(record[FLOW].notnull()) & flow.notnull()
            quantile = quantile.astype(kind).where(~observed, flow.astype(kind))  # type: ignore[arg-type]
        order = ("quantile", self.time, self.site)
        quantile = xr.Variable(order, quantile.transpose(*order).data, answer[QUANTILE].attrs | {"units": spelled})
        return {QUANTILE: quantile}

    def _own(self, values: xr.DataArray) -> xr.Variable:
        """Values under the dataset's own names of dimensions, without coordinates."""
        renamed = {"time": self.time, "catchment": self.site}
        return xr.Variable([renamed.get(str(dim), str(dim)) for dim in values.dims], values.data, values.attrs)


@dataclass(frozen=True)
class Canonical:
    """An answer in canonical units, and its values in other ones."""

    answer: xr.Dataset

    held: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def in_units(self, name: str, spelled: str) -> np.ndarray:
        """Values (..., time, catchment) of a variable in the units of a column, computed once for all rivers."""
        if (name, spelled) not in self.held:
            variable = FLOW if name == QUANTILE else name
            area = self.answer.get("catchment-area")
            self.held[name, spelled] = by_day(units.from_canonical(self.answer[name], variable, spelled, area))
        return self.held[name, spelled]


def by_day(values: xr.DataArray) -> np.ndarray:
    """Values (..., time, catchment)."""
    return values.transpose(..., "time", "catchment").values


def _choices(given: xr.Dataset, where: str) -> dict[str, tuple[Choice, ...]]:
    """`names.choices_in` of the variables of a dataset, whose attribute `units` goes before what their names say."""
    attributes = ((), (find_dimension(given, CATCHMENTS),))
    columns = [str(name) for name, held in given.data_vars.items() if name in COLUMNS or held.dims not in attributes]
    attached = {name: given[name].attrs.get("units") for name in columns}
    said = {name: units for name, units in attached.items() if isinstance(units, str) and units.strip()}
    return choices_in(columns, where, said)


def origins_in(answer: xr.Dataset) -> list[str]:
    """Names of the variables that say where values are from (`riverflow_origin`), that of flow first."""
    names = [f"{name}{ORIGIN}" for name in (FLOW, *VARIABLES)]
    return [name for name in dict.fromkeys(names) if name in answer.data_vars]


def measured(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with its variables as variables, also those that a file calls coordinates."""
    names = [n for n in dataset.coords if n not in dataset.indexes]
    return dataset.reset_coords([n for n in names if n in COLUMNS or (dataset[n].ndim > 1 and named(n) is not None)])


def find_dimension(dataset: xr.Dataset, names: tuple[str, ...]) -> str | None:
    """The dimension that is called one of `names`, whatever its capitals."""
    plain = {plain_label(dim): str(dim) for dim in dataset.dims}
    return next((plain[name] for name in names if name in plain), None)


def _laid_over(given: xr.Variable, values: xr.Variable, observed: xr.Variable) -> xr.Variable:
    """What was observed, of its own type; where nothing was, the values."""
    observed = observed.transpose(*given.dims)
    if bool(observed.all()):
        return given
    kind = given.dtype if given.dtype.kind == "f" else np.dtype(np.float64)
    return given.where(observed, values.transpose(*given.dims).astype(kind))  # type: ignore[arg-type]
