"""Read records from files, folders and stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

import pandas as pd
import xarray as xr

from hydromae.datasets import camels_gb, chess, cosmos, era5_land, haduk
from hydromae.datasets.boundaries import refuse_unused_boundaries
from hydromae.datasets.derived import TRAINING_PERIOD
from hydromae.datasets.discovery import find_product
from hydromae.datasets.gridded import GridFile, find_maps, map_products, product_of_file
from hydromae.datasets.map_weather import with_map_weather
from hydromae.datasets.products import PRODUCTS
from hydromae.errors import InputError, first_line
from hydromae.io import attributes as nrfa
from hydromae.io import table
from hydromae.io.attributes import with_attributes
from hydromae.io.conventions import select_period, variables_in_file
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.csv_parquet import Dialect
from hydromae.io.dataframe import FrameLayout, Layout
from hydromae.io.dataset import DatasetLayout
from hydromae.io.locate import ATTRIBUTES_FILE, find_record, one_of
from hydromae.io.safety import READ_ERRORS
from hydromae.store.zarr_store import check_store, is_store, open_store
from hydromae.variables import VARIABLES


@dataclass(frozen=True)
class LoadedRecord:
    """Record for prediction.

    Attributes:
        record: In canonical units.
        layout: Layout of the input, for the answer.
        dialect: Dialect of a CSV file, for other files the default.
        plan: Lines on the files of a product: read, missing, not read.
    """

    record: xr.Dataset
    layout: Layout
    dialect: Dialect = field(default_factory=Dialect)
    plan: tuple[str, ...] = ()


def open_record(
    source: str | Path | pd.DataFrame | xr.Dataset,
    attributes: str | Path | xr.Dataset | None = None,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
) -> xr.Dataset:
    """Read a record from any supported source.

    Args:
        source: A store, the CAMELS-GB arrangement, a map of HadUK, CHESS or ERA5-Land, a site of COSMOS-UK, a user's NetCDF,
            Zarr, CSV or parquet, a folder of a product with a file for each gauge (`datasets.products`) or with one record,
            or one in memory. Suffix and content determine the reader.
        attributes: Static attributes: a CSV file with the NRFA names, or the result of `read_attribute_table`.
        period (str, str), optional: First and last day to keep; must lie inside the record.
        training_period (str, str): Days for the derived evaporation of the CAMELS-GB arrangement.

    Returns:
        Dataset: A canonical record (docs/design.md, section 10), lazy from NetCDF and Zarr.

    Raises:
        InputError: One line that names file, value and remedy.
    """
    source_name = str(source) if isinstance(source, str | Path) else "the table"
    return select_period(_read_source(source, attributes, training_period).record, period, source_name)


def load_record(source: str | Path | pd.DataFrame | xr.Dataset, attributes: str | Path | None = None) -> xr.Dataset:
    """Read a record into memory.

    Raises:
        InputError: As `read`; or values cannot be read, or exceed the memory of this machine.
    """
    return _loaded(_read_source(source, attributes, TRAINING_PERIOD, check=False).record, source)


def read_for_prediction(
    source: str | Path, attributes: str | Path | None = None, units: str | None = None, as_text: bool = False
) -> LoadedRecord:
    """Read a record for prediction into memory, with its layout.

    Args:
        source, attributes: As in `read`.
        units: Units of flow in a wide table without units.
        as_text: Keep the cells of a CSV file as text for the answer.

    Raises:
        InputError: As `load`; or units are given for a source with its own units.
    """
    if not Path(source).is_dir():
        refuse_unused_boundaries(source, None)
    product_folder = _read_source(source, attributes, TRAINING_PERIOD, units, as_text, check=False)
    if units is not None and not (
        isinstance(product_folder.layout, FrameLayout) and product_folder.layout.site is None
    ):
        raise InputError(f"--units {units}: {source} is not a wide table and has its own units; leave --units out")
    return replace(product_folder, record=_loaded(product_folder.record, source))


def _loaded(record: xr.Dataset, source: str | Path | pd.DataFrame | xr.Dataset) -> xr.Dataset:
    """Load the values of a record."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if record.nbytes > memory:
        raise InputError(f"{source}: its values take {record.nbytes} bytes, the memory has {memory}; use less of it")
    try:
        return record.load()
    except READ_ERRORS as error:
        raise InputError(f"{source}: its values cannot be read ({first_line(error)}); write it again") from error


def _is_store_path(source: str | Path | pd.DataFrame | xr.Dataset) -> TypeGuard[str | Path]:
    return isinstance(source, str | Path) and Path(source).is_dir() and is_store(source)


def _read_attributes(attributes: str | Path | xr.Dataset | None) -> xr.Dataset | None:
    return (
        attributes
        if attributes is None or isinstance(attributes, xr.Dataset)
        else nrfa.read_attribute_table(attributes)
    )


def _read_source(
    source: str | Path | pd.DataFrame | xr.Dataset,
    attributes: str | Path | xr.Dataset | None,
    training_period: tuple[str, str],
    units: str | None = None,
    as_text: bool = False,
    check: bool = True,
) -> LoadedRecord:
    """Read a record lazily with its layout; `check` validates all values of a store."""
    known = _read_attributes(attributes)
    if isinstance(source, pd.DataFrame):
        return LoadedRecord(*table.read_frame(source, known))
    if isinstance(source, xr.Dataset):
        return LoadedRecord(*table.read_dataset(source, known))
    if _is_store_path(source):
        if check:
            check_store(source)
        return _canonical(_with_attributes(open_store(source), known, source))
    if Path(source).is_dir() and Path(source).suffix != ".zarr":
        return _read_folder(Path(source), attributes, training_period, units, as_text)
    if str(source).endswith((".json", ".covjson")):
        return _canonical(cosmos.read_cosmos(source))
    if not str(source).endswith((".nc", ".nc4")):
        return LoadedRecord(*table.read_with_layout(source, known, units, as_text))
    file_variables = variables_in_file(source)
    if camels_gb.CLIMATOLOGY in file_variables:
        return _canonical(_with_attributes(camels_gb.read_camels_gb(source, training_period), known, source))
    maps = {"HadUK-Grid": haduk.read_days, "CHESS": chess.read_chess, "ERA5-Land": era5_land.read_era5_land}
    product = product_of_file(file_variables)
    if product is None:
        return LoadedRecord(*table.read_with_layout(source, known))
    return _canonical(maps[product](source).assign_attrs(source=MAP_CREDITS[product]))


def _read_folder(
    folder: Path,
    attributes: str | Path | xr.Dataset | None,
    training_period: tuple[str, str],
    units: str | None,
    text: bool,
) -> LoadedRecord:
    """Read the files of a product in their own units, or else the only record of the folder.

    Catchments without weather get that of the maps in the folder.
    """
    product_folder = find_product(folder, PRODUCTS)
    series_files = () if product_folder is None else (*product_folder.files, *product_folder.duplicates)
    products, maps = map_products(folder, series_files), find_maps(folder, series_files)
    if product_folder is not None:
        record, raw = product_folder.read_with_raw(_read_attributes(attributes))
        raw_values = {str(n): raw[n].reindex(time=record["time"]).drop_attrs() for n in raw if n in VARIABLES}
        raw_series = {name: series.assign_attrs(record[name].attrs) for name, series in raw_values.items()}
        units_by_variable = {name: str(raw[name].attrs["units"]) for name in raw_series}
        original = record.assign(
            {name: series.assign_attrs(units=units_by_variable[name]) for name, series in raw_series.items()}
        )
        loaded = replace(_as_read(record, original, units_by_variable), plan=tuple(product_folder.plan(maps)))
        return _with_map_weather(loaded, maps, folder)
    file = find_record(folder, products) or find_record(folder)
    if file is None:
        known = ", ".join(product.name for product in PRODUCTS)
        raise InputError(f"{folder}: has no files of a known product; known are {known}")
    static_attributes = attributes if attributes is not None else one_of(folder, ATTRIBUTES_FILE)
    loaded = _read_source(file, static_attributes, training_period, units, text)
    return loaded if file in products else _with_map_weather(loaded, maps, folder)


def _with_map_weather(loaded: LoadedRecord, maps: Mapping[str, tuple[GridFile, ...]], folder: Path) -> LoadedRecord:
    """Add the weather of the maps of a folder to a record of catchments."""
    refuse_unused_boundaries(folder, maps)
    if not maps or "cell" in loaded.record.dims:
        return loaded
    weather = with_map_weather(loaded.record, maps, folder)
    return replace(loaded, record=weather.record, plan=(*loaded.plan, *weather.lines))


def _canonical(record: xr.Dataset) -> LoadedRecord:
    """Return a record whose layout is canonical."""
    return _as_read(record, record, {str(n): VARIABLES[str(n)].units for n in record.data_vars if n in VARIABLES})


def _as_read(record: xr.Dataset, original: xr.Dataset, units_by_variable: dict[str, str]) -> LoadedRecord:
    """Return a record with the layout of `original`, whose variables have these units."""
    days = pd.DatetimeIndex(record["time"].values)
    return LoadedRecord(
        record, DatasetLayout(original, "time", "catchment", {n: (n, u) for n, u in units_by_variable.items()}, days)
    )


def _with_attributes(record: xr.Dataset, attributes: xr.Dataset | None, source_name: str | Path) -> xr.Dataset:
    return record if attributes is None else with_attributes(record, attributes, str(source_name))
