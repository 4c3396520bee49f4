"""Validation of stores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError, first_line
from hydromae.io.attribute_ranges import check_attribute
from hydromae.io.parse import grid_from_json, parse_period, sources_from_json
from hydromae.io.safety import READ_ERRORS
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES, VARIABLES


@contextmanager
def store_errors(path: str | Path) -> Iterator[None]:
    """Convert errors of xarray and zarr on a damaged store to InputError."""
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            yield
    except InputError:  # already a user error
        raise
    except (*READ_ERRORS, UserWarning) as error:  # zarr warns of arrays without metadata
        raise InputError(f"{path}: the store cannot be read ({first_line(error)}); prepare it again") from error


def _check_stamp(stamp: dict[str, str], source: str) -> None:
    """Refuse a store without sources or scaling."""
    missing_names = [name for name in ("sources", "scaling") if name not in stamp]
    if missing_names:
        raise InputError(f"{source}: has lost its attribute {missing_names[0]}; prepare the store again")
    sources_from_json(stamp["sources"], source)
    try:
        Scaling.from_json(stamp["scaling"])
        if "training_period" in stamp:
            first, _, last = stamp["training_period"].partition("/")
            parse_period((first, last))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    if "grid" in stamp:
        grid_from_json(stamp["grid"], source)


def check_record(stored: xr.Dataset, source: str) -> None:
    """Refuse a store with days, sites, variables or units that `zarr_store.write_store` does not write."""
    _check_stamp({key: str(value) for key, value in stored.attrs.items()}, source)
    days = stored.indexes.get("time")
    is_consecutive = (
        isinstance(days, pd.DatetimeIndex) and len(days) and (np.diff(days.values) == np.timedelta64(1, "D")).all()
    )
    if not is_consecutive:
        raise InputError(f"{source}: its days are not consecutive dates; prepare the store again")
    for name in (n for n in stored.data_vars if n in VARIABLES):
        variable = stored[name]
        if variable.dims not in (("time", "catchment"), ("time", "cell")) or variable.dtype != np.float32:
            raise InputError(f"{source}: {name} is {variable.dtype}{variable.dims}; prepare the store again")
        if variable.dims[1] not in stored.indexes or variable.attrs.get("units") != VARIABLES[str(name)].units:
            raise InputError(f"{source}: {name} has lost the names of its sites or its units; prepare the store again")
    for name in (a.name for a in ATTRIBUTES if a.name in stored.variables):
        if stored[name].dims != ("catchment",) or stored[name].dtype.kind not in "iuf":
            raise InputError(f"{source}: {name} is not a number for each catchment; prepare the store again")
        check_attribute(name, stored[name].values, stored["catchment"].values, source)
    if "catchment" in stored.indexes and stored.indexes["catchment"].has_duplicates:
        raise InputError(f"{source}: a catchment occurs more than once; prepare the store again")
