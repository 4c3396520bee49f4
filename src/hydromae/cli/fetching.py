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

ArchiveName = Literal["nrfa", "camels-gb-1", "camels-gb-2", "caravan"]


@dataclass(frozen=True)
class Fetch:
    """Download open data into a folder that prepare and predict read: stations of the NRFA, or a whole archive."""

    source: Annotated[Positional[ArchiveName], arg(metavar="SOURCE")]
    """nrfa: catalogue, daily flow and catchment rain of some stations. camels-gb-1, camels-gb-2, caravan: the archives
    (gigabytes; of Caravan the British catchments are unpacked)."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Folder of the files. Existing downloads are kept, other files are never replaced, and an interrupted download
    continues."""
    stations: str | None = None
    """Station numbers of the NRFA, separated by commas, such as 39001,54057."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day, or year, of the series of the NRFA; default all."""
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
        from hydromae.fetch.transfer import Client

        if self.source != "nrfa" and (self.stations or self.period):
            raise InputError(f"--stations, --period: belong to nrfa; {self.source} is fetched whole, leave them out")
        with Client(self.pause) as client:
            if self.source == "nrfa":
                station_numbers = [number.strip() for number in (self.stations or "").split(",") if number.strip()]
                if not station_numbers:
                    raise InputError("--stations: is missing; give numbers of the NRFA, such as 39001,54057")
                nrfa.fetch_nrfa(station_numbers, self.out, client, self.period, self.url or nrfa.URL, echo)
            else:
                archive = archives.ARCHIVES[self.source]
                echo(f"{self.source}: doi:{archive.doi}, {archive.licence}")
                archives.fetch_archive(self.source, self.out, client, self.url, echo)
        folder = shlex.quote(str(self.out))
        predict_command = f"hydromae predict {folder} --model gb-rivers --out answer.nc"
        echo(f"{self.out}: hydromae prepare {folder} rivers.zarr, or {predict_command}")
        return {"path": str(self.out), "source": self.source}
