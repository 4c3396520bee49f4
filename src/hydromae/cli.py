"""The command line: one frozen dataclass a command, whose docstrings are its help and whose `run` does the work.

To add a command, write a class with a `run` like the others and name it in `COMMANDS`. `run` imports what it needs
itself, so that `hydromae --help` answers at once; it returns what `--json` prints, and says the same to people on
`Say`. An `InputError` becomes one line on stderr and exit code 2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import tyro
from rich.console import Console, RenderableType
from rich.table import Table
from tyro.conf import Positional, arg

from hydromae import __version__
from hydromae.errors import InputError

Say = Callable[[RenderableType], None]
Result = Mapping[str, Any]
Shape = Literal["catchments", "national"]


@runtime_checkable
class Command(Protocol):
    """What every command offers."""

    @property
    def json(self) -> bool:
        """Whether the result goes to stdout as JSON and nothing else does."""
        ...

    def run(self, say: Say) -> Result:
        """Do the work; `say` shows something to people, the result is for programs."""
        ...


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


@dataclass(frozen=True)
class Report:
    """Turn an evaluation into one HTML page that needs nothing else."""

    evaluation: Annotated[Positional[Path], arg(metavar="EVALUATION")]
    """Folder that hydromae evaluate wrote."""
    out: Path = Path("report.html")
    """The page."""
    journal: Path | None = None
    """Journal of the training run (JSON lines), for the loss curve."""
    title: str = "British rivers, answered"
    """Heading of the page."""
    card: Path | None = None
    """What is said about the model (a JSON object): name, which picks its scores, data_licence, and anything else."""
    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Write the page."""
        from hydromae.evaluate.score import Evaluation
        from hydromae.report.page import write_report

        card = {} if self.card is None else read_card(self.card)
        page = write_report(Evaluation.load(self.evaluation), self.journal, self.out, title=self.title, model_card=card)
        say(f"{page}: open it in a browser")
        return {"path": str(page)}


def read_card(file: Path) -> dict[str, object]:
    """A JSON object from a file."""
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: the model card cannot be read ({error}); give a JSON object") from error
    if not isinstance(card, dict):
        raise InputError(f"{file}: the model card is a {type(card).__name__}; give a JSON object")
    return card


COMMANDS: dict[str, Callable[..., Command]] = {
    "virtual": Virtual,
    "prepare": Prepare,
    "inspect": Inspect,
    "report": Report,
}


def parse(arguments: Sequence[str] | None) -> Command:
    """The command that the arguments ask for; wrong ones end the program with code 2 and say why."""
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="hydromae",
        description="Hand over a water record with NaN where you do not know; get a distribution back there.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code: 0, or 2 for an error of the user's, said in one line on stderr."""
    if (sys.argv[1:] if arguments is None else list(arguments)) == ["--version"]:
        Console().print(f"hydromae {__version__}", highlight=False)
        return 0
    command = parse(arguments)
    console = Console(quiet=command.json)

    def say(shown: RenderableType) -> None:
        console.print(shown, soft_wrap=isinstance(shown, str), markup=False, highlight=False)

    try:
        result = command.run(say)
    except InputError as error:
        Console(stderr=True).print(f"hydromae: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
        return 2
    if command.json:
        Console().print_json(data=dict(result), indent=None, allow_nan=False)
    return 0
