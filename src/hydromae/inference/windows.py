"""The forward pass over windows of a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from hydromae.batching.batch import Batch
from hydromae.batching.masking import nothing
from hydromae.batching.record_arrays import RecordArrays
from hydromae.batching.windows import cut_batch
from hydromae.config import Config, Precision
from hydromae.config.schema import DataConfig
from hydromae.inference.sliding_window import overlapping_windows
from hydromae.model.mae import HydroMAE
from hydromae.model.mixture import GaussianMixture
from hydromae.runtime import autocast

MAX_SITES_PER_BATCH = 600
ProgressCallback = Callable[[int, int], None]


def no_progress(done: int, of: int) -> None:
    """Report nothing."""


def window_batches(
    record: RecordArrays, targets: Bool[np.ndarray, " D"], config: DataConfig, progress: ProgressCallback = no_progress
) -> Iterator[tuple[Batch, Float[np.ndarray, "B T"], Int[np.ndarray, " B"]]]:
    """Batches of the windows that contain a target day, with the weights of their days and their first days."""
    length, starts, weights = overlapping_windows(len(record.days), config.sequence_length, config.warm_up_days)
    is_needed = np.array([(targets[s : s + length] & (w > 0)).any() for s, w in zip(starts, weights, strict=True)])
    starts, weights = starts[is_needed], weights[is_needed]
    windows_per_batch = max(1, MAX_SITES_PER_BATCH // max(1, len(record.groups)))
    days = config.antecedent_days
    for first in range(0, len(starts), windows_per_batch):
        part = slice(first, first + windows_per_batch)
        antecedent_days = [days] * len(starts[part]) if days else None
        yield cut_batch(record, starts[part], length, None, antecedent_days), weights[part], starts[part]
        progress(min(first + windows_per_batch, len(starts)), len(starts))


def predict_windows(
    network: HydroMAE,
    device: torch.device,
    precision: Precision,
    batch: Batch,
    days: Bool[np.ndarray, "B T"] | None,
    exists: Mapping[str, Bool[np.ndarray, "S F"]],
) -> dict[str, tuple[torch.Tensor, torch.Tensor, GaussianMixture | None]]:
    """For each modality: target tokens Bool[B, T, S], their means Float[N, F] and mixtures.

    A target is a token with an unobserved value that exists (`RecordArrays.exists`), on `days` only, if given; modalities
    that `exists` lacks have none.
    """
    targets = {name: torch.zeros(observed.shape[:-1], dtype=torch.bool) for name, observed in batch.observed.items()}
    for name, values in exists.items():
        targets[name] = (~batch.observed[name] & torch.from_numpy(values)).any(dim=-1)
        if days is not None:
            targets[name] &= torch.from_numpy(days)[..., None]
    batch, requested = batch.to(device), {name: value.to(device) for name, value in targets.items()}
    hidden = {name: value.to(device) for name, value in nothing(batch).items()}
    with autocast(device, precision):
        out = network(batch, hidden, requested, few_days=days is not None)
    predicted = {}
    for name, is_target in requested.items():
        mixture = out.gaussians.get(name)
        if mixture is not None:
            parts = (mixture.weight, mixture.centre, mixture.spread)
            mixture = GaussianMixture(*(part[is_target].cpu() for part in parts))
        predicted[name] = (targets[name], out.mean[name][is_target].cpu(), mixture)
    return predicted


def mean_tokens(
    network: HydroMAE, device: torch.device, precision: Precision, record: RecordArrays, config: Config
) -> tuple[Float[np.ndarray, "S D"], Float[np.ndarray, "T D"]]:
    """Weighted means of the encoded tokens: of each site over the days, and of each day over the sites."""
    width, total = config.model.d_model, len(record.days)
    sites, days, weights = np.zeros((len(record.groups), width)), np.zeros((total, width)), np.zeros(total)
    for batch, weight, starts in window_batches(record, np.ones(total, dtype=bool), config.data):
        hidden = {name: value.to(device) for name, value in nothing(batch).items()}
        with autocast(device, precision):
            tokens = network.encode(batch.to(device), hidden).float().cpu().numpy()
        for part, day_weights, start in zip(tokens, weight, starts, strict=True):
            day_slice = slice(start, start + len(day_weights))
            sites += np.einsum("t,tsd->sd", day_weights, part)
            days[day_slice] += day_weights[:, None] * part.mean(axis=1)
            weights[day_slice] += day_weights
    return sites / weights.sum(), days / weights[:, None]
