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
    """Write a synthetic record: Virtual GB, weather and rivers of realistic size with a known truth."""

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """A .nc or .zarr file, or a folder with --layout; it must not exist yet."""
    layout: RawLayout | None = None
    """seed: raw files of the reference specification (monthly and merged HDF5 maps, parquet, CSV, land mask), national only.
    camels-gb, caravan, nrfa: catchments in the layout of these downloads."""
    shape: Shape | None = None
    """catchments: weather and flow of catchments. national: maps of weather, evaporation and flow of catchments."""
    days: int | None = None
    """Length of the record [days]; default 1826, or 16801 for --layout seed."""
    start: str | None = None
    """First day; default 1989-01-01, or 1970-01-01 for --layout seed."""
    catchments: int = 604
    """Number of catchments."""
    seed: int = 0
    """Random seed."""
    complete: bool = False
    """Write flow without gaps and late starts (a national file has none; flow of --layout seed starts in 1989)."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
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
            raise InputError(f"--shape {self.shape}: does not fit --layout {self.layout}; omit --shape")
        with atomic_output(self.out) as temporary:
            if self.layout == "seed":
                write_seed(temporary, days, self.seed, start, self.catchments, missing=not self.complete)
            else:
                self._write_record(temporary, days, start)
        echo(f"{self.out}: {days} days of {self.catchments} synthetic rivers, seed {self.seed}")
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
    """Convert raw files to a store, the Zarr group that training and evaluation read."""

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """A record (.nc, .zarr, .csv, .parquet), or a folder with a record or with downloaded files of CAMELS-GB, Caravan or the
    NRFA."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """The store, such as rivers.zarr, which must not exist yet."""
    layout: Literal["seed"] | None = None
    """seed: SOURCE has the raw layout of the reference specification, with merged or monthly map files."""
    shape: Shape | None = None
    """catchments: series only. national: with the maps of the file, with daily maps in a folder (HadUK-Grid, CHESS,
    ERA5-Land; the default if they are beside CAMELS-GB, Caravan or the NRFA), or with maps derived from the catchments of a
    folder (which needs a land mask)."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV), if the source has none."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day of the store; default all (--layout seed: from the first training day)."""
    training_period: tuple[str, str] | None = None
    """First and last day for the scaling; default 1970-01-01 2010-12-31 (all days if the record has none of these), for
    --layout seed 1989-01-01 2010-12-31."""
    land_threshold: float = 0.5
    """Minimum share of land cells of a patch that is a site."""
    allow_missing: bool = False
    """Treat days without a map file as unobserved instead of refusing."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Day of the only ERA5-Land sum of a day, if the file does not state it."""
    boundaries: Path | None = None
    """Catchment boundaries (.gpkg, .geojson, .shp) for the weather of maps in a folder; default discs of the area."""
    simulate_maps: int | None = None
    """Seed of the simulation of derived rain and temperature between the catchments; default their smooth mean."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Write the store."""
        from hydromae.io.options import use_reading_options
        from hydromae.store.zarr_store import open_store

        with use_reading_options(self.negative_flow, self.daily_sums, self.boundaries):
            store_path = self._prepare(echo)
        echo(f"{store_path}: a store; hydromae inspect {store_path} shows its content")
        return {"path": str(store_path), "shape": "national" if "cell" in open_store(store_path).dims else "catchments"}

    def _prepare(self, echo: Echo) -> str:
        from hydromae.preprocess.prepare import SEED_TRAINING, prepare, prepare_seed

        if self.layout is not None and self.shape == "catchments":
            raise InputError("--shape catchments: --layout seed is national; omit --shape")
        if self.layout is not None and self.boundaries is not None:
            raise InputError(f"--boundaries {self.boundaries}: --layout seed does not use boundaries; leave it out")
        if self.layout is not None and self.simulate_maps is not None:
            raise InputError(f"--simulate-maps {self.simulate_maps}: --layout seed derives no maps; leave it out")
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
            simulation_seed=self.simulate_maps,
            progress=echo,
        )


@dataclass(frozen=True)
class Inspect:
    """Show the content of a store: variables, units, period, observed share by decade, sites, sources."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    picture: Path | None = None
    """Draw a PNG file with a map and the observed share over time."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
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
    """Return the variables of a store, one per row, with the observed share of each decade."""
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
