"""The command verify: scores of issued forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.cli.warning_files import table_and_page_outputs
from hydromae.io.outputs import Output

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Verify:
    """Score issued forecasts (hydromae forecast --keep) with the flow that was observed since."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of issued forecasts."""
    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """A record with the flow before and after the issue days, as forecast reads it."""
    out: Path | None = None
    """Also write all scores as .csv; an existing one is replaced."""
    page: Path | None = None
    """Also write a page with tables and diagrams, .html; an existing one is replaced."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), if the record has none."""
    units: str | None = None
    """Units of flow in a wide table (one column per river) without units, such as "m3 s-1"."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return table_and_page_outputs({"out": self.out}, {"page": self.page})

    def run(self, echo: Echo) -> Result:
        """Read, score, print and write."""
        from hydromae.cli.warning_files import write_table
        from hydromae.datasets import reader
        from hydromae.evaluate.verification import verify
        from hydromae.inference.issued import IssuedForecasts
        from hydromae.io.options import use_reading_options
        from hydromae.report.page import write_page
        from hydromae.report.verification_page import verification_html

        issued = IssuedForecasts(self.folder)
        forecasts = issued.read_all()
        with use_reading_options(self.negative_flow):
            record = reader.read_for_prediction(self.record, self.attributes, self.units).record
        scores = verify(forecasts, record)
        if self.out is not None:
            write_table(scores.table(), self.out)
        if self.page is not None:
            write_page(verification_html(scores, issued.days()), self.page)
        echo(leads_table(scores.leads))
        counts = scores.counts
        echo(
            f"{self.folder}: {counts['issue_days']} issue days; {counts['scored']} daily flows scored, {counts['waiting']} "
            f"wait for an observation, {counts['missing']} were not observed"
        )
        echo(scores.conclusion())
        return {"path": str(self.folder), **counts, "skilful_lead": scores.skilful_lead}


def leads_table(leads: pd.DataFrame) -> Table:
    """Return the scores by lead for the terminal."""
    table = Table()
    for head in ("lead", "pairs", "CRPS", "persistence", "climatology", "skill (pers.)", "skill (clim.)"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in leads.to_dict("records"):
        numbers = [row[name] for name in ("crps", "crps_persistence", "crps_climatology")]
        skills = [row[name] for name in ("skill_persistence", "skill_climatology")]
        table.add_row(
            str(row["lead"]), str(row["pairs"]), *(f"{one:.3f}" for one in numbers), *(f"{one:.2f}" for one in skills)
        )
    return table
