"""Answers as an Excel workbook: a sheet for each river (openpyxl, extra `excel`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.dataframe import FrameLayout, Layout
from hydromae.io.names import FLOW, ORIGIN, OUTSIDE_TRAINING, QUANTILE, quantile_suffix
from hydromae.io.origin import Origin, origin_of
from hydromae.io.outputs import EXCEL
from hydromae.progress import track

if TYPE_CHECKING:
    from openpyxl import Workbook

MAX_SHEETS = 200
"""Rivers of a workbook: more sheets cannot be used by hand."""
MAX_ROWS = 2**20
"""Rows of a sheet of Excel, the header included."""
MAX_NAME = 31
"""Characters of the name of a sheet."""
FIRST_EXCEL_DAY = date(1900, 3, 1)
"""Earlier dates are text: Excel has none before 1900, and counts 1900 as a leap year."""
FORBIDDEN = re.compile(r"[\[\]:*?/\\\x00-\x1f\x7f]")
"""Characters that the name of a sheet must not have."""
PLAIN = re.compile(r"[\w .\-]+")
"""Texts that Excel reads as nothing but text; others are marked as text, so that none becomes a formula."""


def check_workbook_size(path: Path, rivers: int, rows: int) -> None:
    """Refuse more rivers, or rows of a river, than a workbook holds; other kinds of files pass.

    Raises:
        InputError: There are more than `MAX_SHEETS` rivers, or more than `MAX_ROWS` rows with the header.
    """
    if path.suffix != EXCEL:
        return
    remedy = "write .csv, .parquet or .nc, or select rivers"
    if rivers > MAX_SHEETS:
        raise InputError(f"{path}: {rivers:,} rivers are more than the {MAX_SHEETS} sheets of a workbook; {remedy}")
    if rows + 1 > MAX_ROWS:
        raise InputError(
            f"{path}: {rows:,} rows of a river are more than a sheet of Excel has ({MAX_ROWS:,}); {remedy}"
        )


def check_workbook(table: pd.DataFrame, path: Path) -> None:
    """`check_workbook_size` for a long table."""
    rows = table["catchment"].value_counts()
    check_workbook_size(path, len(rows), int(rows.max()) if len(rows) else 0)


def sheet_names(rivers: Sequence[object]) -> list[str]:
    """Names of sheets: at most 31 characters, none that Excel forbids, and different also without regard to case.

    Examples:
        >>> sheet_names(["39001", "Thames: Kingston", "thames_ kingston", "History"])
        ['39001', 'Thames_ Kingston', 'thames_ kingston (2)', 'History_']
    """
    used, names = set[str](), []
    for river in rivers:
        plain = FORBIDDEN.sub("_", str(river)).strip().strip("'")[:MAX_NAME].strip("' ") or "river"
        plain = f"{plain}_" if plain.lower() == "history" else plain  # a name that Excel keeps for itself
        name, number = plain, 1
        while name.lower() in used:
            number += 1
            end = f" ({number})"
            name = plain[: MAX_NAME - len(end)] + end
        used.add(name.lower())
        names.append(name)
    return names


def prediction_table(answer: xr.Dataset, record: xr.Dataset, layout: Layout) -> pd.DataFrame:
    """Return a prediction as a long table: date, catchment, observed and predicted flow, quantiles, origin.

    `observed` and `riverflow` name the units of flow; `riverflow` has every value, and `riverflow_origin` marks those that
    are not observed, so that a reader never takes them as observed.

    Args:
        answer, record, layout: As in `Layout.to_dataset`.
    """
    if f"{FLOW}{ORIGIN}" not in answer:  # a model without distributions of flow
        flow = record[FLOW] if FLOW in record else answer[FLOW] * np.nan
        answer = answer.assign({f"{FLOW}{ORIGIN}": origin_of(flow.transpose("time", "catchment").notnull().values)})
    restored = layout.to_dataset(answer, record)
    time, site, column = "time", "catchment", FLOW
    if not isinstance(layout, FrameLayout):
        time, site = layout.time, layout.site
        column = layout.columns[FLOW][0] if FLOW in layout.columns else FLOW
    units = layout.flow[1]
    by_river = (site, time)
    flow = restored[column].transpose(*by_river)
    origin = restored[f"{FLOW}{ORIGIN}"].transpose(*by_river).values
    rivers = answer["catchment"].values if site not in restored.indexes else restored[site].values
    table: dict[str, Any] = {
        "date": np.tile(restored[time].values, len(rivers)),
        "catchment": np.repeat(rivers, restored.sizes[time]),
        f"observed [{units}]": np.where(origin == Origin.OBSERVED, flow.values, np.nan).ravel(),
        f"{FLOW} [{units}]": flow.values.ravel(),
    }
    for level in restored["quantile"].values if QUANTILE in restored else ():
        values = restored[QUANTILE].sel(quantile=level).transpose(*by_river).values
        table[f"{FLOW}{quantile_suffix(float(level))} [{units}]"] = values.ravel()
    table[f"{FLOW}{ORIGIN}"] = _origin_words(origin)
    if OUTSIDE_TRAINING in restored:
        table[OUTSIDE_TRAINING] = np.repeat(restored[OUTSIDE_TRAINING].values, restored.sizes[time])
    return pd.DataFrame(table)


def write_workbook(table: pd.DataFrame, path: Path) -> None:
    """Write a long table as a workbook with a sheet for each catchment, in the order of the table.

    Args:
        table: A column `catchment`, and columns of dates, numbers and text.
        path: The file, whose suffix does not matter.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    codes, rivers = pd.factorize(table["catchment"], sort=False)
    rows_by_river = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    named_rows = zip(sheet_names(list(rivers)), rows_by_river, strict=True)
    for name, rows in track(named_rows, "sheets", len(rivers)):
        _write_sheet(book, name, table.iloc[rows])
    book.save(path)


def _write_sheet(book: Workbook, name: str, table: pd.DataFrame) -> None:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    sheet = book.create_sheet(name)
    sheet.freeze_panes = "A2"
    for number, label in enumerate(table.columns, 1):
        sheet.column_dimensions[chr(64 + number) if number < 27 else "Z"].width = max(12, len(str(label)) + 2)

    def cell(value: object) -> object:
        if not isinstance(value, str) or PLAIN.fullmatch(value):
            return value
        marked = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value))
        marked.data_type = "s"
        return marked

    sheet.append([cell(str(label)) for label in table.columns])
    for row in zip(*(_cells(pd.Series(table[label])) for label in table.columns), strict=True):
        sheet.append([cell(value) for value in row])


def _cells(values: pd.Series) -> Iterator[object]:
    """Values as those of Python; NaN is empty, and a number of single precision has its own digits."""
    if values.dtype.kind == "M":
        days: list[date] = [day.date() for day in pd.DatetimeIndex(values)]
        is_text = len(days) > 0 and min(days) < FIRST_EXCEL_DAY
        return iter([day.isoformat() for day in days] if is_text else days)
    if values.dtype.kind == "f":
        numbers = values.to_numpy()
        exact = numbers.astype(str).astype(np.float64) if numbers.dtype == np.float32 else numbers
        return iter([number if np.isfinite(number) else None for number in exact.tolist()])
    return iter(values.tolist())


def _origin_words(origin: np.ndarray) -> np.ndarray:
    """Origins as the words of `Origin`."""
    return np.array([kind.name.lower() for kind in Origin], dtype=object)[origin.astype(int).ravel()]
