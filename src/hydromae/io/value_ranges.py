"""Physical ranges of variables: noise below zero becomes zero, other values outside are refused."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hydromae.errors import InputError, first_line
from hydromae.io import units
from hydromae.io.attribute_ranges import UNDECLARED_CODES
from hydromae.io.options import reading_options
from hydromae.io.safety import READ_ERRORS
from hydromae.variables import VARIABLES

ZERO_TOLERANCE = 1e-4
"""Numerical noise of zero [mm day-1 or m3 m-3] from packing, sums or interpolation, below the resolution of instruments."""
COLUMN = "column"
"""Attribute of a variable during reading: its name in the source."""
PROCESSING = "processing"
"""Attribute of a variable: processing by a reader, in one line."""


def span(low: float, high: float, form: str = "") -> str:
    """Both ends of a range, formatted alike; one where they read the same."""
    ends = f"{low:{form}}", f"{high:{form}}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def joined_notes(*notes: str | None) -> str:
    """Notes of `PROCESSING` in one line; None and empty ones are left out."""
    return "; ".join(filter(None, notes))


def check_ranges(record: xr.Dataset, source: str) -> xr.Dataset:
    """Set noise below zero to zero and refuse values outside `Variable.valid`, with a likely cause.

    With `options.use_reading_options(negative_flow="missing")`, negative river flow becomes NaN; `processing` has the count.

    Args:
        record: Record in canonical units; the attribute `units` of a variable is that of its source.
        source: Name of the source, for messages.

    Raises:
        InputError: A value out of range, or values that cannot be read.
    """
    names = [str(name) for name in record.data_vars if name in VARIABLES]
    if not all(record[name].size for name in names):
        raise InputError(f"{source}: has no catchments; a record needs at least one")
    for name, lowest, highest in zip(names, *_extremes(record[names], source), strict=True):
        minimum, maximum = VARIABLES[name].valid
        if minimum == 0 > lowest:
            record = record.assign({name: _without_noise(record[name])})
            ((lowest,), (highest,)) = _extremes(record[[name]], source)
        for value in (lowest, highest):
            if value < minimum or value > maximum:
                raise InputError(
                    f"{source}: {name} {_fault_text(record, name, value)}{_location_text(record[name], value)}"
                )
    return record


def _without_noise(values: xr.DataArray) -> xr.DataArray:
    """Remove noise below zero and, according to the options, negative flow."""
    without_noise = values.where((values >= 0) | (values < -ZERO_TOLERANCE) | values.isnull(), 0.0).assign_attrs(
        values.attrs
    )
    if values.name != "riverflow" or reading_options().negative_flow == "refuse":
        return without_noise
    count = int((without_noise < 0).sum())
    if not count:
        return without_noise
    notes = [values.attrs[PROCESSING]] if PROCESSING in values.attrs else []
    note_text = "; ".join([*notes, f"{count} negative values are missing"])
    return without_noise.where(without_noise >= 0).assign_attrs(values.attrs, **{PROCESSING: note_text})


def processing_by_variable(record: xr.Dataset) -> dict[str, str]:
    """Return the notes on the processing of each variable by readers."""
    notes = {str(name): values.attrs.get(PROCESSING) for name, values in record.data_vars.items()}
    return {name: note for name, note in notes.items() if isinstance(note, str)}


def processing_notes(record: xr.Dataset, source: object) -> list[str]:
    """Return lines on the processing of a record by readers."""
    return [f"{source}: {name}: {note}" for name, note in processing_by_variable(record).items()]


def _extremes(record: xr.Dataset, source: str) -> tuple[list[float], list[float]]:
    """Return the minimum and maximum of each variable in one pass."""
    try:
        extremes = xr.concat([record.min(), record.max()], dim="end").compute()
    except READ_ERRORS as error:
        raise InputError(f"{source}: its values cannot be read ({first_line(error)}); write the file again") from error
    return [float(extremes[name][0]) for name in record.data_vars], [
        float(extremes[name][1]) for name in record.data_vars
    ]


def _location_text(values: xr.DataArray, value: float) -> str:
    """Return catchment or cell and day of the first occurrence of a value as text, empty without coordinates."""
    index_of_value = _first_index(values, value)
    if index_of_value is None:
        return ""
    message = " ".join(f"{dim} {values[dim].values[index]}" for dim, index in index_of_value.items() if dim != "time")
    return f" (first in {message} on {str(values['time'].values[index_of_value['time']])[:10]})"


def _first_index(values: xr.DataArray, value: float) -> dict[str, int] | None:
    """Return the indices of the first occurrence of a value; None without coordinates."""
    sites = [str(dim) for dim in values.dims if dim != "time"]
    if not {*sites, "time"} <= values.indexes.keys():
        return None
    hits = (values == values.dtype.type(value)).transpose("time", *sites)
    day = int(hits.any(sites).values.argmax())
    day_values = hits.isel(time=day).values
    return {"time": day} | dict(
        zip(sites, map(int, np.unravel_index(day_values.argmax(), day_values.shape)), strict=True)
    )


def _fault_text(record: xr.Dataset, name: str, value: float) -> str:
    """Return value in source units, range and remedy as text."""
    variable = VARIABLES[name]
    minimum, maximum = variable.valid
    source, units_text = _in_source_units(record, name, value)
    column = record[name].attrs.get(COLUMN, name)
    index_of_value = "" if column == name else f" in column {str(column)[:40]!r}"
    message = f"has the value {value:.6g}{index_of_value}"
    if units_text != variable.units:
        message = f"has the value {source:.6g} {units_text}{index_of_value}, which is {value:.6g} {variable.units}"
    return f"{message}, outside {minimum:g} … {maximum:g} {variable.units}; {_remedy(name, value, source)}"


def _in_source_units(record: xr.Dataset, name: str, value: float) -> tuple[float, str]:
    """Return a value in the units of its source, or canonical if these are unknown."""
    canonical, units_text = VARIABLES[name].units, str(record[name].attrs.get("units", VARIABLES[name].units))
    unit_key = units.plain(units_text)
    if unit_key in units.VOLUME_RATES:
        index_of_value = _first_index(record[name], value)
        if index_of_value is None or "catchment-area" not in record.variables:
            return value, canonical
        area = float(record["catchment-area"].values[index_of_value["catchment"]])
        return units.cubic_metres_per_second(value, area) / units.VOLUME_RATES[unit_key], units_text
    factor, offset = units.SPELLINGS[canonical].get(unit_key, (1.0, 0.0))
    return ((value - offset) / factor, units_text) if (factor, offset) != (1.0, 0.0) else (value, canonical)


def _remedy(name: str, value: float, source: float) -> str:
    if np.isclose(source, UNDECLARED_CODES, rtol=1e-6, atol=0).any():
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
