"""The command that fetches open data."""

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
    """Fetch open data into a folder that prepare and predict read: stations of the NRFA, or a whole archive by its DOI."""

    source: Annotated[Positional[ArchiveName], arg(metavar="SOURCE")]
    """nrfa: catalogue, daily flow and catchment rain of some stations. camels-gb-1, camels-gb-2, caravan: the archives
    (gigabytes; of Caravan the British catchments are unpacked)."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where the files will lie. What was fetched before is not fetched again, no other file is replaced, and a broken
    transfer goes on."""
    stations: str | None = None
    """Numbers of the NRFA with commas between, such as 39001,54057."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day, or year, of the series of the NRFA; all where not given."""
    pause: float = 1.0
    """Least time between two requests [s]."""
    url: str | None = None
    """Another server that answers as the source does."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": shared_folder(self.out)}

    def run(self, echo: Echo) -> Result:
        """Fetch, and say what lies there."""
        from hydromae.fetch import archives, nrfa
        from hydromae.fetch.transfer import Client

        if self.source != "nrfa" and (self.stations or self.period):
            raise InputError(f"--stations, --period: belong to nrfa; {self.source} is fetched whole, leave them out")
        with Client(self.pause) as client:
            if self.source == "nrfa":
                station_numbers = [number.strip() for number in (self.stations or "").split(",") if number.strip()]
                if not station_numbers:
                    raise InputError("--stations: which ones? give numbers of the NRFA, such as 39001,54057")
                nrfa.fetch_nrfa(station_numbers, self.out, client, self.period, self.url or nrfa.URL, echo)
            else:
                archive = archives.ARCHIVES[self.source]
                echo(f"{self.source}: doi:{archive.doi}, {archive.licence}")
                archives.fetch_archive(self.source, self.out, client, self.url, echo)
        folder = shlex.quote(str(self.out))
        predict_command = f"hydromae predict {folder} --model gb-rivers --out answer.nc"
        echo(f"{self.out}: hydromae prepare {folder} rivers.zarr, or {predict_command}")
        return {"path": str(self.out), "source": self.source}
