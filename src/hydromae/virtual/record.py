"""Virtual GB as datasets: national record and catchment dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float32

from hydromae import variables as modalities
from hydromae.errors import InputError
from hydromae.virtual.truth import VirtualBritain

_MAPS = (modalities.PRECIPITATION, modalities.SOIL_MOISTURE, modalities.TEMPERATURE)
_NATIONAL_SERIES = (modalities.EVAPORATION, modalities.RIVERFLOW)
_CATCHMENT_SERIES = (
    modalities.PRECIPITATION,
    modalities.TEMPERATURE,
    modalities.POTENTIAL_EVAPORATION,
    modalities.RIVERFLOW,
)
_LONG_NAMES = {
    "precipitation": "daily rain and snow",
    "soil_moisture": "soil moisture of the rooted soil",
    "temperature": "daily mean air temperature",
    "potential_evaporation": "potential evaporation",
    "evaporation": "actual evaporation",
    "riverflow": "river flow per catchment area",
}

_LATE_SHARE, _LATEST = 0.12, 0.6
_GAPS_A_YEAR = 0.3


def virtual_record(days: int, seed: int = 0, start: str = "1989-01-01", catchments: int = 604) -> xr.Dataset:
    """Return the national record of Virtual GB: complete maps over land cells and series over catchments.

    Args:
        days: Length of the record.
        seed: Random seed of land and weather; a longer record starts with the shorter one.
        start: First day, ISO 8601.
        catchments: Number of catchments.

    Returns:
        xarray.Dataset: `precipitation` [mm day⁻¹], `soil_moisture` [m³ m⁻³], `temperature` [°C] `(time, cell)`; `evaporation`
            (actual) and `riverflow` [mm day⁻¹] `(time, catchment)`; the 11 attributes, positions and the share of land.
            float32.

    Raises:
        InputError: A number is below 1, or `start` is not a date.
    """
    country = build_country(days, seed, start, catchments)
    maps = {v.name: np.empty((days, len(country.land.cell)), np.float32) for v in _MAPS}
    series = _empty_series(_NATIONAL_SERIES, days, catchments)
    for block in country.blocks():
        days_slice = slice(block.first, block.first + len(block.rain))
        maps["precipitation"][days_slice] = block.rain
        maps["soil_moisture"][days_slice] = block.soil_moisture
        maps["temperature"][days_slice] = block.temperature
        for name, values in series.items():
            values[days_slice] = block.series[name]
    record = _with_variables(_base(country, seed, start), "catchment", series, _NATIONAL_SERIES)
    record = _with_variables(_with_cells(record, country), "cell", maps, _MAPS)
    record.attrs["grid"] = json.dumps(asdict(country.land.grid))
    return record


def virtual_catchments(
    days: int, seed: int = 0, start: str = "1989-01-01", catchments: int = 604, missing: bool = True
) -> xr.Dataset:
    """Return the catchment dataset of Virtual GB, with the weather of `virtual_record` averaged over footprints.

    Args:
        days, seed, start, catchments: As in `virtual_record`.
        missing: Whether flow has gaps: 12 % of the gauges start late (within the first 60 % of the record), and every gauge
            has 0.3 gaps a year, of 9 days in the median, some of months. False is complete.

    Returns:
        xarray.Dataset: `precipitation`, `potential_evaporation`, `riverflow` [mm day⁻¹] and `temperature` [°C]
            `(time, catchment)`, the 11 attributes and positions. float32, NaN if unobserved.

    Raises:
        InputError: A number is below 1, or `start` is not a date.
    """
    country = build_country(days, seed, start, catchments)
    series = _empty_series(_CATCHMENT_SERIES, days, catchments)
    for block in country.blocks():
        for name, values in series.items():
            values[block.first : block.first + len(block.rain)] = block.series[name]
    if missing:
        observed = draw_observed_days(np.random.default_rng([seed, days, catchments]), days, catchments)
        series["riverflow"][~observed] = np.nan
    return _with_variables(_base(country, seed, start), "catchment", series, _CATCHMENT_SERIES)


def build_country(days: int, seed: int, start: str, catchments: int) -> VirtualBritain:
    """Check the arguments and build the country of a seed."""
    for name, value, minimum in (("days", days, 1), ("seed", seed, 0), ("catchments", catchments, 1)):
        if value < minimum:
            raise InputError(f"{name}: {value} is below {minimum}; give a whole number of at least {minimum}")
    try:
        np.datetime64(start, "D")
    except ValueError as error:
        raise InputError(f"start: '{start}' is not a date; write it as 1989-01-01") from error
    return VirtualBritain(seed, start, days, catchments)


def _empty_series(
    variables: tuple[modalities.Variable, ...], days: int, catchments: int
) -> dict[str, Float32[np.ndarray, "T C"]]:
    return {v.name: np.empty((days, catchments), np.float32) for v in variables}


def draw_observed_days(generator: np.random.Generator, days: int, catchments: int) -> Bool[np.ndarray, "T C"]:
    """Draw observed days: late starts of some gauges, and gaps of all."""
    is_late = generator.random(catchments) < _LATE_SHARE
    start = np.where(is_late, generator.uniform(0, _LATEST * days, catchments), 0).astype(int)
    gaps = generator.poisson(_GAPS_A_YEAR * days * catchments / 365.25)
    gauge, begin = generator.integers(0, catchments, gaps), generator.integers(0, days, gaps)
    end = np.minimum(begin + 5 + np.exp(generator.normal(np.log(4), 1.4, gaps)).astype(int), days)
    change = np.zeros((days + 1, catchments), dtype=np.int16)
    np.add.at(change, (begin, gauge), 1)
    np.add.at(change, (end, gauge), -1)
    return (change.cumsum(axis=0, dtype=np.int16)[:days] == 0) & (np.arange(days)[:, None] >= start)


def _base(country: VirtualBritain, seed: int, start: str) -> xr.Dataset:
    """Return time, catchments, positions and attributes."""
    rivers = country.catchments
    time = np.datetime64(start, "D") + np.arange(country.days)
    positions = {
        name: (
            "catchment",
            values,
            {"units": "m", "long_name": f"{name.replace('_', ' ')} on the British National Grid"},
        )
        for name, values in (
            ("easting", rivers.easting),
            ("northing", rivers.northing),
            ("centroid_easting", rivers.centroid_easting),
            ("centroid_northing", rivers.centroid_northing),
        )
    }
    attribute_variables = {
        a.name: ("catchment", rivers.attributes[a.name], {"units": a.units, "long_name": a.name.replace("-", " ")})
        for a in modalities.ATTRIBUTES
    }
    number = ("catchment", rivers.number, {"long_name": "number of the synthetic gauge"})
    return xr.Dataset(
        attribute_variables,
        {"time": time.astype("datetime64[ns]"), "catchment": number, **positions},
        {
            "title": "Virtual GB: synthetic weather and rivers on the outline of Great Britain",
            "source": f"hydromae.virtual, seed {seed}; nothing here was measured",
            "Conventions": "CF-1.11",
        },
    )


def _with_cells(record: xr.Dataset, country: VirtualBritain) -> xr.Dataset:
    """Add the land cells, their positions and their share of land."""
    land = country.land
    flat = {"compress": "row column", "long_name": "flat number of the land cell, row × columns + column"}
    return record.assign_coords(
        cell=("cell", land.cell, flat),
        cell_easting=("cell", land.easting, {"units": "m", "long_name": "easting of the cell centre"}),
        cell_northing=("cell", land.northing, {"units": "m", "long_name": "northing of the cell centre"}),
        land_fraction=(
            "cell",
            land.fraction.astype(np.float32),
            {"units": "1", "long_name": "share of land in the cell", "standard_name": "land_area_fraction"},
        ),
    )


def _with_variables(
    record: xr.Dataset,
    site_dim: str,
    values: Mapping[str, Float32[np.ndarray, "T _"]],
    variables: tuple[modalities.Variable, ...],
) -> xr.Dataset:
    """Add `(time, site)` variables with units and names."""
    new_variables = {}
    for variable in variables:
        attributes = {"units": variable.units, "long_name": _LONG_NAMES[variable.name]}
        if variable.standard_name:
            attributes["standard_name"] = variable.standard_name
        new_variables[variable.name] = (("time", site_dim), values[variable.name], attributes)
    return record.assign(new_variables)
