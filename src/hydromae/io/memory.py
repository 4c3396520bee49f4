"""Read records and attributes that are in memory."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io import attributes as nrfa
from hydromae.io.dataframe import Layout
from hydromae.io.table import read_dataset, read_frame

Attributes = pd.DataFrame | xr.Dataset | str | Path | None


def read_record(data: xr.Dataset | pd.DataFrame, attributes: xr.Dataset | None) -> tuple[xr.Dataset, Layout]:
    """Return the canonical record of a dataset or a table, and its layout."""
    if isinstance(data, xr.Dataset):
        return read_dataset(data, attributes)
    return read_frame(data, attributes)


def read_attributes(attributes: Attributes) -> xr.Dataset | None:
    """Return static attributes from a table with catchments as index, a dataset or a CSV file.

    Raises:
        InputError: Another type, or a file that cannot be read.
    """
    if isinstance(attributes, pd.DataFrame):
        return nrfa.attributes_from_frame(attributes)
    if not isinstance(attributes, xr.Dataset | str | Path | None):
        raise InputError(
            f"attributes: a {type(attributes).__name__} is not supported; give a DataFrame, a Dataset or a CSV file"
        )
    return (
        attributes
        if attributes is None or isinstance(attributes, xr.Dataset)
        else nrfa.read_attribute_table(attributes)
    )
