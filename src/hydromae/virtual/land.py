"""Land of Virtual GB: the real outline of Great Britain, with synthetic relief, soil and geology."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from jaxtyping import Float, Int

from hydromae.grid import GridSpec
from hydromae.virtual.fields import smooth_fields

LAND_PERCENT = 5
"""Minimum share of land of a land cell [percent]."""

# Uplands of the synthetic relief, near those of Britain:
# easting, northing, half-length [km], half-width [km], bearing of the long axis [degrees from north], height [m].
_SWELLS = (
    (222, 845, 115, 48, 25, 520),
    (275, 770, 75, 55, 50, 520),
    (312, 795, 36, 30, 90, 180),
    (290, 606, 80, 32, 60, 265),
    (325, 512, 20, 20, 0, 330),
    (388, 470, 95, 24, 165, 330),
    (468, 495, 22, 18, 90, 170),
    (270, 345, 30, 26, 45, 290),
    (288, 255, 60, 34, 15, 310),
    (268, 85, 26, 22, 0, 230),
    (285, 140, 28, 14, 90, 190),
    (405, 215, 70, 22, 40, 110),
    (520, 145, 75, 30, 95, 70),
)

# Belts of permeable, chalk-like rock: corners of a line [km], half-width [km], strength on the logit of BFI-HOST.
_AQUIFERS = (
    (((365, 95), (430, 150), (495, 205), (560, 260), (590, 320)), 22, 2.8),
    (((450, 120), (520, 112), (610, 145)), 16, 2.2),
    (((490, 395), (500, 450), (470, 470)), 16, 2.2),
    (((345, 350), (400, 300)), 22, 0.5),
)


@dataclass(frozen=True)
class Land:
    """Land cells of the grid and their properties; altitude and all following ones are synthetic.

    Attributes:
        grid: Grid of `cell`.
        cell (array (N,)): Flat numbers of the land cells, ascending.
        easting, northing (arrays (N,)): Cell centres [m].
        fraction (array (N,)): Share of land in the cell.
        coast (array (N,)): Distance to the nearest sea cell [km].
        altitude (array (N,)): Mean altitude [m].
        roughness (array (N,)): Standard deviation of altitude inside the cell [m].
        permeability (array (N,)): Base-flow index of the geology of the cell.
        capacity (array (N,)): Soil water capacity between wilting point and saturation [mm].
        drainage (array (N,)): Exponent of percolation.
        residual, saturated (arrays (N,)): Soil moisture of the empty and of the full soil [m³ m⁻³].
    """

    grid: GridSpec
    cell: Int[np.ndarray, " N"]
    easting: Float[np.ndarray, " N"]
    northing: Float[np.ndarray, " N"]
    fraction: Float[np.ndarray, " N"]
    coast: Float[np.ndarray, " N"]
    altitude: Float[np.ndarray, " N"]
    roughness: Float[np.ndarray, " N"]
    permeability: Float[np.ndarray, " N"]
    capacity: Float[np.ndarray, " N"]
    drainage: Float[np.ndarray, " N"]
    residual: Float[np.ndarray, " N"]
    saturated: Float[np.ndarray, " N"]

    def on_grid(self, values: Float[np.ndarray, " N"], fill: float = np.nan) -> Float[np.ndarray, "rows columns"]:
        """Return values of the land cells on the whole grid, `fill` on the sea."""
        grid = np.full(self.grid.rows * self.grid.columns, fill)
        grid[self.cell] = values
        return grid.reshape(self.grid.shape)


def land_percent() -> Int[np.ndarray, "rows columns"]:
    """Return the percentage of land in each cell of the 5 km grid, Great Britain only (from the open GLOBE land mask)."""
    asset = resources.files("hydromae") / "assets" / "gb_land_percent.npz"
    with asset.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return archive["land_percent"].astype(np.int64)


def build_land(generator: np.random.Generator) -> Land:
    """Generate the land of a seed."""
    grid = GridSpec()
    percent = land_percent().ravel()
    cell = np.flatnonzero(percent >= LAND_PERCENT)
    easting, northing = grid.cell_position(cell)
    coast = _coast_distance(grid, percent, easting, northing)
    noise = _land_noise(generator, grid, cell, (90.0, 25.0, 12.0, 30.0, 40.0, 10.0, 12.0))
    wide, middle, fine, rock, soil, ground, shape = noise
    uplands = _swells(easting / 1e3, northing / 1e3)
    inland = 1 - np.exp(-coast / 10)
    lowland = 125 + 25 * wide + 15 * middle
    raw = np.maximum(inland * (np.maximum(lowland, 6) + 1.05 * uplands * np.exp(0.2 * middle + 0.18 * fine)), 2)
    altitude = 950 * np.tanh(raw / 950)
    roughness = 10 + 0.29 * altitude * np.exp(0.25 * fine) * (0.35 + 0.65 * uplands / (uplands + 120))
    logit = -0.6 - 0.0012 * altitude + 0.6 * rock + 0.35 * wide + _aquifers(easting / 1e3, northing / 1e3)
    return Land(
        grid=grid,
        cell=cell,
        easting=easting,
        northing=northing,
        fraction=percent[cell] / 100,
        coast=coast,
        altitude=altitude,
        roughness=roughness,
        permeability=0.18 + 0.79 / (1 + np.exp(-logit)),
        capacity=np.clip(170 * np.exp(0.2 * soil + 0.3 * ground) - 0.05 * altitude, 60, 340),
        drainage=2.0 * np.exp(0.4 * shape),
        residual=0.10 + 0.02 * np.tanh(soil),
        saturated=0.47 + 0.05 * np.tanh(soil) + 0.00008 * altitude,
    )


def _land_noise(
    generator: np.random.Generator, grid: GridSpec, cell: Int[np.ndarray, " N"], lengths: tuple[float, ...]
) -> Float[np.ndarray, "M N"]:
    """Draw random fields over the land, one for each correlation length [km], standardised over the land."""
    fields = [smooth_fields(generator, 1, grid, length)[0].ravel()[cell].astype(np.float64) for length in lengths]
    return np.stack([(field - field.mean()) / field.std() for field in fields])


def _coast_distance(
    grid: GridSpec, percent: Int[np.ndarray, " G"], easting: Float[np.ndarray, " N"], northing: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Return the distance from each land cell to the nearest sea cell [km]."""
    sea = (percent < LAND_PERCENT).reshape(grid.shape)
    beside_land = sea & ~(sea & np.roll(sea, 1, 0) & np.roll(sea, -1, 0) & np.roll(sea, 1, 1) & np.roll(sea, -1, 1))
    sea_easting, sea_northing = grid.cell_position(np.flatnonzero(beside_land))
    squared = (easting[:, None] - sea_easting) ** 2 + (northing[:, None] - sea_northing) ** 2
    return np.sqrt(squared.min(axis=1)) / 1e3


def _swells(easting: Float[np.ndarray, " N"], northing: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Return the height of the uplands above the lowland [m] at positions in km."""
    centre_east, centre_north, length, width, bearing, height = np.array(_SWELLS, dtype=float).T[:, :, None]
    east, north, angle = easting - centre_east, northing - centre_north, np.deg2rad(bearing)
    along = east * np.sin(angle) + north * np.cos(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    return (height * np.exp(-((along / length) ** 2) - (across / width) ** 2)).sum(axis=0)


def _aquifers(easting: Float[np.ndarray, " N"], northing: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Return the effect of permeable belts on the logit of the base-flow index at positions in km."""
    total = np.zeros_like(easting)
    for corners, width, strength in _AQUIFERS:
        line = np.array(corners, dtype=float)
        line_position = np.linspace(0, len(line) - 1, 60)
        line_points = np.stack([np.interp(line_position, np.arange(len(line)), line[:, axis]) for axis in (0, 1)])
        squared = (easting[:, None] - line_points[0]) ** 2 + (northing[:, None] - line_points[1]) ** 2
        total = np.maximum(total, strength * np.exp(-squared.min(axis=1) / width**2))
    return total
