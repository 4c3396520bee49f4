"""Unobserved values: codes for missing values, and values marked as filled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool

from hydromae.errors import InputError
from hydromae.io.names import ORIGIN, OUTSIDE_TRAINING, QUANTILES, parse_column_name
from hydromae.io.seed_layout import MISSING
from hydromae.variables import VARIABLES

FILL_MAGNITUDE = 9e18
"""Magnitude of fill values: 1e20 of HadUK-Grid, 9.97e36 of NetCDF floats, -9.2e18 of 64-bit integers."""
MISSING_CODES = (-32767.0, MISSING, -2147483647.0, -2147483648.0)
"""−99999, and NetCDF fill values of integers of 2 and 4 bytes (the last is the previous one in float32)."""
DECLARED_ATTRIBUTES = ("_FillValue", "missing_value")
FILLED_SUFFIX = "_filled"
"""Suffix of a boolean variable or column that marks filled values, such as `discharge_vol_filled`."""
STORE_ATTRIBUTES = ("hydromae_format", "scaling", "training_period")
"""Attributes of a store (`store.zarr_store.write_metadata`)."""
OBSERVED_WORDS = ("observed", "0", "0.0", "false", "")
MARKED_WORDS = ("true", "1", "1.0")
ANSWERED_WORDS = ("filled", "forecast", "ungauged", "missing", "2", "2.0", "3", "3.0", "4", "4.0")


def is_missing_code(values: np.ndarray) -> np.ndarray:
    """Return True for codes for missing values: NaN, ±inf, a NetCDF fill value, 1e20, −99999."""
    if values.dtype.kind == "u":  # NetCDF fill value: the maximum, for 64 bits the maximum minus one
        return values >= np.iinfo(values.dtype).max - (1 if values.dtype.itemsize == 8 else 0)
    if values.dtype.kind == "i":
        lowest = -127 if values.dtype.itemsize == 1 else -np.inf
        return np.isin(values, MISSING_CODES) | (values == lowest) | (values <= -FILL_MAGNITUDE)
    code = np.asarray(~((values > max(MISSING_CODES)) & (values < FILL_MAGNITUDE)))
    if code.any():  # few values: a value far below zero may be wrong and not a code
        cleaned = values[code]
        with np.errstate(invalid="ignore"):  # NaN with another bit pattern
            code[code] = ~(abs(cleaned) < FILL_MAGNITUDE) | np.isin(cleaned, MISSING_CODES)
    return code


def observed_only(values: xr.DataArray) -> xr.DataArray:
    """Set codes for missing values (`is_missing_code`) and declared missing values to NaN, before a conversion of units."""
    code = xr.apply_ufunc(is_missing_code, values.variable, dask="parallelized", output_dtypes=[bool])
    for declared in declared_missing(values.attrs):
        code = code | (values.variable == declared)
    packed = _packed_default(values)
    if packed is not None:
        default, step = packed
        code = code | (abs(values.variable - default) < step / 4)
    return values.copy(data=values.variable.where(~code).data)


def unobserved_to_nan(values: xr.DataArray) -> xr.DataArray:
    """Apply `observed_only` and convert to float32."""
    return observed_only(values).astype(np.float32, copy=False)


def without_answers(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """Set marked values to NaN (`without_filled`) and drop variables of an answer and attributes of a store."""
    cleaned = {
        str(n): without_filled(dataset, str(n), source)
        for n in dataset.data_vars
        if parse_column_name(str(n)) is not None
    }
    answer_names = [
        name for name in (OUTSIDE_TRAINING, *(f"{name}{ORIGIN}" for name in VARIABLES)) if name in dataset.variables
    ]
    result = dataset.assign(cleaned).drop_vars(answer_names)
    if any(f"{name}{QUANTILES}" in dataset.variables for name in VARIABLES):
        result = result.drop_dims("quantile", errors="ignore")
    result.attrs = {name: value for name, value in dataset.attrs.items() if name not in STORE_ATTRIBUTES}
    return result


def without_filled(dataset: xr.Dataset, column: str, source: str) -> xr.DataArray:
    """Return a variable with NaN where a mark variable is filled or predicted.

    Raises:
        InputError: A mark has other dimensions or an unknown value.
    """
    values = dataset[column]
    for name in mark_columns(column):
        if name in dataset.variables:
            mark = dataset[name].reset_coords(drop=True)
            if not set(mark.dims) <= set(values.dims):
                raise InputError(f"{source}: {name} has the dimensions {mark.dims}; it needs those of {column}")
            is_measured = ~mark.copy(data=_is_marked(mark.values, name, source))
            values = values.where(is_measured).transpose(*values.dims)
    values.encoding = dict(dataset[column].encoding)
    return values


def is_filled(frame: pd.DataFrame, column: str, source: str | Path) -> Bool[np.ndarray, " N"]:
    """Return True in rows whose value is marked as filled or predicted; empty marks are False.

    Raises:
        InputError: A mark has an unknown value.
    """
    marks = np.zeros(len(frame), dtype=bool)
    for name in mark_columns(column):
        if name in frame.columns:
            marks |= _is_marked(frame[name].to_numpy(dtype=object), name, source)
    return marks


def mark_columns(column: str) -> tuple[str, ...]:
    """Return possible names of the columns that mark values of a column.

    Examples:
        >>> mark_columns("discharge_vol")
        ('discharge_vol_filled', 'discharge_vol_origin', 'riverflow_origin')
    """
    bare_name = re.sub(r"\s*[\[(].*", "", column).strip()
    one = parse_column_name(column)
    variable = bare_name if one is None else one.variable
    names = [
        f"{column.strip()}{FILLED_SUFFIX}",
        f"{bare_name}{FILLED_SUFFIX}",
        f"{bare_name}{ORIGIN}",
        f"{variable}{ORIGIN}",
    ]
    return tuple(dict.fromkeys(names))


def _is_marked(marks: np.ndarray, name: str, source: str | Path) -> np.ndarray:
    """Return True where a mark is true or an origin is not observed."""
    if marks.dtype.kind in "biuf":
        return (marks != 0) & (marks == marks)
    flat = pd.Series(marks.ravel(), dtype=object)
    words = flat.where(flat.notna(), "").map(lambda one: str(one).strip().lower())
    allowed = MARKED_WORDS if name.endswith(FILLED_SUFFIX) else (*MARKED_WORDS, *ANSWERED_WORDS)
    is_unknown = ~words.isin([*OBSERVED_WORDS, *allowed]).to_numpy()
    if is_unknown.any():
        remedy = "true where a value was filled in" if name.endswith(FILLED_SUFFIX) else "0 for observed, 1 for filled"
        raise InputError(f"{source}: {name} holds {flat.to_numpy()[is_unknown][0]!r}; write {remedy}")
    return ~words.isin(OBSERVED_WORDS).to_numpy().reshape(marks.shape)


def declared_missing(attributes: Mapping) -> tuple[float, ...]:
    """Return the numbers that attributes of stored values declare as missing (`DECLARED_ATTRIBUTES`)."""
    declared = [np.ravel(np.asarray(attributes[name])) for name in DECLARED_ATTRIBUTES if name in attributes]
    return tuple(float(number) for part in declared if part.dtype.kind in "iuf" for number in part)


def check_packing(dataset: xr.Dataset, source: str | Path) -> None:
    """Refuse values that were unpacked with a `scale_factor` of zero, or with an attribute that is not a finite number.

    Raises:
        InputError: The stored values of a variable cannot be recovered.
    """
    for name, values in dataset.variables.items():
        fill = np.asarray(values.encoding.get("_FillValue", 0))
        if values.dtype.kind in "iuf" and fill.dtype.kind not in "biuf":
            raise InputError(
                f"{source}: {name} has the _FillValue {fill}, which is not a number; write its values again"
            )
        for key in ("scale_factor", "add_offset"):
            number = np.asarray(values.encoding.get(key, 1.0))
            is_number = number.size == 1 and number.dtype.kind in "iuf" and np.isfinite(number).all()
            if not is_number or (key == "scale_factor" and number == 0):
                raise InputError(f"{source}: {name} is packed with {key} = {number}; write its values again")


def _packed_default(values: xr.DataArray) -> tuple[float, float] | None:
    """Return the unpacked NetCDF fill value of packed integers and the packing step, or None."""
    packing = values.encoding
    kind, scale = np.dtype(packing.get("dtype", np.float32)), packing.get("scale_factor")
    if scale is None or kind.kind not in "i" or any(name in packing for name in DECLARED_ATTRIBUTES):
        return None
    default = {1: -127, 2: -32767, 4: -2147483647, 8: -9223372036854775806}[kind.itemsize]
    return default * float(scale) + float(packing.get("add_offset", 0.0)), abs(float(scale))
