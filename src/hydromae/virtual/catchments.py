"""Synthetic catchments of Virtual GB: positions, footprints and static attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pyproj import Transformer

from hydromae.footprints import Footprints, disc_footprints
from hydromae.virtual.land import Land

_MEDIAN_AREA, _SPREAD, _AREAS = 155.0, 1.2, (5.0, 10_000.0)
"""Log-normal areas: median [km²], standard deviation of the logarithm, and limits [km²]."""

_INLAND = 0.8
"""Minimum distance of a centroid from the sea, as a share of the radius."""

_CANDIDATES = 6


@dataclass(frozen=True)
class Catchments:
    """Synthetic catchments.

    Attributes:
        number (array (C,)): Gauge numbers in the manner of the NRFA: hydrometric area × 1000 + a running number; ascending.
        easting, northing (arrays (C,)): Position of the gauge [m].
        centroid_easting, centroid_northing (arrays (C,)): Centroid of the catchment [m].
        footprints: Discs of the area around the centroid, over the land cells.
        attributes (dict of arrays (C,)): The 11 attributes of `variables.ATTRIBUTES`.
    """

    number: Int[np.ndarray, " C"]
    easting: Float[np.ndarray, " C"]
    northing: Float[np.ndarray, " C"]
    centroid_easting: Float[np.ndarray, " C"]
    centroid_northing: Float[np.ndarray, " C"]
    footprints: Footprints
    attributes: dict[str, Float[np.ndarray, " C"]]

    def mean(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " C"]:
        """Return the mean of a map over each catchment."""
        weighted = values[self.footprints.cell] * self.footprints.weight
        return np.bincount(self.footprints.catchment, weighted, minlength=len(self.number))


def place_catchments(
    land: Land, wetness: Float[np.ndarray, " N"], count: int, generator: np.random.Generator
) -> Catchments:
    """Place catchments on the land with a minimum spacing, and derive their attributes from the land.

    Args:
        wetness (array (N,)): Mean rain of each cell relative to the mean of the land, for `propwet`.
        count: Number of catchments.
    """
    area = np.clip(np.exp(generator.normal(np.log(_MEDIAN_AREA), _SPREAD, count)), *_AREAS)
    area = np.round(np.sort(area)[::-1], 1)
    centre = _spaced(land, area, generator)
    jitter = generator.uniform(-0.5, 0.5, (2, count)) * land.grid.cell_size
    east, north = np.round(land.easting[centre] + jitter[0]), np.round(land.northing[centre] + jitter[1])
    order, number = _gauge_numbers(east, north)
    east, north, area = east[order], north[order], area[order]
    footprints = disc_footprints(land.easting, land.northing, east, north, area, land.grid.cell_size)
    outlet_cell = _lowest(land, footprints, count)
    offset = generator.uniform(-0.4, 0.4, (2, count)) * land.grid.cell_size
    gauge = np.round(np.stack([land.easting[outlet_cell], land.northing[outlet_cell]]) + offset)
    without_attributes = Catchments(number, gauge[0], gauge[1], east, north, footprints, {})
    attributes = _attributes(land, without_attributes, area, wetness, generator)
    return Catchments(number, gauge[0], gauge[1], east, north, footprints, attributes)


def _spaced(land: Land, area: Float[np.ndarray, " C"], generator: np.random.Generator) -> Int[np.ndarray, " C"]:
    """Return a land cell for each catchment, large ones first: of several inland candidates, the farthest from the others."""
    radius = np.sqrt(area / np.pi)
    gauge_density = 0.2 + 1 / (1 + np.exp((land.northing - 620e3) / 80e3))
    chosen = np.zeros(len(area), dtype=np.int64)
    for index, catchment_radius in enumerate(radius):
        inland = np.flatnonzero(land.coast >= min(_INLAND * catchment_radius, np.quantile(land.coast, 0.97)))
        weight = gauge_density[inland] * (1 - np.exp(-land.coast[inland] / 15))
        candidates = generator.choice(inland, _CANDIDATES, p=weight / weight.sum())
        chosen_before = chosen[:index]
        separation = np.hypot(
            land.easting[candidates, None] - land.easting[chosen_before],
            land.northing[candidates, None] - land.northing[chosen_before],
        ) / (1e3 * (4 + catchment_radius + radius[:index]))
        chosen[index] = candidates[separation.min(axis=1, initial=np.inf).argmax()]
    return chosen


def _gauge_numbers(
    easting: Float[np.ndarray, " C"], northing: Float[np.ndarray, " C"]
) -> tuple[Int[np.ndarray, " C"], Int[np.ndarray, " C"]]:
    """Return order and gauge numbers, clockwise around the country from the north, like hydrometric areas."""
    bearing = np.arctan2(easting - 380e3, northing - 480e3) % (2 * np.pi)
    order = np.argsort(bearing, kind="stable")
    zone = 1 + np.arange(len(order)) * 97 // len(order)
    serial = 1 + np.arange(len(order)) - np.searchsorted(zone, zone)
    return order, zone * 1000 + serial


def _lowest(land: Land, footprints: Footprints, count: int) -> Int[np.ndarray, " C"]:
    """Return the lowest cell of each footprint, the position of its gauge."""
    order = np.lexsort((land.altitude[footprints.cell], footprints.catchment))
    first = np.searchsorted(footprints.catchment, np.arange(count))
    return footprints.cell[order][first]


def _attributes(
    land: Land,
    catchments: Catchments,
    area: Float[np.ndarray, " C"],
    wetness: Float[np.ndarray, " N"],
    generator: np.random.Generator,
) -> dict[str, Float[np.ndarray, " C"]]:
    """Return the 11 attributes, derived from the land with random scatter."""
    scatter = generator.standard_normal((5, len(area)))
    mean = catchments.mean(land.altitude)
    roughness = catchments.mean(land.roughness)
    spread = np.sqrt(np.maximum(catchments.mean(land.altitude**2) - mean**2, 0) + roughness**2)
    size = np.log10(area)
    p10 = mean * np.exp(-1.25 * spread / (mean + spread))
    p90 = mean + 1.15 * spread
    to_degrees = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(catchments.easting, catchments.northing)
    rise = 0.9 * spread * np.exp(0.3 * scatter[0]) * size / 2.2
    wetness_mean = catchments.mean(wetness)
    return {
        "latitude": np.round(latitude, 5),
        "longitude": np.round(longitude, 5),
        "minimum-altitude": np.round(p10 * np.clip(0.75 - 0.2 * size + 0.1 * scatter[1], 0.05, 0.9), 1),
        "maximum-altitude": np.round(p90 + np.maximum(rise, 10), 1),
        "50-percentile-altitude": np.round(mean - 0.1 * spread * mean / (mean + spread), 1),
        "10-percentile-altitude": np.round(p10, 1),
        "90-percentile-altitude": np.round(p90, 1),
        "catchment-area": area,
        "dpsbar": np.round(np.clip((8 + 2.1 * roughness) * np.exp(0.15 * scatter[2]), 12, 490), 1),
        "propwet": np.round(np.clip(0.0 + 0.47 * np.sqrt(wetness_mean) + 0.03 * scatter[3], 0.21, 0.85), 2),
        "bfihost": np.round(np.clip(catchments.mean(land.permeability) + 0.06 * scatter[4], 0.18, 0.97), 3),
    }
