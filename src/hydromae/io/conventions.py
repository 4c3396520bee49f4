"""The rules every water record obeys, whatever file it came from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import Transformer

from hydromae.errors import InputError, first_line
from hydromae.io.attribute_ranges import check_attribute
from hydromae.io.parse import parse_period_inside
from hydromae.io.safety import READ_ERRORS, check_classic, check_hdf5, is_classic
from hydromae.io.timestamps import check_daily_step, dataset_step, local_time, to_days
from hydromae.io.units import convert_attribute
from hydromae.io.unobserved import observed_only, unobserved_to_nan
from hydromae.io.value_ranges import PROCESSING, check_ranges
from hydromae.variables import ATTRIBUTES, VARIABLES

METRES: Mapping[str, str] = dict.fromkeys(("easting", "northing"), "EPSG:27700")
DEGREES: Mapping[str, str] = dict.fromkeys(("latitude", "longitude"), "EPSG:4326")
STATIC = (*(a.name for a in ATTRIBUTES), "easting", "northing", "centroid_easting", "centroid_northing")
ATTRIBUTE_UNITS = {attribute.name: attribute.units for attribute in ATTRIBUTES}
TIMES = ("time", "valid_time", "date")
READ_DAYS = 730  # days of a file held at a time while it is streamed
EAGER_LIMIT = 2**24  # values of a file below which it is not streamed
MAX_GAP_DAYS = 36525  # days; a record that jumps a century has a wrong date in it


def variables_in_file(path: str | Path) -> set[str]:
    """Names of what lies in a NetCDF file, which is safe to open then, or one line that says why it is not one."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    return check_classic(path) if is_classic(path) else check_hdf5(path)


def open_netcdf(path: str | Path, whole: bool = True) -> xr.Dataset:
    """A NetCDF file, as lazy dask arrays where it is large (or not `whole`), or one line that says why it is not one."""
    variables_in_file(path)
    try:
        with warnings.catch_warnings(action="ignore", category=xr.SerializationWarning):
            if is_classic(path):
                raw = xr.open_dataset(path, engine="scipy", mmap=False)
            else:
                raw = xr.open_dataset(path, engine="h5netcdf", phony_dims="access")
            for name in TIMES:
                raw = local_time(raw, name)
            return load_or_chunk(raw) if whole else raw
    except READ_ERRORS as error:
        remedy = "dates of the standard calendar" if "calendar" in first_line(error) else "a NetCDF-4 file"
        raise InputError(f"{path}: not a readable NetCDF file ({first_line(error)}); give {remedy}") from error


def load_or_chunk(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset read at once where it is small; else its variables of time in pieces, as they are asked for."""
    size = sum(values.size for values in dataset.variables.values())
    if size <= EAGER_LIMIT:
        return dataset.load()
    for values in dataset.variables.values():
        if values.ndim < 2:
            values.load()
    return dataset.chunk({"time": READ_DAYS} if "time" in dataset.dims else {})


def site_names(values: np.ndarray, source: str) -> np.ndarray:
    """Names of catchments: whole numbers as int64, text without spaces around it.

    Raises:
        InputError: A name that is empty, cannot be printed, or is neither text nor a whole number.
    """
    held = np.asarray(values)
    if (
        held.dtype.kind == "f"
        and np.isfinite(held).all()
        and (held == np.floor(held)).all()
        and (abs(held) < 2**53).all()
    ):
        return held.astype(np.int64)
    if held.dtype.kind == "i":
        return held.astype(np.int64)
    if held.dtype.kind not in "uOTUS":
        raise InputError(f"{source}: its catchments are of type {held.dtype}; use whole numbers or text")
    told: list[Any] = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in held.tolist()]
    for one in told:
        if (
            isinstance(one, bool)
            or not isinstance(one, str | int)
            or not str(one).strip()
            or not str(one).isprintable()
        ):
            raise InputError(f"{source}: catchment {one!r} is not a name; use a whole number or printable text")
    if all(isinstance(one, int) for one in told) and all(abs(one) < 2**63 for one in told):
        return np.array(told, dtype=np.int64)
    return np.array([str(one).strip() for one in told], dtype=str)


def to_daily(record: xr.Dataset, source: str) -> xr.Dataset:
    """The record on a sorted daily axis without gaps: hours are dropped, missing days come in as NaN.

    Raises:
        InputError: No days, dates that are not of the standard calendar, a day that comes twice, or values that are not daily
            ones.
    """
    if "time" not in record.dims or record.sizes["time"] == 0:
        raise InputError(f"{source}: has no days; a record needs a dimension time with at least one date")
    if not np.issubdtype(record["time"].dtype, np.datetime64):
        raise InputError(f"{source}: time is of type {record['time'].dtype}; use dates of the standard calendar")
    index = pd.DatetimeIndex(record["time"].values)
    if index.hasnans:
        raise InputError(f"{source}: time holds an empty date; remove that row")
    check_daily_step(dataset_step(record), source)
    days = to_days(index, source)
    if days.has_duplicates:
        duplicate = days[days.duplicated()][0]
        raise InputError(f"{source}: {duplicate:%Y-%m-%d} occurs more than once; give one value a day")
    record = record.assign_coords(time=("time", days))
    if not days.is_monotonic_increasing:
        record = record.sortby("time")
    _check_gaps(days.sort_values(), source)
    all_days = pd.date_range(days.min(), days.max(), freq="D", unit="ns")
    if len(all_days) != len(days):
        record = record.reindex(time=all_days)
    return record.assign_coords(time=("time", all_days, {"long_name": "day", "standard_name": "time"}))


def _check_gaps(days: pd.DatetimeIndex, source: str) -> None:
    step = np.diff(days.to_numpy()) // np.timedelta64(1, "D")
    if len(step) and step.max() > MAX_GAP_DAYS:
        jump_index = int(step.argmax())
        raise InputError(
            f"{source}: time jumps from {days[jump_index]:%Y-%m-%d} to {days[jump_index + 1]:%Y-%m-%d}; correct the date"
        )


def check_dims(record: xr.Dataset, source: str) -> xr.Dataset:
    """Variables as `(time, catchment)`, maps as `(time, cell)`, transposed if need be; other shapes are refused."""
    for name in record.data_vars:
        if name in VARIABLES and set(record[name].dims) not in ({"time", "catchment"}, {"time", "cell"}):
            shape = ", ".join(f"{dim} {size}" for dim, size in record[name].sizes.items())
            raise InputError(f"{source}: {name} has the dimensions ({shape}); it needs (time, catchment)")
    return record.transpose("time", ..., missing_dims="ignore")


def set_cf_attributes(record: xr.Dataset) -> xr.Dataset:
    """Attributes of every known variable: units, long_name, standard_name where CF has one; `derived` is kept."""
    record = record.copy()
    for name in record.data_vars:
        if name in VARIABLES:
            variable = VARIABLES[str(name)]
            kept = {
                k: v for k, v in record[name].attrs.items() if k in ("long_name", "derived", "grid_mapping", PROCESSING)
            }
            attrs = {"long_name": variable.name.replace("_", " "), **kept, "units": variable.units}
            record[name].attrs = attrs | ({"standard_name": variable.standard_name} if variable.standard_name else {})
    for attribute in ATTRIBUTES:
        if attribute.name in record.data_vars:
            record[attribute.name].attrs |= {"units": attribute.units, "long_name": attribute.name.replace("-", " ")}
    return record


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """The attributes that are text or a number, which every format can hold."""
    return {str(k): v for k, v in attributes.items() if isinstance(v, str | int | float | np.integer | np.floating)}


def with_plain_attributes(record: xr.Dataset) -> xr.Dataset:
    """The record with `plain` attributes only, and without what its file says about storage."""
    record = record.drop_encoding().assign_attrs()
    record.attrs = plain_attributes(record.attrs)
    for name in record.variables:
        record[name].attrs = plain_attributes(record[name].attrs)
    return record


def to_canonical(record: xr.Dataset, source: str) -> xr.Dataset:
    """A record by the rules: shape, NaN, daily axis, range, positions, descriptions.

    Values must be in canonical units already (`units.convert`).
    """
    record = check_dims(record, source)
    if "catchment" not in record.indexes:
        raise InputError(f"{source}: has no catchments; it needs the dimensions (time, catchment)")
    record = record.assign({n: unobserved_to_nan(record[n]) for n in record.data_vars if n in VARIABLES})
    record = record.assign(
        {name: static_attribute(record[name], source) for name in STATIC if name in record.variables}
    )
    if record.indexes["catchment"].has_duplicates:
        duplicate = record.indexes["catchment"][record.indexes["catchment"].duplicated()][0]
        raise InputError(f"{source}: catchment {duplicate} occurs more than once; name each catchment once")
    record = to_daily(record, source)
    return set_cf_attributes(with_positions(check_ranges(record, source)))


def static_attribute(values: xr.DataArray, source: str) -> xr.DataArray:
    """A static attribute as float64 in canonical units, NaN where it is unknown.

    Raises:
        InputError: Text, units that are not known, or a value that is physically impossible.
    """
    if values.dims != ("catchment",) or values.dtype.kind not in "iuf":
        told = f"type {values.dtype} and dimensions {values.dims}"
        raise InputError(f"{source}: {values.name} has {told}; give one number for each catchment")
    known = observed_only(values).astype(np.float64)
    if values.name in ATTRIBUTE_UNITS:
        known = convert_attribute(known, str(values.name), ATTRIBUTE_UNITS[str(values.name)], source)
    check_attribute(str(values.name), known.values, known["catchment"].values, source)
    return known


def with_positions(record: xr.Dataset) -> xr.Dataset:
    """The record with `easting` and `northing` [m, EPSG:27700] of its gauges, and latitude and longitude [degrees].

    Of a gauge that lacks one pair it is computed from the other; NaN where neither is known. A record with neither pair
    comes back as it is.
    """
    for pair, other in ((METRES, DEGREES), (DEGREES, METRES)):
        if other.keys() <= record.variables.keys():
            record = record.assign(_fill_coordinates(record, pair, other))
    record = record.set_coords([name for name in METRES if name in record.data_vars])
    for name, standard in (("easting", "projection_x_coordinate"), ("northing", "projection_y_coordinate")):
        if name in record.coords:
            record[name].attrs |= {"units": "m", "standard_name": standard, "long_name": f"{name} of the gauge"}
    return record


_transformer = cache(Transformer.from_crs)


def _fill_coordinates(record: xr.Dataset, pair: Mapping[str, str], other: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """A pair of coordinates, where a gauge lacks one of them both computed from the other pair."""
    empty = xr.DataArray(np.full(record.sizes["catchment"], np.nan), dims="catchment")
    held = {name: record[name] if name in record.variables else empty for name in pair}
    is_missing = ~np.logical_and(*(np.isfinite(values.values.astype(np.float64)) for values in held.values()))
    if not is_missing.any():
        return {}
    (source,), (target,) = set(other.values()), set(pair.values())
    told = _transform(source, target, *(record[name].values for name in other))
    return {
        name: values.copy(data=np.where(is_missing, computed, values.values))
        for (name, values), computed in zip(held.items(), told, strict=True)
    }


def to_degrees(easting: np.ndarray, northing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude [degrees] of places in metres (EPSG:27700), NaN where there is none."""
    return _transform("EPSG:27700", "EPSG:4326", easting, northing)


def _transform(source: str, target: str, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, two = _transformer(source, target).transform(np.asarray(first, np.float64), np.asarray(second, np.float64))
    known = np.isfinite(one) & np.isfinite(two)
    return np.where(known, one, np.nan), np.where(known, two, np.nan)


def select_period(record: xr.Dataset, period: tuple[str, str] | None, source: str) -> xr.Dataset:
    """The days of the record from `period[0]` to `period[1]`, both included; None is all of them.

    Raises:
        InputError: The period is not two ordered dates, or it is not inside the record.
    """
    if period is None:
        return record
    days = record.indexes["time"]
    return record.sel(time=slice(*parse_period_inside(period, days[0], days[-1], source)))
