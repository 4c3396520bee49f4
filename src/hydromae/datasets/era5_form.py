"""Variants of ERA5-Land files, converted to the form of the archive, and the declared day of daily sums."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.options import DailySums

DIMENSION_NAMES = {"lat": "latitude", "lon": "longitude"}
MEMBERS = ("number", "realization", "member", "ensemble")
FILE_HOURS = 744
"""Hours per chunk when versions are merged: a month."""
DAILY_SUM_TOOLS = re.compile(
    r"\b(daysum|daily_reduce|daily_sum|resample)\b|\bshifttime,-|daily[-_]statistics|time: sum \(interval: 1 day", re.I
)
"""Programs and operators whose sums have the stamp of their own day; "daily" alone is ambiguous."""
DOWNLOAD_TOOLS = re.compile(r"\bGRIB to |grib_to_netcdf|\bcfgrib\b|\bselhour,0\b", re.IGNORECASE)
"""Marks of files with the hours of the archive."""


def declared_day(raw: xr.Dataset, column: str) -> DailySums | None:
    """Return the day of daily sums from `cell_methods`, the `history`, or marks of a download; None if unknown."""
    attributes, history = raw[column].attrs, str(raw.attrs.get("history", ""))
    methods = str(attributes.get("cell_methods", ""))
    if re.search(r"\btime: sum\b", methods) or DAILY_SUM_TOOLS.search(methods) or DAILY_SUM_TOOLS.search(history):
        return "same-day"
    if DOWNLOAD_TOOLS.search(history) or attributes.get("GRIB_stepType") == "accum":
        return "day-before"
    return None


def standard_form(raw: xr.Dataset, columns: Collection[str], path: str | Path) -> xr.Dataset:
    """Return a file with the dimensions `time`, `latitude`, `longitude`, and ascending longitudes from -180 to 180.

    Versions of a value (`expver`) are merged, the final one first; dimensions of length one are dropped.

    Raises:
        InputError: Several members of an ensemble.
    """
    raw = raw.rename(
        {
            old_name: name
            for old_name, name in DIMENSION_NAMES.items()
            if old_name in raw.variables and name not in raw.variables
        }
    )
    raw = _with_time(raw)
    if "expver" in raw.dims:
        raw = _merge_versions(raw)
    known = [name for name in columns if name in raw.data_vars]
    for dim in {str(dim) for name in known for dim in raw[name].dims} - {"time", "latitude", "longitude"}:
        if raw.sizes[dim] == 1:
            raw = raw.squeeze(dim, drop=True)
        elif dim in MEMBERS:
            raise InputError(f"{path}: has {raw.sizes[dim]} members of an ensemble ({dim}); keep one of them")
    return _wrap_longitudes(raw)


def _with_time(raw: xr.Dataset) -> xr.Dataset:
    """Return valid times as dimension `time`, also for a single time."""
    if "valid_time" in raw.dims:
        return raw.drop_vars("time", errors="ignore").rename({"valid_time": "time"})
    if "valid_time" in raw.variables and raw["valid_time"].dims == ("time",):
        return raw.assign_coords(time=raw["valid_time"].values).drop_vars("valid_time")
    single_time = next((name for name in ("valid_time", "time") if name in raw.variables and not raw[name].dims), None)
    if single_time is None or "time" in raw.dims:
        return raw
    stamp = raw[single_time].values
    raw = raw.drop_vars([name for name in ("valid_time", "time") if name in raw.variables])
    maps = [name for name in raw.data_vars if {"latitude", "longitude"} <= set(raw[name].dims)]
    return raw.assign({name: raw[name].expand_dims(time=[stamp]) for name in maps})


def _merge_versions(raw: xr.Dataset) -> xr.Dataset:
    """Return the first available version of each value; the final version has the smallest number."""
    if "time" in raw.dims and not raw.chunks:
        raw = raw.chunk({"time": FILE_HOURS})
    order = np.argsort([int(str(one)) if str(one).isdecimal() else 0 for one in raw["expver"].values], kind="stable")
    joined = raw.isel(expver=int(order[0]), drop=True)
    for version_index in order[1:]:
        other = raw.isel(expver=int(version_index), drop=True)
        merged = {name: joined[name].where(joined[name].notnull(), other[name]) for name in raw.data_vars}
        joined = joined.assign({n: v.assign_attrs(raw[n].attrs) for n, v in merged.items()})
    return joined


def _wrap_longitudes(raw: xr.Dataset) -> xr.Dataset:
    """Convert longitudes of 0 … 360 to -180 … 180, ascending and unique."""
    if "longitude" not in raw.indexes or raw["longitude"].dtype.kind not in "iuf":
        return raw
    east = raw["longitude"].values.astype(np.float64)
    if not (east > 180).any():
        return raw
    wrapped = np.round((east + 180) % 360 - 180, 6)
    ordered, first = np.unique(wrapped, return_index=True)
    return raw.isel(longitude=first).assign_coords(longitude=ordered)
