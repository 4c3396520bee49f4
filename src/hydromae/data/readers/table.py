"""A user's own record: a table in long form (CSV, parquet, DataFrame) or a dataset (NetCDF, Zarr, xarray)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from hydromae.data.containers import BROKEN, check_size, check_zarr
from hydromae.data.readers import units
from hydromae.data.readers.keys import CATCHMENTS, DATES, day_keys, flat_frame, key_column, refuse_twice, site_keys
from hydromae.data.readers.names import COLUMNS, refuse_alike
from hydromae.data.readers.nrfa import numeric, read_csv, with_attributes
from hydromae.data.readers.quantities import quantity
from hydromae.data.readers.record import STATIC, canonical, open_file, plain, plain_attributes, site_names, streamed
from hydromae.data.readers.stamps import local_time, whole_days
from hydromae.data.readers.unobserved import ORIGIN, observed_only, unanswered
from hydromae.data.readers.volumes import refuse_volumes
from hydromae.errors import InputError, first_line
from hydromae.modalities import VARIABLES


def read(path: str | Path, attributes: xr.Dataset | None = None) -> xr.Dataset:
    """A record from a file: `.csv`, `.csv.gz`, `.parquet` (long form), `.nc` or `.zarr` (`from_dataset`).

    `attributes` is a table of catchments as `nrfa.read` gives it.
    """
    name = str(path)
    if not Path(path).exists():
        raise InputError(f"{path}: no such file; check the path")
    if name.endswith((".csv", ".csv.gz")):
        return from_frame(read_csv(path), attributes, name)
    if name.endswith((".parquet", ".pq")):
        return from_frame(read_parquet(path), attributes, name)
    if name.endswith((".nc", ".nc4")):
        return from_dataset(open_file(path), attributes, name)
    if name.endswith(".zarr"):
        return from_dataset(open_zarr(path), attributes, name)
    raise InputError(f"{path}: this kind of file is not known; give .nc, .zarr, .csv, .csv.gz or .parquet")


def read_parquet(path: str | Path) -> pd.DataFrame:
    if not Path(path).is_file():
        raise InputError(f"{path}: not a parquet file; name one file")
    try:
        with pq.ParquetFile(path) as file:
            held = file.metadata
            rows, columns = held.num_rows, held.num_columns
    except BROKEN as error:
        raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error
    check_size(str(path), "the table", (rows * max(1, columns),), Path(path).stat().st_size)
    try:
        return pd.read_parquet(path, partitioning=None)
    except BROKEN as error:
        raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error


def open_zarr(path: str | Path) -> xr.Dataset:
    if not Path(path).is_dir():
        raise InputError(f"{path}: not a Zarr group; give a .zarr folder")
    check_zarr(path)
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            warnings.simplefilter("ignore", xr.SerializationWarning)
            return streamed(local_time(xr.open_zarr(path, consolidated=False, chunks=None)))
    except (*BROKEN, UserWarning) as error:
        raise InputError(f"{path}: not a readable Zarr group ({first_line(error)}); give a .zarr folder") from error


def from_dataset(dataset: xr.Dataset, attributes: xr.Dataset | None = None, where: str = "the dataset") -> xr.Dataset:
    """A record of a dataset `(time, catchment)` whose variables say their units.

    Parameters
    ----------
    dataset : Dataset
        Any of the variables of the table (or the names in `COLUMNS`), each with a `units` attribute; NRFA attributes
        as `(catchment)` variables.
    attributes : Dataset (catchment), optional
        Attributes from a table; they take the place of the dataset's own.
    where : str
        Name of the source, for messages.

    Returns
    -------
    Dataset
        The record in canonical units (design, section 10); other variables are dropped.

    Raises
    ------
    InputError
        Nothing known in it, units missing or unknown, wrong dimensions, or a value out of range.
    """
    site = next((d for d in CATCHMENTS if d in dataset.dims), None)
    if site is not None and site != "catchment":
        if "catchment" in dataset.variables:
            raise InputError(f"{where}: has the dimension {site} and a variable catchment; keep one of the two names")
        dataset = dataset.rename({site: "catchment"})
    if "catchment" in dataset.dims:
        if not isinstance(dataset.indexes.get("catchment"), pd.Index):
            raise InputError(f"{where}: the dimension {site} has no names; add a coordinate of that name")
        dataset = dataset.assign_coords(catchment=site_names(dataset["catchment"].values, where))
    if attributes is not None and "catchment" in dataset.dims:
        dataset = with_attributes(dataset, attributes, where)
    dataset = local_time(unanswered(_measured(dataset), where))
    named = _columns([str(name) for name in dataset.data_vars], where)
    area = dataset["catchment-area"] if "catchment-area" in dataset.variables else None
    record = dataset[[name for name in STATIC if name in dataset.variables]].reset_coords(drop=False)
    record = plain_attributes(record.assign_coords({n: c for n, c in dataset.coords.items() if n not in STATIC}))
    for name, (column, _) in named.items():
        held = dataset[column]
        if "time" not in held.dims:
            raise InputError(f"{where}: {column} has the dimensions {held.dims}; it needs (time, catchment)")
        if held.dtype.kind not in "iuf":
            raise InputError(f"{where}: {column} is of type {held.dtype}; give numbers, NaN where nothing was observed")
        values = quantity(held, name, where, area)
        record[name] = values.assign_attrs(plain(values.attrs))
    moved = [n for n in ("easting", "northing", "centroid_easting", "centroid_northing") if n in record.data_vars]
    return canonical(record.set_coords(moved), where)


def from_frame(frame: pd.DataFrame, attributes: xr.Dataset | None = None, where: str = "the table") -> xr.Dataset:
    """A record of a table in long form: one row a day and catchment.

    Parameters
    ----------
    frame : DataFrame
        Columns (or index levels) `date` or `time`; `catchment`, `id`, `ID` or `gauge_id`; and any of `riverflow` or
        `discharge_spec` [mm/day], `discharge_vol` or `flow` [m³/s], `precipitation`, `potential_evaporation`,
        `evaporation` [mm/day], `temperature` [°C], … (`COLUMNS`). A name may carry its units: `riverflow [m3/s]`.
        NRFA attributes may be columns too; the first known value of a catchment counts.
    attributes, where
        As in `from_dataset`.

    Returns
    -------
    Dataset
        The record in canonical units; catchments in order of appearance.

    Raises
    ------
    InputError
        A missing column, text where a number belongs, a day that a catchment has twice, a value out of range, or flow
        without units that can only be m³/s.
    """
    frame = flat_frame(frame, where)
    date = key_column(frame, DATES, where, "date column")
    site = key_column(frame, CATCHMENTS, where, "catchment column")
    named = _columns([str(c) for c in frame.columns], where)
    day, days = pd.factorize(day_keys(frame, date, where), sort=True)
    row, catchments = site_keys(frame, site, where)
    refuse_twice(day, row, pd.DatetimeIndex(days), catchments, where)
    record = xr.Dataset(coords={"time": days, "catchment": catchments})
    static = [name for name in STATIC if name in frame.columns]
    if static:
        first = pd.DataFrame(frame.groupby(row, sort=True)[static].first())
        record = record.assign({name: ("catchment", numeric(first, name, where)) for name in static})
    for name, (column, spelled) in named.items():
        values = np.full((len(days), len(catchments)), np.nan)
        values[day, row] = numeric(frame, column, where)
        record[name] = xr.DataArray(values, dims=("time", "catchment"), attrs={"units": spelled})
    found = from_dataset(record, attributes, where)
    if "riverflow" in named:
        refuse_volumes(found, named["riverflow"][0], where)
    return found


def answer_frame(answer: xr.Dataset, frame: pd.DataFrame, where: str = "the table") -> pd.DataFrame:
    """The answer to a table, in the form of the table: the same rows, columns, order and units.

    Parameters
    ----------
    answer : Dataset
        The record that `from_frame(frame)` gave, answered: `riverflow` [mm/day] and, where there is one,
        `riverflow_quantile` (quantile, time, catchment) and `riverflow_origin` (time, catchment).
    frame : DataFrame
        The table as it was given.

    Returns
    -------
    DataFrame
        `frame` with every empty value of a known column filled where the answer has one (what was there stays bit for
        bit), and new columns `riverflow_origin` and `riverflow_q05`, … in the units of the flow column; `riverflow`
        [mm/day] too, where there was none.
    """
    flat = flat_frame(frame, where)
    day = answer.indexes["time"].get_indexer(day_keys(flat, key_column(flat, DATES, where, "date column"), where))
    number, catchments = site_keys(flat, key_column(flat, CATCHMENTS, where, "catchment column"), where)
    row = answer.indexes["catchment"].get_indexer(pd.Index(catchments))[number]
    stale = [name for name in frame.columns if re.fullmatch(r"riverflow_q\d+(\.\d+)?", str(name))]
    result = frame.drop(columns=stale)
    named = _columns([str(c) for c in flat.columns], where)
    for name, (column, spelled) in named.items():
        values = _in_units(answer[name], answer, spelled).transpose("time", "catchment").values[day, row]
        given = numeric(flat, column, where)
        if f"{name}{ORIGIN}" in answer:
            answered = answer[f"{name}{ORIGIN}"].transpose("time", "catchment").values[day, row] != 0
            given = np.where(answered, np.nan, given)
        if column in result.columns and np.isnan(given).any():
            kept = np.float32 if frame[column].dtype == np.float32 else np.float64
            result[column] = np.where(np.isnan(given), values, given).astype(kept)
    spelled = named["riverflow"][1] if "riverflow" in named else VARIABLES["riverflow"].units
    if "riverflow" not in named and "riverflow" in answer:
        result["riverflow"] = answer["riverflow"].transpose("time", "catchment").values[day, row]
    if "riverflow_quantile" in answer:
        quantiles = _in_units(answer["riverflow_quantile"], answer, spelled).transpose("quantile", "time", "catchment")
        for level, values in zip(answer["quantile"].values, quantiles.values[:, day, row], strict=True):
            result[f"riverflow_q{percent(float(level))}"] = values
    origins = [str(name) for name in answer.data_vars if str(name).endswith(ORIGIN)]
    for name in sorted(origins, key=lambda name: name != "riverflow_origin"):
        result[name] = answer[name].transpose("time", "catchment").values[day, row]
    return result


def answer_dataset(answer: xr.Dataset, given: xr.Dataset, where: str = "the dataset") -> xr.Dataset:
    """The answer to a dataset, in the form of the dataset: its days, names, units and every value that it held.

    Parameters
    ----------
    answer : Dataset
        The record that `from_dataset(given)` gave, answered.
    given : Dataset
        As it was handed over.

    Returns
    -------
    Dataset
        `given` with NaN filled where the answer has a value, `riverflow_quantile` and `riverflow_origin` beside it, and
        `riverflow` where it had none.
    """
    given = unanswered(_measured(given), where)
    named = _columns([str(name) for name in given.data_vars], where)
    site = next((d for d in CATCHMENTS if d in given.dims), "catchment")
    spelled = {n: str(given[column].attrs.get("units", VARIABLES[n].units)) for n, (column, _) in named.items()}
    days = whole_days(pd.DatetimeIndex(local_time(given)["time"].values), where)
    laid = answer.reindex(time=days).assign_coords(time=given["time"])
    bare = laid.reset_coords(drop=True)
    result = given
    for name in (str(n) for n in bare.data_vars if n in VARIABLES):
        column = named[name][0] if name in named else name
        values = _in_units(bare[name], laid, spelled.get(name, VARIABLES[name].units)).rename(_site(bare[name], site))
        values.attrs = bare[name].attrs
        if column in given:
            kept = given[column].dtype if given[column].dtype.kind == "f" else np.dtype(np.float64)
            told = values.transpose(*given[column].dims).values.astype(kept)
            seen = observed_only(given[column]).notnull()
            if f"{name}{ORIGIN}" in bare:
                seen &= (bare[f"{name}{ORIGIN}"].rename(_site(bare[name], site)) == 0).transpose(*seen.dims)
            values = given[column].where(seen, told)
        result = result.assign({column: values})
    if "riverflow_quantile" in laid:
        flow_units = spelled.get("riverflow", VARIABLES["riverflow"].units)
        quantile, origin = _in_units(bare["riverflow_quantile"], laid, flow_units), bare["riverflow_origin"]
        quantile.attrs = bare["riverflow_quantile"].attrs | {"units": flow_units}
        result = result.assign(
            riverflow_quantile=quantile.rename(_site(quantile, site)),
            riverflow_origin=origin.rename(_site(origin, site)),
        )
    for name in (str(n) for n in bare.data_vars if str(n).endswith(ORIGIN) and n not in result):
        result = result.assign({name: bare[name].rename(_site(bare[name], site))})
    return result


def percent(level: float) -> str:
    """A quantile's level in percent, for a column's name.

    Examples
    --------
    >>> percent(0.05), percent(0.5), percent(0.025), percent(0.995)
    ('05', '50', '02.5', '99.5')
    """
    whole, dot, rest = f"{100 * level:.8g}".partition(".")
    return f"{whole:0>2}{dot}{rest}"


def _site(values: xr.DataArray, name: str) -> dict[str, str]:
    return {"catchment": name} if "catchment" in values.dims and name != "catchment" else {}


def _in_units(values: xr.DataArray, answer: xr.Dataset, spelled: str) -> xr.DataArray:
    if units.plain(spelled) in units.VOLUME_RATES:
        unknown = ~(answer["catchment-area"].values > 0)
        if unknown.any():
            name = answer["catchment"].values[unknown.argmax()]
            raise InputError(
                f"catchment {name}: no catchment-area [km2] to answer in {spelled}; add it, or ask in mm/day"
            )
        return units.cubic_metres_per_second(values, answer["catchment-area"].reset_coords(drop=True))
    canonical_units = VARIABLES[str(values.name).removesuffix("_quantile")].units
    factor, offset = units.SPELLINGS[canonical_units][units.plain(spelled)]
    return (values - offset) / factor


def _measured(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with its variables as variables, also those that a file calls coordinates."""
    return dataset.reset_coords([n for n in dataset.coords if n in COLUMNS and n not in dataset.indexes])


def _columns(columns: list[str], where: str) -> dict[str, tuple[str, str]]:
    """Variable -> its column and units; `name [units]` says units, a plain name has those of `COLUMNS`."""
    spelled = {}
    for column in columns:
        match = re.fullmatch(r"\s*([^\[(]+?)\s*[\[(](.*)[\])]\s*", column)
        plain = match.group(1) if match else column.strip()
        if plain in COLUMNS:
            spelled[plain] = (column, match.group(2) if match else COLUMNS[plain][1])
    found: dict[str, tuple[str, str]] = {}
    for plain, (variable, _) in COLUMNS.items():
        if plain in spelled:
            found.setdefault(variable, spelled[plain])
    if not found:
        held = ", ".join(columns[:8]) or "nothing"
        raise InputError(f"{where}: no riverflow, precipitation, temperature or evaporation in it (it holds {held})")
    refuse_alike([column for column in columns if column not in {held for held, _ in spelled.values()}], found, where)
    return found
