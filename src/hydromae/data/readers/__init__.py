"""Readers: one file a product, each from raw file to a water record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeGuard

import pandas as pd
import xarray as xr

from hydromae.data.containers import BROKEN
from hydromae.data.derived import TRAINING_PERIOD
from hydromae.data.readers import camels_gb, cosmos, era5_land, haduk, nrfa, regrid, table
from hydromae.data.readers.found import find
from hydromae.data.readers.grids import product_of
from hydromae.data.readers.nrfa import with_attributes
from hydromae.data.readers.products import PRODUCTS
from hydromae.data.readers.record import names_in, within
from hydromae.data.store import check_store, is_store, open_store
from hydromae.errors import InputError, first_line


def read(
    source: str | Path | pd.DataFrame | xr.Dataset,
    attributes: str | Path | xr.Dataset | None = None,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
) -> xr.Dataset:
    """A water record from whatever holds one.

    Parameters
    ----------
    source : path, DataFrame or Dataset
        A store, the CAMELS-GB arrangement, a map of HadUK, CHESS or ERA5-Land, a site of COSMOS-UK, a user's NetCDF,
        Zarr, CSV or parquet, a folder of a product with a file for each gauge (`readers.products`), or one in memory.
        Files are told apart by suffix and content.
    attributes : path or Dataset, optional
        Attributes of the catchments, NRFA CSV or what `nrfa.read` gives.
    period : (str, str), optional
        First and last day to keep; must lie inside the record.
    training_period : (str, str)
        Days that the derived evaporation of the CAMELS-GB arrangement may learn from.

    Returns
    -------
    Dataset
        A record as in the design, section 10. NetCDF and Zarr come lazily.

    Raises
    ------
    InputError
        One line that names file, value and remedy.
    """
    known = _known(attributes)
    where = str(source) if isinstance(source, str | Path) else "the table"
    return within(_record(source, known, training_period), period, where)


def load(source: str | Path | pd.DataFrame | xr.Dataset, attributes: str | Path | None = None) -> xr.Dataset:
    """As `read`, all of it in memory.

    Raises
    ------
    InputError
        As `read`; and where values cannot be read, or are more than this machine's memory holds.
    """
    if _at_store(source):
        record = _attributed(open_store(source), _known(attributes), source)  # its values are read below, once
    else:
        record = read(source, attributes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if record.nbytes > memory:
        raise InputError(
            f"{source}: its values take {record.nbytes} bytes of {memory} that are there; ask for less of it"
        )
    try:
        return record.load()
    except BROKEN as error:
        raise InputError(f"{source}: its values cannot be read ({first_line(error)}); write it again") from error


def _at_store(source: str | Path | pd.DataFrame | xr.Dataset) -> TypeGuard[str | Path]:
    return isinstance(source, str | Path) and Path(source).is_dir() and is_store(source)


def _known(attributes: str | Path | xr.Dataset | None) -> xr.Dataset | None:
    return attributes if attributes is None or isinstance(attributes, xr.Dataset) else nrfa.read(attributes)


def _record(
    source: str | Path | pd.DataFrame | xr.Dataset, attributes: xr.Dataset | None, training_period: tuple[str, str]
) -> xr.Dataset:
    if isinstance(source, pd.DataFrame):
        return table.from_frame(source, attributes)
    if isinstance(source, xr.Dataset):
        return table.from_dataset(source, attributes)
    if _at_store(source):
        check_store(source)
        return _attributed(open_store(source), attributes, source)
    if Path(source).is_dir() and Path(source).suffix != ".zarr":
        found = find(Path(source), PRODUCTS)
        if found is None:
            known = ", ".join(product.name for product in PRODUCTS)
            raise InputError(f"{source}: no product is known by the files of this folder; known are {known}")
        return found.read(attributes)
    if str(source).endswith((".json", ".covjson")):
        return cosmos.read(source)
    if not str(source).endswith((".nc", ".nc4")):
        return table.read(source, attributes)
    held = names_in(source)
    if camels_gb.CLIMATOLOGY in held:
        return _attributed(camels_gb.read(source, training_period), attributes, source)
    maps = {"HadUK-Grid": haduk.read_days, "CHESS": regrid.read_chess, "ERA5-Land": era5_land.read}
    product = product_of(held)
    return table.read(source, attributes) if product is None else maps[product](source)


def _attributed(record: xr.Dataset, attributes: xr.Dataset | None, where: str | Path) -> xr.Dataset:
    return record if attributes is None else with_attributes(record, attributes, str(where))
