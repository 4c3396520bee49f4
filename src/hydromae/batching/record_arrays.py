"""A record in memory: scaled values by site, from which windows are cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int

from hydromae.batching.batch import CellWeights, FlowTransform, SiteMetadata
from hydromae.batching.shared_arrays import SharedFolder, map_blocks, materialize, series_blocks
from hydromae.config import Config
from hydromae.footprints import bisect_sites, disc_footprints
from hydromae.grid import GridSpec
from hydromae.io.catchment_footprints import map_footprints
from hydromae.io.conventions import catchment_positions
from hydromae.store.scaling import Scaling
from hydromae.store.training_domain import TrainingDomain
from hydromae.variables import ATTRIBUTES, MODALITIES

VARIANCE_FLOOR = 0.02
"""Added to a catchment's variance (scaled, and of flow in mm²/day²), so that a nearly constant river does not dominate the
loss."""

DAYS_PER_SCAN = 64
"""Days in one block of a search for observed values."""


@dataclass(frozen=True)
class RecordArrays:
    """Scaled values of every modality of a model, NaN where unobserved.

    Attributes:
        days (Int[T]): Days since 1970-01-01, consecutive.
        values (dict of Float[T, S, F]): float16 for maps, float32 for series.
        variance (dict of Float[S, F]): Divisor of squared errors.
        site_metadata: By kind, for one window (B = 1).
        cells: Footprints.
        groups (Int[S, V]): Index of the catchment in every slot of every series site, −1 at padding.
        catchments (array (C,)): Their names.
        patches (Int[P]): Flat numbers of the map sites; empty without maps.
        cell_layout (patch, pixel, inside) or None: For each cell in a land patch the index of the patch among the sites, its
            pixel, and its index along `cell`.
        degree_stds (float, float): Standard deviations of latitude and longitude in the scaling [degrees].
        domain: Attributes and positions outside the training domain of the model.
        flow_transform: For one window (B = 1), for the loss in units of flow.
    """

    days: Int[np.ndarray, " T"]
    values: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]
    site_metadata: dict[str, SiteMetadata]
    cells: CellWeights | None
    groups: Int[np.ndarray, "S V"]
    catchments: np.ndarray
    patches: Int[np.ndarray, " P"]
    cell_layout: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    degree_stds: tuple[float, float]
    domain: TrainingDomain
    flow_transform: FlowTransform | None = None

    def kind(self, name: str) -> str:
        """Map or series."""
        return MODALITIES[name].kind

    def exists(self, name: str) -> Bool[np.ndarray, "S F"]:
        """Values of a modality's sites that belong to a catchment or a cell; others are padding of a group, or sea."""
        if self.kind(name) == "series":
            return np.repeat(self.groups >= 0, len(MODALITIES[name].variables), axis=1)
        is_cell = np.zeros(self.values[name].shape[1:], dtype=bool)
        if self.cell_layout is not None:
            patch, pixel, _ = self.cell_layout
            is_cell[patch, pixel] = True
        return is_cell

    def day_range(self, period: tuple[str, str]) -> tuple[int, int]:
        """First and last day index of a period within the record; last < first if they do not overlap."""
        first_day, last_day = (int(np.datetime64(day, "D").astype(int)) for day in period)
        return max(0, first_day - int(self.days[0])), min(len(self.days) - 1, last_day - int(self.days[0]))

    def has_observations(self, name: str, first: int, last: int) -> bool:
        """Whether a modality has any observed value from a first to a last day index."""
        days = range(first, last + 1, DAYS_PER_SCAN)
        return any(bool(np.isfinite(self.values[name][day : min(day + DAYS_PER_SCAN, last + 1)]).any()) for day in days)


def to_record_arrays(
    dataset: xr.Dataset,
    config: Config,
    scaling: Scaling,
    grid: GridSpec | None = None,
    shared: SharedFolder | None = None,
) -> RecordArrays:
    """Scale a record and arrange it by site: catchments in groups, map cells in land patches.

    Args:
        dataset: A record in canonical units (docs/design.md, section 10). Variables that it lacks are unobserved.
        config: Modalities, and the number of catchments in a token.
        grid: Grid of the maps.
        shared: Where given, the values are in files that all processes of a machine share.

    Raises:
        InputError: A store is damaged, a catchment has no position, or a shared file cannot be written.
    """
    modalities = [MODALITIES[name] for name in config.model.modalities]
    times = dataset["time"].values.astype("datetime64[D]").astype(np.int64)
    easting, northing = catchment_positions(dataset)
    groups = neighbour_groups(easting, northing, config.data.vector_patch_size)
    domain = TrainingDomain.of(dataset, scaling)
    metadata = {"series": _catchment_metadata(dataset, easting, northing, groups, scaling, domain)}
    values, variance, cells, patches, cell_layout = {}, {}, None, np.zeros(0, dtype=np.int64), None
    training = _training_days(times, config)
    for modality in modalities:
        if modality.kind == "series":
            shape = (len(times), len(groups), groups.shape[1] * len(modality.variables))
            footprints = map_footprints(dataset, modality)
            blocks = series_blocks(dataset, modality, groups, scaling, footprints)
            values[modality.name] = materialize(shared, modality.name, shape, np.float32, blocks)
            divide = config.train.nse_loss and modality.name == "riverflow"
            variance[modality.name] = _variance(values[modality.name], training, divide)
    if any(modality.kind == "map" for modality in modalities):
        grid = grid or GridSpec()
        patches, cell_layout = _cell_layout(dataset, grid)
        metadata["map"] = _patch_metadata(patches, grid, easting, northing)
        for modality in modalities:
            if modality.kind == "map":
                shape = (len(times), max(1, len(patches)), grid.patch**2)
                blocks = map_blocks(dataset, modality, scaling, cell_layout, shape[1:])
                values[modality.name] = materialize(shared, modality.name, shape, np.float16, blocks)
                variance[modality.name] = np.ones(values[modality.name].shape[1:], dtype=np.float32)
        if config.model.footprints and len(patches):
            cells = _footprints(dataset, groups, grid, cell_layout)
    uses_flow = config.train.flow_loss_weight and "riverflow" in values and "riverflow" in scaling
    stds = tuple(scaling[name].std if name in scaling else 1.0 for name in ("latitude", "longitude"))
    return RecordArrays(
        times,
        values,
        variance,
        metadata,
        cells,
        groups,
        dataset["catchment"].values,
        patches,
        cell_layout,
        (stds[0], stds[1]),
        domain,
        _flow_transform(values["riverflow"], scaling, training) if uses_flow else None,
    )


def neighbour_groups(
    easting: Float[np.ndarray, " C"], northing: Float[np.ndarray, " C"], size: int
) -> Int[np.ndarray, "S V"]:
    """Catchments in groups of `size` neighbours (`footprints.bisect_sites`); the last group is padded with −1."""
    count = len(easting)
    if size == 1:
        return np.arange(count)[:, None]
    parts = sorted(bisect_sites(easting, northing, size), key=len, reverse=True)
    groups = np.full((len(parts), size), -1)
    for row, part in zip(groups, parts, strict=True):
        row[: len(part)] = part
    return groups


def _training_days(times: np.ndarray, config: Config) -> np.ndarray:
    first_day, last_day = (np.datetime64(day, "D").astype(np.int64) for day in config.data.training_period)
    return (times >= first_day) & (times <= last_day)


def _variance(values: np.ndarray, training: np.ndarray, divide: bool) -> Float[np.ndarray, "S F"]:
    if not divide or not training.any():
        return np.ones(values.shape[1:], dtype=np.float32)
    is_finite = np.isfinite(values[training])
    count = np.maximum(is_finite.sum(axis=0), 1)
    filled = np.where(is_finite, values[training], 0.0)
    mean = filled.sum(axis=0) / count
    stds = (np.where(is_finite, values[training] - mean, 0.0) ** 2).sum(axis=0) / count
    return np.where(count > 1, stds + VARIANCE_FLOOR, 1.0).astype(np.float32)


def _flow_transform(root: Float[np.ndarray, "T S F"], scaling: Scaling, training: np.ndarray) -> FlowTransform:
    """Scaling of flow in float32, the precision of the loss, and its variance over the training days."""
    flow = scaling.unscale("riverflow", root[training])
    variance = _variance(flow, np.ones(len(flow), dtype=bool), divide=True)
    exact = scaling["riverflow"]
    rounded = replace(exact, mean=float(np.float32(exact.mean)), std=float(np.float32(exact.std)))
    return FlowTransform(rounded, torch.from_numpy(variance)[None])


def _catchment_metadata(
    dataset: xr.Dataset,
    easting: np.ndarray,
    northing: np.ndarray,
    groups: np.ndarray,
    scaling: Scaling,
    domain: TrainingDomain,
) -> SiteMetadata:
    """Metadata of the catchments; attributes outside the training domain are unknown."""
    columns = []
    for attribute in ATTRIBUTES:
        raw = dataset[attribute.name].values if attribute.name in dataset else np.full(len(easting), np.nan)
        in_scaling = attribute.name in scaling
        columns.append(scaling.scale(attribute.name, raw.astype(np.float64)) if in_scaling else raw * np.nan)
    slot = np.maximum(groups, 0)
    attributes = np.where(domain.unknown, np.nan, np.stack(columns, axis=-1)).astype(np.float32)[slot]
    known = np.isfinite(attributes) & (groups >= 0)[..., None]
    position = np.stack([easting, northing], axis=-1)[slot] / 1000
    metadata = _metadata_tensors(
        position * (groups >= 0)[..., None], groups >= 0, np.where(known, attributes, 0.0), known
    )
    located = torch.from_numpy(~domain.position[slot])[None] if domain.position.any() else None
    return replace(metadata, is_located=located)


def _patch_metadata(patches: np.ndarray, grid: GridSpec, easting: np.ndarray, northing: np.ndarray) -> SiteMetadata:
    """Centres of the land patches; a record without maps has one patch, at the mean position of the catchments."""
    position = np.stack(grid.patch_position(patches), axis=-1)
    if not len(patches):
        position = np.array([[easting.mean(), northing.mean()]])
    position = position[:, None] / 1000
    attributes = np.zeros((*position.shape[:2], len(ATTRIBUTES)))
    return _metadata_tensors(
        position, np.ones(position.shape[:2], dtype=bool), attributes, np.zeros(attributes.shape, dtype=bool)
    )


def _metadata_tensors(
    position: np.ndarray, valid: np.ndarray, attributes: np.ndarray, known: np.ndarray
) -> SiteMetadata:
    return SiteMetadata(
        torch.from_numpy(position.astype(np.float32))[None],
        torch.from_numpy(valid)[None],
        torch.from_numpy(attributes.astype(np.float32))[None],
        torch.from_numpy(known)[None],
    )


def _cell_layout(dataset: xr.Dataset, grid: GridSpec) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Land patches, and `RecordArrays.cell_layout`."""
    flat = dataset["cell"].values.astype(np.int64) if "cell" in dataset.dims else np.zeros(0, dtype=np.int64)
    patches = grid.land_patches_of(flat)
    patch, pixel = grid.patch_of(flat)
    patch_index = np.searchsorted(patches, patch).clip(max=max(0, len(patches) - 1))
    inside = np.flatnonzero(patches[patch_index] == patch) if len(patches) else np.zeros(0, dtype=np.int64)
    return patches, (patch_index[inside], pixel[inside], inside)


def _footprints(
    dataset: xr.Dataset, groups: np.ndarray, grid: GridSpec, cell_layout: tuple[np.ndarray, ...]
) -> CellWeights:
    patch, pixel, inside = cell_layout
    cell_easting, cell_northing = grid.cell_position(dataset["cell"].values.astype(np.int64)[inside])
    easting, northing = catchment_positions(dataset, centroids=True)
    area = dataset["catchment-area"].values if "catchment-area" in dataset else np.full(len(easting), np.nan)
    footprints = disc_footprints(
        cell_easting, cell_northing, easting, northing, area.astype(np.float64), grid.cell_size
    )
    slot = np.zeros(len(easting), dtype=np.int64)
    slot[groups[groups >= 0]] = np.flatnonzero((groups >= 0).ravel())
    return CellWeights(
        torch.from_numpy(slot[footprints.catchment]),
        torch.from_numpy(patch[footprints.cell]),
        torch.from_numpy(pixel[footprints.cell]),
        torch.from_numpy(footprints.weight.astype(np.float32)),
    )
