"""Read a user's record: a table (CSV, parquet, DataFrame) or a dataset (NetCDF, Zarr, xarray)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import xarray as xr

from hydromae.errors import InputError, first_line
from hydromae.io.attributes import with_attributes
from hydromae.io.best_column import best_column
from hydromae.io.conventions import (
    STATIC,
    load_or_chunk,
    open_netcdf,
    site_names,
    static_attribute,
    to_canonical,
    with_plain_attributes,
)
from hydromae.io.csv_parquet import Dialect, detect_dialect, read_csv, read_csv_as_text, read_parquet
from hydromae.io.dataframe import FrameLayout, Layout
from hydromae.io.dataset import DatasetLayout, coordinates_to_variables, find_dimension
from hydromae.io.flow_units_check import check_flow_units
from hydromae.io.safety import READ_ERRORS, check_zarr
from hydromae.io.table_keys import CATCHMENTS, DATES
from hydromae.io.timestamps import local_time, to_days
from hydromae.io.unobserved import without_answers

SITE_NAMES = ("catchment_id", "gauge_id", "station_id", "id", "ID")
"""Variables with the names of catchments if their dimension has no coordinate, after the dimension's name and `_id`."""


def read_record_file(path: str | Path, attributes: xr.Dataset | None = None) -> xr.Dataset:
    """Read a record from `.csv`, `.csv.gz`, `.parquet` (long or wide table), `.nc` or `.zarr` (`from_dataset`).

    `attributes` is the result of `read_attribute_table`.
    """
    return read_with_layout(path, attributes)[0]


def read_with_layout(
    path: str | Path, attributes: xr.Dataset | None = None, flow_units: str | None = None, as_text: bool = False
) -> tuple[xr.Dataset, Layout, Dialect]:
    """Read a record with its layout and the dialect of a CSV file (for other files the default).

    Args:
        path, attributes: As in `read`.
        flow_units: Units of flow in a wide table without units.
        as_text: Keep the cells of a CSV file as text for the answer.
    """
    name = str(path)
    if not Path(path).exists():
        raise InputError(f"{path}: no such file; check the path")
    if name.endswith((".csv", ".csv.gz")):
        dialect = detect_dialect(path)
        record, layout = read_frame(read_csv(path), attributes, name, flow_units)
        if not as_text:
            return record, layout, replace(dialect, header=())
        return record, replace(layout, frame=read_csv_as_text(path, dialect), decimal=dialect.decimal), dialect
    if name.endswith((".parquet", ".pq")):
        return *read_frame(read_parquet(path), attributes, name, flow_units), Dialect()
    if name.endswith((".nc", ".nc4")):
        return *read_dataset(open_netcdf(path), attributes, name), Dialect()
    if name.endswith(".zarr"):
        return *read_dataset(open_zarr(path), attributes, name), Dialect()
    raise InputError(f"{path}: unknown file type; give .nc, .zarr, .csv, .csv.gz or .parquet")


def open_zarr(path: str | Path) -> xr.Dataset:
    if not Path(path).is_dir():
        raise InputError(f"{path}: not a Zarr group; give a .zarr folder")
    check_zarr(path)
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            warnings.simplefilter("ignore", xr.SerializationWarning)
            return load_or_chunk(local_time(xr.open_zarr(path, consolidated=False, chunks=None)))
    except (*READ_ERRORS, UserWarning) as error:
        raise InputError(f"{path}: not a readable Zarr group ({first_line(error)}); give a .zarr folder") from error


def from_dataset(dataset: xr.Dataset, attributes: xr.Dataset | None = None, source: str = "the dataset") -> xr.Dataset:
    """Return the canonical record of a dataset `(time, catchment)` with units.

    Args:
        dataset: Variables of a record (names in `COLUMNS`), each with an attribute `units`; NRFA attributes as `(catchment)`
            variables.
        attributes (Dataset (catchment), optional): Static attributes that replace those of the dataset.
        source: Name of the source, for messages.

    Returns:
        Dataset: The record in canonical units (design, section 10); other variables are dropped.

    Raises:
        InputError: No known variable, missing or unknown units, wrong dimensions, or a value out of range.
    """
    return read_dataset(dataset, attributes, source)[0]


def read_dataset(
    dataset: xr.Dataset, attributes: xr.Dataset | None = None, source: str = "the dataset"
) -> tuple[xr.Dataset, DatasetLayout]:
    """Return the canonical record of a dataset and its layout."""
    original, dataset = dataset, _with_canonical_dimensions(dataset, source)
    if attributes is not None and "catchment" in dataset.dims:
        dataset = with_attributes(dataset, attributes, source)
    dataset = local_time(without_answers(coordinates_to_variables(dataset), source))
    # canonical areas first: they convert volume rates to depths
    dataset = dataset.assign({n: static_attribute(dataset[n], source) for n in STATIC if n in dataset.variables})
    layout = DatasetLayout.of(without_answers(coordinates_to_variables(original), source), source)
    record = dataset[[name for name in STATIC if name in dataset.variables]].reset_coords(drop=False)
    record = with_plain_attributes(record.assign_coords({n: c for n, c in dataset.coords.items() if n not in STATIC}))
    for name, choices in layout.choices.items():
        record[name] = best_column(dataset, name, choices, source)
    coordinate_names = [
        n for n in ("easting", "northing", "centroid_easting", "centroid_northing") if n in record.data_vars
    ]
    record = to_canonical(record.set_coords(coordinate_names), source)
    return record, replace(layout, days=to_days(pd.DatetimeIndex(dataset["time"].values), source))


def _with_canonical_dimensions(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """Rename dimensions to `time` and `catchment`, with names of catchments as coordinate.

    Without a coordinate, the names come from a variable such as `station_id`.
    """
    time, site = (find_dimension(dataset, names) for names in (("time", *DATES), CATCHMENTS))
    renames = {
        dimension: name
        for dimension, name in ((time, "time"), (site, "catchment"))
        if dimension is not None and dimension != name
    }
    clashing = [name for name in renames.values() if name in dataset.variables]
    if clashing:
        dimension = next(dimension for dimension, name in renames.items() if name == clashing[0])
        raise InputError(
            f"{source}: has the dimension {dimension} and a variable {clashing[0]}; keep one of the two names"
        )
    dataset = dataset.rename(renames)
    if site is None:
        return dataset
    if not isinstance(dataset.indexes.get("catchment"), pd.Index):
        named = [n for n in (f"{site}_id", *SITE_NAMES) if n in dataset and dataset[n].dims == ("catchment",)]
        if not named:
            raise InputError(f"{source}: the dimension {site} has no names; add a coordinate of that name")
        dataset = dataset.assign_coords(catchment=dataset[named[0]].values)
    return dataset.assign_coords(catchment=site_names(dataset["catchment"].values, source))


def from_frame(frame: pd.DataFrame, attributes: xr.Dataset | None = None, source: str = "the table") -> xr.Dataset:
    """Return the canonical record of a long table, one row per day and catchment, or a wide table.

    Args:
        frame: Columns (or index levels) `date` or `time`; `catchment`, `id` or `gauge_id`; and any of `riverflow` or
            `discharge_spec` [mm/day], `discharge_vol` or `flow` [m³/s], `precipitation`, `potential_evaporation`,
            `evaporation` [mm/day], `temperature` [°C], … (`COLUMNS`). A name may contain units: `riverflow [m3/s]`. NRFA
            attributes may be columns; the first known value of a catchment is used. Dates are YYYY-MM-DD or, for a whole
            column, day/month/year; the case of key names is ignored.
        attributes, source: As in `from_dataset`.

    Returns:
        Dataset: The record in canonical units; catchments in order of appearance.

    Raises:
        InputError: A missing column, text instead of a number, a duplicate day of a catchment, a value out of range, or flow
            without units that must be in m³/s.
    """
    return read_frame(frame, attributes, source)[0]


def read_frame(
    frame: pd.DataFrame, attributes: xr.Dataset | None = None, source: str = "the table", flow_units: str | None = None
) -> tuple[xr.Dataset, FrameLayout]:
    """Return the canonical record of a table and its layout.

    `flow_units` are the units of flow in a wide table without units; default `frame.attrs["units"]`.
    """
    layout = FrameLayout.of(frame, source, flow_units)
    record = from_dataset(layout.dataset(), attributes, source)
    column, _ = layout.flow
    if any(one.variable == "riverflow" for one in layout.columns):
        check_flow_units(record, column, source)
    return record, layout
