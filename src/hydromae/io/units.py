"""Units: accepted spellings and conversion to canonical units."""

from __future__ import annotations

import re
from typing import TypeVar

import numpy as np
import xarray as xr

from hydromae.errors import InputError
from hydromae.variables import VARIABLES

Values = TypeVar("Values", float, np.ndarray, xr.DataArray)

# canonical units -> {normalised spelling: (factor, offset)}: canonical = value × factor + offset
SPELLINGS: dict[str, dict[str, tuple[float, float]]] = {
    "mm day-1": {
        "mm day-1": (1.0, 0.0),
        "mm": (1.0, 0.0),
        "kg m-2 day-1": (1.0, 0.0),
        "kg m-2 s-1": (86400.0, 0.0),
        "mm s-1": (86400.0, 0.0),
        "mm h-1": (24.0, 0.0),
        "cm day-1": (10.0, 0.0),
        "cm": (10.0, 0.0),
        "m": (1000.0, 0.0),
        "m day-1": (1000.0, 0.0),
        "m s-1": (86400.0 * 1000.0, 0.0),
        "in day-1": (25.4, 0.0),
        "in": (25.4, 0.0),
        "l s-1 km-2": (0.0864, 0.0),
        "m3 s-1 km-2": (86.4, 0.0),
    },
    "degC": {
        **dict.fromkeys(("degc", "deg c", "c", "celsius", "deg celsius"), (1.0, 0.0)),
        **dict.fromkeys(("k", "degk", "deg k", "kelvin"), (1.0, -273.15)),
        **dict.fromkeys(("degf", "deg f", "f", "fahrenheit", "deg fahrenheit"), (5 / 9, -160 / 9)),
    },
    "m3 m-3": {
        "m3 m-3": (1.0, 0.0),
        "1": (1.0, 0.0),
        "%": (0.01, 0.0),
        "percent": (0.01, 0.0),
    },
}
VOLUME_RATES: dict[str, float] = {
    **dict.fromkeys(("m3 s-1", "cumec", "cumecs", "cms"), 1.0),
    "m3 h-1": 1 / 3600,
    "m3 day-1": 1 / 86400,
    "l s-1": 1e-3,
    "ml day-1": 1000 / 86400,
    **dict.fromkeys(("ft3 s-1", "cfs", "cusec", "cusecs"), 0.028316846592),
}
"""Volume rates in normalised spelling [m³/s]. ML/day is megalitres in any case."""
ATTRIBUTE_SPELLINGS: dict[str, dict[str, float]] = {
    **dict.fromkeys(
        ("degrees_north", "degrees_east"),
        dict.fromkeys(("deg", "deg north", "deg n", "deg east", "deg e", "decimal deg", "deg decimal"), 1.0),
    ),
    "m": {
        **dict.fromkeys(("m", "masl", "maod", "mod", "m asl", "m aod", "m amsl", "m a s l", "m above sea level"), 1.0),
        "ft": 0.3048,
        "km": 1000.0,
    },
    "km2": {
        **dict.fromkeys(("km2", "sq km", "square km", "square kilometres", "square kilometers"), 1.0),
        **dict.fromkeys(("m2", "sq m", "square m"), 1e-6),
        **dict.fromkeys(("ha", "hectare", "hectares"), 0.01),
        **dict.fromkeys(("mi2", "sq mi", "square miles"), 2.589988110336),
    },
    "m km-1": {"m km-1": 1.0, "m m-1": 1000.0, "%": 10.0, "percent": 10.0},
    "1": {
        **dict.fromkeys(("1", "-", "fraction", "dimensionless", "unitless", "ratio"), 1.0),
        "%": 0.01,
        "percent": 0.01,
    },
}
"""Canonical units of static attributes -> normalised spellings and their factors."""
SYMBOLS = {
    word: symbol
    for symbol, words in {
        "m": "metre metres meter meters",
        "s": "sec secs second seconds",
        "h": "hr hrs hour hours",
        "day": "d days",
        "l": "litre litres liter liters ltr",
        "ml": "megalitre megalitres megaliter megaliters",
        "ft": "foot feet",
        "in": "inch inches",
        "mm": "millimetre millimetres millimeter millimeters",
        "deg": "degree degrees",
    }.items()
    for word in words.split()
}
SIGNS = str.maketrans("⁻−⁰¹²³⁴⁵⁶⁷⁸⁹º_·⋅.*", "--0123456789°     ")
TERM = re.compile(r"\s*(/?)\s*([a-z%]+)(-?\d+)?", re.ASCII)


def plain(units: str) -> str:
    """Normalise the spelling of units: `m**3 s**-1`, `m^3/s` and `m³/sec` become `m3 s-1`; other texts stay.

    Examples:
        >>> plain("m^3/s"), plain("mm d⁻¹"), plain("°C"), plain("m**3 m**-3")
        ('m3 s-1', 'mm day-1', 'degc', 'm3 m-3')
        >>> plain("cubic metres per second"), plain("ML/day"), plain("mm/hr"), plain("kg/m2/s")
        ('m3 s-1', 'ml day-1', 'mm h-1', 'kg m-2 s-1')
    """
    text = units.strip().lower().replace("℃", "°c").replace("℉", "°f").replace("**", "").replace("^", "")
    text = text.translate(SIGNS).replace("°", "deg")
    text = re.sub(r"\bper\b", "/", re.sub(r"cubic\s+([a-z]+)", r"\g<1>3", text))
    text = re.sub(r"\b24\s*h(?:r|rs|ours)?\b", "day", text)
    terms, end = [], 0
    while match := TERM.match(text, end):
        slash, symbol, power = match.groups()
        exponent = int(power or 1) * (-1 if slash else 1)
        terms.append(SYMBOLS.get(symbol, symbol) + ("" if exponent == 1 else str(exponent)))
        end = match.end()
    return " ".join(terms if not text[end:].strip() and terms else text.split())


def mm_per_day(flow: Values, area: Values) -> Values:
    """Return river flow [m³/s] as depth over the catchment [mm/day]: q = Q × 86.4 / area [km²]."""
    return flow * 86.4 / area


def cubic_metres_per_second(flow: Values, area: Values | float) -> Values:
    """Return depth over the catchment [mm/day] as river flow [m³/s]: Q = q × area [km²] / 86.4."""
    return flow * area / 86.4


def convert_attribute(values: xr.DataArray, name: str, canonical: str, source: str) -> xr.DataArray:
    """Convert values (catchment) of a static attribute to canonical units; without `units` they are canonical.

    Raises:
        InputError: Unknown units.
    """
    units_text = values.attrs.get("units")
    if not isinstance(units_text, str) or not units_text.strip():
        return values
    factor = ATTRIBUTE_SPELLINGS.get(canonical, {}).get(plain(units_text))
    if factor is None:
        raise InputError(f"{source}: units '{units_text}' of {name} are not known; convert it to {canonical}")
    return values if factor == 1 else (values * factor).assign_attrs(values.attrs | {"units": canonical})


def is_known(units_text: str, name: str) -> bool:
    """Return whether variable `name` may have these units."""
    spelling = plain(units_text)
    return spelling in SPELLINGS[VARIABLES[name].units] or (name == "riverflow" and spelling in VOLUME_RATES)


def convert(
    values: xr.DataArray, name: str, units: object, source: str, area: xr.DataArray | None = None
) -> xr.DataArray:
    """Convert values of variable `name` to canonical units.

    Args:
        values: Any dimensions; `(time, catchment)` for a volume rate.
        name: A name in `variables.VARIABLES`.
        units: Units of the source; other types than text, such as None, are missing units.
        source: Name of the source, for messages.
        area (DataArray (catchment), optional): Catchment area [km²], needed for volume rates such as m³/s.

    Raises:
        InputError: Missing or unknown units, or a volume rate without an area.
    """
    canonical = VARIABLES[name].units
    known = SPELLINGS[canonical]
    if not isinstance(units, str) or not units.strip():
        raise InputError(f"{source}: {name} has no units attribute; set it to {canonical!r} or another spelling of it")
    spelling = plain(units)
    if name == "riverflow" and spelling in VOLUME_RATES:
        return _by_area(_scaled(values, VOLUME_RATES[spelling]), spelling, source, area)
    if spelling not in known:
        accepted = ", ".join((*known, *(VOLUME_RATES if name == "riverflow" else ())))
        raise InputError(f"{source}: {name} has units {units[:40]!r}, which are not known; use one of: {accepted}")
    factor, offset = known[spelling]
    return values if (factor, offset) == (1.0, 0.0) else values * factor + offset


def from_canonical(values: xr.DataArray, name: str, units: str, area: xr.DataArray | None) -> xr.DataArray:
    """Convert values of variable `name` from canonical units to `units`, the inverse of `convert`.

    Raises:
        InputError: `units` are a volume rate, and the area of a catchment is unknown.
    """
    spelling = plain(units)
    if spelling in VOLUME_RATES:
        if area is None:
            raise InputError(f"no catchment-area [km2] to convert to {units}; add it, or use mm/day")
        unknown = ~(area.values > 0)
        if unknown.any():
            site = area["catchment"].values[unknown.argmax()]
            raise InputError(f"catchment {site}: no catchment-area [km2] to convert to {units}; add it, or use mm/day")
        volumes = cubic_metres_per_second(values, area.reset_coords(drop=True))
        return _scaled(volumes, 1 / VOLUME_RATES[spelling])
    factor, offset = SPELLINGS[VARIABLES[name].units][spelling]
    return values if (factor, offset) == (1.0, 0.0) else (values - offset) / factor


def _scaled(values: xr.DataArray, factor: float) -> xr.DataArray:
    return values if factor == 1.0 else values * factor


def _by_area(values: xr.DataArray, units_text: str, source: str, area: xr.DataArray | None) -> xr.DataArray:
    """Convert flow [m³/s] to depth over the catchment [mm/day]; `units_text` are the units of the source."""
    if area is None:
        raise InputError(
            f"{source}: riverflow is in {units_text} without catchment-area [km2]; add the attribute, or give the "
            "attributes table"
        )
    without_area = (~(area > 0)) & values.notnull().any("time")
    if bool(without_area.any()):
        first = area["catchment"].values[without_area.values][0]
        raise InputError(
            f"{source}: riverflow of catchment {first} is in {units_text} but its catchment-area is unknown; add it in km2"
        )
    return mm_per_day(values, area)
