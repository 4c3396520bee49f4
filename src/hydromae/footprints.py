"""Footprints of catchments on the cells of a map, and groups of neighbouring sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Footprints:
    """Sparse weights of land cells: entry k gives cell `cell[k]` the weight `weight[k]` in catchment `catchment[k]`.

    `cell` is an index along the `cell` dimension of a store (land cells only). The weights of a catchment have the sum 1.
    Entries are sorted by catchment.
    """

    catchment: Int[np.ndarray, " N"]
    cell: Int[np.ndarray, " N"]
    weight: Float[np.ndarray, " N"]


def disc_footprints(
    cell_easting: Float[np.ndarray, " N"],
    cell_northing: Float[np.ndarray, " N"],
    easting: Float[np.ndarray, " C"],
    northing: Float[np.ndarray, " C"],
    area: Float[np.ndarray, " C"],
    cell_size: float,
    max_distance: float = np.inf,
) -> Footprints:
    """Footprints from positions and areas: a disc of the catchment's area around its position.

    Args:
        cell_easting, cell_northing (arrays (N,)): Centres of the land cells [m].
        easting, northing (arrays (C,)): Centroid of each catchment, or its gauge where no centroid is known [m].
        area (array (C,)): Catchment area [km²]; NaN means one cell.
        cell_size: Width of a cell [m].
        max_distance: Maximum distance of the nearest cell from the disc [m]; a catchment beyond it has no footprint.

    Returns:
        Footprints: Equal weights of the cells whose centres are in the disc, or the nearest cell. Catchment boundaries, where
            available, are more accurate.

    Examples:
        Three cells of 1 km in a row, and a catchment of π km² around the second: a disc of 1 km radius.

        >>> east, north = np.array([0.0, 1000.0, 2000.0]), np.zeros(3)
        >>> disc = disc_footprints(east, north, east[1:2], north[1:2], np.array([3.15]), 1000.0)
        >>> disc.cell.tolist(), disc.weight.round(3).tolist()
        ([0, 1, 2], [0.333, 0.333, 0.333])
    """
    area_or_cell = np.where(np.isfinite(area), area, cell_size**2 / 1e6)
    radius = np.sqrt(area_or_cell * 1e6 / np.pi)
    squared_distance = (cell_easting[None, :] - easting[:, None]) ** 2 + (
        cell_northing[None, :] - northing[:, None]
    ) ** 2
    inside = squared_distance <= radius[:, None] ** 2
    nearest = squared_distance.argmin(axis=1)
    catchments = np.arange(len(easting))
    is_near = squared_distance[catchments, nearest] <= (radius + max_distance) ** 2
    inside[catchments[is_near], nearest[is_near]] = True
    catchment, cell = np.nonzero(inside)
    weight = 1.0 / inside.sum(axis=1)[catchment]
    return Footprints(catchment, cell, weight)


def footprint_mean(footprints: Footprints, maps: Float[np.ndarray, "T N"], catchments: int) -> Float[np.ndarray, "T C"]:
    """Weighted mean of each catchment's cells on each day, without NaN; NaN if all cells are NaN or there is none."""
    mean = np.full((len(maps), catchments), np.nan)
    present, start = np.unique(footprints.catchment, return_index=True)
    if not len(present):
        return mean
    values = maps[:, footprints.cell]
    is_finite = np.isfinite(values)
    total = np.add.reduceat(np.where(is_finite, values, 0.0) * footprints.weight, start, axis=1)
    share = np.add.reduceat(is_finite * footprints.weight, start, axis=1)
    mean[:, present] = np.where(share > 0, total / np.maximum(share, 1e-12), np.nan)
    return mean


def bisect_sites(
    easting: Float[np.ndarray, " C"], northing: Float[np.ndarray, " C"], size: int
) -> list[Int[np.ndarray, " N"]]:
    """Groups of at most `size` neighbours, by recursive bisection along the longer side, at multiples of `size`.

    Every group but one has exactly `size` members. The cost grows as C log² C.
    """
    position = np.stack([easting, northing])

    def bisect(members: np.ndarray) -> list[np.ndarray]:
        if len(members) <= size:
            return [members]
        along = position[:, members]
        axis = int(np.ptp(along[1]) > np.ptp(along[0]))
        ordered = members[np.argsort(along[axis], kind="stable")]
        half = max(size, len(members) // 2 // size * size)
        return bisect(ordered[:half]) + bisect(ordered[half:])

    return bisect(np.arange(len(easting)))
