"""The UK National River Flow Archive's web service: catalogue, daily flow and catchment rain, kept as they come.

The service was not called to write this; it is tested against a server that answers with samples of it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.fetch.transfer import Client
from hydromae.io.atomic import write_whole
from hydromae.progress import counted

URL = "https://nrfaapps.ceh.ac.uk/nrfa/ws"
SERIES = ("gdf", "cdr")
"""Gauged daily flow [m³/s] and catchment daily rainfall [mm]."""
CATALOGUE, MANIFEST = "station-info.json", "fetched.manifest"
REMEDY = "make room there"


def fetch(
    stations: Sequence[str],
    out: Path,
    client: Client,
    first: str | None = None,
    last: str | None = None,
    url: str = URL,
    told: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Catalogue, flow and rain of some stations, in a folder that `prepare` and `predict` read.

    A file that lies there, of the same station and days, is not asked for again. The catalogue keeps the stations that were
    fetched into the folder before.

    Args:
        stations: Numbers of the NRFA.
        out: The folder.
        first, last: Days as YYYY-MM-DD or years; all that the archive has where they are not given.
        url: Where the service answers.
        told: Called with a line after each file.

    Raises:
        InputError: A station that is none or is not in the archive, a date that is none, no answer, or a file of the user's
            lies there.
    """
    for station in stations:
        if not (station.isascii() and station.isdecimal()):
            raise InputError(f"station {station!r}: is no number of the NRFA; give numbers such as 39001")
    known, files = _manifest(out), []
    wanted = _wanted(stations, _asked(first, last), known)
    for name in wanted:
        if name not in known and (out / name).exists():
            raise InputError(
                f"{out / name}: lies there and was not fetched by hydromae; move it, or name another folder"
            )
    for name, parameters in counted(wanted.items(), "files fetched", len(wanted)):
        file = out / name
        if known.get(name) != parameters or not file.is_file():
            service = "station-info" if name == CATALOGUE else "time-series"
            text = client.text(f"{url}/{service}", {"format": "json-object", **parameters})
            _check(text, name, parameters["station"].split(","), f"{url}/{service}")
            for stated in (None, parameters):  # the file is known as fetched before it is there, as whole after that
                if stated is not None:
                    write_whole(file, text, REMEDY)
                known[name] = stated
                write_whole(out / MANIFEST, json.dumps(known, indent=1), REMEDY)
            told(f"{file}: fetched")
        files.append(file)
    return files


def _asked(first: str | None, last: str | None) -> dict[str, str]:
    """The period, as the service takes it."""
    days = {"start-date": _day(first, "01-01"), "end-date": _day(last, "12-31")}
    asked = {name: day for name, day in days.items() if day is not None}
    if len(asked) == 2 and asked["start-date"] > asked["end-date"]:
        raise InputError(f"from {first} to {last}: ends before it begins; give the earlier day first")
    return asked


def _wanted(stations: Sequence[str], asked: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Files and what is asked for each; the catalogue is of these stations and of those that the folder has already."""
    before = known.get(CATALOGUE)
    there = str(before["station"]).split(",") if isinstance(before, dict) and "station" in before else []
    every = list(dict.fromkeys([*there, *stations]))
    wanted = {CATALOGUE: {"station": ",".join(every), "fields": "all"}}
    pairs = [(station, kind) for station in dict.fromkeys(stations) for kind in SERIES]
    return wanted | {f"{s}_{kind}.json": {"station": s, "data-type": kind, **asked} for s, kind in pairs}


def _day(told: str | None, in_year: str) -> str | None:
    """A year or a day as a day."""
    if told is None:
        return None
    try:
        return datetime.date.fromisoformat(f"{told}-{in_year}" if len(told) == 4 else told).isoformat()
    except ValueError:
        raise InputError(f"{told!r}: is no day and no year; write YYYY-MM-DD, or YYYY") from None


def _manifest(out: Path) -> dict[str, Any]:
    """What was asked for each file that lies in the folder."""
    try:
        known = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _check(text: str, name: str, stations: Sequence[str], where: str) -> None:
    """Refuse an answer that is not what the service gives."""
    try:
        told = json.loads(text)
        held = told["data"] if name == CATALOGUE else told["data-stream"]
        lacking = set(stations) - {str(one["id"]) for one in held} if name == CATALOGUE else set()
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: the answer for {name} is not what the NRFA gives; try again later") from error
    if lacking:
        raise InputError(f"station {min(lacking)}: the NRFA has none of this number; look it up at nrfa.ceh.ac.uk")
