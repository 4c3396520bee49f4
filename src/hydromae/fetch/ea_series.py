"""Daily series of the hydrology service of the Environment Agency, each in a file that grows by the days it lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from hydromae.errors import InputError
from hydromae.fetch.fetched_files import FetchedFiles
from hydromae.fetch.transfer import Client
from hydromae.io.text_file import read_text

LIMIT = "2000000"
"""Largest number of readings in an answer of the service."""
YEARS_AT_ONCE = 10
"""Most calendar years of daily readings in a request."""
REVISED_DAYS = 7
"""Days before the last reading that are asked for again, because the service revises recent values."""
LATE_DAYS = 60
"""Days before the last request in which readings may still appear."""
DAY = timedelta(days=1)
Period = tuple[date, date]


@dataclass(frozen=True)
class DailySeries:
    """A daily series of a station of the service.

    Attributes:
        name: Name of its file.
        identity: Its first entries in the file.
        station: Entry of the station in the list of the service.
        kind: End of the notation of the series, such as `-flow-m-86400-m3s-qualified`.
        meaning: What it is, for the manifest and messages.
        label: Its station, for messages.
    """

    name: str
    identity: Mapping[str, Any]
    station: Mapping[str, Any]
    kind: str
    meaning: str
    label: str


def fetch_series(
    series: DailySeries, period: Period, fetched: FetchedFiles, client: Client, url: str
) -> tuple[int, list[Mapping[str, Any]]]:
    """Ask for the days that the file of a series lacks; return the number of new days, and all its readings.

    Raises:
        InputError: No response, an invalid one, or no such series.
    """
    content = _existing(fetched, series.name, series.meaning)
    if content is None:
        content = {"station": dict(series.station), "measure": _measure(series, client, url), "asked": [], "items": []}
    content = {**series.identity, **{name: part for name, part in content.items() if name not in series.identity}}
    before = {one["date"] for one in content["items"]}
    for first, last in _missing_periods(content, period):
        address = f"{url}/id/measures/{content['measure']['notation']}/readings.json"
        days = {"mineq-date": f"{first:%Y-%m-%d}", "maxeq-date": f"{last:%Y-%m-%d}"}
        _merge(content, items_of(client.text(address, {**days, "_limit": LIMIT}), address), days, address)
        fetched.write(series.name, json.dumps(content), series.meaning)
    return len({one["date"] for one in content["items"]} - before), content["items"]


def station_list(
    name: str, observed: str, fetched: FetchedFiles, client: Client, url: str, is_new: bool
) -> list[Mapping[str, Any]]:
    """Return the stations of an observed property: from a file of the folder, or new from the service and kept there."""
    parameters, address = {"observedProperty": observed}, f"{url}/id/stations.json"
    text = client.text(address, {**parameters, "_limit": LIMIT}) if is_new else read_text(fetched.folder / name)
    entries = items_of(text, address)
    if is_new:
        fetched.write(name, text, parameters)
    return entries


def items_of(text: str, address: str) -> list[Mapping[str, Any]]:
    """Return the items of an answer; raise InputError for another one."""
    try:
        items = json.loads(text)["items"]
        is_list = isinstance(items, list) and all(isinstance(one, dict) for one in items)
    except (ValueError, LookupError, TypeError, RecursionError):
        is_list = False
    if not is_list:
        raise InputError(f"{address}: the response is invalid; try again later")
    return items


def _existing(fetched: FetchedFiles, name: str, meaning: str) -> dict[str, Any] | None:
    """Return the content of a complete file of a series; None for another one."""
    if not fetched.has(name, meaning):
        return None
    try:
        content = json.loads(read_text(fetched.folder / name))
        is_complete = {"station", "measure", "asked", "items"} <= set(content)
    except (OSError, ValueError, TypeError):
        return None
    return content if is_complete else None


def _measure(series: DailySeries, client: Client, url: str) -> Mapping[str, Any]:
    """Return the entry of a series of its station."""
    identity = series.station.get("stationGuid") or series.station.get("notation")
    measures = items_of(client.text(f"{url}/id/measures.json", {"station": str(identity)}), f"{url}/id/measures.json")
    daily = [one for one in measures if str(one.get("notation", "")).endswith(series.kind)]
    if len(daily) != 1 or not daily[0].get("unitName"):
        raise InputError(f"{series.label}: the service has no series of {series.meaning} with units; leave it out")
    return daily[0]


def _missing_periods(content: Mapping[str, Any], period: Period) -> Iterator[Period]:
    """Yield the periods to ask for, so that the days that were asked for stay without a gap."""
    first, last = period
    if not content["asked"]:
        yield from _parts(first, last)
        return
    asked_first, asked_last = (date.fromisoformat(day) for day in content["asked"])
    if first < asked_first:
        yield from reversed(list(_parts(first, asked_first - DAY)))
    read_last = max((date.fromisoformat(one["date"]) for one in content["items"]), default=asked_last)
    if read_last < last:
        known_last = max(min(read_last, asked_last), asked_last - LATE_DAYS * DAY)
        yield from _parts(max(asked_first, known_last - REVISED_DAYS * DAY), last)


def _parts(first: date, last: date) -> Iterator[Period]:
    """Yield the parts of a period, of at most `YEARS_AT_ONCE` calendar years."""
    for year in range(first.year, last.year + 1, YEARS_AT_ONCE):
        yield max(first, date(year, 1, 1)), min(last, date(year + YEARS_AT_ONCE - 1, 12, 31))


def _is_day(text: str) -> bool:
    """Return whether a text is a date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _merge(content: dict[str, Any], readings: list[Mapping[str, Any]], days: Mapping[str, str], address: str) -> None:
    """Add readings to a file; a day that is there takes its new value."""
    first, last = days["mineq-date"], days["maxeq-date"]
    by_day = {one["date"]: one for one in content["items"]}
    for reading in readings:
        day = str(reading.get("date"))
        if not (_is_day(day) and first <= day <= last):
            raise InputError(f"{address}: the response has {day[:20]}, which was not asked for; try again later")
        by_day[day] = {name: value for name, value in reading.items() if name != "measure"}
    content["items"] = [by_day[day] for day in sorted(by_day)]
    asked = [*content["asked"], first, last]
    content["asked"] = [min(asked), max(asked)]
