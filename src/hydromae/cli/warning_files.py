"""Tables and pages of warnings and scores, for the commands forecast and verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydromae.cli.common import Echo
from hydromae.errors import InputError
from hydromae.io.outputs import PAGES, Output, replaceable_file

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from hydromae.evaluate.thresholds import FlowThreshold

DEFAULT_THRESHOLDS = ("2-year", "10-year", "q95")


def table_and_page_outputs(tables: Mapping[str, Path | None], pages: Mapping[str, Path | None]) -> dict[str, Output]:
    """Return the outputs of options that write a table (.csv) or a page (.html); refuse other formats."""
    outputs = {}
    kinds = [*((name, path, (".csv",)) for name, path in tables.items())]
    kinds += [(name, path, PAGES) for name, path in pages.items()]
    for name, path, suffixes in kinds:
        if path is None:
            continue
        if path.suffix not in suffixes:
            raise InputError(f"{path}: --{name.replace('_', '-')} writes {suffixes[0]}; name the file so")
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: its folder does not exist; make {path.absolute().parent} first")
        outputs[name] = replaceable_file(path, suffixes)
    return outputs


def requested_thresholds(
    record: xr.Dataset, issue: object, names: Sequence[str], file: Path | None, echo: Echo
) -> list[FlowThreshold]:
    """Return thresholds from the flow of a record up to an issue day, and from a file of the user."""
    import numpy as np

    from hydromae.evaluate.thresholds import read_thresholds, thresholds_of_record
    from hydromae.io.names import shortened

    thresholds = thresholds_of_record(record.sel(time=slice(None, issue)), names)
    thresholds += [] if file is None else read_thresholds(file, record)
    for one in thresholds:
        without = record["catchment"].values[~np.isfinite(one.flow)]
        if len(without):
            echo(
                f"threshold {one.name}: none for {len(without)} rivers without enough years: {shortened(map(str, without))}"
            )
    return thresholds


def write_warnings(
    forecast: xr.Dataset,
    thresholds: Sequence[FlowThreshold],
    units: str,
    record: xr.Dataset,
    table_path: Path | None,
    page_path: Path | None,
    source: str,
    echo: Echo,
) -> int:
    """Write the warnings of a forecast in mm/day; return the number of rows with a warning."""
    from hydromae.evaluate.warnings import warning_table
    from hydromae.report.page import write_page
    from hydromae.report.sections import river_labels
    from hydromae.report.warnings_page import warnings_html

    table = warning_table(forecast, thresholds, units, record.get("catchment-area"))
    if table.empty:
        raise InputError(
            "--thresholds: no river has one; give longer records, or --threshold-file with your own values"
        )
    if table_path is not None:
        write_table(table.round({"probability": 4}), table_path)
    if page_path is not None:
        write_page(warnings_html(table, source, forecast.attrs.get("members"), river_labels(record)), page_path)
    warned = table["catchment"].to_numpy()[table["warning"].to_numpy()]
    paths = ", ".join(str(path) for path in (table_path, page_path) if path is not None)
    echo(f"{paths}: {len(warned)} warnings for {len(set(warned))} of {record.sizes['catchment']} rivers")
    return len(warned)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    from hydromae.io.atomic import atomic_path
    from hydromae.io.csv_parquet import Dialect, write_csv

    with atomic_path(path) as temporary:
        write_csv(table, temporary, Dialect())
