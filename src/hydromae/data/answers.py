"""Writing answers: NetCDF, Zarr, CSV or parquet, by the file's name; built aside, then moved into place."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pandas as pd
import xarray as xr

from hydromae.errors import InputError

SUFFIXES = (".nc", ".zarr", ".csv", ".parquet")


def check_target(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuse, before any work, a file that could not be written.

    Raises
    ------
    InputError
        If the suffix is not known, or the folder is not there.
    """
    if path.suffix not in suffixes:
        raise InputError(
            f"{path}: cannot write '{path.suffix or 'no suffix'}'; name it with one of {', '.join(suffixes)}"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make {path.absolute().parent} first")


def write_answer(answer: xr.Dataset, path: Path) -> Path:
    """Write an answer; what lay there stays until the new one is whole.

    A table has one row a day and catchment, and a column for each quantile.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        _write(answer, aside)
        if path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
    return path


def _write(answer: xr.Dataset, aside: Path) -> None:
    if aside.suffix == ".nc":
        packed = {n: {"zlib": True, "complevel": 3, "shuffle": True} for n, v in answer.data_vars.items() if v.ndim > 1}
        answer.to_netcdf(aside, engine="h5netcdf", encoding=packed)
    elif aside.suffix == ".zarr":
        clean = answer.drop_encoding()
        # Zarr v3 specifies strings of variable length only
        text = {name: clean[name].astype(object) for name in clean.coords if clean[name].dtype.kind == "U"}
        clean.assign_coords(text).to_zarr(aside, zarr_format=3, consolidated=False)
    elif aside.suffix == ".csv":
        table(answer).to_csv(aside, index=False)
    else:
        table(answer).to_parquet(aside, index=False)


def table(answer: xr.Dataset) -> pd.DataFrame:
    """The series of an answer in long form: date, catchment, every variable, riverflow_q05 and so on."""
    series = [str(n) for n, v in answer.data_vars.items() if v.dims == ("time", "catchment")]
    wide = answer[series]
    if "riverflow_quantile" in answer:
        for level in answer["quantile"].values:
            column = f"riverflow_q{round(100 * float(level)):02d}"
            wide = wide.assign({column: answer["riverflow_quantile"].sel(quantile=level, drop=True)})
    return wide.reset_coords(drop=True).to_dataframe().reset_index().rename(columns={"time": "date"})
