"""Records with changed weather, the input of the physical probes (`evaluate.probes`).

Every function returns a new record, whose changed values stay within the valid range of their variable. In a record with maps
the maps change as well as the series of the catchments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from hydromae.variables import SERIES_SUFFIX, VARIABLES


def scale_weather(record: xr.Dataset, variable: str, factor: float) -> xr.Dataset:
    """The record with a weather variable multiplied by `factor`."""
    return _change(record, variable, lambda values: values * factor)


def warm_weather(record: xr.Dataset, degrees: float) -> xr.Dataset:
    """The record with a temperature that is higher by `degrees` [°C]."""
    return _change(record, "temperature", lambda values: values + degrees)


def stop_rain(record: xr.Dataset, first_day: int) -> xr.Dataset:
    """The record without precipitation from the day `first_day` (counted from 0) to its end, also where it is missing."""

    def stop(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:first_day], np.zeros_like(values[first_day:])])

    return _change(record, "precipitation", stop)


def delay_weather(record: xr.Dataset, days: int) -> xr.Dataset:
    """The record with the weather of every day `days` days later; the first days keep their own."""

    def delay(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:days], values[: len(values) - days]])

    for variable in ("precipitation", "temperature", "potential_evaporation"):
        record = _change(record, variable, delay)
    return record


def _change(record: xr.Dataset, variable: str, change: Callable[[np.ndarray], np.ndarray]) -> xr.Dataset:
    """Apply a function of values (time first) to the maps and the series of a variable."""
    changed = {}
    for name in (name for name in (variable, f"{variable}{SERIES_SUFFIX}") if name in record):
        values, (low, high) = record[name].transpose("time", ...), VARIABLES[name].valid
        changed[name] = values.copy(data=np.clip(change(values.values), low, high)).transpose(*record[name].dims)
    return record.assign(changed)
