"""Download catalogue, daily flow and catchment rain from the web service of the UK National River Flow Archive.

The interface follows its documentation and is tested with a local server and samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hydromae.errors import InputError
from hydromae.fetch.fetched_files import FetchedFiles
from hydromae.fetch.transfer import Client
from hydromae.io.parse import parse_period
from hydromae.io.text_file import read_text
from hydromae.progress import track

URL = "https://nrfaapps.ceh.ac.uk/nrfa/ws"
SERIES = ("gdf", "cdr")
"""Gauged daily flow [m³/s] and catchment daily rainfall [mm]."""
CATALOGUE = "station-info.json"


def fetch_nrfa(
    stations: Sequence[str],
    out: Path,
    client: Client,
    period: tuple[str, str] | None = None,
    url: str = URL,
    progress: Callable[[str], None] = lambda line: None,
    update: bool = False,
) -> list[Path]:
    """Download catalogue, flow and rain of stations into a folder that `prepare` and `predict` read.

    Existing files of the same station and days are kept. The catalogue includes earlier stations of the folder.

    Args:
        stations: Station numbers of the NRFA.
        out: The folder.
        period (str, str), optional: First and last day as YYYY-MM-DD, or years; all days of the archive where None.
        url: URL of the service.
        progress: Called with a line after each file.
        update: Append the days after the last one of existing series.

    Raises:
        InputError: An invalid or unknown station, an invalid date, no response, or a file of the user in the folder.
    """
    check_numbers(stations)
    fetched, files = FetchedFiles.read(out), []
    requests = _requests(stations, _period_parameters(period), fetched.parameters)
    fetched.check_not_of_the_user(requests)
    for name, parameters in track(requests.items(), "files fetched", len(requests)):
        file = out / name
        if not fetched.has(name, parameters):
            fetched.write(name, _ask(name, parameters, client, url), parameters)
            progress(f"{file}: fetched")
        elif update and name != CATALOGUE:
            _append_new_days(name, parameters, fetched, client, url, progress)
        files.append(file)
    return files


def check_numbers(stations: Sequence[str]) -> None:
    """Raise InputError for a station that is not a number."""
    for station in stations:
        if not (station.isascii() and station.isdecimal()):
            raise InputError(f"station {station!r}: is not a number of the NRFA; give numbers such as 39001")


def fetch_catalogue(stations: Sequence[str], fetched: FetchedFiles, client: Client, url: str) -> bool:
    """Download the catalogue of stations and of earlier ones of the folder; return whether it was not there.

    Raises:
        InputError: No response, an unknown station, or a file of the user in the folder.
    """
    parameters = _requests(stations, {}, fetched.parameters)[CATALOGUE]
    fetched.check_not_of_the_user([CATALOGUE])
    if fetched.has(CATALOGUE, parameters):
        return False
    fetched.write(CATALOGUE, _ask(CATALOGUE, parameters, client, url), parameters)
    return True


def _ask(name: str, parameters: Mapping[str, str], client: Client, url: str) -> str:
    """Return the response of the service for a file."""
    address = f"{url}/{'station-info' if name == CATALOGUE else 'time-series'}"
    text = client.text(address, {"format": "json-object", **parameters})
    _check(text, name, parameters["station"].split(","), address)
    return text


def _append_new_days(
    name: str,
    parameters: Mapping[str, str],
    fetched: FetchedFiles,
    client: Client,
    url: str,
    progress: Callable[[str], None],
) -> None:
    """Ask for the days after the last one of a series, and append them to its file."""
    file = fetched.folder / name
    content = json.loads(read_text(file))
    days = _days_of(content["data-stream"])
    if not days:
        return
    start = pd.Timestamp(max(days)) + pd.Timedelta(days=1)
    new = json.loads(_ask(name, {**parameters, "start-date": f"{start:%Y-%m-%d}"}, client, url))
    if new.get("data-type") != content.get("data-type"):
        raise InputError(
            f"{file}: the archive changed the units or the type of this series; remove it, and fetch again"
        )
    new_days = _days_of(new["data-stream"])
    if new_days and min(new_days) <= max(days):
        raise InputError(f"{file}: the response has days before {start:%Y-%m-%d}; remove the file, and fetch it again")
    if new_days:
        content["data-stream"] += new["data-stream"]
        fetched.write(name, json.dumps(content), parameters)
    progress(f"{file}: {len(new_days)} new days after {max(days)}")


def _days_of(stream: list[Any]) -> list[str]:
    """Return the days of a series, flat or in pairs."""
    return [str(one[0]) for one in stream] if stream and isinstance(stream[0], list) else [str(d) for d in stream[::2]]


def _period_parameters(period: tuple[str, str] | None) -> dict[str, str]:
    days = () if period is None else parse_period(period)
    return {name: f"{day:%Y-%m-%d}" for name, day in zip(("start-date", "end-date"), days, strict=False)}


def _requests(
    stations: Sequence[str], period: Mapping[str, str], manifest: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Return the parameters of each file; the catalogue includes earlier stations of the folder."""
    catalogue_request = manifest.get(CATALOGUE)
    known_stations = (
        str(catalogue_request["station"]).split(",")
        if isinstance(catalogue_request, dict) and "station" in catalogue_request
        else []
    )
    all_stations = list(dict.fromkeys([*known_stations, *stations]))
    requests = {CATALOGUE: {"station": ",".join(all_stations), "fields": "all"}}
    pairs = [(station, kind) for station in dict.fromkeys(stations) for kind in SERIES]
    return requests | {f"{s}_{kind}.json": {"station": s, "data-type": kind, **period} for s, kind in pairs}


def _check(text: str, name: str, stations: Sequence[str], where: str) -> None:
    """Refuse an invalid response."""
    try:
        content = json.loads(text)
        entries = content["data"] if name == CATALOGUE else content["data-stream"]
        absent = set(stations) - {str(one["id"]) for one in entries} if name == CATALOGUE else set()
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: the response for {name} is invalid; try again later") from error
    if absent:
        raise InputError(f"station {min(absent)}: the NRFA has none of this number; look it up at nrfa.ceh.ac.uk")
