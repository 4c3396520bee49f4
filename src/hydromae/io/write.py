"""Atomic writes of answers as NetCDF, Zarr, CSV or parquet, according to the suffix."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.io.atomic import atomic_path, sha256, write_netcdf
from hydromae.io.csv_parquet import Dialect, write_csv
from hydromae.io.dataset import origin_names
from hydromae.io.excel import check_workbook, write_workbook
from hydromae.io.names import FLOW, OUTSIDE_TRAINING, QUANTILE, quantile_suffix
from hydromae.io.outputs import EXCEL, TABLES, answer_output, provenance_output, reserve_output
from hydromae.io.provenance import KEY
from hydromae.io.units import from_canonical

ENCODING_KEYS = ("dtype", "_FillValue", "scale_factor", "add_offset", "units", "calendar")
"""Encodings of the input that are kept; compression is not."""


COMMA_DIALECT = Dialect()


def write_answer(answer: xr.Dataset | pd.DataFrame, path: Path, dialect: Dialect = COMMA_DIALECT) -> Path:
    """Write a table as `.csv` (in a dialect), `.parquet` or `.xlsx` (a sheet for each catchment), or a dataset as `.nc` or
    `.zarr`.

    An existing answer is replaced at the end. The provenance of a table (`io.provenance`) is a file beside it with its
    SHA-256.

    Raises:
        InputError: As `outputs.answer_output`, or another process writes the file.
        ValueError: The suffix does not fit the type.
    """
    if isinstance(answer, pd.DataFrame) != (path.suffix in TABLES):
        raise ValueError(f"{path}: its suffix is not that of a {type(answer).__name__}")
    with ExitStack() as stack:
        stack.enter_context(reserve_output(answer_output(path)))
        provenance_path = None
        if isinstance(answer, pd.DataFrame) and KEY in answer.attrs:
            sidecar = provenance_output(path)
            stack.enter_context(reserve_output(sidecar))
            provenance_path = stack.enter_context(atomic_path(sidecar.path))
        temporary = stack.enter_context(atomic_path(path))
        if isinstance(answer, xr.Dataset):
            _write_dataset(answer, temporary)
        elif path.suffix == ".csv":
            write_csv(answer, temporary, dialect)
        elif path.suffix == EXCEL:
            check_workbook(answer, path)
            write_workbook(answer, temporary)
        else:
            answer.to_parquet(temporary)
        if provenance_path is not None:
            record = {"answer": path.name, "answer_sha256": sha256(temporary), **answer.attrs[KEY]}
            provenance_path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def forecast_in_units(forecast: xr.Dataset, units: str, area: xr.DataArray | None) -> xr.Dataset:
    """Convert flow and quantiles of a forecast (`scenarios.forecast`) to these units.

    Raises:
        InputError: The units are a volume rate, and the area of a catchment is unknown.
    """
    flow_names = [name for name in (FLOW, QUANTILE) if name in forecast]
    in_units = {name: from_canonical(forecast[name], FLOW, units, area).astype(np.float32) for name in flow_names}
    return forecast.assign({n: v.assign_attrs(forecast[n].attrs | {"units": units}) for n, v in in_units.items()})


def forecast_table(forecast: xr.Dataset, column: str) -> pd.DataFrame:
    """Return a forecast as a long table: issue_time, lead [days], date, catchment, flow in `column`, quantiles and origin."""
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
    for name in origin_names(forecast):
        rows[name] = forecast[name].transpose(*index.dims).values.ravel()
    if OUTSIDE_TRAINING in forecast:
        rows[OUTSIDE_TRAINING] = forecast[OUTSIDE_TRAINING].values[site]
    return pd.DataFrame(rows)


def _write_dataset(answer: xr.Dataset, temporary: Path) -> None:
    """Write NetCDF or Zarr with the encoding of the input."""
    encodings = {
        name: {k: v.encoding[k] for k in ENCODING_KEYS if k in v.encoding} for name, v in answer.variables.items()
    }
    plain_answer = _with_plain_attributes(answer.drop_encoding())
    if temporary.suffix == ".nc":
        compression = {"zlib": True, "complevel": 3, "shuffle": True}
        stored = {n: encodings[n] | (compression if v.ndim > 1 else {}) for n, v in plain_answer.variables.items()}
        write_netcdf(plain_answer, temporary, stored)
    else:
        # Zarr v3 specifies strings of variable length only
        text = {n: v.copy(data=_as_text(v.values)) for n, v in plain_answer.variables.items() if v.dtype.kind in "UTS"}
        stored = {n: encoding for n, encoding in encodings.items() if n not in text}
        plain_answer.assign(text).to_zarr(temporary, zarr_format=3, consolidated=False, encoding=stored)


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return strings as objects; bytes are UTF-8, with escapes where they are not."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "backslashreplace")
    return values.astype(object)


def _with_plain_attributes(answer: xr.Dataset) -> xr.Dataset:
    """Drop attributes that are neither text nor numbers, such as raw bytes of an HDF5 file."""

    def plain(value: object) -> bool:
        if isinstance(value, str):
            return not any("\ud800" <= sign <= "\udfff" for sign in value)
        return not isinstance(value, np.ndarray | np.generic) or value.dtype.kind in "biufSU"

    copy = answer.copy()
    for one in (copy, *copy.variables.values()):
        one.attrs = {name: value for name, value in one.attrs.items() if plain(value)}
    return copy
