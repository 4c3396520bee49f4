"""CAMELS-GB in the HBV arrangement: one NetCDF of daily rain, temperature and flow of British catchments.

Source: Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, Open Government Licence; arranged by
S. M. Reaney (2022), whose evaporation is the mean of each day of the year.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from hydromae.datasets.derived import TRAINING_PERIOD, oudin_evaporation
from hydromae.errors import InputError
from hydromae.io import units
from hydromae.io.conventions import open_netcdf, set_cf_attributes, site_names, to_canonical
from hydromae.io.credits import OGL
from hydromae.io.quantities import to_canonical_units
from hydromae.io.unobserved import observed_only
from hydromae.variables import VARIABLES

SERIES = ("precipitation", "temperature", "riverflow")
SOURCE = f"CAMELS-GB: Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, {OGL}"
CLIMATOLOGY = "potential_evaporation_climatology"


def read_camels_gb(path: str | Path, training_period: tuple[str, str] = TRAINING_PERIOD) -> xr.Dataset:
    """Read the catchment record of `camels_gb_daily.nc`.

    Args:
        path: The NetCDF file.
        training_period (str, str): Days of the mean temperature by day of the year, for the derived evaporation.

    Returns:
        Dataset: `precipitation` [mm/day], `temperature` [°C], `riverflow` [mm/day] and `potential_evaporation` [mm/day], all
            `(time, catchment)` float32 and lazy; the evaporation is derived (`derived.oudin_evaporation`), not measured.

    Raises:
        InputError: Another file, other units or other dimensions.
    """
    raw = open_netcdf(path)
    missing_names = [name for name in (*SERIES, CLIMATOLOGY) if name not in raw.data_vars]
    if missing_names:
        raise InputError(f"{path}: no variable {', '.join(missing_names)}; this is not the CAMELS-GB daily arrangement")
    if set(raw[CLIMATOLOGY].dims) != {"day_of_year", "catchment"}:
        raise InputError(
            f"{path}: {CLIMATOLOGY} has dimensions {raw[CLIMATOLOGY].dims}; needs (day_of_year, catchment)"
        )
    for name in (*SERIES, CLIMATOLOGY):
        if raw[name].dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} is of type {raw[name].dtype}; it needs numbers")
    record = xr.Dataset({name: to_canonical_units(raw[name], name, str(path)) for name in SERIES})
    for name in SERIES:
        record[name].attrs["long_name"] = raw[name].attrs.get("long_name", name)
    if "catchment" not in raw.indexes:
        raise InputError(f"{path}: the dimension catchment has no names; this is not the CAMELS-GB daily arrangement")
    record = record.assign_coords(catchment=("catchment", site_names(raw["catchment"].values, str(path))))
    record["catchment"].attrs["long_name"] = "NRFA station number"
    record = to_canonical(record, str(path))
    climatology = units.convert(
        observed_only(raw[CLIMATOLOGY]), "potential_evaporation", raw[CLIMATOLOGY].attrs.get("units"), str(path)
    ).transpose("day_of_year", "catchment")
    low, high = VARIABLES["potential_evaporation"].valid
    if float(climatology.min()) < low or float(climatology.max()) > high:
        raise InputError(
            f"{path}: {CLIMATOLOGY} holds {float(climatology.min()):g} … {float(climatology.max()):g} mm/day, outside "
            f"{low:g} … {high:g}; restore the file"
        )
    record["potential_evaporation"] = oudin_evaporation(record["temperature"], climatology.values, training_period)
    return set_cf_attributes(record).assign_attrs(source=SOURCE)
