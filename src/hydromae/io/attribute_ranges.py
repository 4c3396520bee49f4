"""Physical ranges of static attributes, and undeclared codes for missing values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from hydromae.errors import InputError
from hydromae.variables import ATTRIBUTES

UNDECLARED_CODES = tuple(
    sign * one for sign in (-1, 1) for one in (9999.0, 9999.9, 999.0, 999.9, 999.99, 99999.0, 99.9, 8888.0)
)
UNDECLARED_CODES = (*UNDECLARED_CODES, -99.0, -9.0, -9998.0, -7777.0, -32768.0)
"""Codes for missing values that a file must declare, because each may be a valid value of some variable."""
VALID_RANGES = {attribute.name: attribute.valid for attribute in ATTRIBUTES}
FRACTIONS = ("propwet", "bfihost")


def check_attribute(
    name: str, values: Float[np.ndarray, " C"], catchments: Shaped[np.ndarray, " C"], source: str
) -> None:
    """Refuse a value of a static attribute outside its physical range (`Attribute.valid`); NaN is allowed.

    Raises:
        InputError: Names the source, the attribute, the catchment, the value, the range, and a remedy.
    """
    low, high = VALID_RANGES.get(name, (-np.inf, np.inf))
    wrong = (values < low) | (values > high)
    if wrong.any():
        value = float(values[wrong][0])
        raise InputError(
            f"{source}: {name} of catchment {catchments[wrong][0]} is {value:g}, outside {low:g} … {high:g}; "
            f"{_remedy(name, value)}"
        )


def _remedy(name: str, value: float) -> str:
    """Return the most likely cause, and its remedy."""
    if np.isclose(value, UNDECLARED_CODES, rtol=1e-6, atol=0).any():
        return "is it a code for missing? leave it empty"
    if name in FRACTIONS and 0 < value <= 100:
        return "is it a percentage? divide it by 100"
    if name == "longitude" and 180 < value <= 360:
        return "is it counted from 0 to 360? subtract 360"
    if name == "latitude" and abs(value) <= 180:
        return "are latitude and longitude swapped?"
    if name in ("latitude", "longitude") and abs(value) > 360:
        return "is it in metres? name the columns easting and northing"
    if name.endswith("altitude") and 0 < value <= 30_000:
        return "is it in feet? multiply it by 0.3048"
    if name == "catchment-area" and value > 0:
        return "is it in m2? divide it by 1e6"
    return "correct it, or leave it empty"
