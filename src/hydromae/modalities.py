"""The table: which quantities are measured, where, in which units, and how each is scaled.

A new variable is a line here, a new modality is a line in `MODALITIES`; nothing else in the package knows their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Kind = Literal["map", "series"]
Transform = Literal["none", "root", "log"]


@dataclass(frozen=True)
class Variable:
    """One observed quantity.

    Attributes
    ----------
    name : str
        Name of the variable in a dataset or a store.
    units : str
        Canonical units, in which a store holds it.
    standard_name : str
        CF standard name, or "" where CF has none.
    transform : {"none", "root", "log"}
        Applied before standardising: root is sqrt(max(x, 0)), log is ln(x + 0.01).
    minimum : float or None
        Physical lower bound in canonical units; answers are never below it.
    valid : (float, float)
        Range outside which a value is refused as a wrong unit or a wrong column.
    """

    name: str
    units: str
    standard_name: str
    transform: Transform
    minimum: float | None
    valid: tuple[float, float]


@dataclass(frozen=True)
class Modality:
    """Variables measured together at one kind of place: the cells of a map, or catchments."""

    name: str
    kind: Kind
    variables: tuple[Variable, ...]


@dataclass(frozen=True)
class Attribute:
    """A static attribute (trait) of a catchment, under the name that the NRFA catalogue gives it."""

    name: str
    units: str
    transform: Transform


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

VARIABLES: dict[str, Variable] = {v.name: v for m in MODALITIES.values() for v in m.variables}

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("latitude", "degrees_north", "none"),
    Attribute("longitude", "degrees_east", "none"),
    Attribute("minimum-altitude", "m", "root"),
    Attribute("maximum-altitude", "m", "root"),
    Attribute("50-percentile-altitude", "m", "root"),
    Attribute("10-percentile-altitude", "m", "root"),
    Attribute("90-percentile-altitude", "m", "root"),
    Attribute("catchment-area", "km2", "log"),
    Attribute("dpsbar", "m km-1", "root"),
    Attribute("propwet", "1", "none"),
    Attribute("bfihost", "1", "none"),
)


@dataclass(frozen=True)
class GridSpec:
    """A regular grid on the British National Grid (EPSG:27700), cut into square patches.

    Attributes
    ----------
    rows, columns : int
        Cells northward and eastward.
    cell_size : float
        Width of a cell [m].
    northing, easting : float
        Centre of the first (southern, western) row and column [m].
    patch : int
        Cells along the side of a patch.
    land_threshold : float
        Share of land cells from which a patch is a site.
    """

    rows: int = 290
    columns: int = 180
    cell_size: float = 5000.0
    northing: float = -197500.0
    easting: float = -197500.0
    patch: int = 10
    land_threshold: float = 0.5

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Patches northward and eastward (29 × 18 on the 5 km grid)."""
        return self.rows // self.patch, self.columns // self.patch

    def cell_position(self, cell: Int[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Easting and northing [m] of the centres of flat cell numbers (row × columns + column)."""
        row, column = np.divmod(cell, self.columns)
        return self.easting + column * self.cell_size, self.northing + row * self.cell_size

    def patch_of(self, cell: Int[np.ndarray, " N"]) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Flat patch number of each flat cell number, and the cell's pixel number inside that patch."""
        row, column = np.divmod(cell, self.columns)
        patch = (row // self.patch) * self.patch_shape[1] + column // self.patch
        pixel = (row % self.patch) * self.patch + column % self.patch
        return patch, pixel

    def land_patches(self, land: Bool[np.ndarray, "rows columns"]) -> Int[np.ndarray, " P"]:
        """Flat numbers of the patches whose share of land cells is at least `land_threshold`, ascending."""
        high, wide = self.patch_shape
        blocks = land[: high * self.patch, : wide * self.patch].reshape(high, self.patch, wide, self.patch)
        return np.flatnonzero(blocks.mean(axis=(1, 3)).ravel() >= self.land_threshold)

    def patch_position(self, patch: Int[np.ndarray, " P"]) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Easting and northing [m] of the centres of flat patch numbers."""
        row, column = np.divmod(patch, self.patch_shape[1])
        middle = (self.patch - 1) / 2
        east = self.easting + (column * self.patch + middle) * self.cell_size
        return east, self.northing + (row * self.patch + middle) * self.cell_size
