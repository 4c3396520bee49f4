"""Download daily mean flow and rain from the hydrology service of the Environment Agency (England).

The interface follows its documentation and is tested with a local server that answers as the samples do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from hydromae.datasets.environment_agency import RAIN_GAUGES, SERIES_SUFFIX, describe_quality, label_of
from hydromae.errors import InputError
from hydromae.fetch import nrfa
from hydromae.fetch.ea_rain import RAIN_FILES, fetch_rain
from hydromae.fetch.ea_series import DAY, DailySeries, Period, fetch_series, station_list
from hydromae.fetch.fetched_files import FetchedFiles
from hydromae.fetch.transfer import Client
from hydromae.io.parse import parse_period
from hydromae.progress import track

URL = "https://environment.data.gov.uk/hydrology"
STATIONS = "ea-stations.json"
FIRST_DAY = date(1990, 1, 1)
"""Default first day."""
FLOW_KIND, FLOW_MEANING = "-flow-m-86400-m3s-qualified", "daily mean flow"
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
    rain: bool = True,
) -> dict[str, list[str]]:
    """Download daily mean flow and rain into a folder that `prepare`, `predict` and `forecast` read.

    Days that the folder has are kept; a later call asks for the days after them. A station or rain gauge that fails is
    reported, and the others are fetched. The catalogue of the NRFA supplies attributes that the service lacks.

    Args:
        stations: Station numbers of the NRFA.
        rivers: Names of rivers; all their stations with a number of the NRFA are fetched.
        out: The folder.
        period (str, str), optional: First and last day, or years; 1990 to yesterday where None.
        url, catalogue_url: URLs of the two services.
        progress: Called with a line about each station.
        rain: Whether the rain gauges near the stations are fetched (`ea_rain`).

    Returns:
        dict of str to list of str: "fetched", numbers of the stations with flow; "failed", those without; "rain", those with
            a rain gauge.

    Raises:
        InputError: No station is found, no response for any station, or a file of the user in the folder.
    """
    nrfa.check_numbers(stations)
    days = _days_to_ask(period)
    fetched = FetchedFiles.read(out)
    fetched.check_not_of_the_user([STATIONS, *RAIN_FILES, *(f"{number}{SERIES_SUFFIX}" for number in stations)])
    found, faults = _find(stations, rivers, fetched, client, url)
    numbers = list(found)
    fetched.check_not_of_the_user(f"{number}{SERIES_SUFFIX}" for number in numbers)
    for number in track(numbers, "stations fetched", len(numbers)):
        try:
            progress(_fetch_flow(number, found[number], days, fetched, client, url))
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
    entries = {number: found[number] for number in succeeded}
    with_rain = fetch_rain(entries, days, fetched, client, url, progress) if rain else []
    if not rain and (out / RAIN_GAUGES).exists():
        progress(f"{out / RAIN_GAUGES}: of an earlier run, and still read; remove it to leave the gauges out")
    return {"fetched": succeeded, "failed": list(faults), "rain": with_rain}


def _days_to_ask(period: tuple[str, str] | None) -> Period:
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
        entries = station_list(STATIONS, "waterFlow", fetched, client, url, is_new)
        found, faults = _select(stations, rivers, entries)
        if not faults:
            break
    return found, faults


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
        nameless = [label_of(one) for one in without_number if _is_on(river, one)]
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


def _fetch_flow(
    number: str, entry: Mapping[str, Any], days: Period, fetched: FetchedFiles, client: Client, url: str
) -> str:
    """Ask for the days of a station that its file lacks, and return a line on them."""
    name = f"{number}{SERIES_SUFFIX}"
    series = DailySeries(name, {"catchment": number}, entry, FLOW_KIND, FLOW_MEANING, f"station {number}")
    new, readings = fetch_series(series, days, fetched, client, url)
    return f"{fetched.folder / name}: {new} new days; {describe_quality(readings)}"


def _fetch_attributes(numbers: Sequence[str], fetched: FetchedFiles, client: Client, url: str, progress: Echo) -> None:
    """Download the catalogue of the NRFA; without it, position and area are those of the Environment Agency."""
    try:
        if nrfa.fetch_catalogue(numbers, fetched, client, url):
            progress(f"{fetched.folder / nrfa.CATALOGUE}: attributes of the NRFA")
    except InputError as error:
        progress(f"attributes of the NRFA not fetched: {error}")
