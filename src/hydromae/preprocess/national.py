"""National record with maps derived from catchments, in blocks of days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr
from jaxtyping import Float

from hydromae.datasets import derived, haduk
from hydromae.datasets.derived import BlockKriging, Bucket
from hydromae.datasets.simulated_maps import ConditionalField
from hydromae.datasets.target_grid import LAND_SHARE
from hydromae.errors import InputError
from hydromae.footprints import disc_footprints, footprint_mean
from hydromae.grid import GridSpec
from hydromae.io.conventions import catchment_positions, set_cf_attributes
from hydromae.io.seed_layout import MAPS
from hydromae.store.zarr_store import SHARD_DAYS
from hydromae.variables import SERIES_BESIDE_MAPS

SERIES = {
    **{variable.name: name for name, variable in SERIES_BESIDE_MAPS.items()},
    "evaporation": "potential_evaporation",
    "potential_evaporation": "potential_evaporation",
    "riverflow": "riverflow",
}
"""Series of a national record, and their sources."""
SPIN_UP_DAYS = 730  # spin-up of the bucket model; its initial state decays in about a year
SIMULATED = ("precipitation", "temperature")
"""Maps that `simulation_seed` changes."""
KRIGED = "derived, not measured: block kriging of catchment means"


def _no_maps(first: int, last: int) -> Mapping[str, np.ndarray]:
    """Return no observed maps."""
    return {}


@dataclass(frozen=True)
class MapMaker:
    """Computation of the derived maps of a national record, in blocks.

    Attributes:
        kriging: Interpolation from catchments to cells.
        cells: Coordinates of the land cells.
        rain, temperature (array (N,), array (C,)): Normals of the cells and of the catchments [mm/day, °C].
        notes: Variable -> derivation.
        simulation: Conditional simulation of rain and temperature between the catchments; None for their mean.
    """

    kriging: BlockKriging
    cells: xr.Dataset
    rain: tuple[Float[np.ndarray, " N"], Float[np.ndarray, " C"]]
    temperature: tuple[Float[np.ndarray, " N"], Float[np.ndarray, " C"]]
    notes: dict[str, str]
    bucket: Bucket = field(default_factory=Bucket)
    simulation: ConditionalField | None = None

    @classmethod
    def build(
        cls,
        record: xr.Dataset,
        cells: xr.Dataset,
        grid: GridSpec,
        fraction: xr.DataArray,
        rain_normal: str | Path | None,
        temperature_normal: str | Path | None,
        simulation_seed: int | None = None,
    ) -> MapMaker:
        """Compute the interpolation from positions and areas of the catchments and optional normals."""
        east, north = catchment_positions(record, centroids=True)
        cell_east, cell_north = cells["cell_easting"].values, cells["cell_northing"].values
        area = record["catchment-area"].values.astype(np.float64)
        footprints = disc_footprints(cell_east, cell_north, east, north, area, grid.cell_size)
        catchments = record.sizes["catchment"]
        kriging = BlockKriging.build(footprints, cell_east, cell_north, catchments)

        def normals(path: str | Path | None, constant: float) -> tuple[np.ndarray, np.ndarray]:
            cell = np.full(cells.sizes["cell"], constant) if path is None else _normal(path, fraction, cells)
            return cell, footprint_mean(footprints, cell[None], catchments)[0]

        notes = {
            "precipitation": f"{KRIGED}{_relative(rain_normal, 'as a share of')}",
            "temperature": f"{KRIGED}{_relative(temperature_normal, 'as a difference from')}",
            "soil_moisture": "derived, not measured: bucket driven by derived rain and derived potential evaporation",
            "evaporation": f"potential evaporation, {record['potential_evaporation'].attrs.get('derived', 'as given')}",
        }
        simulation = None
        if simulation_seed is not None:
            simulation = ConditionalField.build(kriging, footprints, cells["cell"].values, grid, simulation_seed)
            notes |= {n: f"{notes[n]}; simulated between them, seed {simulation_seed}" for n in SIMULATED}
        normal_values = normals(rain_normal, 1.0), normals(temperature_normal, 0.0)
        return cls(kriging, cells, *normal_values, notes, simulation=simulation)

    def maps(
        self, block: xr.Dataset, storage: np.ndarray, measured: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> tuple[xr.Dataset, np.ndarray]:
        """Return rain, soil moisture and temperature of a block of days, and the final storage of the bucket [mm].

        Maps in `measured` (time, cell) replace derived ones; the bucket uses derived rain where measured rain is missing.
        """
        days = block["time"].values.astype("datetime64[D]").astype(np.int64)
        rain = derived.rain_maps(self.kriging, block["precipitation"].values, *self.rain)
        if self.simulation is not None:
            rain = self.simulation.rain(rain, block["precipitation"].values / self.rain[1], days)
        if "precipitation" in measured:
            rain = np.where(np.isfinite(measured["precipitation"]), measured["precipitation"], rain)
        temperature = derived.temperature_maps(self.kriging, block["temperature"].values, *self.temperature)
        if self.simulation is not None:
            temperature = self.simulation.temperature(
                temperature, block["temperature"].values - self.temperature[1], days
            )
        demand = self.kriging.maps(block["potential_evaporation"].values)
        soil, storage = self.bucket.run(rain, demand, storage)
        values = {
            "precipitation": np.round(rain, 2),
            "soil_moisture": np.round(soil, 4),
            "temperature": np.round(temperature, 2),
        } | dict(measured)
        return xr.Dataset({n: (("time", "cell"), v) for n, v in values.items()}), storage

    def blocks(
        self,
        record: xr.Dataset,
        selected: xr.Dataset,
        measured: Callable[[int, int], Mapping[str, np.ndarray]] = _no_maps,
    ) -> Iterator[xr.Dataset]:
        """Yield blocks of `SHARD_DAYS` days of the national record, after the spin-up of the bucket.

        `measured` returns observed maps of days of `selected`, from first to last (exclusive).
        """
        storage = self.bucket.start(self.cells.sizes["cell"])
        first = int(record.indexes["time"].searchsorted(selected.indexes["time"][0]))
        before = record.isel(time=slice(max(0, first - SPIN_UP_DAYS), first))
        for block in _iter_blocks(before):
            _, storage = self.maps(block, storage)
        for start, block in zip(range(0, selected.sizes["time"], SHARD_DAYS), _iter_blocks(selected), strict=True):
            maps, storage = self.maps(block, storage, measured(start, start + block.sizes["time"]))
            series = {name: block[source] for name, source in SERIES.items()}
            yield maps.assign({n: v.transpose("time", "catchment").variable for n, v in series.items()})

    def template(self, selected: xr.Dataset) -> xr.Dataset:
        """Return the national record without values: dimensions, coordinates, attributes, derivations."""
        static = selected.drop_vars(["precipitation", "temperature", "potential_evaporation", "riverflow"])
        static = static.merge(self.cells)
        empty = np.broadcast_to(np.float32(np.nan), (selected.sizes["time"], self.cells.sizes["cell"]))
        maps = {n: (("time", "cell"), empty, {"grid_mapping": "crs"}) for n in MAPS}
        series = {name: selected[source] for name, source in SERIES.items()}
        template = set_cf_attributes(static.assign(maps | series))
        for name, note in self.notes.items():
            template[name].attrs["derived"] = note
        return template


def _relative(normal: str | Path | None, relation: str) -> str:
    return "" if normal is None else f", {relation} the mean of {Path(normal).name}"


def _iter_blocks(record: xr.Dataset) -> Iterator[xr.Dataset]:
    for start in range(0, record.sizes["time"], SHARD_DAYS):
        piece = record[["precipitation", "temperature", "potential_evaporation", "riverflow"]]
        yield piece.isel(time=slice(start, start + SHARD_DAYS)).load()


def _normal(path: str | Path, fraction: xr.DataArray, cells: xr.Dataset) -> Float[np.ndarray, " N"]:
    """Return the temporal mean of a HadUK file on the land cells; unobserved cells take the nearest observed one."""
    maps = haduk.read_haduk(path, fraction, LAND_SHARE)
    (name,) = maps.data_vars
    mean = maps[name].mean("time").values.astype(np.float64)
    is_missing = ~np.isfinite(mean)
    if is_missing.all():
        raise InputError(f"{path}: has no observed land cell; give a HadUK-Grid file of the same grid")
    east, north = cells["cell_easting"].values, cells["cell_northing"].values
    squared_distance = (east[is_missing, None] - east[~is_missing]) ** 2 + (
        north[is_missing, None] - north[~is_missing]
    ) ** 2
    mean[is_missing] = mean[~is_missing][squared_distance.argmin(1)]
    return mean
