"""Conversion of source values: missing values, packing noise and units, for all readers."""

from __future__ import annotations

import xarray as xr

from hydromae.io import units
from hydromae.io.unobserved import observed_only
from hydromae.variables import VARIABLES


def to_canonical_units(values: xr.DataArray, name: str, source: str, area: xr.DataArray | None = None) -> xr.DataArray:
    """Return values in canonical units, NaN if unobserved; the attribute `units` keeps the units of the source.

    Args:
        values: Values and attributes of the source.
        name: A name in `variables.VARIABLES`.
        source: The source, for messages.
        area (DataArray (catchment), optional): Catchment area [km²], needed for m³/s.

    Raises:
        InputError: As `units.convert`.
    """
    observed = without_packing_noise(values, name)
    return units.convert(observed, name, values.attrs.get("units"), source, area).assign_attrs(values.attrs)


def without_packing_noise(values: xr.DataArray, name: str) -> xr.DataArray:
    """Apply `observed_only`, and set values within half a packing step below zero to zero for non-negative variables."""
    observed = observed_only(values)
    step = abs(float(values.encoding.get("scale_factor", 0.0)))
    if not step or VARIABLES[name].valid[0] != 0:
        return observed
    return observed.where((observed >= 0) | (observed < -0.501 * step) | observed.isnull(), 0.0)
