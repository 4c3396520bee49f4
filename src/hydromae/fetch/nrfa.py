"""The UK National River Flow Archive's web service: catalogue, daily flow and catchment rain, kept as they come.

The service was not called to write this; it is tested against a server that answers with samples of it.
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
    text_or_none: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Catalogue, flow and rain of some stations, in a folder that `prepare` and `predict` read.

    A file that lies there, of the same station and days, is not asked for again. The catalogue keeps the stations that were
    fetched into the folder before.

    Args:
        stations: Numbers of the NRFA.
        out: The folder.
        period (str, str), optional: First and last day as YYYY-MM-DD, or years; all days of the archive where None.
        url: Where the service answers.
        text_or_none: Called with a line after each file.

    Raises:
        InputError: A station that is none or is not in the archive, a date that is none, no answer, or a file of the user's
            lies there.
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
            for recorded in (None, parameters):  # the file is known as fetched before it is there, as whole after that
                if recorded is not None:
                    write_text_atomic(file, text, REMEDY)
                manifest[name] = recorded
                write_text_atomic(out / MANIFEST, json.dumps(manifest, indent=1), REMEDY)
            text_or_none(f"{file}: fetched")
        files.append(file)
    return files


def _period_parameters(period: tuple[str, str] | None) -> dict[str, str]:
    days = () if period is None else parse_period(period)
    return {name: f"{day:%Y-%m-%d}" for name, day in zip(("start-date", "end-date"), days, strict=False)}


def _requests(
    stations: Sequence[str], period: Mapping[str, str], manifest: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Files and what is asked for each; the catalogue is of these stations and of those that the folder has already."""
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
    """What was asked for each file that lies in the folder."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _check(text: str, name: str, stations: Sequence[str], where: str) -> None:
    """Refuse an answer that is not what the service gives."""
    try:
        text_or_none = json.loads(text)
        entries = text_or_none["data"] if name == CATALOGUE else text_or_none["data-stream"]
        absent = set(stations) - {str(one["id"]) for one in entries} if name == CATALOGUE else set()
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: the answer for {name} is not what the NRFA gives; try again later") from error
    if absent:
        raise InputError(f"station {min(absent)}: the NRFA has none of this number; look it up at nrfa.ceh.ac.uk")
