"""Daily potential evaporation of catchments as a long table, from CSV.

Source: PETI of CAMELS-GB, Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, Open Government Licence.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.csv_parquet import read_csv


def read(path: str | Path) -> xr.Dataset:
    """Potential evaporation [mm/day] of a long table: `gauge_id, date, peti` (or `pet`), and what stands beside it.

    Returns:
        Dataset: A catchment record with `potential_evaporation` and whichever of `precipitation` and `riverflow` the file
            has.

    Raises:
        InputError: As `table.from_frame`, or where no evaporation column is there.
    """
    frame = read_csv(path)
    record = table.from_frame(frame, source=str(path))
    if "potential_evaporation" not in record.data_vars:
        raise InputError(f"{path}: no column peti or pet; add one with potential evaporation in mm/day")
    return record
