"""Tables of variables, modalities and static attributes, with units and transforms.

A new variable or modality is one line here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["map", "series"]
Transform = Literal["none", "root", "log"]


@dataclass(frozen=True)
class Variable:
    """One observed quantity.

    Attributes:
        name: Name of the variable in a dataset or a store.
        units: Canonical units.
        standard_name: CF standard name, or "" where CF has none.
        transform ({"none", "root", "log"}): Applied before standardisation: root is sqrt(max(x, 0)), log is ln(x + 0.01).
        minimum: Physical lower bound in canonical units; predictions are never below it.
        valid (float, float): Valid range in canonical units; values outside are refused.
    """

    name: str
    units: str
    standard_name: str
    transform: Transform
    minimum: float | None
    valid: tuple[float, float]


@dataclass(frozen=True)
class Modality:
    """Variables measured together at one kind of site: patches of a map, or catchments."""

    name: str
    kind: Kind
    variables: tuple[Variable, ...]


@dataclass(frozen=True)
class Attribute:
    """A static attribute of a catchment, with its name in the NRFA catalogue; `transform` and `valid` as in `Variable`."""

    name: str
    units: str
    transform: Transform
    valid: tuple[float, float]


PRECIPITATION = Variable("precipitation", "mm day-1", "lwe_precipitation_rate", "root", 0.0, (0.0, 600.0))
SOIL_MOISTURE = Variable(
    "soil_moisture", "m3 m-3", "volume_fraction_of_condensed_water_in_soil", "none", 0.0, (0.0, 1.0)
)
TEMPERATURE = Variable("temperature", "degC", "air_temperature", "none", None, (-40.0, 45.0))
POTENTIAL_EVAPORATION = Variable(
    "potential_evaporation", "mm day-1", "water_potential_evapotranspiration_flux", "none", 0.0, (-5.0, 25.0)
)
EVAPORATION = Variable("evaporation", "mm day-1", "water_evapotranspiration_flux", "none", None, (-5.0, 25.0))
RIVERFLOW = Variable("riverflow", "mm day-1", "", "root", 0.0, (0.0, 1000.0))

MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality("precipitation", "map", (PRECIPITATION,)),
        Modality("soil_moisture", "map", (SOIL_MOISTURE,)),
        Modality("temperature", "map", (TEMPERATURE,)),
        Modality("evaporation", "series", (EVAPORATION,)),
        Modality("weather", "series", (PRECIPITATION, TEMPERATURE, POTENTIAL_EVAPORATION)),
        Modality("riverflow", "series", (RIVERFLOW,)),
    )
}

SERIES_SUFFIX = "_series"
"""Suffix of a variable of catchments in a record that has maps of the variable under its own name."""
SERIES_BESIDE_MAPS: dict[str, Variable] = {
    v.name: replace(v, name=f"{v.name}{SERIES_SUFFIX}")
    for v in MODALITIES["weather"].variables
    if any(m.kind == "map" and v in m.variables for m in MODALITIES.values())
}
"""Weather variables that are also maps, with the variable of their series."""

VARIABLES: dict[str, Variable] = {
    v.name: v for v in (*(v for m in MODALITIES.values() for v in m.variables), *SERIES_BESIDE_MAPS.values())
}

ALTITUDE = (-500.0, 9000.0)
"""The shore of the Dead Sea is at -430 m, the summit of Everest at 8849 m."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("latitude", "degrees_north", "none", (-90.0, 90.0)),
    Attribute("longitude", "degrees_east", "none", (-180.0, 180.0)),
    Attribute("minimum-altitude", "m", "root", ALTITUDE),
    Attribute("maximum-altitude", "m", "root", ALTITUDE),
    Attribute("50-percentile-altitude", "m", "root", ALTITUDE),
    Attribute("10-percentile-altitude", "m", "root", ALTITUDE),
    Attribute("90-percentile-altitude", "m", "root", ALTITUDE),
    Attribute("catchment-area", "km2", "log", (0.001, 1e7)),  # 0.1 ha; the Amazon has 6e6 km2
    Attribute("dpsbar", "m km-1", "root", (0.0, 1000.0)),  # a mean slope of 45 degrees
    Attribute("propwet", "1", "none", (0.0, 1.0)),  # share of time
    Attribute("bfihost", "1", "none", (0.0, 1.0)),  # share of flow
)
