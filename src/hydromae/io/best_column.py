"""Variables with several columns: each catchment takes the best column that has values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.conventions import plain_attributes
from hydromae.io.names import SourceColumn, parse_column_name, shortened, unclear_column
from hydromae.io.quantities import to_canonical_units
from hydromae.io.unobserved import observed_only
from hydromae.io.value_ranges import COLUMN, PROCESSING


def best_column(dataset: xr.Dataset, name: str, choices: Sequence[SourceColumn], source: str) -> xr.DataArray:
    """Return a variable (time, catchment) in canonical units, for each catchment from the first column with a value.

    Args:
        dataset: With `catchment-area` [km²] if a column is in m³/s or another volume rate.
        choices: Columns, the best first.
        source: The source, for messages.

    Returns:
        DataArray: With the attributes of the best column; `processing` lists catchments from other columns.

    Raises:
        InputError: A column without time, numbers or units, or a volume rate without a catchment area.
    """
    values = _quantity(dataset, name, choices[0], source)
    fallbacks: dict[str, np.ndarray] = {}
    for choice in choices[1:]:
        is_empty = ~values.notnull().any("time").compute()
        candidate = observed_only(_series(dataset, choice.column, source)).where(is_empty)
        has_values = candidate.notnull().any("time").compute()
        if not bool(has_values.any()):
            continue
        if choice.units is None:
            raise unclear_column(choice.column, name, source)
        with_units = dataset.assign({choice.column: candidate.assign_attrs(dataset[choice.column].attrs)})
        values = values.where(~has_values, _quantity(with_units, name, choice, source)).assign_attrs(values.attrs)
        fallbacks[choice.column] = has_values["catchment"].values[has_values.values]
    return (
        values
        if not fallbacks
        else values.assign_attrs({PROCESSING: describe_fallbacks(_label(dataset, choices[0]), fallbacks)})
    )


def describe_fallbacks(best: str, fallbacks: Mapping[str, Sequence | np.ndarray]) -> str:
    """Return a line on the catchments that are read from another column than the best."""
    parts = [f"{column} for {shortened(rivers, 5)}" for column, rivers in fallbacks.items()]
    return f"read from {', '.join(parts)}, because {best} has no values; from {best} for all others"


def _label(dataset: xr.Dataset, choice: SourceColumn) -> str:
    """Return the name of a column in its source."""
    return str(dataset[choice.column].attrs.get(COLUMN, choice.column))


def _series(dataset: xr.Dataset, column: str, source: str) -> xr.DataArray:
    series = dataset[column]
    if "time" not in series.dims:
        raise InputError(f"{source}: {column} has the dimensions {series.dims}; it needs (time, catchment)")
    if series.dtype.kind not in "iuf":
        raise InputError(f"{source}: {column} is of type {series.dtype}; give numbers, NaN where nothing was observed")
    return series


def _quantity(dataset: xr.Dataset, name: str, choice: SourceColumn, source: str) -> xr.DataArray:
    series = _series(dataset, choice.column, source)
    column_name = parse_column_name(choice.column)
    units_text = series.attrs.get("units")
    if units_text is None or (isinstance(units_text, str) and not units_text):  # an array of units has no truth value
        units_text = choice.units if column_name is not None and column_name.has_units else None
    area = dataset["catchment-area"] if "catchment-area" in dataset.variables else None
    with_units = series if units_text is None else series.assign_attrs(units=units_text)
    column_attrs = {COLUMN: _label(dataset, choice)}
    return to_canonical_units(with_units, name, source, area).assign_attrs(
        plain_attributes(with_units.attrs) | column_attrs
    )
