"""Daily mean flow and rain of the Environment Agency, as `hydromae fetch ea` writes them: a JSON file for each series.

A file has the entries of the service for the station, for its daily series, and for each day (`items`). The rain of a
catchment is the mean of the rain gauges near its station, which `RAIN_GAUGES` lists.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets import nrfa
from hydromae.datasets.gauges import Gauge, gauge_number, unique_days
from hydromae.errors import InputError, first_line
from hydromae.io.locate import files_in

SERIES_SUFFIX = "_ea-flow.json"
FLOW = "flow-m-86400"
RAIN_SUFFIX = "_ea-rain.json"
RAIN_GAUGES = "ea-rain-gauges.json"
"""File of the rain gauges of each station."""
RAIN = "rainfall-t-86400"
RAIN_NOTE = f"mean of the rain gauges near the station ({RAIN_GAUGES}), not of the catchment"
MEASURED = ("Good", "Unchecked")
"""Qualities of measured values. Estimated, Suspect and Missing values, and incomplete days, are not observations."""
ATTRIBUTES = {"lat": "latitude", "long": "longitude", "catchmentArea": "catchment-area"}


def is_series(path: Path) -> bool:
    """Return whether a file is daily mean flow of the Environment Agency, by its name.

    Raises:
        InputError: The content does not fit the name.
    """
    if not path.name.endswith(SERIES_SUFFIX):
        return False
    if not nrfa.read_start(path).lstrip().startswith(b'{"catchment"'):
        raise InputError(f"{path}: is not a series of the Environment Agency; fetch it again, or remove it")
    return True


def is_measured(reading: Mapping[str, Any]) -> bool:
    """Return whether a reading is a measured mean of a complete day."""
    return reading.get("quality") in MEASURED and reading.get("completeness", "Complete") == "Complete"


def describe_quality(readings: Iterable[Mapping[str, Any]]) -> str:
    """Return the number of days of each quality, and which are not used.

    Examples:
        >>> days = [{"quality": "Good", "value": 1.0}, {"quality": "Missing"}]
        >>> describe_quality([*days, {"quality": "Good", "completeness": "Incomplete", "value": 1.0}])
        '1 Good; not used: 1 Missing, 1 Good of incomplete days'
    """
    used, unused = Counter[str](), Counter[str]()
    for one in readings:
        quality = str(one.get("quality", "without quality"))
        if is_measured(one):
            used[quality] += 1
        else:
            unused[f"{quality} of incomplete days" if quality in MEASURED else quality] += 1
    used_text, unused_text = (", ".join(f"{count} {name}" for name, count in one.items()) for one in (used, unused))
    return (used_text or "no measured day") + (f"; not used: {unused_text}" if unused else "")


def open_series(path: Path) -> Gauge:
    """Read the flow of a station and the mean rain of the gauges near it; days that are not measured are NaN."""
    content = _content(path)
    flow, units = _daily_values(content, path)
    series, series_units = {FLOW: flow}, {FLOW: units}
    try:
        number = str(content["catchment"])
    except KeyError as error:
        raise InputError(f"{path}: is not a series of the Environment Agency; fetch it again") from error
    rain = _mean_rain(number, path.parent)
    if rain is not None:
        (series[RAIN], series_units[RAIN]) = rain
    table = pd.DataFrame(series)
    columns = {name: table[name].to_numpy(dtype=np.float64) for name in series}
    return Gauge(gauge_number(number), pd.DatetimeIndex(table.index), columns, series_units, file=path.name)


def label_of(entry: Mapping[str, Any]) -> str:
    """Return the label of a station, the first of several; empty without one.

    Examples:
        >>> label_of({"label": ["Tarroul", "Wick at Tarroul"]})
        'Tarroul'
    """
    label = entry.get("label", "")
    return str(next(iter(label), "")) if isinstance(label, list) else str(label)


def is_gauge_name(name: object) -> bool:
    """Return whether a name of a rain gauge may be part of the name of a file."""
    return isinstance(name, str) and re.fullmatch(r"[\w-]{1,100}", name, re.ASCII) is not None


def rain_gauges(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rain gauges of each station of a folder, with `gauge`, `label` and `distance_km`; none without the file.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / RAIN_GAUGES
    if not path.is_file():
        return {}
    listed = _content(path)
    for near in listed.values():
        if not (
            isinstance(near, list) and all(isinstance(one, dict) and is_gauge_name(one.get("gauge")) for one in near)
        ):
            raise InputError(
                f"{path}: is not a list of rain gauges of the Environment Agency; fetch it again, or remove it"
            )
    return listed


def _mean_rain(number: str, folder: Path) -> tuple[pd.Series, str] | None:
    """Return the mean daily rain of the gauges of a station over those measured on a day, and its units."""
    files = [folder / f"{one['gauge']}{RAIN_SUFFIX}" for one in rain_gauges(folder).get(number, [])]
    parts = {file.name: _rain_of(file, file.stat().st_mtime_ns) for file in files if file.is_file()}
    if not parts:
        return None
    units = {unit for _, unit in parts.values()}
    if len(units) > 1:
        raise InputError(f"{folder}: the rain gauges of {number} have the units {' and '.join(sorted(units))}")
    return pd.DataFrame({name: values for name, (values, _) in parts.items()}).mean(axis=1), units.pop()


@lru_cache(maxsize=128)
def _rain_of(path: Path, modified: int) -> tuple[pd.Series, str]:
    """Return the daily values of a rain gauge, which several stations share."""
    return _daily_values(_content(path), path)


def _daily_values(content: Mapping[str, Any], path: Path) -> tuple[pd.Series, str]:
    """Return the measured values of a file by day, and their units."""
    try:
        items = content["items"]
        values = [one.get("value", np.nan) if is_measured(one) else np.nan for one in items]
        frame = pd.DataFrame({"date": [str(one["date"]) for one in items]})
        is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        units = str(content["measure"]["unitName"])
    except nrfa.UNREADABLE as error:
        raise InputError(f"{path}: is not a series of the Environment Agency; fetch it again") from error
    if not is_numeric:
        raise InputError(f"{path}: a value is not a number; fetch it again")
    return pd.Series(values, unique_days(frame, "date", str(path)), dtype=np.float64), units


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except nrfa.UNREADABLE as error:
        raise InputError(f"{path}: not a readable JSON file ({first_line(error)}); fetch it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a series of the Environment Agency; fetch it again")
    return content


def static_attributes(folder: Path) -> xr.Dataset | None:
    """Return name, position and area of the stations, completed with the catalogue of the NRFA in the folder."""
    rows, labels = {}, {}
    for file in (file for file in files_in(folder, ".json") if is_series(file)):
        content = _content(file)
        try:
            station = content["station"]
            gauge = gauge_number(str(content["catchment"]))
            rows[gauge] = {name: float(station.get(theirs, np.nan)) for theirs, name in ATTRIBUTES.items()}
            labels[gauge] = label_of(station)
        except nrfa.UNREADABLE as error:
            raise InputError(f"{file}: its station has no position ({first_line(error)}); fetch it again") from error
    own = nrfa.attributes_of(pd.DataFrame.from_dict(rows, orient="index"), str(folder))
    own = own.assign_coords(name=("catchment", np.array(list(labels.values()), dtype=str)))
    return nrfa.with_catalogue(own, nrfa.static_attributes(folder))
