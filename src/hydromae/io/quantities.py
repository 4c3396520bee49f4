"""From the values of a source to a quantity: unobserved values, noise of packing and units, the same for every reader."""

from __future__ import annotations

import xarray as xr

from hydromae.io import units
from hydromae.io.unobserved import observed_only
from hydromae.variables import VARIABLES


def quantity(values: xr.DataArray, name: str, where: str, area: xr.DataArray | None = None) -> xr.DataArray:
    """Values of variable `name` in canonical units, NaN where nothing was measured; the attribute `units` stays the source's.

    Args:
        values: As the source holds them, with its attributes.
        name: A name in `variables.VARIABLES`.
        where: The source, for messages.
        area (DataArray (catchment), optional): Catchment area [km²], needed for m³/s.

    Raises:
        InputError: As `units.convert`.
    """
    seen = unpacked(values, name)
    return units.convert(seen, name, values.attrs.get("units"), where, area).assign_attrs(values.attrs)


def unpacked(values: xr.DataArray, name: str) -> xr.DataArray:
    """As `observed_only`; of a quantity without negative values, what lies within half a packing step below zero is zero."""
    seen = observed_only(values)
    step = abs(float(values.encoding.get("scale_factor", 0.0)))
    if not step or VARIABLES[name].valid[0] != 0:
        return seen
    return seen.where((seen >= 0) | (seen < -0.501 * step) | seen.isnull(), 0.0)
