"""What a caller hands over in memory, as a water record."""

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
    """The record of a dataset, or of a long or wide table, and the form that an answer to it takes."""
    if isinstance(data, xr.Dataset):
        return read_dataset(data, attributes)
    return read_frame(data, attributes)


def read_attributes(attributes: Attributes) -> xr.Dataset | None:
    """Attributes as the readers take them, from a table with catchments as its index, a dataset or a CSV file.

    Raises:
        InputError: Something else, or a file that cannot be read.
    """
    if isinstance(attributes, pd.DataFrame):
        return nrfa.attributes_from_frame(attributes)
    if not isinstance(attributes, xr.Dataset | str | Path | None):
        raise InputError(
            f"attributes: a {type(attributes).__name__} is not supported; give a DataFrame, a Dataset or a CSV file"
        )
    return attributes if attributes is None or isinstance(attributes, xr.Dataset) else nrfa.read(attributes)
