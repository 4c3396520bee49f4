"""Download daily mean flow from the hydrology service of the Environment Agency (England).

The interface follows its documentation and is tested with a local server that answers as the samples do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from hydromae.datasets.environment_agency import SERIES_SUFFIX, describe_quality
from hydromae.errors import InputError
from hydromae.fetch import nrfa
from hydromae.fetch.fetched_files import FetchedFiles
from hydromae.fetch.transfer import Client
from hydromae.io.parse import parse_period
from hydromae.io.text_file import read_text
from hydromae.progress import track

URL = "https://environment.data.gov.uk/hydrology"
STATIONS = "ea-stations.json"
FIRST_DAY = date(1990, 1, 1)
"""Default first day."""
LIMIT = "2000000"
"""Largest number of readings in an answer of the service."""
REVISED_DAYS = 7
"""Days before the last reading that are asked for again, because the service revises recent values."""
LATE_DAYS = 60
"""Days before the last request in which readings may still appear."""
DAY = timedelta(days=1)
Echo = Callable[[str], None]


def fetch_environment_agency(
    stations: Sequence[str],
    rivers: Sequence[str],
    out: Path,
    client: Client,
    period: tuple[str, str] | None = None,
    url: str = URL,
    catalogue_url: str = nrfa.URL,
    progress: Echo = lambda line: None,
) -> dict[str, list[str]]:
    """Download daily mean flow of stations into a folder that `prepare`, `predict` and `forecast` read.

    Days that the folder has are kept; a later call asks for the days after them. A station that fails is reported, and the
    others are fetched. The catalogue of the NRFA supplies attributes that the service lacks.

    Args:
        stations: Station numbers of the NRFA.
        rivers: Names of rivers; all their stations with a number of the NRFA are fetched.
        out: The folder.
        period (str, str), optional: First and last day, or years; 1990 to yesterday where None.
        url, catalogue_url: URLs of the two services.
        progress: Called with a line about each station.

    Returns:
        dict of str to list of str: "fetched", numbers of the stations with flow; "failed", those without.

    Raises:
        InputError: No station is found, no response for any station, or a file of the user in the folder.
    """
    nrfa.check_numbers(stations)
    first, last = _days_to_ask(period)
    fetched = FetchedFiles.read(out)
    fetched.check_not_of_the_user([STATIONS, *(f"{number}{SERIES_SUFFIX}" for number in stations)])
    found, faults = _find(stations, rivers, fetched, client, url)
    numbers = list(found)
    fetched.check_not_of_the_user(f"{number}{SERIES_SUFFIX}" for number in numbers)
    for number in track(numbers, "stations fetched", len(numbers)):
        try:
            progress(_fetch_station(number, found[number], (first, last), fetched, client, url))
        except InputError as error:
            if not client.has_answered:
                raise
            faults[number] = str(error)
    for fault in faults.values():
        progress(f"not fetched: {fault}")
    succeeded = [number for number in numbers if number not in faults]
    if not succeeded:
        raise InputError(
            next(iter(faults.values()), "--stations, --river: name no station; give numbers such as 47115")
        )
    _fetch_attributes(succeeded, fetched, client, catalogue_url, progress)
    return {"fetched": succeeded, "failed": list(faults)}


def _days_to_ask(period: tuple[str, str] | None) -> tuple[date, date]:
    """Return first and last day; the mean of a day is complete on the next one."""
    yesterday = datetime.now(UTC).date() - DAY
    if period is None:
        return FIRST_DAY, yesterday
    first, last = (day.date() for day in parse_period(period))
    if first > yesterday:
        raise InputError(f"period {'/'.join(period)}: begins after yesterday; choose earlier days")
    return first, min(last, yesterday)


def _find(
    stations: Sequence[str], rivers: Sequence[str], fetched: FetchedFiles, client: Client, url: str
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Return the entry of each station by its number, and a line on each that the list lacks.

    The list of stations is kept in the folder, and asked for again if it lacks a station or a river.
    """
    found, faults = dict[str, Mapping[str, Any]](), dict[str, str]()
    for is_new in (False, True):
        if not is_new and not fetched.has(STATIONS, {"observedProperty": "waterFlow"}):
            continue
        entries = _station_list(fetched, client, url, is_new)
        found, faults = _select(stations, rivers, entries)
        if not faults:
            break
    return found, faults


def _station_list(fetched: FetchedFiles, client: Client, url: str, is_new: bool) -> list[Mapping[str, Any]]:
    parameters, address = {"observedProperty": "waterFlow"}, f"{url}/id/stations.json"
    text = client.text(address, {**parameters, "_limit": LIMIT}) if is_new else read_text(fetched.folder / STATIONS)
    entries = _items(text, address)
    if is_new:
        fetched.write(STATIONS, text, parameters)
    return entries


def _items(text: str, address: str) -> list[Mapping[str, Any]]:
    """Return the items of an answer; raise InputError for another one."""
    try:
        items = json.loads(text)["items"]
        is_list = isinstance(items, list) and all(isinstance(one, dict) for one in items)
    except (ValueError, LookupError, TypeError, RecursionError):
        is_list = False
    if not is_list:
        raise InputError(f"{address}: the response is invalid; try again later")
    return items


def _number(entry: Mapping[str, Any]) -> str | None:
    """Return the number of the NRFA of a station: `nrfaStationID`, or a reference that is a number."""
    references = [str(entry.get(name, "")) for name in ("nrfaStationID", "stationReference")]
    return next((one for one in references if one.isascii() and one.isdecimal()), None)


def _select(
    stations: Sequence[str], rivers: Sequence[str], entries: list[Mapping[str, Any]]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Return the stations of these numbers and rivers; of a station that is listed twice, neither."""
    by_number: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        by_number.setdefault(_number(entry) or "", []).append(entry)
    without_number = by_number.pop("", [])
    wanted, faults = list(stations), dict[str, str]()
    for river in rivers:
        here = [number for number, same in by_number.items() if _is_on(river, same[0])]
        wanted += here
        nameless = [str(one.get("label")) for one in without_number if _is_on(river, one)]
        if nameless:
            faults[river] = f"{river}: {', '.join(nameless)}: no number of the NRFA in the list of stations"
        elif not here:
            faults[river] = f"river {river}: has no flow station in the list of the Environment Agency; check its name"
    found = {}
    for number in dict.fromkeys(wanted):
        same = by_number.get(number, [])
        if len(same) == 1:
            found[number] = same[0]
        else:
            fault = "is listed twice" if same else "is not in the list of flow stations"
            faults[number] = (
                f"station {number}: {fault} of the Environment Agency; look it up in its Hydrology Data Explorer"
            )
    return found, faults


def _is_on(river: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a station is on a river, with or without the word River."""
    names = entry.get("riverName", "")
    plain_names = {_plain(str(name)) for name in (names if isinstance(names, list) else [names])}
    return bool(_plain(river)) and _plain(river) in plain_names


def _plain(river: str) -> str:
    return river.strip().lower().removeprefix("river ").removesuffix(" river").strip()


def _fetch_station(
    number: str,
    entry: Mapping[str, Any],
    period: tuple[date, date],
    fetched: FetchedFiles,
    client: Client,
    url: str,
) -> str:
    """Ask for the days of a station that its file lacks, a year at a time, and return a line on them."""
    name = f"{number}{SERIES_SUFFIX}"
    content = _existing(fetched, name)
    if content is None:
        content = {"catchment": number, "station": dict(entry), "measure": _measure(entry, number, client, url)}
        content |= {"asked": [], "items": []}
    before = {one["date"] for one in content["items"]}
    for first, last in _missing_periods(content, period):
        address = f"{url}/id/measures/{content['measure']['notation']}/readings.json"
        days = {"mineq-date": f"{first:%Y-%m-%d}", "maxeq-date": f"{last:%Y-%m-%d}"}
        _merge(content, _items(client.text(address, {**days, "_limit": LIMIT}), address), days, address)
        fetched.write(name, json.dumps(content), "daily mean flow")
    new = len({one["date"] for one in content["items"]} - before)
    return f"{fetched.folder / name}: {new} new days; {describe_quality(content['items'])}"


def _existing(fetched: FetchedFiles, name: str) -> dict[str, Any] | None:
    """Return the content of a complete file of a station; None for another one."""
    if not fetched.has(name, "daily mean flow"):
        return None
    try:
        content = json.loads(read_text(fetched.folder / name))
        is_complete = {"catchment", "station", "measure", "asked", "items"} <= set(content)
    except (OSError, ValueError, TypeError):
        return None
    return content if is_complete else None


def _measure(entry: Mapping[str, Any], number: str, client: Client, url: str) -> Mapping[str, Any]:
    """Return the entry of the series of daily mean flow of a station."""
    identity = entry.get("stationGuid") or entry.get("notation")
    measures = _items(client.text(f"{url}/id/measures.json", {"station": str(identity)}), f"{url}/id/measures.json")
    daily = [one for one in measures if str(one.get("notation", "")).endswith("-flow-m-86400-m3s-qualified")]
    if len(daily) != 1 or not daily[0].get("unitName"):
        raise InputError(f"station {number}: the service has no series of daily mean flow with units; leave it out")
    return daily[0]


def _missing_periods(content: Mapping[str, Any], period: tuple[date, date]) -> Iterator[tuple[date, date]]:
    """Yield the years to ask for, so that the days that were asked for stay without a gap."""
    first, last = period
    if not content["asked"]:
        yield from _years(first, last)
        return
    asked_first, asked_last = (date.fromisoformat(day) for day in content["asked"])
    if first < asked_first:
        yield from reversed(list(_years(first, asked_first - DAY)))
    read_last = max((date.fromisoformat(one["date"]) for one in content["items"]), default=asked_last)
    if read_last < last:
        known_last = max(min(read_last, asked_last), asked_last - LATE_DAYS * DAY)
        yield from _years(max(asked_first, known_last - REVISED_DAYS * DAY), last)


def _years(first: date, last: date) -> Iterator[tuple[date, date]]:
    for year in range(first.year, last.year + 1):
        yield max(first, date(year, 1, 1)), min(last, date(year, 12, 31))


def is_day(text: str) -> bool:
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
        if not (is_day(day) and first <= day <= last):
            raise InputError(f"{address}: the response has {day[:20]}, which was not asked for; try again later")
        by_day[day] = {name: value for name, value in reading.items() if name != "measure"}
    content["items"] = [by_day[day] for day in sorted(by_day)]
    asked = [*content["asked"], first, last]
    content["asked"] = [min(asked), max(asked)]


def _fetch_attributes(numbers: Sequence[str], fetched: FetchedFiles, client: Client, url: str, progress: Echo) -> None:
    """Download the catalogue of the NRFA; without it, position and area are those of the Environment Agency."""
    try:
        if nrfa.fetch_catalogue(numbers, fetched, client, url):
            progress(f"{fetched.folder / nrfa.CATALOGUE}: attributes of the NRFA")
    except InputError as error:
        progress(f"attributes of the NRFA not fetched: {error}")
