"""Writing answers: NetCDF, Zarr, CSV or parquet, by the file's name; built aside, then moved into place."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from hydromae.files import replacing, write_netcdf
from hydromae.outputs import answer_place, holding


def write_answer(answer: xr.Dataset, path: Path) -> Path:
    """Write an answer; what lay there stays until the new one is whole.

    A table has one row a day and catchment, and a column for each quantile.

    Raises
    ------
    InputError
        As `outputs.answer_place`, or another process writes there.
    """
    with holding(answer_place(path)), replacing(path) as aside:
        _write(answer, aside)
    return path


def _write(answer: xr.Dataset, aside: Path) -> None:
    if aside.suffix == ".nc":
        packed = {n: {"zlib": True, "complevel": 3, "shuffle": True} for n, v in answer.data_vars.items() if v.ndim > 1}
        write_netcdf(answer, aside, packed)
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
