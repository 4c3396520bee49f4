"""The physical probes of an evaluation, for the terminal and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hydromae.cli.common import Echo

if TYPE_CHECKING:
    import pandas as pd


def echo_probes(by_river: pd.DataFrame, echo: Echo) -> list[dict[str, Any]]:
    """Print a table of probes for each method; return the rows of the summary as JSON values."""
    from hydromae.evaluate.probe_table import REQUIRED_SHARE, summarise_probes

    summary = summarise_probes(by_river)
    for method, rows in summary.groupby("method", sort=False):
        echo(f"\nPhysical probes of {method} (!: fewer than {REQUIRED_SHARE:.0%} of the rivers inside):")
        echo(probes_table(rows))
    return json.loads(str(summary.to_json(orient="records")))  # NaN, which JSON lacks, becomes null


def probes_table(rows: pd.DataFrame) -> Table:
    """Return the summary of the probes of one method: percentiles over rivers, bounds, and the share of rivers inside."""
    from hydromae.evaluate.probe_table import bounds_text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("probe", "quantity"):
        table.add_column(head, overflow="fold")
    for head in ("median", "p10", "p90", "expected", "inside", ""):
        table.add_column(head, justify="right", no_wrap=True)
    shown = ""
    for row in rows.to_dict("records"):
        units = "" if row["units"] == "1" else f" [{row['units']}]"
        numbers = [f"{row[name]:.2f}" if row[name] == row[name] else "" for name in ("median", "p10", "p90")]
        has_verdict = row["within"] == row["within"]
        verdict = (f"{row['within']:.0%}", "" if row["passed"] else "!") if has_verdict else ("", "")
        name = row["probe"] if row["probe"] != shown else ""
        table.add_row(name, row["meaning"] + units, *numbers, bounds_text(row["low"], row["high"]), *verdict)
        shown = row["probe"]
    return table
