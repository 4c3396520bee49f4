"""Footprints of the catchments of a record on the cells of maps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Int

from hydromae.footprints import Footprints, disc_footprints
from hydromae.grid import GridSpec
from hydromae.io.conventions import catchment_positions
from hydromae.io.parse import grid_from_json
from hydromae.variables import Modality

MAX_CELL_DISTANCE = 2.0
"""Maximum distance from a catchment to the nearest land cell [cells]; beyond it, the catchment is outside the maps."""


def catchment_footprints(record: xr.Dataset, cell: Int[np.ndarray, " N"], grid: GridSpec) -> Footprints:
    """Return discs of the catchments of a record on land cells, by their flat numbers on a grid."""
    area = record["catchment-area"].values if "catchment-area" in record else np.full(record.sizes["catchment"], np.nan)
    positions = catchment_positions(record, centroids=True)
    reach = MAX_CELL_DISTANCE * grid.cell_size
    return disc_footprints(*grid.cell_position(cell), *positions, area.astype(np.float64), grid.cell_size, reach)


def map_footprints(record: xr.Dataset, modality: Modality) -> Footprints | None:
    """Return the footprints of the catchments of a record that has variables of a series modality as maps, or None."""
    names = [variable.name for variable in modality.variables]
    if modality.kind != "series" or not any(name in record and "cell" in record[name].dims for name in names):
        return None
    grid = grid_from_json(str(record.attrs["grid"]), "the grid of the record") if "grid" in record.attrs else GridSpec()
    return catchment_footprints(record, record["cell"].values.astype(np.int64), grid)
