"""Units: what a source wrote, and how its numbers become canonical."""

from __future__ import annotations

import re

import xarray as xr

from hydromae.errors import InputError
from hydromae.modalities import VARIABLES

# canonical units -> {accepted spelling: (factor, offset)}: canonical = value × factor + offset
SPELLINGS: dict[str, dict[str, tuple[float, float]]] = {
    "mm day-1": {
        "mm day-1": (1.0, 0.0),
        "mm d-1": (1.0, 0.0),
        "mm": (1.0, 0.0),
        "kg m-2 day-1": (1.0, 0.0),
        "kg m-2 d-1": (1.0, 0.0),
        "kg m-2 s-1": (86400.0, 0.0),
        "mm s-1": (86400.0, 0.0),
        "mm hour-1": (24.0, 0.0),
        "mm h-1": (24.0, 0.0),
        "m": (1000.0, 0.0),
        "m day-1": (1000.0, 0.0),
        "m d-1": (1000.0, 0.0),
    },
    "degC": {
        "degc": (1.0, 0.0),
        "deg c": (1.0, 0.0),
        "c": (1.0, 0.0),
        "celsius": (1.0, 0.0),
        "degree celsius": (1.0, 0.0),
        "degrees celsius": (1.0, 0.0),
        "degree c": (1.0, 0.0),
        "degrees c": (1.0, 0.0),
        "k": (1.0, -273.15),
        "kelvin": (1.0, -273.15),
    },
    "m3 m-3": {
        "m3 m-3": (1.0, 0.0),
        "1": (1.0, 0.0),
        "%": (0.01, 0.0),
        "percent": (0.01, 0.0),
    },
}
VOLUME_RATES = frozenset({"m3 s-1", "cumec", "cumecs"})


def plain(units: str) -> str:
    """One spelling for many: lower case, `m**3 s**-1`, `m^3/s` and `m3 s-1` become `m3 s-1`.

    Examples
    --------
    >>> plain("m^3/s"), plain("mm/d"), plain("°C"), plain("m**3 m**-3")
    ('m3 s-1', 'mm d-1', 'degc', 'm3 m-3')
    """
    text = units.strip().lower().replace("°", "deg").replace("**", "").replace("^", "").replace("_", " ")
    text = re.sub(r"/\s*([a-z]+)(\d*)", r" \1-\2", text)
    text = re.sub(r"-(?=\s|$)", "-1", text)
    return " ".join(text.replace("m^3", "m3").split())


def mm_per_day(flow: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """River flow [m³/s] as depth over the catchment [mm/day]: q = Q × 86.4 / area [km²]."""
    return flow * 86.4 / area


def cubic_metres_per_second(flow: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """River flow as depth over the catchment [mm/day] as volume [m³/s]: Q = q × area [km²] / 86.4."""
    return flow * area / 86.4


def convert(
    values: xr.DataArray, name: str, units: object, where: str, area: xr.DataArray | None = None
) -> xr.DataArray:
    """Values of variable `name` in its canonical units.

    Parameters
    ----------
    values : DataArray
        Any dimensions; `(time, catchment)` where `units` are m³/s.
    name : str
        A name in `modalities.VARIABLES`.
    units : str
        As the source spells them; anything else, such as None, is no units.
    where : str
        The file, for the message.
    area : DataArray (catchment), optional
        Catchment area [km²], needed for m³/s.

    Raises
    ------
    InputError
        Units are missing or unknown, or m³/s comes without an area.
    """
    canonical = VARIABLES[name].units
    known = SPELLINGS[canonical]
    if not isinstance(units, str) or not units.strip():
        raise InputError(f"{where}: {name} has no units attribute; set it to {canonical!r} or another spelling of it")
    spelling = plain(units)
    if name == "riverflow" and spelling in VOLUME_RATES:
        return _by_area(values, where, area)
    if spelling not in known:
        accepted = ", ".join(known) + (", m3 s-1" if name == "riverflow" else "")
        raise InputError(f"{where}: {name} has units {units[:40]!r}, which are not known; use one of: {accepted}")
    factor, offset = known[spelling]
    return values if (factor, offset) == (1.0, 0.0) else values * factor + offset


def from_canonical(values: xr.DataArray, name: str, units: str, area: xr.DataArray | None) -> xr.DataArray:
    """Values of variable `name` from its canonical units to `units`; what `convert` does, backwards.

    Raises
    ------
    InputError
        `units` are m³/s, and the area of a catchment is unknown.
    """
    spelling = plain(units)
    if spelling in VOLUME_RATES:
        if area is None:
            raise InputError(f"no catchment-area [km2] to answer in {units}; add it, or ask in mm/day")
        unknown = ~(area.values > 0)
        if unknown.any():
            site = area["catchment"].values[unknown.argmax()]
            raise InputError(
                f"catchment {site}: no catchment-area [km2] to answer in {units}; add it, or ask in mm/day"
            )
        return cubic_metres_per_second(values, area.reset_coords(drop=True))
    factor, offset = SPELLINGS[VARIABLES[name].units][spelling]
    return values if (factor, offset) == (1.0, 0.0) else (values - offset) / factor


def _by_area(values: xr.DataArray, where: str, area: xr.DataArray | None) -> xr.DataArray:
    if area is None:
        raise InputError(
            f"{where}: riverflow is in m3 s-1 and there is no catchment-area [km2]; add the attribute, or give the "
            "attributes table"
        )
    lacking = (~(area > 0)) & values.notnull().any("time")
    if bool(lacking.any()):
        first = area["catchment"].values[lacking.values][0]
        raise InputError(
            f"{where}: riverflow of catchment {first} is in m3 s-1 but its catchment-area is unknown; add it in km2"
        )
    return mm_per_day(values, area)
