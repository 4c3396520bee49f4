"""The grid of the maps: positions of its cells, and its division into square patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class GridSpec:
    """A regular grid on the British National Grid (EPSG:27700), divided into square patches.

    Attributes:
        rows, columns: Cells northward and eastward.
        cell_size: Width of a cell [m].
        northing, easting: Centre of the first (southern, western) row and column [m].
        patch: Cells along the side of a patch.
        land_threshold: Smallest share of land cells of a patch that is a site.
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

    def same_cells_as(self, other: GridSpec) -> bool:
        """Whether the cells are the same, whatever the patches."""
        same = (self.shape, self.cell_size, self.northing, self.easting)
        return same == (other.shape, other.cell_size, other.northing, other.easting)

    def cell_position(self, cell: Int[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Easting and northing [m] of the centres of flat cell numbers (row × columns + column)."""
        row, column = np.divmod(cell, self.columns)
        return self.easting + column * self.cell_size, self.northing + row * self.cell_size

    def patch_of(self, cell: Int[np.ndarray, " N"]) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Flat patch number of each flat cell number, and the pixel number of the cell in the patch."""
        row, column = np.divmod(cell, self.columns)
        patch = (row // self.patch) * self.patch_shape[1] + column // self.patch
        pixel = (row % self.patch) * self.patch + column % self.patch
        return patch, pixel

    def land_patches(self, land: Bool[np.ndarray, "rows columns"]) -> Int[np.ndarray, " P"]:
        """Flat numbers of the patches whose share of land cells is at least `land_threshold`, ascending."""
        patch_rows, patch_columns = self.patch_shape
        blocks = land[: patch_rows * self.patch, : patch_columns * self.patch].reshape(
            patch_rows, self.patch, patch_columns, self.patch
        )
        return np.flatnonzero(blocks.mean(axis=(1, 3)).ravel() >= self.land_threshold)

    def land_patches_of(self, cell: Int[np.ndarray, " N"]) -> Int[np.ndarray, " P"]:
        """As `land_patches`, of flat cell numbers: the cells of a record are its land."""
        land = np.zeros(self.shape, dtype=bool)
        land.ravel()[cell] = True
        return self.land_patches(land)

    def patch_position(self, patch: Int[np.ndarray, " P"]) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Easting and northing [m] of the centres of flat patch numbers."""
        row, column = np.divmod(patch, self.patch_shape[1])
        middle = (self.patch - 1) / 2
        east = self.easting + (column * self.patch + middle) * self.cell_size
        return east, self.northing + (row * self.patch + middle) * self.cell_size
