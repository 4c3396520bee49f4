"""Products that people download: how a folder of each looks, and what of it is read.

What is said of formats is from their documentation, and from samples of the NRFA. Nothing was fetched to write this.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers import nrfa
from hydromae.data.readers.gauges import Gauge, Product, days_of, gauge_of, named
from hydromae.data.readers.nrfa import NAMES, numeric, read_csv
from hydromae.data.readers.record import describe, open_file, positions, site_names
from hydromae.errors import InputError, first_line
from hydromae.progress import counted
from hydromae.virtual.downloads import TOPOGRAPHY

OGL = "Open Government Licence v3"
PERIOD = r"_(\w+?)_19701001-\d{8}\.csv"
SNIFFED = 2000
"""Bytes of a file by which the NRFA's are told from others."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError, csv.Error)


def _by_name(pattern: str) -> Callable[[Path], bool]:
    """Whether a file's whole name is like the pattern."""
    whole = re.compile(pattern, re.ASCII)
    return lambda path: whole.fullmatch(path.name) is not None


def _camels(pattern: str, columns: Mapping[str, tuple[tuple[str, str], ...]]) -> Callable[[Path], Gauge]:
    names = [column for choices in columns.values() for column, _ in choices]
    whole = re.compile(pattern, re.ASCII)

    def open_(path: Path) -> Gauge:
        told = whole.fullmatch(path.name)
        assert told is not None
        return gauge_of(told.group(1), read_csv(path), "date", names, path)

    return open_


def _table(pattern: str, columns: Mapping[str, str]) -> Callable[[Path], xr.Dataset | None]:
    """Attributes from the tables of that name in a folder, keyed `gauge_id`."""
    whole = re.compile(pattern, re.ASCII)

    def traits(folder: Path) -> xr.Dataset | None:
        files = sorted(file for file in folder.rglob("*.csv") if whole.fullmatch(file.name))
        frames = [_keyed(file, columns) for file in counted(files, "tables read", len(files))]
        return _attributes(pd.concat(frames), str(files[0])) if frames else None

    return traits


def _keyed(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    table = read_csv(file)
    if "gauge_id" not in table.columns:
        raise InputError(f"{file}: no column gauge_id; this is not the table its name says")
    held = {name: numeric(table, column, file) for column, name in columns.items() if column in table.columns}
    return pd.DataFrame(held, index=pd.Index(site_names(table["gauge_id"].to_numpy(), str(file))))


def _attributes(table: pd.DataFrame, where: str) -> xr.Dataset:
    """Attributes of catchments, all of the NRFA's names, NaN where the table lacks them."""
    if table.index.has_duplicates:
        raise InputError(f"{where}: catchment {table.index[table.index.duplicated()][0]} comes twice; keep one row")
    table = table.reindex(columns=[*table.columns, *(name for name in NAMES if name not in table.columns)])
    held = {str(name): ("catchment", table[name].to_numpy(np.float64)) for name in table.columns}
    dataset = xr.Dataset(held, {"catchment": table.index.to_numpy()})
    return describe(positions(dataset))


def _is_caravan(path: Path) -> bool:
    """`timeseries/{csv,netcdf}/{source}/{source}_{id}.{csv,nc}`."""
    source, kind = path.parent, path.parent.parent
    ending = {"csv": ".csv", "netcdf": ".nc"}.get(kind.name)
    return path.suffix == ending and kind.parent.name == "timeseries" and path.name.startswith(f"{source.name}_")


def _caravan(path: Path) -> Gauge:
    columns = [column for choices in CARAVAN_COLUMNS.values() for column, _ in choices]
    if path.suffix == ".csv":
        return gauge_of(path.stem, read_csv(path), "date", columns, path)
    raw = open_file(path)
    if "date" not in raw.indexes:
        raise InputError(f"{path}: no coordinate date; this is not a file of Caravan")
    there = [column for column in columns if column in raw.data_vars and raw[column].dims == ("date",)]
    frame = pd.DataFrame({"date": raw["date"].values, **{column: raw[column].values for column in there}})
    return gauge_of(path.stem, frame, "date", there, path)


def _sniffed(path: Path) -> bool:
    """Whether a file is a series of the NRFA, by how it begins."""
    if path.suffix not in (".csv", ".json"):
        return False
    head = _head(path)
    if path.suffix == ".json":
        return b'"data-type"' in head and b'"station"' in head
    return head.lstrip(b"\xef\xbb\xbf").startswith(b"file,timestamp") and b"nrfa" in head.lower()


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SNIFFED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); check who may read it") from error


def _nrfa(path: Path) -> Gauge:
    """A series of the NRFA, as its web service gives it: JSON, or CSV with a header of about 20 rows."""
    try:
        return _nrfa_json(path) if path.suffix == ".json" else _nrfa_csv(path)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: not a series of the NRFA ({first_line(error)}); download it again") from error


def _nrfa_json(path: Path) -> Gauge:
    told = json.loads(path.read_bytes())
    stream, station, kind = told["data-stream"], told["station"], told["data-type"]
    pairs = stream if stream and isinstance(stream[0], list) else list(zip(stream[::2], stream[1::2], strict=True))
    frame = pd.DataFrame(pairs, columns=["date", str(kind["id"])])
    traits = {name: float(station[name]) for name in ("latitude", "longitude") if station.get(name) is not None}
    return _of_nrfa(station["id"], kind["id"], kind["units"], frame, traits, path)


def _nrfa_csv(path: Path) -> Gauge:
    header: dict[tuple[str, str], str] = {}
    rows: list[tuple[str, str]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        for row in lines:
            header[row[0], row[1]] = row[2] if len(row) > 2 else ""
            if row[:2] == ["data", "last"]:
                break
        rows.extend((row[0], row[1]) for row in lines if row)
    kind = header["dataType", "id"]
    frame = pd.DataFrame(rows, columns=["date", kind])
    return _of_nrfa(header["station", "id"], kind, header["dataType", "units"], frame, {}, path)


def _of_nrfa(
    station: Any, kind: str, units: str, frame: pd.DataFrame, traits: Mapping[str, float], path: Path
) -> Gauge:
    frame = frame.assign(**{kind: frame[kind].replace("", np.nan)})
    series = {kind: numeric(frame, kind, path)}
    return Gauge(named(str(station)), days_of(frame, "date", str(path)), series, {kind: str(units)}, traits)


def catalogue(stations: Iterable[Mapping[str, Any]], where: str) -> xr.Dataset:
    """Attributes of catchments from rows of the NRFA's `station-info`; what is null or absent is NaN."""
    rows = {}
    for station in stations:
        held = {name: station.get(name) for name in (*NAMES, "easting", "northing")}
        rows[named(str(station["id"]))] = {n: np.nan if v is None else float(v) for n, v in held.items()}
    if not rows:
        raise InputError(f"{where}: there is no station in it; ask for one that the NRFA has")
    return _attributes(pd.DataFrame.from_dict(rows, orient="index"), where)


def _nrfa_traits(folder: Path) -> xr.Dataset | None:
    """Of the catalogue in a folder: answers to `station-info` as JSON, else a table of it as CSV, under the NRFA names."""
    stations: dict[Any, Mapping[str, Any]] = {}
    for file in sorted(folder.rglob("*.json")):
        if not file.is_file() or _sniffed(file):
            continue
        try:
            told = json.loads(file.read_bytes())
            found = told.get("data") if isinstance(told, dict) else None
            stations |= {one["id"]: one for one in found or [] if "catchment-area" in one}
        except UNREADABLE as error:
            raise InputError(f"{file}: not a readable JSON file ({first_line(error)}); download it again") from error
    if stations:
        return catalogue(stations.values(), str(folder))
    tables = [file for file in sorted(folder.rglob("*.csv")) if file.is_file() and _is_catalogue(file)]
    if len(tables) > 1:
        raise InputError(f"{folder}: {tables[0].name} and {tables[1].name} are catalogues both; keep one of them")
    return nrfa.read(tables[0]) if tables else None


def _is_catalogue(path: Path) -> bool:
    """Whether the first line of a CSV file names `id` and `catchment-area`."""
    first = _head(path).decode("utf-8-sig", "replace").splitlines()[:1]
    columns = {column.strip(' "') for line in first for column in line.split(",")}
    return {"id", "catchment-area"} <= columns


MM, DEGREES, CUBIC = "mm day-1", "degC", "m3 s-1"
CAMELS_1 = {
    "precipitation": (("precipitation", MM),),
    "temperature": (("temperature", DEGREES),),
    "potential_evaporation": (("peti", MM), ("pet", MM)),
    "riverflow": (("discharge_spec", MM), ("discharge_vol", CUBIC)),
}
CAMELS_2 = {
    "precipitation": (("precipitation_haduk", MM), ("precipitation_cehgear", MM)),
    "temperature": (("temperature_haduk", DEGREES), ("temperature_chess", DEGREES)),
    "potential_evaporation": tuple((f"{kind}_{by}", MM) for by in ("hydrope", "chess") for kind in ("peti", "pet")),
    "riverflow": (("discharge_spec", MM), ("discharge_vol", CUBIC)),
}
CARAVAN_COLUMNS = {
    "precipitation": (("total_precipitation_sum", MM),),
    "temperature": (("temperature_2m_mean", DEGREES),),
    "potential_evaporation": (
        ("potential_evaporation_sum_FAO_PENMAN_MONTEITH", MM),
        ("potential_evaporation_sum_ERA5_LAND", MM),
        ("potential_evaporation_sum", MM),
    ),
    "riverflow": (("streamflow", MM),),
}
NRFA_COLUMNS = {"precipitation": (("cdr", "mm"),), "riverflow": (("gdf", "m3/s"),)}
CAMELS_1_FILE = "CAMELS_GB_hydromet_timeseries" + PERIOD
CAMELS_2_FILE = "camels_gb_v2_hydromet_daily_timeseries" + PERIOD

PRODUCTS = (
    Product(
        "CAMELS-GB version 1",
        f"Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, {OGL}",
        CAMELS_1,
        _by_name(CAMELS_1_FILE),
        _camels(CAMELS_1_FILE, CAMELS_1),
        _table("CAMELS_GB_topographic_attributes.csv", TOPOGRAPHY),
    ),
    Product(
        "CAMELS-GB version 2",
        f"doi:10.5285/9a46d428-958f-4ac1-86eb-94eee70c0955, {OGL}",
        CAMELS_2,
        _by_name(CAMELS_2_FILE),
        _camels(CAMELS_2_FILE, CAMELS_2),
        _table("camels_gb_v2_topographic_attributes.csv", TOPOGRAPHY),
    ),
    Product(
        "Caravan",
        "Kratzert et al. 2023, doi:10.5281/zenodo.6522634, CC-BY 4.0",
        CARAVAN_COLUMNS,
        _is_caravan,
        _caravan,
        _table(r"attributes_other_\w+\.csv", TOPOGRAPHY),
    ),
    Product(
        "NRFA",
        f"UK National River Flow Archive, https://nrfa.ceh.ac.uk, {OGL}",
        NRFA_COLUMNS,
        _sniffed,
        _nrfa,
        _nrfa_traits,
    ),
)
