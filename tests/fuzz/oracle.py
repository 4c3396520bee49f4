"""What a file really says, read plainly and apart from the product, and whether an answer agrees with it.

Plain values are `{variable: {(day, catchment): value}}` in canonical units, days and catchments as text, and only what was
observed: no NaN, no infinity, no −99999, nothing from 1e19.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import xarray as xr

Plain = dict[str, dict[tuple[str, str], float]]
FLOW, RAIN, TEMPERATURE, EVAPORATION = "riverflow", "precipitation", "temperature", "potential_evaporation"
COLUMNS = {
    **{name: (name, "") for name in (FLOW, RAIN, TEMPERATURE, EVAPORATION)},
    "discharge_spec": (FLOW, ""),
    "discharge_vol": (FLOW, "m3/s"),
    "rainfall": (RAIN, ""),
    "tas": (TEMPERATURE, ""),
    "pet": (EVAPORATION, ""),
}
UNITS = {
    "": (1.0, 0.0),
    "mm day-1": (1.0, 0.0),
    "mm/d": (1.0, 0.0),
    "mm": (1.0, 0.0),
    "m/day": (1000.0, 0.0),
    "kg m-2 s-1": (86400.0, 0.0),
    "degC": (1.0, 0.0),
    "K": (1.0, -273.15),
}


class Unreadable(Exception):
    """The plain reading does not understand the file either."""


def of_rows(rows: Iterable[Mapping[str, Any]], areas: Mapping[str, float] | None = None) -> Plain:
    """Of a table in long form, its cells as text or numbers; `areas` [km²] of rivers where it has no column of them."""
    found: Plain = {}
    for row in rows:
        keys = {str(key).strip().lower(): held for key, held in row.items()}
        day = _day(keys.get("date", keys.get("time")))
        site = _site(next(keys[key] for key in ("catchment", "id", "gauge_id") if key in keys))
        for column, held in row.items():
            name, _, units = str(column).strip().replace(" (", " [").partition(" [")
            if name not in COLUMNS:
                continue
            variable, volume = COLUMNS[name]
            value = _number(held)
            if value is None:
                continue
            units = units.rstrip("])") or volume
            if units in ("m3/s", "m3 s-1"):
                factor, offset = (
                    86.4 / float(row["catchment-area"] if "catchment-area" in row else (areas or {})[site]),
                    0.0,
                )
            else:
                factor, offset = UNITS[units]
            if (day, site) in found.setdefault(variable, {}):
                raise Unreadable(f"{variable} twice on {day} at {site}")
            found[variable][day, site] = value * factor + offset
    return found


def of_csv(path: Path, areas: Mapping[str, float] | None = None) -> Plain:
    """Of a CSV file, compressed or not."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return of_rows(_records(_text(data)), areas)


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def of_parquet(path: Path) -> Plain:
    """Of a parquet file."""
    return of_rows(pq.ParquetFile(path).read().to_pylist())


def of_netcdf(path: Path) -> Plain:
    """Of a NetCDF file."""
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return of_dataset(dataset)


def of_zarr(path: Path) -> Plain:
    """Of a Zarr group."""
    return of_dataset(xr.open_zarr(path, consolidated=False, chunks=None))


def of_dataset(dataset: xr.Dataset) -> Plain:
    """Of a dataset `(time, catchment)`."""
    site = next(name for name in ("catchment", "id", "gauge_id", "station") if name in dataset.dims)
    sites = [_site(value) for value in dataset[site].values]
    offset = re.search(r"([+-]\d\d):00$", str(dataset["time"].encoding.get("units", "")))  # the day is that of the zone
    hours = np.timedelta64(int(offset.group(1)) if offset else 0, "h")
    days = [_day(value + hours if offset else value) for value in dataset["time"].values]
    found: Plain = {}
    for column in dataset.data_vars:
        if column not in COLUMNS:
            continue
        variable = COLUMNS[str(column)][0]
        values = dataset[column].transpose("time", site)
        units = str(values.attrs["units"])
        if units in ("m3 s-1", "m3/s"):
            factor, offset = 86.4 / dataset["catchment-area"].values.astype(float), 0.0
        else:
            factor, offset = UNITS[units]
        held = values.values.astype(np.float64)
        seen = np.isfinite(held) & (held != -99999) & (np.abs(held) < 1e19)
        seen &= (values.dtype != np.uint8) | (held != 255)  # NetCDF's fill value of unsigned bytes
        told = held * factor + offset
        found[variable] = {}
        for row, column_ in zip(*np.nonzero(seen), strict=True):
            key = (days[row], sites[column_])
            if key in found[variable]:
                raise Unreadable(f"{variable} twice at {key}")
            found[variable][key] = float(told[row, column_])
    return found


def of_downloads(folder: Path, known: Mapping[str, float] | None = None) -> Plain:
    """Of a folder of the NRFA's series with the catalogue beside them, or `known` areas; files that are none are nothing."""
    series: list[tuple[str, str, str, list[tuple[str, Any]]]] = []
    areas = dict(known or {})
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
        if file.suffix == ".csv" and data.startswith(b"file,timestamp") and b"nrfa" in data[:2000].lower():
            rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline="")))
            last = next(place for place, row in enumerate(rows) if row[:2] == ["data", "last"])
            header = {tuple(row[:2]): row[2] if len(row) > 2 else "" for row in rows[: last + 1]}
            held = [(row[0], row[1]) for row in rows[last + 1 :] if row]
            kind, units = header["dataType", "id"], header["dataType", "units"]
            series.append((header["station", "id"], kind, units, held))
        elif file.suffix == ".json":
            told = json.loads(data)
            if isinstance(told, dict) and {"station", "data-type", "data-stream"} <= set(told):
                stream, kind = told["data-stream"], told["data-type"]
                held = list(zip(stream[::2], stream[1::2], strict=True))
                series.append((str(told["station"]["id"]), kind["id"], kind["units"], held))
            elif isinstance(told, dict) and isinstance(told.get("data"), list):
                areas |= {_site(one["id"]): one["catchment-area"] for one in told["data"] if "catchment-area" in one}
    found: Plain = {}
    for station, kind, units, held in series:
        name = {"gdf": FLOW, "cdr": RAIN}.get(kind)
        if name is None:
            continue
        for day, value in held:
            number = _number(value)
            if number is not None:
                key = (_day(day), _site(station))
                if key in found.setdefault(name, {}):
                    raise Unreadable(f"{name} twice at {key}")
                factor = 86.4 / float(areas[key[1]]) if units == "m3/s" else UNITS[units][0]
                found[name][key] = number * factor
    return found


LAYOUT_COLUMNS = {
    "camels-gb": {
        FLOW: ("discharge_spec", "discharge_vol"),
        RAIN: ("precipitation",),
        TEMPERATURE: ("temperature",),
        EVAPORATION: ("peti", "pet"),
    },
    "caravan": {
        FLOW: ("streamflow",),
        RAIN: ("total_precipitation_sum",),
        TEMPERATURE: ("temperature_2m_mean",),
        EVAPORATION: ("potential_evaporation_sum_FAO_PENMAN_MONTEITH", "potential_evaporation_sum_ERA5_LAND"),
    },
}
"""Columns of a layout's series for each variable, the best one first."""


def of_layout(folder: Path, layout: str) -> Plain:
    """Of a folder of CAMELS-GB, Caravan or the NRFA's CSV; the best column that any file has is taken from all of them."""
    if layout == "nrfa":
        rows = _rows(folder / "catalogue.csv")
        return of_downloads(folder, {_site(row["id"]): float(row["catchment-area"]) for row in rows})
    held: dict[str, list[dict[str, str]]] = {}
    areas: dict[str, float] = {}
    for file in sorted(file for file in folder.rglob("*.csv") if file.is_file()):
        if "timeseries" in file.parts:
            held[file.stem.split("_")[-2] if layout == "camels-gb" else file.stem] = _rows(file)
        else:
            traits = [
                row for row in _rows(file) if {"gauge_id", "area"} <= set(row)
            ]  # without an area flow may be in mm
            areas |= {_site(row["gauge_id"]): _number(row["area"]) or math.nan for row in traits}
    found: Plain = {}
    for name, columns in LAYOUT_COLUMNS[layout].items():
        for site, rows in held.items():  # a river without a value in the best column is read from its second best
            column = next((c for c in columns if any(_number(row.get(c)) is not None for row in rows)), "")
            for row in rows:
                value = _number(row.get(column))
                if value is not None:
                    factor = 86.4 / areas[_site(site)] if column == "discharge_vol" else 1.0
                    found.setdefault(name, {})[_day(row["date"]), _site(site)] = value * factor
    return found


def _rows(file: Path) -> list[dict[str, str]]:
    return list(_records(_text(file.read_bytes())))


def _records(text: str) -> Iterator[dict[str, str]]:
    header = text.partition("\n")[0]
    between = next((sign for sign in ",;\t" if sign in header), ",")
    yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=between)


def cosmos_tree() -> dict[str, Any]:
    """Two sites, forty days of 2001, in percent, one value missing."""
    first = datetime.date(2001, 1, 1)
    days = [f"{first + datetime.timedelta(days=day)}T00:00:00Z" for day in range(40)]
    coverages = []
    for number, site in enumerate(("CHIMN", "EUSTN")):
        axes = {"t": {"values": list(days)}, "x": {"values": [-1.2 - number]}, "y": {"values": [51.7 + number]}}
        values = [None if place == 5 else 20.0 + 10 * number + place / 10 for place in range(len(days))]
        ranges = {"cosmos_vwc": {"values": values}}
        coverages.append({"type": "Coverage", "id": site, "domain": {"axes": axes}, "ranges": ranges})
    unit = {"cosmos_vwc": {"unit": {"symbol": {"value": "%"}}}}
    return {"type": "CoverageCollection", "coverages": coverages, "parameters": unit}


def of_cosmos(path: Path) -> dict[tuple[str, str], float]:
    """Of CoverageJSON with soil moisture."""
    tree = json.loads(path.read_bytes())
    found = {}
    coverages = tree["coverages"] if tree.get("type") == "CoverageCollection" else [tree]
    for place, one in enumerate(coverages):
        symbol = (one.get("parameters") or tree["parameters"])["cosmos_vwc"]["unit"]["symbol"]
        unit = symbol["value"] if isinstance(symbol, dict) else symbol
        factor = {"%": 0.01, "percent": 0.01, "1": 1.0}[str(unit)]
        days = one["domain"]["axes"]["t"]["values"]
        for day, held in zip(days, one["ranges"]["cosmos_vwc"]["values"], strict=True):
            value = _number(held)
            if value is not None:
                found[_day(day), str(one.get("id", f"site-{place + 1}")).strip()] = value * factor
    return found


def of_answer(path: Path, areas: Mapping[str, float]) -> Plain:
    """Of what the product wrote: a store, or an answer in any form; `areas` [km²] of the rivers of a table."""
    if path.suffix == ".csv":
        return of_csv(path, areas)
    return of_netcdf(path) if path.suffix == ".nc" else of_zarr(path)


def _day(value: Any) -> str:
    """The day that a stamp means: less than 10 s before midnight that midnight, else the day that is written."""
    if isinstance(value, np.datetime64):
        return str((value + np.timedelta64(10, "s")).astype("datetime64[D]"))
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    text = re.sub(r"^(\d\d)/(\d\d)/(\d{4})", r"\3-\2-\1", str(value).strip())
    stamp = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(text)
    late = stamp.hour == 23 and stamp.minute == 59 and stamp.second >= 50
    return (stamp.date() + datetime.timedelta(days=1) if late else stamp.date()).isoformat()


def _site(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value).strip()
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def _number(held: Any) -> float | None:
    if held is None or (isinstance(held, str) and held.strip().lower() in ("", "nan", "na", "null", "n/a", "none")):
        return None
    value = float(held)
    return value if math.isfinite(value) and value != -99999 and abs(value) < 1e19 else None


def difference(said: Plain, answer: Plain, derived: tuple[str, ...] = ()) -> str | None:
    """Where an answer departs from what the file says: a value that it lost, changed or invented."""
    for name, told in said.items():
        held = answer.get(name, {})
        lost = told.keys() - held.keys()
        if lost:
            return f"{name} at {min(lost)} was {told[min(lost)]:.9g} and is lost"
        for key, value in told.items():
            if not math.isclose(held[key], value, rel_tol=2e-6, abs_tol=1e-5):
                return f"{name} at {key} was {value:.9g} and is {held[key]:.9g}"
    for name in answer.keys() - set(derived):
        more = answer[name].keys() - said.get(name, {}).keys()
        if more:
            return f"{name} at {min(more)} was unobserved and is {answer[name][min(more)]:.9g}"
    return None


def kept(said: Plain, answer: Plain) -> str | None:
    """Where an answer, whose gaps are filled, departs from what was observed."""
    return difference(said, {n: {k: v for k, v in held.items() if k in said.get(n, {})} for n, held in answer.items()})


def answered(answer: xr.Dataset, known: tuple[str, ...]) -> str | None:
    """What is missing in an answer: a value that is not finite, or quantiles out of order."""
    for name in known:
        if name in answer and not np.isfinite(answer[name].values).all():
            return f"{name} of the answer is not finite everywhere"
    quantile = answer["riverflow_quantile"].transpose("quantile", ...).values
    if not np.isfinite(quantile).all() or (np.diff(quantile, axis=0) < 0).any():
        return "quantiles of the answer are not finite, or not in order"
    origin = answer[f"{FLOW}_origin"]
    if FLOW not in answer or ((answer[FLOW] < 0) & (origin != 0)).any():  # noise below zero stays where it was measured
        return "the answer has no flow, or a negative one"
    return None
