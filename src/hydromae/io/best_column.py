"""Several columns that give one variable: each river has the best one that holds anything of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.conventions import plain
from hydromae.io.names import Choice, named, unsaid
from hydromae.io.quantities import quantity
from hydromae.io.unobserved import observed_only
from hydromae.io.value_ranges import COLUMN, PROCESSING


def best_of(dataset: xr.Dataset, name: str, choices: Sequence[Choice], where: str) -> xr.DataArray:
    """A variable (time, catchment) in canonical units, river by river from the first column that holds a value of it.

    Args:
        dataset: With `catchment-area` [km²] where a column is a volume of flow.
        choices: The best column first, which has units.
        where: The source, for messages.

    Returns:
        DataArray: With the attributes of the best column; `processing` says which rivers another column was taken for.

    Raises:
        InputError: A column without time, without numbers or without units, or a volume of flow of a river without area.
    """
    values = _quantity(dataset, name, choices[0], where)
    taken: dict[str, np.ndarray] = {}
    for choice in choices[1:]:
        lacking = ~values.notnull().any("time").compute()
        other = observed_only(_series(dataset, choice.column, where)).where(lacking)
        useful = other.notnull().any("time").compute()
        if not bool(useful.any()):
            continue
        if choice.units is None:
            raise unsaid(choice.column, name, where)
        given = dataset.assign({choice.column: other.assign_attrs(dataset[choice.column].attrs)})
        values = values.where(~useful, _quantity(given, name, choice, where)).assign_attrs(values.attrs)
        taken[choice.column] = useful["catchment"].values[useful.values]
    return values if not taken else values.assign_attrs({PROCESSING: told_of(_label(dataset, choices[0]), taken)})


def told_of(best: str, taken: Mapping[str, Sequence | np.ndarray]) -> str:
    """One line: of which rivers another column than the best one is read."""
    parts = [f"{column} for {_listed(rivers)}" for column, rivers in taken.items()]
    return f"read from {', '.join(parts)}, which {best} has no value of; from {best} for all others"


def _label(dataset: xr.Dataset, choice: Choice) -> str:
    """What the source calls a column."""
    return str(dataset[choice.column].attrs.get(COLUMN, choice.column))


def _listed(rivers: Sequence | np.ndarray) -> str:
    few = ", ".join(map(str, rivers[:5]))
    return few if len(rivers) <= 5 else f"{few} and {len(rivers) - 5} more"


def _series(dataset: xr.Dataset, column: str, where: str) -> xr.DataArray:
    held = dataset[column]
    if "time" not in held.dims:
        raise InputError(f"{where}: {column} has the dimensions {held.dims}; it needs (time, catchment)")
    if held.dtype.kind not in "iuf":
        raise InputError(f"{where}: {column} is of type {held.dtype}; give numbers, NaN where nothing was observed")
    return held


def _quantity(dataset: xr.Dataset, name: str, choice: Choice, where: str) -> xr.DataArray:
    held = _series(dataset, choice.column, where)
    one = named(choice.column)
    said = held.attrs.get("units") or (choice.units if one is not None and one.is_said else None)
    area = dataset["catchment-area"] if "catchment-area" in dataset.variables else None
    given = held if said is None else held.assign_attrs(units=said)
    own = {COLUMN: _label(dataset, choice)}
    return quantity(given, name, where, area).assign_attrs(plain(given.attrs) | own)
