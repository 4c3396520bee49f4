"""The rules every water record obeys, whatever file it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import Transformer

from hydromae.errors import InputError, first_line
from hydromae.modalities import ATTRIBUTES, VARIABLES

MISSING = -99999.0
FILL = 1e19  # HadUK-Grid fills with 1e20; nothing measured is near it
CODES = (-9999.0, -999.0, -99.0, -9.0)
READ_DAYS = 730  # days of a file held at a time while it is streamed


def open_file(path: str | Path) -> xr.Dataset:
    """A NetCDF file as lazy dask arrays, or one line that says why it is not one."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        dataset = xr.open_dataset(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable NetCDF file ({first_line(error)}); give a NetCDF-4 file") from error
    return dataset.chunk({"time": READ_DAYS}) if "time" in dataset.dims else dataset


def unobserved_to_nan(values: xr.DataArray) -> xr.DataArray:
    """float32, with NaN for what was not observed: NaN, ±inf, the sentinel −99999, fills of 1e20."""
    seen = np.isfinite(values) & (values != MISSING) & (abs(values) < FILL)
    return values.where(seen).astype(np.float32)


def daily(record: xr.Dataset, where: str) -> xr.Dataset:
    """The record on a sorted daily axis without gaps: hours are dropped, missing days come in as NaN.

    Raises
    ------
    InputError
        No days, dates that are not of the standard calendar, or a day that comes twice.
    """
    if "time" not in record.dims or record.sizes["time"] == 0:
        raise InputError(f"{where}: there is no day in it; a record needs a dimension time with at least one date")
    if not np.issubdtype(record["time"].dtype, np.datetime64):
        raise InputError(f"{where}: time is of type {record['time'].dtype}; use dates of the standard calendar")
    index = pd.DatetimeIndex(record["time"].values)
    if index.hasnans:
        raise InputError(f"{where}: time holds an empty date; remove that row")
    days = index.floor("D").as_unit("ns")
    if days.has_duplicates:
        twice = days[days.duplicated()][0]
        raise InputError(f"{where}: {twice:%Y-%m-%d} comes more than once; give one value a day")
    record = record.assign_coords(time=("time", days))
    if not days.is_monotonic_increasing:
        record = record.sortby("time")
    full = pd.date_range(days.min(), days.max(), freq="D", unit="ns")
    if len(full) != len(days):
        record = record.reindex(time=full)
    return record.assign_coords(time=("time", full, {"long_name": "day", "standard_name": "time"}))


def check_range(record: xr.Dataset, where: str) -> None:
    """Refuse values outside `Variable.valid`, with a guess at what went wrong; one streamed pass."""
    names = [str(name) for name in record.data_vars if name in VARIABLES]
    low = record[names].min()
    high = record[names].max()
    for name, lowest, highest in zip(names, *_computed(low, high, names), strict=True):
        minimum, maximum = VARIABLES[name].valid
        for value in (lowest, highest):
            if value < minimum or value > maximum:
                raise InputError(
                    f"{where}: {name} has the value {value:.6g}, outside {minimum:g} … {maximum:g} "
                    f"{VARIABLES[name].units}; {_remedy(name, value)}"
                )


def _computed(low: xr.Dataset, high: xr.Dataset, names: list[str]) -> tuple[list[float], list[float]]:
    both = xr.concat([low, high], dim="end").compute()
    return [float(both[name][0]) for name in names], [float(both[name][1]) for name in names]


def _remedy(name: str, value: float) -> str:
    if value in CODES:
        return "it looks like a code for missing; write NaN"
    if name == "temperature" and 150 < value < 350:
        return "it looks like Kelvin; set its units to 'K'"
    if name == "soil_moisture" and 1 < value <= 100:
        return "it looks like percent; set its units to '%'"
    if name == "riverflow" and value > 0:
        return "it looks like m3 s-1; set its units to 'm3 s-1', or check the column"
    return "check its units and the column"


def check_dims(record: xr.Dataset, where: str) -> xr.Dataset:
    """Variables as `(time, catchment)`, maps as `(time, cell)`, transposed if need be; other shapes are refused."""
    for name in record.data_vars:
        if name in VARIABLES and set(record[name].dims) not in ({"time", "catchment"}, {"time", "cell"}):
            shape = ", ".join(f"{dim} {size}" for dim, size in record[name].sizes.items())
            raise InputError(f"{where}: {name} has the dimensions ({shape}); it needs (time, catchment)")
    return record.transpose("time", ..., missing_dims="ignore")


def describe(record: xr.Dataset) -> xr.Dataset:
    """Attributes of every known variable: units, long_name, standard_name where CF has one; `derived` is kept."""
    record = record.copy()
    for name in record.data_vars:
        if name in VARIABLES:
            variable = VARIABLES[str(name)]
            kept = {k: v for k, v in record[name].attrs.items() if k in ("long_name", "derived", "grid_mapping")}
            attrs = {"long_name": variable.name.replace("_", " "), **kept, "units": variable.units}
            record[name].attrs = attrs | ({"standard_name": variable.standard_name} if variable.standard_name else {})
    for attribute in ATTRIBUTES:
        if attribute.name in record.data_vars:
            record[attribute.name].attrs |= {"units": attribute.units, "long_name": attribute.name.replace("-", " ")}
    return record


def canonical(record: xr.Dataset, where: str) -> xr.Dataset:
    """A record by the rules: shape, NaN, daily axis, range, positions, descriptions.

    Values must be in canonical units already (`units.convert`).
    """
    record = check_dims(record, where)
    record = record.assign({n: unobserved_to_nan(record[n]) for n in record.data_vars if n in VARIABLES})
    known = [a.name for a in ATTRIBUTES if a.name in record.data_vars]
    record = record.assign({name: record[name].astype(np.float64) for name in known})
    if record.indexes["catchment"].has_duplicates:
        twice = record.indexes["catchment"][record.indexes["catchment"].duplicated()][0]
        raise InputError(f"{where}: catchment {twice} comes more than once; name each catchment once")
    record = daily(record, where)
    check_range(record, where)
    return describe(positions(record))


def positions(record: xr.Dataset) -> xr.Dataset:
    """The record with `easting` and `northing` [m, EPSG:27700] of its gauges, and latitude and longitude [degrees].

    Whichever pair is absent is computed from the other; NaN where neither is known. A record with neither pair comes
    back as it is.
    """
    has_metres = "easting" in record.variables and "northing" in record.variables
    has_degrees = "latitude" in record.variables and "longitude" in record.variables
    if has_metres:
        record = record.set_coords([n for n in ("easting", "northing") if n in record.data_vars])
    if has_degrees and not has_metres:
        east, north = _transform("EPSG:4326", "EPSG:27700", record["latitude"].values, record["longitude"].values)
        record = record.assign_coords(easting=("catchment", east), northing=("catchment", north))
    if has_metres and not has_degrees:
        lat, lon = _transform("EPSG:27700", "EPSG:4326", record["easting"].values, record["northing"].values)
        record = record.assign(latitude=("catchment", lat), longitude=("catchment", lon))
    for name, standard in (("easting", "projection_x_coordinate"), ("northing", "projection_y_coordinate")):
        if name in record.coords:
            record[name].attrs |= {"units": "m", "standard_name": standard, "long_name": f"{name} of the gauge"}
    return record


def _transform(source: str, target: str, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    transformer = Transformer.from_crs(source, target)
    one, two = transformer.transform(np.asarray(first, np.float64), np.asarray(second, np.float64))
    known = np.isfinite(one) & np.isfinite(two)
    return np.where(known, one, np.nan), np.where(known, two, np.nan)


def within(record: xr.Dataset, period: tuple[str, str] | None, where: str) -> xr.Dataset:
    """The days of the record from `period[0]` to `period[1]`, both included; None is all of them.

    Raises
    ------
    InputError
        The period is not two ordered dates, or it is not inside the record.
    """
    if period is None:
        return record
    start, end = parse_period(period)
    days = record.indexes["time"]
    if start < days[0] or end > days[-1]:
        raise InputError(
            f"{where}: the period {start:%Y-%m-%d} … {end:%Y-%m-%d} is not inside {days[0]:%Y-%m-%d} … "
            f"{days[-1]:%Y-%m-%d}; choose days inside it"
        )
    return record.sel(time=slice(start, end))


def parse_period(period: tuple[str, str]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last day of a period given as text."""
    try:
        start, end = pd.Timestamp(period[0]), pd.Timestamp(period[1])
    except ValueError as error:
        raise InputError(f"period {period[0]}/{period[1]}: not two dates; write YYYY-MM-DD/YYYY-MM-DD") from error
    if not (isinstance(start, pd.Timestamp) and isinstance(end, pd.Timestamp)):
        raise InputError(f"period {period[0]}/{period[1]}: a date is empty; write YYYY-MM-DD/YYYY-MM-DD")
    if not start <= end:
        raise InputError(f"period {period[0]}/{period[1]}: the last day is before the first; swap them")
    return start, end
