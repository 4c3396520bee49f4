"""Writing answers: NetCDF, Zarr, CSV or parquet, by the file's name; built aside, then moved into place."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.io.atomic import replacing, sha256, write_netcdf
from hydromae.io.csv_parquet import Dialect, write_csv
from hydromae.io.dataset import FLOW, QUANTILE, origins_in
from hydromae.io.names import OUTSIDE, quantile_suffix
from hydromae.io.outputs import TABLES, answer_place, holding, provenance_place
from hydromae.io.provenance import KEY
from hydromae.io.units import from_canonical

STORED = ("dtype", "_FillValue", "scale_factor", "add_offset", "units", "calendar")
"""What is kept of how a file stores its variables; compression is our own."""


COMMAS = Dialect()


def write_answer(answer: xr.Dataset | pd.DataFrame, path: Path, dialect: Dialect = COMMAS) -> Path:
    """Write an answer, a table as `.csv` (in a dialect) or `.parquet`, a dataset as `.nc` or `.zarr`.

    What lay there stays until the new one is whole. Beside a table its provenance (`io.provenance`) is written, with the
    SHA-256 of the file of the table, by which it is known to belong to it.

    Raises:
        InputError: As `outputs.answer_place`, or another process writes there.
        ValueError: A dataset for a table's name, or a table for a dataset's.
    """
    if isinstance(answer, pd.DataFrame) != (path.suffix in TABLES):
        raise ValueError(f"{path}: its suffix is not that of a {type(answer).__name__}")
    with ExitStack() as stack:
        stack.enter_context(holding(answer_place(path)))
        beside = None
        if isinstance(answer, pd.DataFrame) and KEY in answer.attrs:
            place = provenance_place(path)
            stack.enter_context(holding(place))
            beside = stack.enter_context(replacing(place.path))
        aside = stack.enter_context(replacing(path))
        if isinstance(answer, xr.Dataset):
            _write_dataset(answer, aside)
        elif path.suffix == ".csv":
            write_csv(answer, aside, dialect)
        else:
            answer.to_parquet(aside)
        if beside is not None:
            made = {"answer": path.name, "answer_sha256": sha256(aside), **answer.attrs[KEY]}
            beside.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return path


def forecast_in(forecast: xr.Dataset, units: str, area: xr.DataArray | None) -> xr.Dataset:
    """A forecast (`scenarios.forecast`) with its flow and quantiles in these units.

    Raises:
        InputError: The units are m³/s, and the area of a catchment is unknown.
    """
    named = [name for name in (FLOW, QUANTILE) if name in forecast]
    converted = {name: from_canonical(forecast[name], FLOW, units, area).astype(np.float32) for name in named}
    return forecast.assign({n: v.assign_attrs(forecast[n].attrs | {"units": units}) for n, v in converted.items()})


def forecast_table(forecast: xr.Dataset, column: str) -> pd.DataFrame:
    """A forecast as a long table: issue_time, lead [days], date, catchment, flow in `column`, its quantiles and origin."""
    index = forecast[FLOW].transpose("issue_time", "lead", "catchment")
    issue, lead, site = (values.ravel() for values in np.indices(index.shape))
    rows: dict[str, Any] = {
        "issue_time": forecast["issue_time"].values[issue],
        "lead": forecast["lead"].values[lead],
        "date": forecast["valid_time"].transpose("issue_time", "lead").values[issue, lead],
        "catchment": forecast["catchment"].values[site],
        column: index.values.ravel(),
    }
    for level in forecast["quantile"].values if QUANTILE in forecast else ():
        values = forecast[QUANTILE].sel(quantile=level).transpose(*index.dims).values
        rows[f"{FLOW}{quantile_suffix(float(level))}"] = values.ravel()
    for name in origins_in(forecast):
        rows[name] = forecast[name].transpose(*index.dims).values.ravel()
    if OUTSIDE in forecast:
        rows[OUTSIDE] = forecast[OUTSIDE].values[site]
    return pd.DataFrame(rows)


def _write_dataset(answer: xr.Dataset, aside: Path) -> None:
    """NetCDF or Zarr, each variable stored as in the file that it came from."""
    kept = {name: {k: v.encoding[k] for k in STORED if k in v.encoding} for name, v in answer.variables.items()}
    clean = _with_plain_attributes(answer.drop_encoding())
    if aside.suffix == ".nc":
        packed = {"zlib": True, "complevel": 3, "shuffle": True}
        stored = {n: kept[n] | (packed if v.ndim > 1 else {}) for n, v in clean.variables.items()}
        write_netcdf(clean, aside, stored)
    else:
        # Zarr v3 specifies strings of variable length only
        text = {name: v.astype(object) for name, v in clean.variables.items() if v.dtype.kind in "UT"}
        stored = {n: how for n, how in kept.items() if n not in text}
        clean.assign(text).to_zarr(aside, zarr_format=3, consolidated=False, encoding=stored)


def _with_plain_attributes(answer: xr.Dataset) -> xr.Dataset:
    """The answer without attributes that are neither text nor numbers, such as the raw bytes of an HDF5 file."""

    def plain(value: object) -> bool:
        if isinstance(value, str):
            return not any("\ud800" <= sign <= "\udfff" for sign in value)
        return not isinstance(value, np.ndarray | np.generic) or value.dtype.kind in "biufSU"

    held = answer.copy()
    for one in (held, *held.variables.values()):
        one.attrs = {name: value for name, value in one.attrs.items() if plain(value)}
    return held
