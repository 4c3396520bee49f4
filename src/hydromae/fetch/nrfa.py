"""Download catalogue, daily flow and catchment rain from the web service of the UK National River Flow Archive.

The interface follows its documentation and is tested with a local server and samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.fetch.transfer import Client
from hydromae.io.atomic import write_text_atomic
from hydromae.io.parse import parse_period
from hydromae.io.text_file import read_text
from hydromae.progress import track

URL = "https://nrfaapps.ceh.ac.uk/nrfa/ws"
SERIES = ("gdf", "cdr")
"""Gauged daily flow [m³/s] and catchment daily rainfall [mm]."""
CATALOGUE, MANIFEST = "station-info.json", "fetched.manifest"
REMEDY = "make room there"


def fetch_nrfa(
    stations: Sequence[str],
    out: Path,
    client: Client,
    period: tuple[str, str] | None = None,
    url: str = URL,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Download catalogue, flow and rain of stations into a folder that `prepare` and `predict` read.

    Existing files of the same station and days are kept. The catalogue includes earlier stations of the folder.

    Args:
        stations: Station numbers of the NRFA.
        out: The folder.
        period (str, str), optional: First and last day as YYYY-MM-DD, or years; all days of the archive where None.
        url: URL of the service.
        progress: Called with a line after each file.

    Raises:
        InputError: An invalid or unknown station, an invalid date, no response, or a file of the user in the folder.
    """
    for station in stations:
        if not (station.isascii() and station.isdecimal()):
            raise InputError(f"station {station!r}: is not a number of the NRFA; give numbers such as 39001")
    manifest, files = _manifest(out), []
    requests = _requests(stations, _period_parameters(period), manifest)
    for name in requests:
        if name not in manifest and (out / name).exists():
            raise InputError(f"{out / name}: exists and was not fetched by hydromae; move it, or name another folder")
    for name, parameters in track(requests.items(), "files fetched", len(requests)):
        file = out / name
        if manifest.get(name) != parameters or not file.is_file():
            service = "station-info" if name == CATALOGUE else "time-series"
            text = client.text(f"{url}/{service}", {"format": "json-object", **parameters})
            _check(text, name, parameters["station"].split(","), f"{url}/{service}")
            for recorded in (None, parameters):  # before the file exists, and after it is complete
                if recorded is not None:
                    write_text_atomic(file, text, REMEDY)
                manifest[name] = recorded
                write_text_atomic(out / MANIFEST, json.dumps(manifest, indent=1), REMEDY)
            progress(f"{file}: fetched")
        files.append(file)
    return files


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


def _manifest(out: Path) -> dict[str, Any]:
    """Return the parameters of existing files."""
    try:
        manifest = json.loads(read_text(out / MANIFEST))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


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
