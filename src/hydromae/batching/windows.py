"""Windows of a record, deterministic and with random access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped

from hydromae.batching.antecedent import antecedent_features
from hydromae.batching.batch import Batch, map_tensors
from hydromae.batching.record_arrays import RecordArrays
from hydromae.config import Config, DataConfig
from hydromae.errors import InputError
from hydromae.variables import ATTRIBUTES, MODALITIES

ALWAYS_KNOWN_ATTRIBUTES = ("latitude", "longitude", "catchment-area")
"""Attributes that `attribute_dropout` keeps, because they are known for any site."""
KM_PER_DEGREE = 111.2


def cut_batch(
    record: RecordArrays,
    starts: Int[np.ndarray, " B"],
    length: int,
    sites: Int[np.ndarray, "B S"] | None = None,
    antecedent_days: Sequence[int] | None = None,
    patches: Int[np.ndarray, "B P"] | None = None,
) -> Batch:
    """Windows of `length` days from day indices `starts`, with the given series sites and patches (all where None).

    Days outside the record are unobserved. `antecedent_days` is the length of the antecedent weather of each window.
    """
    values, observed, variance, chosen = {}, {}, {}, {"series": sites, "map": patches}
    for name, values_of_record in record.values.items():
        chosen_sites = chosen[record.kind(name)]
        cut = torch.from_numpy(_cut_days(values_of_record, starts, length, chosen_sites)).float()
        observed[name] = torch.from_numpy(np.isfinite(cut.numpy()))
        values[name] = cut.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        variance[name] = _for_windows(torch.from_numpy(record.variance[name])[None], len(starts), chosen_sites)
    metadata = {kind: _for_windows(site, len(starts), chosen[kind]) for kind, site in record.site_metadata.items()}
    days = int(record.days[0]) + starts[:, None] + np.arange(length)
    antecedent = None if antecedent_days is None else _antecedent_features(record, starts, antecedent_days, sites)
    flow = _for_windows(record.flow_transform, len(starts), sites)
    return Batch(
        values, observed, variance, torch.from_numpy(days), metadata, record.cells, antecedent, flow_transform=flow
    )


def _antecedent_features(
    record: RecordArrays,
    starts: Int[np.ndarray, " B"],
    antecedent_days: Sequence[int],
    sites: Int[np.ndarray, "B S"] | None,
) -> torch.Tensor:
    weather = record.values["weather"]
    parts = [
        antecedent_features(weather, int(start), days, None if sites is None else sites[window])
        for window, (start, days) in enumerate(zip(starts, antecedent_days, strict=True))
    ]
    return torch.from_numpy(np.stack(parts))


def _cut_days(
    values_of_record: Shaped[np.ndarray, "D S F"],
    starts: Int[np.ndarray, " B"],
    length: int,
    sites: Int[np.ndarray, "B K"] | None,
) -> Shaped[np.ndarray, "B T K F"]:
    """Copies of consecutive days of some sites (all where None), NaN outside the record."""
    width = values_of_record.shape[1] if sites is None else sites.shape[1]
    cut = np.empty((len(starts), length, width, values_of_record.shape[2]), dtype=values_of_record.dtype)
    for window, start in enumerate(starts.tolist()):
        first, last = min(max(start, 0), len(values_of_record)), max(min(start + length, len(values_of_record)), 0)
        inside = slice(first - start, max(last, first) - start)
        if sites is None:
            cut[window, inside] = values_of_record[first:last]
        else:
            values_of_record[first:last].take(sites[window], axis=1, out=cut[window, inside], mode="clip")
        cut[window, : inside.start] = np.nan
        cut[window, inside.stop :] = np.nan
    return cut


def _for_windows(nested: Any, size: int, sites: Int[np.ndarray, "B S"] | None) -> Any:
    """Tensors [1, S, …] as [B, K, …], with the sites of each window (all where None)."""
    if sites is None:
        return map_tensors(nested, lambda part: part.expand(size, *part.shape[1:]))
    index = torch.from_numpy(sites)
    return map_tensors(nested, lambda part: part[0][index])


@dataclass(frozen=True)
class Windows:
    """Training or validation windows of a record, numbered from 0 through all epochs.

    A window depends on the seed and its number only, so batches may be divided between processes in any way.

    Attributes:
        first, last: Day indices of the period.
        nearest_sites (Int[S, M] or None): The nearest sites of each series site, itself first; None where every window has
            all sites.
        nearest_patches (Int[S, P] or None): The nearest patches of each series site; None where every window has all.
        epoch: Windows in an epoch.
        augment: Whether attributes and variables are dropped and positions shifted.
        fold_index (Int[S] or None): Index of the out-of-fold LSTM that was trained without each series site.
    """

    record: RecordArrays
    config: DataConfig
    first: int
    last: int
    nearest_sites: Int[np.ndarray, "S M"] | None
    seed: int
    epoch: int
    augment: bool
    fold_index: Int[np.ndarray, " S"] | None = None
    nearest_patches: Int[np.ndarray, "S P"] | None = None

    def __call__(self, window_numbers: range) -> Batch:
        """The windows of these numbers, in one batch."""
        generators = [np.random.default_rng([self.seed, 1, number]) for number in window_numbers]
        start_days = np.array([self._start(number) for number in window_numbers])
        sites = None
        if self.nearest_sites is not None:
            shift = np.array([generator.integers(0, self.config.stride) for generator in generators])
            start_days = np.minimum(start_days + shift, self.last - self.config.sequence_length + 1)
            sites = np.stack([self._neighbourhood(generator) for generator in generators])
        antecedent_days = (
            [self._draw_antecedent_days(generator) for generator in generators] if self.config.antecedent_days else None
        )
        patches = None if sites is None or self.nearest_patches is None else self.nearest_patches[sites[:, 0]]
        batch = cut_batch(self.record, start_days, self.config.sequence_length, sites, antecedent_days, patches)
        if self.fold_index is not None:
            fold_index = self.fold_index[sites] if sites is not None else np.tile(self.fold_index, (len(start_days), 1))
            batch = replace(batch, fold_index=torch.from_numpy(fold_index))
        if not self.augment:
            return batch
        batch = augment_batch(batch, self.config, self.record.degree_stds, generators)
        if not self.config.max_flow_gap:
            return batch
        shape = (self.config.sequence_length, batch.site_metadata["series"].valid.shape[1])
        draws = [draw_flow_dropout(shape, self.config.max_flow_gap, generator) for generator in generators]
        return replace(batch, flow_dropout=torch.from_numpy(np.stack(draws)))

    def _start(self, number: int) -> int:
        """First day of a window: every epoch takes all starts in a random order, repeatedly if it is longer."""
        epoch, position_in_epoch = divmod(number, self.epoch)
        starts = range(self.first, self.last - self.config.sequence_length + 2, self.config.stride)
        return starts[int(_order(self.seed, epoch, len(starts))[position_in_epoch % len(starts)])]

    def _draw_antecedent_days(self, generator: np.random.Generator) -> int:
        """Length of the antecedent weather: all days; in half of the augmented windows a random number of days."""
        days = self.config.antecedent_days
        return int(generator.integers(0, days)) if self.augment and generator.random() < 0.5 else days

    def _neighbourhood(self, generator: np.random.Generator) -> Int[np.ndarray, " S"]:
        """A random centre, and a random choice of its nearest sites."""
        assert self.nearest_sites is not None and self.config.catchments_per_window is not None
        centre = generator.integers(0, len(self.nearest_sites))
        others = generator.permutation(self.nearest_sites[centre, 1:])[: self.config.catchments_per_window - 1]
        return np.concatenate([[centre], others])


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, starts: int) -> Int[np.ndarray, " N"]:
    return np.random.default_rng([seed, 0, epoch]).permutation(starts)


def windows(
    record: RecordArrays, config: Config, period: tuple[str, str], *, seed: int, augment: bool, update: int | None
) -> Windows:
    """Windows of a period.

    An epoch is one pass over the starts of the period, or `train.steps_per_epoch` updates of `update` windows where both are
    given.

    Raises:
        InputError: The record is shorter than one window in the period.
    """
    first, last = record.day_range(period)
    length = config.data.sequence_length
    if last - first + 1 < length:
        raise InputError(
            f"period {period[0]}..{period[1]}: the record has {max(0, last - first + 1)} of its days, "
            f"fewer than sequence_length {length}; choose a longer period or shorter windows"
        )
    nearest_sites, nearest_patches = None, None
    if config.data.catchments_per_window is not None:
        position = record.site_metadata["series"].position[0, :, 0].numpy()
        if config.data.patches_per_window is not None and "map" in record.site_metadata:
            centres = record.site_metadata["map"].position[0, :, 0].numpy()
            squared = ((position[:, None] - centres[None]) ** 2).sum(axis=-1)
            nearest_patches = squared.argsort(axis=1, kind="stable")[:, : config.data.patches_per_window]
        distance = ((position[:, None] - position[None]) ** 2).sum(axis=-1)
        np.fill_diagonal(distance, -1.0)  # itself first, also where another gauge has the same position
        count = min(len(position), config.data.catchments_per_window + config.data.catchments_per_window // 2)
        nearest_sites = distance.argsort(axis=1, kind="stable")[:, :count]
    starts = len(range(first, last - length + 2, config.data.stride))
    epoch = (config.train.steps_per_epoch or 0) * (update or 0) or starts
    return Windows(
        record, config.data, first, last, nearest_sites, seed, epoch, augment, nearest_patches=nearest_patches
    )


def augment_batch(
    batch: Batch, config: DataConfig, degrees: tuple[float, float], generators: Sequence[np.random.Generator]
) -> Batch:
    """Drop attributes and variables and shift positions, each window with its own generator.

    Args:
        degrees (float, float): Standard deviations of latitude and longitude in the scaling [degrees].
    """
    if not (config.attribute_dropout or config.position_jitter or config.variable_dropout):
        return batch
    metadata = batch.site_metadata["series"]
    known_mask = [
        draw_known_attributes(metadata.is_known.shape[1:], config.attribute_dropout, generator)
        for generator in generators
    ]
    known = metadata.is_known & torch.from_numpy(np.stack(known_mask))
    draws = [generator.uniform(-1, 1, metadata.position.shape[1:]) for generator in generators]
    shift = np.stack(draws).astype(np.float32) * config.position_jitter
    attributes = metadata.static_attributes.clone()
    attributes[..., 0] += torch.from_numpy(shift[..., 1] / KM_PER_DEGREE / degrees[0]).to(attributes.dtype)
    attributes[..., 1] += torch.from_numpy(shift[..., 0] / (KM_PER_DEGREE * 0.6) / degrees[1]).to(attributes.dtype)
    shifted = replace(
        metadata, position=metadata.position + torch.from_numpy(shift), static_attributes=attributes, is_known=known
    )
    dropped = {
        name: _draw_dropped(value.shape[-1], len(MODALITIES[name].variables), config.variable_dropout, generators)
        for name, value in batch.values.items()
    }
    return replace(batch, dropped=dropped, site_metadata=batch.site_metadata | {"series": shifted})


def draw_flow_dropout(shape: tuple[int, int], longest: int, generator: np.random.Generator) -> Bool[np.ndarray, "T S"]:
    """True in gaps of up to `longest` days, which alternate with visible spells of up to twice as many days at each site."""
    days, sites = shape
    view, gap = (generator.integers(1, most + 1, sites) for most in (2 * longest, longest))
    phase = generator.integers(0, 3 * longest, sites)
    return (np.arange(days)[:, None] + phase) % (view + gap) >= view


def draw_known_attributes(
    shape: tuple[int, ...], dropout: float, generator: np.random.Generator
) -> Bool[np.ndarray, "S V A"]:
    """Attributes that stay: only `ALWAYS_KNOWN_ATTRIBUTES` at a share `dropout` of the catchments; single ones drop half as
    often."""
    everywhere = np.array([attribute.name in ALWAYS_KNOWN_ATTRIBUTES for attribute in ATTRIBUTES])
    loses_all = generator.random((*shape[:2], 1)) < dropout
    loses_one = generator.random(tuple(shape)) < dropout / 2
    return everywhere | ~(loses_all | loses_one)


def _draw_dropped(
    channels: int, variables: int, dropout: float, generators: Sequence[np.random.Generator]
) -> Bool[torch.Tensor, "B F"]:
    """One variable of a modality of several, for all catchments of a token, in a share `dropout` of the windows."""
    is_dropped = np.array([generator.random() for generator in generators]) < dropout
    variable = np.array([generator.integers(0, variables) for generator in generators])
    mask = is_dropped[:, None] & (np.arange(channels) % variables == variable[:, None])
    return torch.from_numpy(mask & (variables > 1))
