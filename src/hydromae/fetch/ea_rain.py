"""Download daily rain of the gauges of the Environment Agency near its flow stations.

Rain near a station stands for the rain of its catchment, whose boundary the service lacks: gauges are taken in the disc of
the catchment's area around the station, as for maps, and the nearest ones where the disc has few.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pyproj import Geod

from hydromae.datasets.environment_agency import (
    RAIN_GAUGES,
    RAIN_SUFFIX,
    describe_quality,
    is_gauge_name,
    label_of,
    rain_gauges,
)
from hydromae.errors import InputError
from hydromae.fetch.ea_series import DailySeries, Period, fetch_series, station_list
from hydromae.fetch.fetched_files import FetchedFiles
from hydromae.fetch.transfer import Client
from hydromae.io.text_file import read_text
from hydromae.progress import track

GAUGE_LIST = "ea-rain-gauge-list.json"
RAIN_FILES = (GAUGE_LIST, RAIN_GAUGES)
RAIN_KIND, RAIN_MEANING = "-rainfall-t-86400-mm-qualified", "daily rain"
FEWEST_GAUGES, MOST_GAUGES = 3, 8
"""Rain gauges of a station; of more in the disc, as many are taken at all distances."""
MOST_KM = 25.0
"""Largest distance of a gauge outside the disc [km]."""


def fetch_rain(
    stations: Mapping[str, Mapping[str, Any]],
    days: Period,
    fetched: FetchedFiles,
    client: Client,
    url: str,
    progress: Callable[[str], None],
) -> list[str]:
    """Download daily rain near stations; return the numbers of the stations with a gauge.

    A gauge that fails is reported, and the others are fetched. The list of gauges is kept in the folder.

    Args:
        stations: Entries of the service by station number.
        days: First and last day.
        progress: Called with a line about the gauges of each station.

    Raises:
        InputError: A file of the user in the folder.
    """
    try:
        is_new = not fetched.has(GAUGE_LIST, {"observedProperty": "rainfall"})
        gauges = station_list(GAUGE_LIST, "rainfall", fetched, client, url, is_new)
    except InputError as error:
        progress(f"rain not fetched: {error}")
        return []
    usable = [one for one in gauges if is_gauge_name(one.get("notation")) and not one.get("dateClosed")]
    chosen = {number: nearest_gauges(entry, usable) for number, entry in stations.items()}
    wanted = {str(one["notation"]): one for near in chosen.values() for one, _ in near}
    fetched.check_not_of_the_user(f"{name}{RAIN_SUFFIX}" for name in wanted)
    available = _fetch_gauges(wanted, days, fetched, client, url, progress)
    near_stations = {
        number: [{**_described(one), "distance_km": round(km, 1)} for one, km in near if one["notation"] in available]
        for number, near in chosen.items()
    }
    _keep(near_stations, fetched)
    for number, near in near_stations.items():
        progress(f"station {number}: " + _line(near))
    return [number for number, near in near_stations.items() if near]


def nearest_gauges(
    station: Mapping[str, Any], gauges: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], float]]:
    """Return the gauges for a station with their distances [km], by distance; none without the position of the station."""
    here, places = _position(station), np.array([_position(one) for one in gauges]).reshape(-1, 2)
    if not np.isfinite(here).all():
        return []
    there = np.where(np.isfinite(places).all(axis=1, keepdims=True), places, np.nan)
    _, _, metres = Geod(ellps="WGS84").inv(*np.broadcast_to(here, there.shape).T, *there.T)
    km = np.asarray(metres) / 1000
    order = [int(index) for index in np.argsort(km, kind="stable") if np.isfinite(km[index])]
    area = _number(station.get("catchmentArea"))
    radius = math.sqrt(area / math.pi) if area > 0 else 0.0
    inside = [index for index in order if km[index] <= radius]
    if len(inside) < FEWEST_GAUGES:
        inside = [index for index in order if km[index] <= max(radius, MOST_KM)][:FEWEST_GAUGES]
    spread = np.unique(np.linspace(0, len(inside) - 1, min(len(inside), MOST_GAUGES)).round().astype(int))
    return [(gauges[inside[place]], float(km[inside[place]])) for place in spread]


def _position(entry: Mapping[str, Any]) -> tuple[float, float]:
    return _number(entry.get("long")), _number(entry.get("lat"))


def _number(value: object) -> float:
    """Return a number of an entry; NaN for another value."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan  # type: ignore[arg-type]


def _fetch_gauges(
    gauges: Mapping[str, Mapping[str, Any]],
    days: Period,
    fetched: FetchedFiles,
    client: Client,
    url: str,
    progress: Callable[[str], None],
) -> set[str]:
    """Download the series of gauges; return the names of those with a file."""
    available = set()
    for name, entry in track(gauges.items(), "rain gauges fetched", len(gauges)):
        label = f"rain gauge {_described(entry)['label']}"
        file = f"{name}{RAIN_SUFFIX}"
        try:
            series = DailySeries(file, {"gauge": name}, entry, RAIN_KIND, RAIN_MEANING, label)
            new, readings = fetch_series(series, days, fetched, client, url)
            progress(f"{fetched.folder / file}: {label}: {new} new days; {describe_quality(readings)}")
            available.add(name)
        except InputError as error:
            progress(f"not fetched: {label}: {error}")
            if fetched.has(file, RAIN_MEANING):
                available.add(name)  # the days of earlier runs
    return available


def _described(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"gauge": str(entry["notation"]), "label": label_of(entry) or str(entry["notation"])}


def _keep(near_stations: Mapping[str, Any], fetched: FetchedFiles) -> None:
    """Write which gauges belong to which station, with those of earlier stations of the folder."""
    earlier = rain_gauges(fetched.folder) if fetched.has(RAIN_GAUGES, RAIN_MEANING) else {}
    text = json.dumps({**earlier, **near_stations}, indent=1)
    if not fetched.has(RAIN_GAUGES, RAIN_MEANING) or read_text(fetched.folder / RAIN_GAUGES) != text:
        fetched.write(RAIN_GAUGES, text, RAIN_MEANING)


def _line(near: Sequence[Mapping[str, Any]]) -> str:
    if not near:
        return "no rain gauge near it"
    labels = ", ".join(f"{one['label']} ({one['distance_km']:g} km)" for one in near)
    return f"rain is the mean of {len(near)} gauges near it: {labels}"
