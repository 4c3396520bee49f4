"""Files of the NRFA web service: series as JSON or CSV and the catalogue, recognised by their first bytes.

The formats follow documentation and samples.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets.gauges import Gauge, gauge_number, unique_days
from hydromae.errors import InputError, first_line
from hydromae.io import attributes
from hydromae.io.atomic import sha256
from hydromae.io.attributes import CARAVAN_GB_PREFIX, EMPTY_TEXTS, NAMES, numeric_column
from hydromae.io.conventions import set_cf_attributes, with_positions
from hydromae.io.locate import files_in
from hydromae.io.table_keys import DATE, DAY_MONTH_YEAR
from hydromae.io.timestamps import STEPS, check_daily_step

SNIFFED_BYTES = 2000
"""Number of bytes for the recognition of files."""
READ_TYPES = ("gdf", "cdr")
"""Types of series: gauged daily flow, and catchment daily rain."""
KIND_CSV = re.compile(rb"^dataType,id,\s*\"?([\w-]+)", re.MULTILINE)
KIND_JSON = re.compile(rb'"data-type"\s*:\s*\{[^{}]*?"id"\s*:\s*"([\w-]+)"')
SERIES_NAME = re.compile(r"\d+_(gdf|cdr)\b.*", re.ASCII)
"""Usual names of series of the NRFA, as in `hydromae fetch`."""
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.ASCII | re.IGNORECASE)
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError, csv.Error)


def is_series(path: Path) -> bool:
    """Return whether a file is a daily series of the NRFA (`READ_TYPES`), from its first bytes.

    Raises:
        InputError: Name or first bytes indicate a series, but the format or the content is wrong.
    """
    if path.suffix not in (".csv", ".json"):
        return False
    head = read_start(path)
    has_series_name = SERIES_NAME.fullmatch(path.stem) is not None
    if path.suffix == ".json":
        is_found = b'"data-type"' in head and b'"station"' in head and _is_read(KIND_JSON, head)
        if has_series_name and not is_found:
            raise InputError(
                f"{path}: is not a series of the NRFA, as its name suggests; download it again, or remove it"
            )
        return is_found
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and "timestamp" in head.decode("utf-16", "replace"):
        raise InputError(f"{path}: is text in UTF-16; save it as CSV UTF-8, or download it again")
    head = head.lstrip(b"\xef\xbb\xbf")
    if head.startswith(b"file;timestamp"):
        raise InputError(f"{path}: has semicolons between its columns; save it with commas, or download it again")
    is_found = head.startswith(b"file,timestamp") and b"nrfa" in head.lower() and _is_read(KIND_CSV, head)
    if has_series_name and not is_found:
        fault = "is not a series of the NRFA, as its name suggests" if head else "is empty"
        raise InputError(f"{path}: {fault}; download it again, or remove it")
    return is_found


def _is_read(kind: re.Pattern[bytes], head: bytes) -> bool:
    """Return whether the first bytes name a type of series that is read, or no type."""
    match = kind.search(head)
    return match is None or match.group(1).decode().lower() in READ_TYPES


def read_start(path: Path, size: int = SNIFFED_BYTES) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); check who may read it") from error


def open_series(path: Path) -> Gauge:
    """Read a series of the NRFA: JSON, or CSV with a header of about 20 rows."""
    try:
        return _nrfa_json(path) if path.suffix == ".json" else _nrfa_csv(path)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: not a series of the NRFA ({first_line(error)}); download it again") from error


def _nrfa_json(path: Path) -> Gauge:
    content = json.loads(path.read_bytes())
    data_stream, station, kind = content["data-stream"], content["station"], content["data-type"]
    pairs = (
        data_stream
        if data_stream and isinstance(data_stream[0], list)
        else list(zip(data_stream[::2], data_stream[1::2], strict=True))
    )
    frame = pd.DataFrame(pairs, columns=["date", str(kind["id"])])
    position = {name: float(station[name]) for name in ("latitude", "longitude") if station.get(name) is not None}
    check_daily_step(STEPS.get(str(kind.get("period", "P1D")).lower().split()[0]), path)
    return _gauge_of_series(station["id"], kind["id"], kind["units"], frame, position, path)


def _nrfa_csv(path: Path) -> Gauge:
    header: dict[tuple[str, str], str] = {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:  # names may have another encoding
        lines = csv.reader(file)
        for row in lines:
            header[row[0], row[1]] = row[2] if len(row) > 2 else ""
            if row[:2] == ["data", "last"]:
                break
        else:
            raise InputError(f"{path}: has no row data,last before its days; download it again")
        check_daily_step(STEPS.get(header.get(("dataType", "period"), "").strip().lower().partition(" ")[0]), path)
        kind = header["dataType", "id"]
        rows = [_row(row, kind, f"{path}: line {lines.line_num}") for row in lines if any(cell.strip() for cell in row)]
    frame = pd.DataFrame(rows, columns=["date", kind])
    return _gauge_of_series(header["station", "id"], kind, header["dataType", "units"], frame, {}, path)


def _row(row: list[str], kind: str, source: str) -> tuple[str, str]:
    """Return day and value of a row of a series; raise InputError for an invalid row."""
    day, value = row[0].strip(), row[1].strip() if len(row) > 1 else None
    fault = None
    if value is None:
        fault = f"{kind} has no value after {day[:40]!r}"
    elif not (DATE.match(day) or DAY_MONTH_YEAR.fullmatch(day)):
        fault = f"{day[:40]!r} is not a day"
    elif value.lower() not in EMPTY_TEXTS and not NUMBER.fullmatch(value):
        fault = f"{kind} holds {value[:40]!r}, which is not a number"
    if fault is not None:
        raise InputError(f"{source}: {fault}; correct it, or download the file again")
    return day, value or ""


def _gauge_of_series(
    station: Any, kind: str, units: str, frame: pd.DataFrame, static_attributes: Mapping[str, float], path: Path
) -> Gauge:
    frame = frame.assign(**{kind: frame[kind].replace("", np.nan)})
    series = {kind: numeric_column(frame, kind, path)}
    return Gauge(
        gauge_number(str(station)),
        unique_days(frame, "date", str(path)),
        series,
        {kind: str(units)},
        static_attributes,
        path.name,
    )


def catalogue_attributes(stations: Iterable[Mapping[str, Any]], source: str) -> xr.Dataset:
    """Return attributes from rows of `station-info` of the NRFA; null or absent values are NaN."""
    rows = {}
    for station in stations:
        values_by_name = {name: station.get(name) for name in (*NAMES, "easting", "northing")}
        rows[gauge_number(str(station["id"]))] = {
            n: np.nan if v is None else float(v) for n, v in values_by_name.items()
        }
    if not rows:
        raise InputError(f"{source}: has no stations; request an existing one")
    return attributes_of(pd.DataFrame.from_dict(rows, orient="index"), source)


def static_attributes(folder: Path) -> xr.Dataset | None:
    """Read the catalogue in a folder: responses of `station-info` as JSON, else a CSV table with the NRFA names."""
    stations: dict[Any, Mapping[str, Any]] = {}
    for file in files_in(folder, ".json"):
        if not is_catalogue(file):
            continue
        try:
            content = json.loads(file.read_bytes())
            entries = content.get("data") if isinstance(content, dict) else None
            stations |= {one["id"]: one for one in entries or [] if "catchment-area" in one}
        except UNREADABLE as error:
            raise InputError(f"{file}: not a readable JSON file ({first_line(error)}); download it again") from error
    if stations:
        return catalogue_attributes(stations.values(), str(folder))
    tables = [file for file in files_in(folder, ".csv") if is_catalogue(file)]
    distinct = {sha256(file): file for file in reversed(tables)}
    if len(distinct) > 1:
        raise InputError(f"{folder}: {tables[0].name} and {tables[1].name} are both catalogues; keep one of them")
    return attributes.read_attribute_table(tables[0]) if tables else None


def is_catalogue(path: Path) -> bool:
    """Return whether a file is a catalogue: CSV with `id` and `catchment-area` in its header, or JSON with the latter."""
    if path.suffix == ".json":
        return not is_series(path) and b'"catchment-area"' in path.read_bytes()
    if path.suffix != ".csv":
        return False
    first = read_start(path).decode("utf-8-sig", "replace").splitlines()[:1]
    columns = {column.strip(' "') for line in first for column in line.split(",")}
    return {"id", "catchment-area"} <= columns


def attributes_of(table: pd.DataFrame, source: str) -> xr.Dataset:
    """Attributes of catchments, all of the NRFA's names, NaN where the table lacks them."""
    if table.index.has_duplicates:
        raise InputError(f"{source}: catchment {table.index[table.index.duplicated()][0]} occurs twice; keep one row")
    table = table.reindex(columns=[*table.columns, *(name for name in NAMES if name not in table.columns)])
    values_by_name = {str(name): ("catchment", table[name].to_numpy(np.float64)) for name in table.columns}
    dataset = xr.Dataset(values_by_name, {"catchment": table.index.to_numpy()})
    return set_cf_attributes(with_positions(dataset))


def with_catalogue(own_attributes: xr.Dataset, catalogue_attributes: xr.Dataset | None) -> xr.Dataset:
    """Complete the attributes of a product with those of the NRFA catalogue, matched by number."""
    if catalogue_attributes is None:
        return own_attributes
    names = [str(name) for name in own_attributes["catchment"].values]
    numbers = [gauge_number(name.removeprefix(CARAVAN_GB_PREFIX)) for name in names]
    rows = catalogue_attributes.reindex(catchment=numbers)
    for name in NAMES:
        if name not in ("latitude", "longitude"):  # the product has easting and northing
            own_attributes[name] = own_attributes[name].copy(
                data=np.where(own_attributes[name].notnull(), own_attributes[name], rows[name])
            )
    return own_attributes
