"""Commands on records: virtual, prepare, inspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.errors import InputError
from hydromae.io.atomic import write_netcdf
from hydromae.io.outputs import PICTURES, Output, new_output, replaceable_file

Shape = Literal["catchments", "national"]
RawLayout = Literal["seed", "camels-gb", "caravan", "nrfa"]


@dataclass(frozen=True)
class Virtual:
    """Invent a record: Virtual GB, weather and rivers of full size with a known truth."""

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """What to write: a .nc or .zarr file, or a folder with --layout. Nothing may lie there yet."""
    layout: RawLayout | None = None
    """seed: a folder of the seed's raw files (monthly and merged HDF5 maps, parquet, CSV, land mask), national only.
    camels-gb, caravan, nrfa: a folder of catchments as these are downloaded."""
    shape: Shape | None = None
    """catchments: weather and flow of rivers. national: maps of weather, and evaporation and flow of rivers."""
    days: int | None = None
    """Length of the record [days]; 1826, or the seed's 16801."""
    start: str | None = None
    """First day; 1989-01-01, or the seed's 1970-01-01."""
    catchments: int = 604
    """How many rivers."""
    seed: int = 0
    """Which country: the same seed gives the same truth."""
    complete: bool = False
    """Give rivers without gaps and late starts (a national file has none; the seed's flow begins in 1989 anyway)."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Write the record."""
        from hydromae.store.zarr_store import atomic_output
        from hydromae.virtual.seed_files import write_seed

        days = self.days if self.days is not None else (16801 if self.layout == "seed" else 1826)
        start = self.start or ("1970-01-01" if self.layout == "seed" else "1989-01-01")
        if self.layout is None and self.out.suffix not in (".nc", ".zarr"):
            raise InputError(f"{self.out}: a virtual record is written as .nc or .zarr; name the file so")
        if self.layout is not None and self.shape == ("catchments" if self.layout == "seed" else "national"):
            raise InputError(f"--shape {self.shape}: not what the layout {self.layout} holds; leave --shape out")
        with atomic_output(self.out) as temporary:
            if self.layout == "seed":
                write_seed(temporary, days, self.seed, start, self.catchments, missing=not self.complete)
            else:
                self._write_record(temporary, days, start)
        echo(f"{self.out}: {days} days of {self.catchments} invented rivers, seed {self.seed}")
        return {"path": str(self.out), "days": days, "catchments": self.catchments, "seed": self.seed}

    def _write_record(self, temporary: str, days: int, start: str) -> None:
        from hydromae.io.locate import SYNTHETIC_MARKER
        from hydromae.virtual import virtual_catchments, virtual_record
        from hydromae.virtual.downloads import LAYOUTS

        if self.shape == "national":
            record = virtual_record(days, self.seed, start, self.catchments)
        else:
            record = virtual_catchments(days, self.seed, start, self.catchments, not self.complete)
        if self.layout is not None:
            LAYOUTS[self.layout](temporary, record)
            Path(temporary, SYNTHETIC_MARKER).write_text(record.attrs["source"], encoding="utf-8")
        elif self.out.suffix == ".nc":
            write_netcdf(record, Path(temporary))
        else:
            record.to_zarr(temporary, zarr_format=3, consolidated=False)


@dataclass(frozen=True)
class Prepare:
    """Turn raw files into a store, the Zarr group that training and evaluation read."""

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """A record (.nc, .zarr, .csv, .parquet), or a folder that holds one, or files of CAMELS-GB, Caravan or the NRFA as they
    were downloaded."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Where the store will lie, such as rivers.zarr. Nothing may lie there yet."""
    layout: Literal["seed"] | None = None
    """seed: SOURCE is a folder in the seed's raw layout; merged map files are taken where they are there, else monthly."""
    shape: Shape | None = None
    """catchments: series only. national: with the file's own maps, with maps of days in a folder (HadUK-Grid, CHESS,
    ERA5-Land; the default where they lie beside CAMELS-GB, Caravan or the NRFA), or with maps derived from the catchments
    of a folder (which needs a land mask there)."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV), where the source has none of its own."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day to keep; all where it is not given (the seed's layout: from the first training day)."""
    training_period: tuple[str, str] | None = None
    """Days that scaling may see; 1970-01-01 2010-12-31 (all days of catchments that have none of these), and from 1989-01-01
    for the seed's layout."""
    land_threshold: float = 0.5
    """Share of land cells from which a patch of a map is a site."""
    allow_missing: bool = False
    """Take days that no map file holds as unobserved, instead of refusing."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: river flow below zero (tide, backwater) counts as missing, instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Whose day a sum of ERA5-Land is that stands alone on its day, where the file does not say it."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Write the store."""
        from hydromae.io.options import use_reading_options
        from hydromae.store.zarr_store import open_store

        with use_reading_options(self.negative_flow, self.daily_sums):
            store_path = self._prepare(echo)
        echo(f"{store_path}: a store; hydromae inspect {store_path} shows what is in it")
        return {"path": str(store_path), "shape": "national" if "cell" in open_store(store_path).dims else "catchments"}

    def _prepare(self, echo: Echo) -> str:
        from hydromae.preprocess.prepare import SEED_TRAINING, prepare, prepare_seed

        if self.layout is not None and self.shape == "catchments":
            raise InputError("--shape catchments: the seed's layout is national; leave --shape out")
        if self.layout is not None:
            return prepare_seed(
                self.source,
                self.out,
                self.attributes,
                self.period,
                self.training_period or SEED_TRAINING,
                land_threshold=self.land_threshold,
                allow_missing=self.allow_missing,
            )
        return prepare(
            self.source,
            self.out,
            self.shape,
            attributes=self.attributes,
            period=self.period,
            training_period=self.training_period,
            land_threshold=self.land_threshold,
            allow_missing=self.allow_missing,
            progress=echo,
        )


@dataclass(frozen=True)
class Inspect:
    """Show what is in a store: variables, units, period, share observed by decade, sites, sources."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    picture: Path | None = None
    """Also draw it: a PNG file with a map and the share observed over time."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        if self.picture is None:
            return {}
        if self.picture.suffix not in PICTURES:
            raise InputError(f"{self.picture}: a picture is written as .png; name the file so")
        return {"picture": replaceable_file(self.picture, PICTURES)}

    def run(self, echo: Echo) -> Result:
        """Read the store and show it."""
        from hydromae.store import inspect

        summary = inspect.summary(self.store)
        echo(f"{summary['path']}: {summary['period'][0]} to {summary['period'][1]}, {summary['days']} days")
        echo(
            f"{summary['catchments']} catchments, {summary['cells']} map cells; scaled on {summary['training_period']}"
        )
        echo(variables_table(summary["variables"]))
        for source in summary["sources"]:
            echo(f"from {source['file']}" + (f": {source['credit']}" if "credit" in source else ""))
        if self.picture is None:
            return summary
        picture_path = inspect.picture(self.store, self.picture)
        echo(f"{picture_path}: a picture of it")
        return {**summary, "picture": str(picture_path)}


def variables_table(variables: Sequence[Mapping[str, Any]]) -> Table:
    """Variables of a store, one a row, with the share observed in each decade."""
    decades = sorted({decade for variable in variables for decade in variable["observed_by_decade"]})
    table = Table(
        "variable", "units", "at each", "mean", *decades, "all", box=None, header_style="bold", pad_edge=False
    )
    for variable in variables:
        by_decade = [variable["observed_by_decade"].get(decade) for decade in decades]
        shares = ["" if share is None else f"{share:.0%}" for share in (*by_decade, variable["observed"])]
        mean = "" if variable["mean"] is None else f"{variable['mean']:.3g}"
        name = f"{variable['name']} (derived)" if variable["derived"] else variable["name"]
        table.add_row(name, variable["units"], variable["sites"], mean, *shares)
    return table
