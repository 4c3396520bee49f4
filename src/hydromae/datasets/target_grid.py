"""Where maps are brought to: the land cells of a grid; and the record that maps on these cells make."""

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


@dataclass(frozen=True)
class TargetGrid:
    """The land cells of a grid.

    Attributes:
        land (DataArray (row, column) or None): Share of land on the grid (`land.read`); without it all cells are kept that
            the first map observes.
        threshold: Share of land from which a cell is kept.
    """

    grid: GridSpec = field(default_factory=GridSpec)
    land: xr.DataArray | None = None
    threshold: float = 0.05

    def cells(self, first: np.ndarray, source: str | Path) -> Int[np.ndarray, " N"]:
        """Flat numbers of the cells that are kept; `first` is the first map on all cells of the grid."""
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
        """A record of one variable, whose values `(time, cell)` are in canonical units on these cells.

        Args:
            values (DataArray (time, cell)): Named as the variable.
            cell (int array (N,)): Flat numbers of the cells.
            long_name: The variable's long name.
            source: The file, for messages.
            monthly: Leave time as it is, instead of bringing it to days without gaps.
        """
        name = str(values.name)
        record = xr.Dataset({name: unobserved_to_nan(values)})
        record = record.assign_coords(cell_coordinates(cell, self.grid, self.land).coords)
        record[name].attrs |= {"grid_mapping": "crs", "long_name": long_name}
        record = record if monthly else to_daily(record, str(source))
        return set_cf_attributes(check_ranges(record, str(source)))
