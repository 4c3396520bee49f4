"""COSMOS-UK: field-scale soil moisture of neutron sensors, in the format of its web service (CoverageJSON).

Source: UKCEH, https://cosmos.ceh.ac.uk, Open Government Licence; the format follows the documentation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets.gauges import Gauge
from hydromae.errors import InputError, first_line
from hydromae.io import units
from hydromae.io.conventions import to_canonical
from hydromae.io.credits import OGL

PARAMETER = "cosmos_vwc"
SOURCE = f"UKCEH, https://cosmos.ceh.ac.uk, {OGL}"
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


def read_cosmos(path: str | Path) -> xr.Dataset:
    """Read soil moisture [m³/m³] of the sites of a file, `(time, catchment)`, with positions.

    Args:
        path: Response to `…/collections/1D/locations/SITE?parameter-name=cosmos_vwc`: a Coverage, or a CoverageCollection.

    Raises:
        InputError: Another file, or units that are missing.
    """
    sites = _sites(path)
    all_days = pd.DatetimeIndex(np.unique(np.concatenate([days.to_numpy() for _, days, *_ in sites])))
    values = np.full((len(all_days), len(sites)), np.nan)
    for site_index, (_, days, site_values, *_) in enumerate(sites):
        values[all_days.get_indexer(days), site_index] = site_values
    units_texts = {unit for *_, unit in sites}
    if len(units_texts) > 1:
        raise InputError(f"{path}: sites in {' and '.join(sorted(map(str, units_texts)))}; download them in one unit")
    raw = xr.DataArray(values, {"time": all_days, "catchment": [site for site, *_ in sites]}, ("time", "catchment"))
    moisture = units.convert(raw, "soil_moisture", units_texts.pop(), str(path))
    coordinates = {"latitude": [one[3] for one in sites], "longitude": [one[4] for one in sites]}
    record = xr.Dataset({"soil_moisture": moisture}).assign({n: ("catchment", v) for n, v in coordinates.items()})
    return to_canonical(record, str(path)).assign_attrs(source=f"COSMOS-UK: {SOURCE}")


def is_cosmos_file(path: Path) -> bool:
    """Return whether a file is CoverageJSON with soil moisture of COSMOS-UK."""
    if path.suffix not in (".json", ".covjson"):
        return False
    with path.open("rb") as file:
        head = file.read(2000)
        return b'"Coverage' in head and PARAMETER.encode() in head + file.read()


def open_site(path: Path) -> Gauge:
    """Read the only site of a file.

    Raises:
        InputError: Another file, or several sites.
    """
    (site, days, values, latitude, longitude, unit), *other_sites = _sites(path)
    if other_sites:
        raise InputError(
            f"{path}: has {1 + len(other_sites)} sites; name the file itself, or download one file per site"
        )
    site_index = {"latitude": latitude, "longitude": longitude}
    return Gauge(site, days, {PARAMETER: values}, {PARAMETER: unit}, site_index, path.name)


def _sites(path: str | Path) -> list[tuple[str, pd.DatetimeIndex, np.ndarray, float, float, str]]:
    if not Path(path).is_file():  # pipes and devices block
        raise InputError(f"{path}: no such file; check the path")
    try:
        document = json.loads(Path(path).read_bytes())
        coverages = document["coverages"] if document.get("type") == "CoverageCollection" else [document]
        parsed_sites = [_site(one, document, site_index) for site_index, one in enumerate(coverages)]
    except UNREADABLE as error:
        raise InputError(
            f"{path}: not CoverageJSON with {PARAMETER} ({first_line(error)}); download it again"
        ) from error
    for site, days, *_ in parsed_sites:
        if days.has_duplicates:
            duplicate = days[days.duplicated()][0]
            raise InputError(f"{path}: site {site} has {duplicate:%Y-%m-%d} more than once; download its daily values")
    return parsed_sites


def _site(
    coverage: dict[str, Any], document: dict[str, Any], site_index: int
) -> tuple[str, pd.DatetimeIndex, np.ndarray, float, float, str]:
    """Return name, days, values, latitude, longitude and units of a site."""
    axes, site_values = coverage["domain"]["axes"], coverage["ranges"][PARAMETER]["values"]
    parameters = coverage.get("parameters") or document["parameters"]
    symbol = parameters[PARAMETER]["unit"]["symbol"]
    unit = symbol["value"] if isinstance(symbol, dict) else symbol
    if not all(isinstance(day, str) for day in axes["t"]["values"]):  # numbers would be read as nanoseconds
        raise ValueError("one of its dates is not text")
    days = (
        pd.DatetimeIndex(pd.to_datetime(axes["t"]["values"], utc=True, format="ISO8601")).tz_localize(None).normalize()
    )
    values = np.array([np.nan if value is None else float(value) for value in site_values])
    if len(values) != len(days):
        raise ValueError(f"{len(days)} days and {len(values)} values")
    name = str(coverage.get("id", f"site-{site_index + 1}"))
    return name, days, values, float(axes["y"]["values"][0]), float(axes["x"]["values"][0]), str(unit)
