"""From the values of a source to a quantity: unobserved values, noise of packing and units, the same for every reader."""

from __future__ import annotations

import xarray as xr

from hydromae.io import units
from hydromae.io.unobserved import observed_only
from hydromae.variables import VARIABLES


def to_canonical_units(values: xr.DataArray, name: str, source: str, area: xr.DataArray | None = None) -> xr.DataArray:
    """Values of variable `name` in canonical units, NaN where nothing was measured; the attribute `units` stays the source's.

    Args:
        values: As the source holds them, with its attributes.
        name: A name in `variables.VARIABLES`.
        source: The source, for messages.
        area (DataArray (catchment), optional): Catchment area [km²], needed for m³/s.

    Raises:
        InputError: As `units.convert`.
    """
    observed = without_packing_noise(values, name)
    return units.convert(observed, name, values.attrs.get("units"), source, area).assign_attrs(values.attrs)


def without_packing_noise(values: xr.DataArray, name: str) -> xr.DataArray:
    """As `observed_only`; of a quantity without negative values, what lies within half a packing step below zero is zero."""
    observed = observed_only(values)
    step = abs(float(values.encoding.get("scale_factor", 0.0)))
    if not step or VARIABLES[name].valid[0] != 0:
        return observed
    return observed.where((observed >= 0) | (observed < -0.501 * step) | observed.isnull(), 0.0)
