"""The command that fetches open data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Result, Say
from hydromae.errors import InputError
from hydromae.io.outputs import Output, shared_folder

Source = Literal["nrfa", "camels-gb-1", "camels-gb-2", "caravan"]


@dataclass(frozen=True)
class Fetch:
    """Fetch open data into a folder that prepare and predict read: stations of the NRFA, or a whole archive by its DOI."""

    source: Annotated[Positional[Source], arg(metavar="SOURCE")]
    """nrfa: catalogue, daily flow and catchment rain of some stations. camels-gb-1, camels-gb-2, caravan: the archives
    (gigabytes; of Caravan the British catchments are unpacked)."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where the files will lie. What was fetched before is not fetched again, no other file is replaced, and a broken
    transfer goes on."""
    stations: str | None = None
    """Numbers of the NRFA with commas between, such as 39001,54057."""
    first: Annotated[str | None, arg(name="from")] = None
    """First day or year of the NRFA's series."""
    last: Annotated[str | None, arg(name="to")] = None
    """Last day or year."""
    pause: float = 1.0
    """Least time between two requests [s]."""
    url: str | None = None
    """Another server that answers as the source does."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": shared_folder(self.out)}

    def run(self, say: Say) -> Result:
        """Fetch, and say what lies there."""
        from hydromae.fetch import archives, nrfa
        from hydromae.fetch.transfer import Client

        if self.source != "nrfa" and (self.stations or self.first or self.last):
            raise InputError(f"--stations, --from, --to: are of nrfa; {self.source} comes whole, leave them out")
        with Client(self.pause) as client:
            if self.source == "nrfa":
                asked = [one.strip() for one in (self.stations or "").split(",") if one.strip()]
                if not asked:
                    raise InputError("--stations: which ones? give numbers of the NRFA, such as 39001,54057")
                nrfa.fetch(asked, self.out, client, self.first, self.last, self.url or nrfa.URL, say)
            else:
                archive = archives.ARCHIVES[self.source]
                say(f"{self.source}: doi:{archive.doi}, {archive.licence}")
                archives.fetch(self.source, self.out, client, self.url, say)
        folder = shlex.quote(str(self.out))
        ask = f"hydromae predict {folder} --model gb-rivers --out answer.nc"
        say(f"{self.out}: hydromae prepare {folder} rivers.zarr, or {ask}")
        return {"path": str(self.out), "source": self.source}
