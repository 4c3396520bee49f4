"""Commands on records: virtual, prepare, inspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Result, Say
from hydromae.errors import InputError

Shape = Literal["catchments", "national"]


@dataclass(frozen=True)
class Virtual:
    """Invent a record: Virtual GB, weather and rivers of full size with a known truth."""

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write: .nc or .zarr. Nothing may lie there yet."""
    shape: Shape = "catchments"
    """catchments: weather and flow of rivers. national: maps of weather, and evaporation and flow of rivers."""
    days: int = 1826
    """Length of the record [days]."""
    start: str = "1989-01-01"
    """First day."""
    catchments: int = 604
    """How many rivers."""
    seed: int = 0
    """Which country: the same seed gives the same truth."""
    complete: bool = False
    """Give rivers without gaps and late starts (catchments only; a national record has none)."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Write the record."""
        from hydromae.data.store import building
        from hydromae.virtual import virtual_catchments, virtual_record

        if self.out.suffix not in (".nc", ".zarr"):
            raise InputError(f"{self.out}: a virtual record is written as .nc or .zarr; name the file so")
        with building(self.out) as aside:
            if self.shape == "national":
                record = virtual_record(self.days, self.seed, self.start, self.catchments)
            else:
                record = virtual_catchments(self.days, self.seed, self.start, self.catchments, not self.complete)
            if self.out.suffix == ".nc":
                record.to_netcdf(aside, engine="h5netcdf")
            else:
                record.to_zarr(aside, zarr_format=3, consolidated=False)
        say(f"{self.out}: {self.days} days of {self.catchments} invented rivers, seed {self.seed}")
        return {"path": str(self.out), "days": self.days, "catchments": self.catchments, "seed": self.seed}


@dataclass(frozen=True)
class Prepare:
    """Turn raw files into a store, the Zarr group that training and evaluation read."""

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """A record (.nc, .zarr, .csv, .parquet), or a folder that holds one."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Where the store will lie, such as rivers.zarr. Nothing may lie there yet."""
    shape: Shape = "catchments"
    """catchments: series only. national: with maps derived from the catchments (needs a land mask in the folder)."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV), where the source has none of its own."""
    period: tuple[str, str] | None = None
    """First and last day to keep; all where it is not given."""
    training_period: tuple[str, str] = ("1970-01-01", "2010-12-31")
    """Days that scaling may see."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Write the store."""
        from hydromae.data.prepare import prepare

        written = prepare(
            self.source,
            self.out,
            self.shape,
            attributes=self.attributes,
            period=self.period,
            training_period=self.training_period,
        )
        say(f"{written}: a store; hydromae inspect {written} shows what is in it")
        return {"path": str(written), "shape": self.shape}


@dataclass(frozen=True)
class Inspect:
    """Show what is in a store: variables, units, period, share observed by decade, sites, sources."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    picture: Path | None = None
    """Also draw it: a PNG file with a map and the share observed over time."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Read the store and show it."""
        from hydromae.data import inspect

        found = inspect.summary(self.store)
        say(f"{found['path']}: {found['period'][0]} to {found['period'][1]}, {found['days']} days")
        say(f"{found['catchments']} catchments, {found['cells']} map cells; scaled on {found['training_period']}")
        say(variables_table(found["variables"]))
        for source in found["sources"]:
            say(f"from {source['file']}")
        if self.picture is None:
            return found
        drawn = inspect.picture(self.store, self.picture)
        say(f"{drawn}: a picture of it")
        return {**found, "picture": str(drawn)}


def variables_table(variables: Sequence[Mapping[str, Any]]) -> Table:
    """Variables of a store, one a row, with the share observed in each decade."""
    decades = sorted({decade for one in variables for decade in one["observed_by_decade"]})
    table = Table(
        "variable", "units", "at each", "mean", *decades, "all", box=None, header_style="bold", pad_edge=False
    )
    for one in variables:
        by_decade = [one["observed_by_decade"].get(decade) for decade in decades]
        shares = ["" if share is None else f"{share:.0%}" for share in (*by_decade, one["observed"])]
        mean = "" if one["mean"] is None else f"{one['mean']:.3g}"
        name = f"{one['name']} (derived)" if one["derived"] else one["name"]
        table.add_row(name, one["units"], one["sites"], mean, *shares)
    return table
