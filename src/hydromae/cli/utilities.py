"""Commands on raw files: merge, patches, missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.errors import InputError
from hydromae.io.outputs import PICTURES, Output, new_output, replaceable_file

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Merge:
    """Merge monthly HDF5 files of maps into one, which is faster to read."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Monthly files of one variable, such as precipitation_processed."""
    out: Annotated[Positional[Path], arg(metavar="OUT.h5")]
    """The merged file, which must not exist yet."""
    period: Annotated[tuple[str, str], arg(metavar="FIRST LAST")]
    """First and last day."""
    allow_missing: bool = False
    """Write -99999 on days without a map instead of refusing."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Write the merged file."""
        from hydromae.preprocess.merge import merge

        results = merge(self.folder, self.out, self.period, self.allow_missing)
        echo(
            f"{self.out}: {results['days']} days of {results['variable']}, {len(results['missing_days'])} of them missing"
        )
        return results


@dataclass(frozen=True)
class Patches:
    """Show the spatial patches: land patches of the map, and the catchments that share a token."""

    source: Annotated[Positional[Path], arg(metavar="MASK_OR_STORE")]
    """A land mask (.pt, .npz), or a national store."""
    attributes: Path | None = None
    """Table of static attributes (CSV) of the catchments; default those of the store."""
    out: Path | None = None
    """Write the patches as JSON."""
    picture: Path | None = None
    """Draw the patches as PNG."""
    land_threshold: float | None = None
    """Minimum share of land cells of a land patch; default that of the store, or 0.5."""
    group_size: int = 8
    """Catchments that share a token."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        for file, suffix in ((self.out, ".json"), (self.picture, ".png")):
            if file is not None and (file.suffix != suffix or not file.parent.is_dir()):
                raise InputError(f"{file}: name a {suffix} file in an existing folder")
        table = {} if self.out is None else {"out": new_output(self.out)}
        return table if self.picture is None else {**table, "picture": replaceable_file(self.picture, PICTURES)}

    def run(self, echo: Echo) -> Result:
        """Compute the patches and the groups."""
        from hydromae.preprocess.patches import spatial_patches
        from hydromae.store.zarr_store import atomic_output

        results = spatial_patches(self.source, self.attributes, self.land_threshold, self.group_size, self.picture)
        valid, patch_count = len(results["land_patches"]), results["patches"]
        echo(f"{valid} land patches of {patch_count} ({results['patch_rows']} x {results['patch_columns']})")
        if "groups" in results:
            groups, last = len(results["groups"]), results["padding"]
            echo(f"{results['catchments']} catchments in {groups} groups of {self.group_size}, {last} slots empty")
        if self.out is not None:
            with atomic_output(self.out) as temporary:
                Path(temporary).write_text(json.dumps(results), encoding="utf-8")
        for file in (self.out, self.picture):
            if file is not None:
                echo(f"{file}: written")
        return results


@dataclass(frozen=True)
class Missing:
    """Report missing values by variable and decade, locate them, or fill short gaps and mark the filled values."""

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """A table (.csv, .parquet), maps (.h5 or a folder of them), .nc, .zarr, a store, or a folder in the seed's layout."""
    variable: tuple[str, ...] = ()
    """Variables (columns of a table); default all."""
    locate: bool = False
    """List runs of missing days, longest first: variable, site, first day, last day, days."""
    longest: int | None = None
    """Number of runs to list; default all."""
    fill: Path | None = None
    """Write a copy of a table (.parquet) with short gaps filled by linear interpolation and marked in <column>_filled.
    hydromae reads marked values as unobserved."""
    longest_fill: int = 7
    """Maximum length of a filled gap [days]."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {} if self.fill is None else {"fill": new_output(self.fill)}

    def run(self, echo: Echo) -> Result:
        """Count, and if requested locate and fill, missing values."""
        from hydromae.preprocess.fill import fill
        from hydromae.preprocess.missing import MissingSummary, longest_runs
        from hydromae.preprocess.missing_sources import list_variables

        if self.longest is not None and self.longest < 1:
            raise InputError(f"--longest {self.longest}: below 1; give the number of runs to list")
        results = [MissingSummary.of(variable_source) for variable_source in list_variables(self.source, self.variable)]
        reports = [one.report() for one in results]
        echo(missing_table(reports))
        result: dict[str, Any] = {"path": str(self.source), "variables": reports}
        if self.locate:
            runs = longest_runs(results, self.longest)
            echo(runs_table(runs))
            result["runs"] = json.loads(str(runs.to_json(orient="records")))
        if self.fill is not None:
            series = tuple(one["variable"] for one in reports if one["kind"] == "series")
            result["fill"] = fill(self.source, self.fill, self.longest_fill, series)
            filled = ", ".join(f"{count} of {name}" for name, count in result["fill"]["filled"].items())
            echo(f"{self.fill}: values filled: {filled}")
        return result


def missing_table(reports: Sequence[Mapping[str, Any]]) -> Table:
    """Return missing values, one row per variable and decade."""
    table = Table("variable", "decade", "values", "NaN", "-99999", "inf", "filled", "missing", box=None, pad_edge=False)
    for one in reports:
        for decade, row in one["by_decade"].items():
            kinds = [row[kind] for kind in ("nan", "sentinel", "infinite", "filled")]
            share = f"{sum(kinds) / row['values']:.2%}" if row["values"] else ""
            table.add_row(one["variable"], decade, *map(str, (row["values"], *kinds)), share)
    return table


def runs_table(runs: pd.DataFrame) -> Table:
    """Return runs of missing days, one per row."""
    table = Table("variable", "site", "first", "last", "days", box=None, pad_edge=False)
    for row in runs.itertuples(index=False):
        table.add_row(*map(str, row))
    return table
