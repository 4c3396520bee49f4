"""The command fetch: download open data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.errors import InputError
from hydromae.io.outputs import Output, shared_folder

ArchiveName = Literal["nrfa", "ea", "camels-gb-1", "camels-gb-2", "caravan"]


@dataclass(frozen=True)
class Fetch:
    """Download open data into a folder that prepare, predict and forecast read: stations, or a whole archive."""

    source: Annotated[Positional[ArchiveName], arg(metavar="SOURCE")]
    """nrfa: catalogue, daily flow and catchment rain of some stations. ea: daily mean flow of the Environment Agency
    (England) and daily rain of gauges near the stations, up to yesterday; the same command fetches only what is new.
    camels-gb-1, camels-gb-2, caravan: the archives (gigabytes; of Caravan the British catchments are unpacked)."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Folder of the files. Existing downloads are kept, other files are never replaced, and an interrupted download
    continues."""
    stations: str | None = None
    """Station numbers of the NRFA, separated by commas, such as 39001,54057; for nrfa and ea."""
    river: str | None = None
    """Rivers of ea, separated by commas, such as Teme,Wye: all their stations with a number of the NRFA."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day, or year, of the series; default all of nrfa, and 1990 to yesterday of ea."""
    rain: bool = True
    """Whether ea fetches the rain gauges near the stations."""
    update: bool = False
    """Ask for the days after the last one of the existing series of nrfa; ea always does."""
    pause: float = 1.0
    """Minimum time between two requests [s]."""
    url: str | None = None
    """Another server with the same interface."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": shared_folder(self.out)}

    def run(self, echo: Echo) -> Result:
        """Download the files."""
        from hydromae.fetch import archives, nrfa
        from hydromae.fetch.environment_agency import URL, fetch_environment_agency
        from hydromae.fetch.transfer import Client

        self._check_options()
        stations, rivers = _names(self.stations), _names(self.river)
        result: Result = {}
        with Client(self.pause) as client:
            if self.source == "nrfa":
                nrfa.fetch_nrfa(stations, self.out, client, self.period, self.url or nrfa.URL, echo, self.update)
            elif self.source == "ea":
                result = fetch_environment_agency(
                    stations, rivers, self.out, client, self.period, self.url or URL, nrfa.URL, echo, self.rain
                )
            else:
                archive = archives.ARCHIVES[self.source]
                echo(f"{self.source}: doi:{archive.doi}, {archive.licence}")
                archives.fetch_archive(self.source, self.out, client, self.url, echo)
        folder = shlex.quote(str(self.out))
        predict_command = f"hydromae predict {folder} --model gb-rivers --out answer.nc"
        echo(f"{self.out}: hydromae prepare {folder} rivers.zarr, or {predict_command}")
        return {"path": str(self.out), "source": self.source, **result}

    def _check_options(self) -> None:
        """Refuse options of another source, and a source of stations without any."""
        if self.source not in ("nrfa", "ea") and (self.stations or self.period):
            raise InputError(f"--stations, --period: belong to nrfa and ea; {self.source} is fetched whole, omit them")
        if self.river and self.source != "ea":
            raise InputError(f"--river: belongs to ea; omit it for {self.source}")
        if not self.rain and self.source != "ea":
            raise InputError(f"--no-rain: belongs to ea; omit it for {self.source}")
        if self.update and (self.source != "nrfa" or self.period):
            raise InputError("--update: belongs to nrfa without --period; omit one of them")
        if self.source == "nrfa" and not _names(self.stations):
            raise InputError("--stations: is missing; give numbers of the NRFA, such as 39001,54057")
        if self.source == "ea" and not (_names(self.stations) or _names(self.river)):
            raise InputError("--stations, --river: both are missing; give --stations 47115,50001 or --river Teme")


def _names(text: str | None) -> list[str]:
    """Return the names of a list that is separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
