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
from jaxtyping import Float
from pyproj import Transformer

from hydromae.errors import InputError, first_line
from hydromae.io.attribute_ranges import check_attribute
from hydromae.io.parse import parse_period_inside
from hydromae.io.safety import READ_ERRORS, check_classic, check_hdf5, is_classic
from hydromae.io.timestamps import check_daily_step, dataset_step, local_time, to_days
from hydromae.io.units import convert_attribute
from hydromae.io.unobserved import check_packing, observed_only, unobserved_to_nan
from hydromae.io.value_ranges import PROCESSING, check_ranges
from hydromae.variables import ATTRIBUTES, VARIABLES

METRES: Mapping[str, str] = dict.fromkeys(("easting", "northing"), "EPSG:27700")
DEGREES: Mapping[str, str] = dict.fromkeys(("latitude", "longitude"), "EPSG:4326")
STATIC = (*(a.name for a in ATTRIBUTES), "easting", "northing", "centroid_easting", "centroid_northing")
ATTRIBUTE_UNITS = {attribute.name: attribute.units for attribute in ATTRIBUTES}
TIMES = ("time", "valid_time", "date")
READ_DAYS = 730  # days per dask chunk of a large file
EAGER_LIMIT = 2**24  # largest number of values that is read at once
MAX_GAP_DAYS = 36525  # a gap of more than a century is a wrong date


def variables_in_file(path: str | Path) -> set[str]:
    """Return the names in a NetCDF file after its safety checks, or raise InputError."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    return check_classic(path) if is_classic(path) else check_hdf5(path)


def open_netcdf(path: str | Path, whole: bool = True) -> xr.Dataset:
    """Open a NetCDF file, lazily if it is large or not `whole`; raise InputError if it is invalid."""
    variables_in_file(path)
    try:
        with warnings.catch_warnings(action="ignore", category=xr.SerializationWarning):
            if is_classic(path):
                raw = xr.open_dataset(path, engine="scipy", mmap=False)
            else:
                raw = xr.open_dataset(path, engine="h5netcdf", phony_dims="access")
            for name in TIMES:
                raw = local_time(raw, name)
            dataset = load_or_chunk(raw) if whole else raw
    except READ_ERRORS as error:
        remedy = "dates of the standard calendar" if "calendar" in first_line(error) else "a NetCDF-4 file"
        raise InputError(f"{path}: not a readable NetCDF file ({first_line(error)}); give {remedy}") from error
    check_packing(dataset, path)
    return dataset


def load_or_chunk(dataset: xr.Dataset) -> xr.Dataset:
    """Load a small dataset; return a large one as lazy chunks of days."""
    size = sum(values.size for values in dataset.variables.values())
    if size <= EAGER_LIMIT:
        return dataset.load()
    for values in dataset.variables.values():
        if values.ndim < 2:
            values.load()
    return dataset.chunk({"time": READ_DAYS} if "time" in dataset.dims else {})


def site_names(values: np.ndarray, source: str) -> np.ndarray:
    """Return names of catchments: whole numbers as int64, or stripped text.

    Raises:
        InputError: A name is empty, not printable, or neither text nor a whole number.
    """
    names = np.asarray(values)
    if (
        names.dtype.kind == "f"
        and np.isfinite(names).all()
        and (names == np.floor(names)).all()
        and (abs(names) < 2**53).all()
    ):
        return names.astype(np.int64)
    if names.dtype.kind == "i":
        return names.astype(np.int64)
    if names.dtype.kind not in "uOTUS":
        raise InputError(f"{source}: its catchments are of type {names.dtype}; use whole numbers or text")
    labels: list[Any] = [
        label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in names.tolist()
    ]
    for label in labels:
        if (
            isinstance(label, bool)
            or not isinstance(label, str | int)
            or not str(label).strip()
            or not str(label).isprintable()
        ):
            raise InputError(f"{source}: catchment {label!r} is not a name; use a whole number or printable text")
    if all(isinstance(label, int) for label in labels) and all(abs(label) < 2**63 for label in labels):
        return np.array(labels, dtype=np.int64)
    return np.array([str(label).strip() for label in labels], dtype=str)


def to_daily(record: xr.Dataset, source: str) -> xr.Dataset:
    """Return the record on a complete daily axis: hours are dropped, missing days are NaN.

    Raises:
        InputError: No days, dates of another calendar, a duplicate day, or values that are not daily.
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
    """Transpose series to `(time, catchment)` and maps to `(time, cell)`; refuse other dimensions."""
    for name in record.data_vars:
        if name in VARIABLES and set(record[name].dims) not in ({"time", "catchment"}, {"time", "cell"}):
            shape = ", ".join(f"{dim} {size}" for dim, size in record[name].sizes.items())
            raise InputError(f"{source}: {name} has the dimensions ({shape}); it needs (time, catchment)")
    return record.transpose("time", ..., missing_dims="ignore")


def set_cf_attributes(record: xr.Dataset) -> xr.Dataset:
    """Set units, long_name and the CF standard_name of known variables; keep `derived`."""
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
    """Return the attributes that are text or numbers, which every format supports."""
    return {str(k): v for k, v in attributes.items() if isinstance(v, str | int | float | np.integer | np.floating)}


def with_plain_attributes(record: xr.Dataset) -> xr.Dataset:
    """Return the record with plain attributes only and without encoding."""
    record = record.drop_encoding().assign_attrs()
    record.attrs = plain_attributes(record.attrs)
    for name in record.variables:
        record[name].attrs = plain_attributes(record[name].attrs)
    return record


def to_canonical(record: xr.Dataset, source: str) -> xr.Dataset:
    """Return a canonical record: dimensions, NaN, daily axis, ranges, positions, metadata.

    Values must be in canonical units (`units.convert`).
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
    """Return a static attribute as float64 in canonical units, NaN if unknown.

    Raises:
        InputError: Text, unknown units, or a value that is not physically possible.
    """
    if values.dims != ("catchment",) or values.dtype.kind not in "iuf":
        raise InputError(
            f"{source}: {values.name} has type {values.dtype} and dimensions {values.dims}; give a number per catchment"
        )
    known = observed_only(values).astype(np.float64)
    if values.name in ATTRIBUTE_UNITS:
        known = convert_attribute(known, str(values.name), ATTRIBUTE_UNITS[str(values.name)], source)
    check_attribute(str(values.name), known.values, known["catchment"].values, source)
    return known


def with_positions(record: xr.Dataset) -> xr.Dataset:
    """Complete `easting` and `northing` [m, EPSG:27700] and latitude and longitude [degrees] of the gauges.

    A missing pair is computed from the other; NaN if neither is known. A record with neither pair is unchanged.
    """
    for pair, other in ((METRES, DEGREES), (DEGREES, METRES)):
        if other.keys() <= record.variables.keys():
            record = record.assign(_fill_coordinates(record, pair, other))
    record = record.set_coords([name for name in METRES if name in record.data_vars])
    for name, standard in (("easting", "projection_x_coordinate"), ("northing", "projection_y_coordinate")):
        if name in record.coords:
            record[name].attrs |= {"units": "m", "standard_name": standard, "long_name": f"{name} of the gauge"}
    return record


def catchment_positions(
    record: xr.Dataset, source: str | Path = "the record", centroids: bool = False
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Easting and northing [m, EPSG:27700] of each catchment's gauge; with `centroids`, of its centroid where that is known.

    Raises:
        InputError: A catchment has no position.
    """
    located, unknown = with_positions(record), np.full(record.sizes["catchment"], np.nan)

    def position_of(prefix: str) -> Float[np.ndarray, "2 C"]:
        names = [f"{prefix}{name}" for name in METRES]
        return np.stack([located[name].values if name in located.variables else unknown for name in names]).astype(
            float
        )

    position = position_of("")
    if centroids:
        centroid = position_of("centroid_")
        position = np.where(np.isfinite(centroid).all(axis=0), centroid, position)
    is_known = np.isfinite(position).all(axis=0)
    if not is_known.all():
        first = record["catchment"].values[~is_known][0]
        raise InputError(
            f"{source}: {(~is_known).sum()} of its {is_known.size} catchments (first: {first}) have no position, "
            "without which nothing can be predicted; add latitude and longitude, or --attributes CSV that has them"
            + (", or leave them out" if is_known.any() else "")
        )
    return position[0], position[1]


_transformer = cache(Transformer.from_crs)


def _fill_coordinates(record: xr.Dataset, pair: Mapping[str, str], other: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """Return a pair of coordinates, computed from the other pair where a value is missing."""
    empty = xr.DataArray(np.full(record.sizes["catchment"], np.nan), dims="catchment")
    known = {name: record[name] if name in record.variables else empty for name in pair}
    is_missing = ~np.logical_and(*(np.isfinite(values.values.astype(np.float64)) for values in known.values()))
    if not is_missing.any():
        return {}
    (source,), (target,) = set(other.values()), set(pair.values())
    transformed = _transform(source, target, *(record[name].values for name in other))
    return {
        name: values.copy(data=np.where(is_missing, computed, values.values))
        for (name, values), computed in zip(known.items(), transformed, strict=True)
    }


def to_degrees(easting: np.ndarray, northing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude [degrees] of positions in metres (EPSG:27700); NaN outside the projection."""
    return _transform("EPSG:27700", "EPSG:4326", easting, northing)


def _transform(source: str, target: str, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = _transformer(source, target).transform(np.asarray(first, np.float64), np.asarray(second, np.float64))
    known = np.isfinite(x) & np.isfinite(y)
    return np.where(known, x, np.nan), np.where(known, y, np.nan)


def select_period(record: xr.Dataset, period: tuple[str, str] | None, source: str) -> xr.Dataset:
    """Return the days from `period[0]` to `period[1]` inclusive; None returns all.

    Raises:
        InputError: The period is not two ordered dates inside the record.
    """
    if period is None:
        return record
    days = record.indexes["time"]
    return record.sel(time=slice(*parse_period_inside(period, days[0], days[-1], source)))
