"""Values that nothing can have: refused, with where they stand and a guess at what went wrong."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hydromae.data.containers import BROKEN
from hydromae.errors import InputError, first_line
from hydromae.modalities import VARIABLES

CODES = (-9999.0, -999.0, -99.0, -9.0)


def check_range(record: xr.Dataset, where: str) -> None:
    """Refuse values outside `Variable.valid`, with a guess at what went wrong; one streamed pass."""
    names = [str(name) for name in record.data_vars if name in VARIABLES]
    if not all(record[name].size for name in names):
        raise InputError(f"{where}: there is no catchment in it; a record needs at least one")
    low = record[names].min()
    high = record[names].max()
    for name, lowest, highest in zip(names, *_computed(low, high, names, where), strict=True):
        minimum, maximum = VARIABLES[name].valid
        for value in (lowest, highest):
            if value < minimum or value > maximum:
                raise InputError(
                    f"{where}: {name} has the value {value:.6g}, outside {minimum:g} … {maximum:g} "
                    f"{VARIABLES[name].units}; {_remedy(name, value)}{_at(record[name], value)}"
                )


def _at(values: xr.DataArray, value: float) -> str:
    """Where a value stands first: its catchment or cell, and its day; nothing where the record does not name them."""
    (site,) = [str(dim) for dim in values.dims if dim != "time"]
    if not {site, "time"} <= values.indexes.keys():
        return ""
    hits = values == np.float32(value)
    day = int(hits.any(site).values.argmax())
    name = values[site].values[int(hits.isel(time=day).values.argmax())]
    return f" (first in {site} {name} on {str(values['time'].values[day])[:10]})"


def _computed(low: xr.Dataset, high: xr.Dataset, names: list[str], where: str) -> tuple[list[float], list[float]]:
    try:
        both = xr.concat([low, high], dim="end").compute()
    except BROKEN as error:
        raise InputError(f"{where}: its values cannot be read ({first_line(error)}); write the file again") from error
    return [float(both[name][0]) for name in names], [float(both[name][1]) for name in names]


def _remedy(name: str, value: float) -> str:
    if value in CODES:
        return "it looks like a code for missing; write NaN"
    if name == "temperature" and 150 < value < 350:
        return "it looks like Kelvin; set its units to 'K'"
    if name == "soil_moisture" and 1 < value <= 100:
        return "it looks like percent; set its units to '%'"
    if name == "riverflow" and value > 0:
        return "it looks like m3 s-1; set its units to 'm3 s-1', or check the column"
    return "check its units and the column"
