"""Values that nothing can have: noise below zero becomes zero, the rest is refused, in the file's own unit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hydromae.errors import InputError, first_line
from hydromae.io import units
from hydromae.io.attribute_ranges import CODES
from hydromae.io.options import reading_options
from hydromae.io.safety import BROKEN
from hydromae.variables import VARIABLES

NOISE = 1e-4
"""What a quantity without negative values may lie below zero [mm day-1 or m3 m-3] and be zero: a zero that was packed,
summed, subtracted or interpolated in another program. No instrument measures so little."""
COLUMN = "column"
"""Attribute of a variable while it is read: what its source calls it, where that is another name."""
PROCESSING = "processing"
"""Attribute of a variable: what a reader did to its values, in one line."""


def in_range(record: xr.Dataset, where: str) -> xr.Dataset:
    """The record with noise below zero as zero; values outside `Variable.valid` are refused, with a guess at the cause.

    Under `options.reading_with(negative_flow="missing")` river flow below zero becomes NaN; `processing` has the count.

    Args:
        record: In canonical units; `units` of a variable are those of its source, where it was converted.
        where: The source, for the message.

    Raises:
        InputError: A value out of range, or values that cannot be read.
    """
    names = [str(name) for name in record.data_vars if name in VARIABLES]
    if not all(record[name].size for name in names):
        raise InputError(f"{where}: there is no catchment in it; a record needs at least one")
    for name, lowest, highest in zip(names, *_extremes(record[names], where), strict=True):
        minimum, maximum = VARIABLES[name].valid
        if minimum == 0 > lowest:
            record = record.assign({name: _without_negatives(record[name])})
            ((lowest,), (highest,)) = _extremes(record[[name]], where)
        for value in (lowest, highest):
            if value < minimum or value > maximum:
                raise InputError(f"{where}: {name} {_fault(record, name, value)}{_at(record[name], value)}")
    return record


def _without_negatives(values: xr.DataArray) -> xr.DataArray:
    """Values without noise below zero, and, where it is asked for, without negative flow."""
    zeroed = values.where((values >= 0) | (values < -NOISE) | values.isnull(), 0.0).assign_attrs(values.attrs)
    if values.name != "riverflow" or reading_options().negative_flow == "refuse":
        return zeroed
    count = int((zeroed < 0).sum())
    if not count:
        return zeroed
    done = [values.attrs[PROCESSING]] if PROCESSING in values.attrs else []
    said = "; ".join([*done, f"{count} negative values are missing"])
    return zeroed.where(zeroed >= 0).assign_attrs(values.attrs, **{PROCESSING: said})


def processing_of(record: xr.Dataset, where: object) -> list[str]:
    """What readers did to values of a record, in lines."""
    done = {name: held.attrs[PROCESSING] for name, held in record.data_vars.items() if PROCESSING in held.attrs}
    return [f"{where}: {name}: {what}" for name, what in done.items()]


def _extremes(record: xr.Dataset, where: str) -> tuple[list[float], list[float]]:
    """Lowest and highest value of each variable, in one streamed pass."""
    try:
        both = xr.concat([record.min(), record.max()], dim="end").compute()
    except BROKEN as error:
        raise InputError(f"{where}: its values cannot be read ({first_line(error)}); write the file again") from error
    return [float(both[name][0]) for name in record.data_vars], [float(both[name][1]) for name in record.data_vars]


def _at(values: xr.DataArray, value: float) -> str:
    """Where a value stands first: its catchment or cell, and its day; nothing where the record does not name them."""
    place = _place(values, value)
    if place is None:
        return ""
    told = " ".join(f"{dim} {values[dim].values[index]}" for dim, index in place.items() if dim != "time")
    return f" (first in {told} on {str(values['time'].values[place['time']])[:10]})"


def _place(values: xr.DataArray, value: float) -> dict[str, int] | None:
    """The first day of a value, and the site on it; None where the dimensions have no names."""
    sites = [str(dim) for dim in values.dims if dim != "time"]
    if not {*sites, "time"} <= values.indexes.keys():
        return None
    hits = (values == values.dtype.type(value)).transpose("time", *sites)
    day = int(hits.any(sites).values.argmax())
    one = hits.isel(time=day).values
    return {"time": day} | dict(zip(sites, map(int, np.unravel_index(one.argmax(), one.shape)), strict=True))


def _fault(record: xr.Dataset, name: str, value: float) -> str:
    """What is wrong with a value: as its source wrote it, the range, and the remedy."""
    variable = VARIABLES[name]
    minimum, maximum = variable.valid
    source, spelled = _in_source_units(record, name, value)
    column = record[name].attrs.get(COLUMN, name)
    place = "" if column == name else f" in column {str(column)[:40]!r}"
    told = f"has the value {value:.6g}{place}"
    if spelled != variable.units:
        told = f"has the value {source:.6g} {spelled}{place}, which is {value:.6g} {variable.units}"
    return f"{told}, outside {minimum:g} … {maximum:g} {variable.units}; {_remedy(name, value, source)}"


def _in_source_units(record: xr.Dataset, name: str, value: float) -> tuple[float, str]:
    """A value and its unit as the source has them; canonical where the record does not say that."""
    canonical, spelled = VARIABLES[name].units, str(record[name].attrs.get("units", VARIABLES[name].units))
    plain = units.plain(spelled)
    if plain in units.VOLUME_RATES:
        place = _place(record[name], value)
        if place is None or "catchment-area" not in record.variables:
            return value, canonical
        area = float(record["catchment-area"].values[place["catchment"]])
        return value * area / 86.4 / units.VOLUME_RATES[plain], spelled
    factor, offset = units.SPELLINGS[canonical].get(plain, (1.0, 0.0))
    return ((value - offset) / factor, spelled) if (factor, offset) != (1.0, 0.0) else (value, canonical)


def _remedy(name: str, value: float, source: float) -> str:
    if np.isclose(source, CODES, rtol=1e-6, atol=0).any():
        return "it looks like a code for missing; write NaN"
    if name == "temperature" and 150 < value < 350:
        return "it looks like Kelvin; set its units to 'K'"
    if name == "soil_moisture" and 1 < value <= 100:
        return "it looks like percent; set its units to '%'"
    if name == "riverflow" and value > 0:
        return "it looks like m3 s-1; set its units to 'm3 s-1', or check the column"
    if name == "riverflow":
        return (
            "where a tide or backwater turns the flow, --negative-flow missing (negative_flow='missing' in Python) makes "
            "such days missing"
        )
    return "check its units and the column"
