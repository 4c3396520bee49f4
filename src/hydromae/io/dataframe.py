"""Layout of a user's table, which is kept for the answer.

`FrameLayout` belongs to a long or wide table, `DatasetLayout` (`io.dataset`) to a dataset. Both convert an answer to the
layout of the input (`restore`), to a table (`to_frame`) and to a dataset (`to_dataset`). Arguments are `answer`, the record
with all values predicted in canonical units, `riverflow_quantile` (quantile, time, catchment) and `riverflow_origin` (time,
catchment); and `record`, the canonical record with NaN for unobserved values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int, Shaped

from hydromae.io.attributes import numeric_column
from hydromae.io.conventions import STATIC
from hydromae.io.credits import credit_attributes
from hydromae.io.dataset import CanonicalAnswer, DatasetLayout, time_by_catchment
from hydromae.io.names import (
    ANSWER_SUFFIX,
    FLOW,
    ORIGIN,
    OUTSIDE_TRAINING,
    QUANTILE,
    SourceColumn,
    attached_units,
    parse_column_name,
    quantile_suffix,
    select_columns,
    split_units,
    with_units,
)
from hydromae.io.table_keys import (
    CATCHMENTS,
    DATES,
    Label,
    append_columns,
    check_duplicate_rows,
    day_keys,
    flat_frame,
    key_column,
    site_keys,
)
from hydromae.io.value_ranges import COLUMN, PROCESSING
from hydromae.io.wide_table import UNITS, is_wide, wide_columns
from hydromae.variables import VARIABLES


@dataclass(frozen=True)
class FrameColumn:
    """Column of a table with values of a variable.

    Attributes:
        label: Name in the table.
        site (int array (N,)): Index of the catchment of each row.
        derived_label: Maps a suffix such as `_q05` to the label of a new column.
    """

    label: Label
    variable: str
    units: str
    site: Int[np.ndarray, " N"]
    derived_label: Callable[[str], Label]


@dataclass(frozen=True)
class FrameLayout:
    """Layout of a table, long (one row per day and catchment) or wide (one row per day, one column per catchment).

    Attributes:
        frame: The original table.
        days (DatetimeIndex (N,)): Day of each row.
        catchments (array (C,)): Names of the catchments.
        site (int array (N,) or None): Index of the catchment of each row; None for a wide table.
        columns: Best column of each variable, in a wide table of each variable and catchment.
        source: Name of the table, for messages.
        decimal: Decimal separator of a table with text cells from a CSV file, which are filled with text.
        alternatives: Other columns of a long table for the same variables, for catchments without the best one.
    """

    frame: pd.DataFrame
    days: pd.DatetimeIndex
    catchments: Shaped[np.ndarray, " C"]
    site: Int[np.ndarray, " N"] | None
    columns: tuple[FrameColumn, ...]
    source: str
    decimal: str | None = None
    alternatives: tuple[SourceColumn, ...] = ()

    @classmethod
    def of(cls, frame: pd.DataFrame, source: str = "the table", flow_units: str | None = None) -> FrameLayout:
        """Return the layout of a table.

        Args:
            frame: Long or wide (`table.from_frame`, `wide_table.wide_columns`); days and catchments are columns or levels of
                the index.
            flow_units: Units of flow in a wide table without units; default `frame.attrs["units"]`.

        Raises:
            InputError: A key is missing, empty, invalid or duplicated, or no variable or no units are known.
        """
        flat = flat_frame(frame, source)
        wide, others = is_wide(flat), list[SourceColumn]()
        attached_text = frame.attrs.get(UNITS)
        date = key_column(flat, DATES, source, "date column")
        if wide:
            names, value_columns = wide_columns(flat, date, flow_units or attached_text, source)
            river_index, catchments = pd.factorize(names, sort=False)
            days, site = day_keys(flat, date, source), None
            columns = [
                FrameColumn(label, variable, units, np.broadcast_to(river, len(flat)), derived_label)
                for river, (label, variable, units, _, derived_label) in zip(river_index, value_columns, strict=True)
            ]
        else:
            key = key_column(flat, CATCHMENTS, source, "catchment column")
            choices = select_columns(
                [str(label) for label in flat.columns], source, attached_units(flat.columns, attached_text)
            )
            days = day_keys(flat, date, source)
            site, catchments = site_keys(flat, key, source)
            columns = [
                FrameColumn(best.column, n, str(best.units), site, partial(_long_label, n))
                for n, (best, *_) in choices.items()
            ]
            others = [choice for _, *rest in choices.values() for choice in rest]
        day, unique_days = pd.factorize(days, sort=True)
        row = np.zeros(len(flat), dtype=np.int64) if site is None else site
        check_duplicate_rows(day, row, pd.DatetimeIndex(unique_days), np.asarray(catchments), source)
        return cls(frame, days, np.asarray(catchments), site, tuple(columns), source, alternatives=tuple(others))

    @property
    def flow(self) -> tuple[str, str]:
        """Return name and units of the column of flow in a long table."""
        column = next((column for column in self.columns if column.variable == FLOW), None)
        if column is None:
            return FLOW, VARIABLES[FLOW].units
        return (with_units(FLOW, column.units) if self.site is None else str(column.label)), column.units

    def dataset(self) -> xr.Dataset:
        """Return the table as (time, catchment) in its own units, NaN where it has no number."""
        day, days = pd.factorize(self.days, sort=True)
        grid = xr.Dataset(
            None, {"time": pd.DatetimeIndex(days), "catchment": self.catchments}, credit_attributes(self.frame.attrs)
        )
        for name in (n for n in STATIC if self.site is not None and n in self.frame.columns):
            known = pd.Series(numeric_column(self.frame, name, self.source)).groupby(self.site, sort=True).first()
            grid[name] = ("catchment", known.to_numpy())
        values: dict[str, np.ndarray] = {}
        for column in self.columns:
            grid_values = values.setdefault(column.variable, np.full((len(days), len(self.catchments)), np.nan))
            grid_values[day, column.site] = self._numbers(column)
        attrs = {c.variable: {"units": c.units, COLUMN: " ".join(_parts(c.label))} for c in self.columns}
        for column, units in self.alternatives:
            grid_values = np.full((len(days), len(self.catchments)), np.nan)
            grid_values[day, self.site] = numeric_column(self.frame, column, self.source)
            grid[column] = (("time", "catchment"), grid_values, {} if units is None else {"units": units})
        return grid.assign({n: (("time", "catchment"), v, attrs[n]) for n, v in values.items()})

    def restore(self, answer: xr.Dataset, record: xr.Dataset) -> pd.DataFrame:
        """Return the original table with unobserved cells predicted, followed by new columns.

        New columns are `riverflow_q05`, … in the units of flow, `riverflow_origin`, `riverflow` [mm/day] if it was absent,
        and `outside_training` if the answer has it; in a wide table `39001_q05`, …, `39001_origin`.
        """
        values, result = CanonicalAnswer(answer), self.frame.copy()
        if QUANTILE in answer and PROCESSING in answer[QUANTILE].attrs:
            result.attrs[PROCESSING] = answer[QUANTILE].attrs[PROCESSING]
        flow, others = dict[Label, pd.Series](), dict[Label, pd.Series]()
        rows = answer.indexes["time"].get_indexer(self.days)
        sites = answer.indexes["catchment"].get_indexer(pd.Index(self.catchments))
        columns = self.columns
        if self.site is not None and FLOW in answer and all(column.variable != FLOW for column in columns):
            result[FLOW] = np.full(len(result), np.nan, np.float32)
            columns = (*columns, FrameColumn(FLOW, FLOW, VARIABLES[FLOW].units, self.site, partial(_long_label, FLOW)))
        for column in columns:
            cells = (rows, sites[column.site])
            observed = record.get(column.variable)
            missing = (
                np.isnan(time_by_catchment(observed)[cells]) if observed is not None else np.ones(len(result), bool)
            )
            if any(
                (one := parse_column_name(other)) and one.variable == column.variable for other, _ in self.alternatives
            ):
                missing |= self._is_empty(column)
            given = pd.Series(result[column.label])
            predicted = values.in_units(column.variable, column.units)[cells]
            result[column.label] = self._fill_missing(given, missing, predicted)
            if column.variable == FLOW and QUANTILE in answer:
                flow |= self._quantiles(values, column, cells, given, missing)
            if f"{column.variable}{ORIGIN}" in answer:
                origin = time_by_catchment(answer[f"{column.variable}{ORIGIN}"])[cells]
                (flow if column.variable == FLOW else others)[column.derived_label(ORIGIN)] = pd.Series(
                    origin, given.index
                )
        others |= self._outside_columns(answer, sites)
        return append_columns(result.drop(columns=self._stale_columns({*flow, *others})), flow | others)

    to_frame = restore

    def selected(self, values: xr.DataArray, variable: str) -> np.ndarray:
        """Return values of an answer in the cells of the table that belong to a variable."""
        rows = values.indexes["time"].get_indexer(self.days)
        sites = values.indexes["catchment"].get_indexer(pd.Index(self.catchments))
        cells = [column.site for column in self.columns if column.variable == variable]
        cells += [self.site] if not cells and variable == FLOW and self.site is not None else []
        return np.concatenate([time_by_catchment(values)[rows, sites[site]] for site in cells] or [np.empty(0)])

    def to_dataset(self, answer: xr.Dataset, record: xr.Dataset) -> xr.Dataset:
        """Return the answer as a dataset with the days, catchments and units of the table and the static attributes."""
        static = record[[n for n in STATIC if n in record.variables]].reset_coords(drop=False)
        given = self.dataset().assign({str(n): static[n] for n in static.data_vars})
        for values in given.data_vars.values():
            values.attrs.pop(COLUMN, None)
        return DatasetLayout.of(given).restore(answer, record)

    def _numbers(self, column: FrameColumn) -> Float[np.ndarray, " N"]:
        """Return a column as float64 with NaN for missing or marked values."""
        if self.site is not None:
            return numeric_column(self.frame, column.label, self.source)
        name = " ".join(_parts(column.label))
        marks = {end: column.derived_label(end) for end in (ORIGIN, "_filled")}
        marked = {name: self.frame[column.label]}
        marked |= {f"{split_units(name)[0]}{end}": self.frame[m] for end, m in marks.items() if m in self.frame.columns}
        return numeric_column(pd.DataFrame(marked), name, self.source)

    def _is_empty(self, column: FrameColumn) -> Bool[np.ndarray, " N"]:
        """Return True where a column of a long table has no number."""
        if self.decimal is None:
            return np.isnan(self._numbers(column))
        text = self.frame[column.label].str.replace(self.decimal, ".")
        return np.isnan(numeric_column(pd.DataFrame({column.label: text}), column.label, self.source))

    def _quantiles(
        self,
        values: CanonicalAnswer,
        column: FrameColumn,
        cells: tuple,
        given: pd.Series,
        missing: Bool[np.ndarray, " N"],
    ) -> dict[Label, pd.Series]:
        """Return the columns of quantiles of a column of flow; they equal observed flow."""
        if self.decimal is None and given.dtype.kind != "f":
            given = pd.Series(self._numbers(column), index=given.index)
        quantiles = values.in_units(QUANTILE, column.units)
        return {
            column.derived_label(quantile_suffix(float(level))): self._fill_missing(given, missing, of_level[cells])
            for level, of_level in zip(values.answer["quantile"].values, quantiles, strict=True)
        }

    def _outside_columns(self, answer: xr.Dataset, sites: Int[np.ndarray, " C"]) -> dict[Label, pd.Series]:
        """Return the column `outside_training`, or in a wide table one for each such catchment."""
        if OUTSIDE_TRAINING not in answer:
            return {}
        predicted = answer[OUTSIDE_TRAINING].values.astype(object)[sites]
        if self.site is not None:
            return {OUTSIDE_TRAINING: pd.Series(predicted[self.site], self.frame.index)}
        flows = {
            column.derived_label(f"_{OUTSIDE_TRAINING}"): predicted[column.site]
            for column in self.columns
            if column.variable == FLOW
        }
        return {label: pd.Series(text, self.frame.index) for label, text in flows.items() if text.any()}

    def _stale_columns(self, new_labels: set[Label]) -> list[Label]:
        """Return columns of an earlier answer that this one does not have, such as other quantiles."""
        ends = {str(label): ANSWER_SUFFIX.search(str(label).rstrip("')")) for label in self.frame.columns}
        former = {end.group(0) for end in ends.values() if end is not None} - {ORIGIN}
        added = {column.derived_label(end) for column in self.columns if column.variable == FLOW for end in former} | {
            OUTSIDE_TRAINING
        }
        return [label for label in self.frame.columns if label in added and label not in new_labels]

    def _fill_missing(
        self, given: pd.Series, missing: Bool[np.ndarray, " N"], values: Float[np.ndarray, " N"]
    ) -> pd.Series:
        """Fill the missing cells of a column, keeping its type."""
        if not missing.any():
            return given
        if self.decimal is not None:
            return self._fill_missing_text(given, missing, values)
        if given.dtype.kind in "iub":
            given = given.astype(np.float64 if isinstance(given.dtype, np.dtype) else "Float64")
        if given.dtype.kind not in "fO":
            given = given.astype(object)
        return given.mask(missing, pd.Series(values, given.index).astype(given.dtype))

    def _fill_missing_text(
        self, given: pd.Series, missing: Bool[np.ndarray, " N"], values: Float[np.ndarray, " N"]
    ) -> pd.Series:
        """Fill missing text cells with predictions in the digits of single precision."""
        answered = np.isfinite(values)
        text = np.full(len(values), "", dtype=object)
        predicted = values[missing & answered].astype(np.float32).astype(str)
        text[missing & answered] = [one.replace(".", str(self.decimal)) for one in predicted]
        empty = ~answered & np.isnan(np.asarray(pd.to_numeric(given, errors="coerce"), np.float64))
        return given.mask(missing & ~empty, pd.Series(text, given.index, dtype=given.dtype))


def _parts(label: Label) -> list[str]:
    return [str(part) for part in (label if isinstance(label, tuple) else (label,))]


def _long_label(variable: str, suffix: str) -> str:
    return f"{variable}{suffix}"


Layout = FrameLayout | DatasetLayout
