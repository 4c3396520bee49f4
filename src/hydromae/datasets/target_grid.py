"""Land cells of a grid to which maps are converted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Int

from hydromae.datasets.land import cell_coordinates, land_cells
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.conventions import set_cf_attributes, to_daily
from hydromae.io.unobserved import is_missing_code, unobserved_to_nan
from hydromae.io.value_ranges import check_ranges

LAND_SHARE = 0.05
"""Minimum share of land of a cell."""


@dataclass(frozen=True)
class TargetGrid:
    """Land cells of a grid.

    Attributes:
        land (DataArray (row, column) or None): Share of land on the grid (`read_land_fraction`); None keeps all cells that
            the first map observes.
        threshold: Minimum share of land of a cell.
    """

    grid: GridSpec = field(default_factory=GridSpec)
    land: xr.DataArray | None = None
    threshold: float = LAND_SHARE

    def cells(self, first: np.ndarray, source: str | Path) -> Int[np.ndarray, " N"]:
        """Return the flat numbers of the land cells; `first` is the first map on all cells of the grid."""
        if self.land is None:
            return np.flatnonzero(~is_missing_code(first))
        if self.land.shape != self.grid.shape:
            raise InputError(
                f"{source}: {self.grid.rows} × {self.grid.columns} cells, but the land mask has {self.land.shape[0]} × "
                f"{self.land.shape[1]}; give a mask on the same grid"
            )
        return land_cells(self.land, self.threshold)

    def record(
        self,
        values: xr.DataArray,
        cell: Int[np.ndarray, " N"],
        long_name: str,
        source: str | Path,
        monthly: bool = False,
    ) -> xr.Dataset:
        """Return a record of one variable with canonical values `(time, cell)` on the land cells.

        Args:
            values (DataArray (time, cell)): Values, named as the variable.
            cell (int array (N,)): Flat numbers of the cells.
            long_name: Long name of the variable.
            source: Name of the file, for messages.
            monthly: Keep the time axis instead of a complete daily axis.
        """
        name = str(values.name)
        record = xr.Dataset({name: unobserved_to_nan(values)})
        record = record.assign_coords(cell_coordinates(cell, self.grid, self.land).coords)
        record[name].attrs |= {"grid_mapping": "crs", "long_name": long_name}
        record = record if monthly else to_daily(record, str(source))
        return set_cf_attributes(check_ranges(record, str(source)))
