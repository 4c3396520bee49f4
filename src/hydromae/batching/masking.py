"""Masks: functions `(batch, settings, generator) -> hidden`, where `hidden[modality]` is Bool[B, T, S].

A task is a distribution of masks in training (this file) and a pattern of NaN in prediction. `visible` and `targets` define
the rule that the whole package obeys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hydromae.batching.batch import Batch
from hydromae.config import MaskConfig
from hydromae.variables import MODALITIES

Hidden = dict[str, Tensor]
Mask = Callable[[Batch, MaskConfig, torch.Generator], Hidden]


def visible(batch: Batch, hidden: Hidden) -> dict[str, Tensor]:
    """Inputs of the encoder, Bool[B, T, S, F] per modality: observed, not dropped and not hidden."""
    return {name: batch.available(name) & ~hidden[name][..., None] for name in batch.values}


def targets(batch: Batch, hidden: Hidden) -> dict[str, Tensor]:
    """Targets of a loss, Bool[B, T, S, F] per modality: observed, not dropped and hidden."""
    return {name: batch.available(name) & hidden[name][..., None] for name in batch.values}


def draw_share(hidden: Hidden, share: float) -> Hidden:
    """Each hidden token with this probability, drawn by torch's generator."""
    if share >= 1:
        return hidden
    return {name: part & (torch.rand(part.shape, device=part.device) < share) for name, part in hidden.items()}


def nothing(batch: Batch) -> Hidden:
    """Hide nothing."""
    return {name: torch.zeros(value.shape[:3], dtype=torch.bool) for name, value in batch.values.items()}


def random(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """Masks of the reference specification, drawn independently for every modality.

    They hide exactly round(ratio × patches) land patches of a map on every day, and exactly round(ratio × days) days of every
    group of catchments of a series.
    """
    return {
        name: _share(shape, _mask_ratio(name, settings), _axis(name), generator)
        for name, shape in _shapes(batch).items()
    }


def unified(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """As `random`, with the same tokens in every modality of a kind."""
    drawn: dict[str, Tensor] = {}
    for name, shape in _shapes(batch).items():
        kind = MODALITIES[name].kind
        if kind not in drawn:
            drawn[kind] = _share(shape, _mask_ratio(name, settings), _axis(name), generator)
    return {name: drawn[MODALITIES[name].kind] for name in batch.values}


def tube(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """A ratio of the sites of each modality, for the whole window."""
    shapes = _shapes(batch)
    sites = {n: _share((b, 1, s), _mask_ratio(n, settings), 2, generator) for n, (b, _, s) in shapes.items()}
    return {name: sites[name].expand(shape).clone() for name, shape in shapes.items()}


def gap(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """Gaps of the target modalities: one run of days per 30 days of a window, at a third of its sites.

    In a fifth of the windows every site has gaps. Runs may overlap, and are cut at the edges of the window.
    """
    return nothing(batch) | {
        n: _gaps(shape, settings, generator) for n, shape in _target_shapes(batch, settings).items()
    }


def outage(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """As `gap`, in every modality of a kind at once: a site without any data."""
    drawn: dict[str, Tensor] = {}
    for name, shape in _shapes(batch).items():
        kind = MODALITIES[name].kind
        if kind not in drawn:
            drawn[kind] = _gaps(shape, settings, generator)
    return {name: drawn[MODALITIES[name].kind] for name in batch.values}


def forecast(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """The target modalities after an issue day; the other modalities (weather) stay visible."""
    after = _after(batch, settings, generator)
    return nothing(batch) | {n: after.expand(shape).clone() for n, shape in _target_shapes(batch, settings).items()}


def forecast_blind(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """Every modality after an issue day."""
    after = _after(batch, settings, generator)
    return {name: after.expand(shape).clone() for name, shape in _shapes(batch).items()}


def ungauged(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """The target modalities of a tenth to a half of the sites, for the whole window."""
    hidden = nothing(batch)
    for name, shape in _target_shapes(batch, settings).items():
        share = 0.1 + 0.4 * _uniform((shape[0], 1, 1), generator)
        is_hidden = _uniform((shape[0], 1, shape[2]), generator) < share
        hidden[name] = is_hidden.expand(shape).clone()
    return hidden


def simulate(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """One of the target modalities, at all sites for the whole window."""
    hidden = nothing(batch)
    names = list(_target_shapes(batch, settings))
    pick = torch.randint(len(names), (batch.size,), generator=generator)
    for index, name in enumerate(names):
        hidden[name][pick == index] = True
    return hidden


def modality(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """One modality, at all its sites for the whole window."""
    hidden = nothing(batch)
    pick = torch.randint(len(hidden), (batch.size,), generator=generator)
    for index, name in enumerate(hidden):
        hidden[name][pick == index] = True
    return hidden


def mixture(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """One mask of `settings.mixture` per window, drawn by weight."""
    names = [name for name, _ in settings.mixture]
    weights = torch.tensor([weight for _, weight in settings.mixture])
    pick = torch.multinomial(weights, batch.size, replacement=True, generator=generator)
    hidden = nothing(batch)
    for index in pick.unique().tolist():
        drawn = MASKS[names[index]](batch, settings, generator)
        for key, value in drawn.items():
            hidden[key] = torch.where((pick == index)[:, None, None], value, hidden[key])
    return hidden


MASKS: dict[str, Mask] = {
    f.__name__.replace("_", "-"): f
    for f in (random, unified, tube, gap, outage, modality, forecast, forecast_blind, ungauged, simulate, mixture)
}


def draw(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Hidden:
    """Draw the mask of `settings.kind`; the same generator state gives the same masks."""
    return MASKS[settings.kind](batch, settings, generator)


def draw_each(batch: Batch, settings: MaskConfig, seeds: Sequence[int]) -> Hidden:
    """Draw the mask of every window from its own seed, independent of the other windows of the batch."""
    window = batch.window(0)  # masks depend on shapes only, which all windows of a batch share
    parts = [draw(window, settings, torch.Generator().manual_seed(seed)) for seed in seeds]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _shapes(batch: Batch) -> dict[str, tuple[int, int, int]]:
    return {name: (value.shape[0], value.shape[1], value.shape[2]) for name, value in batch.values.items()}


def _target_shapes(batch: Batch, settings: MaskConfig) -> dict[str, tuple[int, int, int]]:
    return {
        n: s for n, s in _shapes(batch).items() if not settings.target_modalities or n in settings.target_modalities
    }


def _mask_ratio(name: str, settings: MaskConfig) -> float:
    return settings.map_ratio if MODALITIES[name].kind == "map" else settings.series_ratio


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _axis(name: str) -> int:
    """Axis of [B, T, S] along which a ratio is exact: the patches of a map, the days of a series."""
    return 2 if MODALITIES[name].kind == "map" else 1


def _share(shape: tuple[int, int, int], ratio: float, axis: int, generator: torch.Generator) -> Tensor:
    """Bool[B, T, S] with exactly round(ratio × length) True along `axis`: the lowest draws, the first of equal ones.

    Draws are compared with a threshold instead of sorted, so that every processor gives the same masks.
    """
    length = shape[axis]
    count = round(ratio * length)
    lines = shape if axis == 2 else (shape[0], shape[2], shape[1])
    drawn = _uniform(lines, generator).numpy()
    if not 0 < count < length:
        return torch.full(shape, count > 0)
    highest = np.partition(drawn, count - 1, axis=2)[..., count - 1, None]
    hidden = drawn <= highest
    if np.count_nonzero(hidden) > hidden.size // length * count:  # equal draws at the threshold: take the first
        below, equal = drawn < highest, drawn == highest
        hidden = below | (equal & (equal.cumsum(axis=2) <= count - below.sum(axis=2, keepdims=True)))
    taken = torch.from_numpy(hidden)
    return taken if axis == 2 else taken.transpose(1, 2).contiguous()


def _gaps(shape: tuple[int, int, int], settings: MaskConfig, generator: torch.Generator) -> Tensor:
    size, days, sites = shape
    shortest, longest = settings.gap_days
    gaps = max(1, days // 30)
    length = torch.exp(_uniform((size, gaps, sites), generator) * math.log(longest / shortest)) * shortest
    start = _uniform((size, gaps, sites), generator) * days - length / 2
    is_hidden = _uniform((size, 1, sites), generator) < 1 / 3
    is_hidden[_uniform((size,), generator) < 0.2] = True
    return _runs(start, start + length, days) & is_hidden


def _runs(first: Tensor, last: Tensor, days: int) -> Tensor:
    """Bool[B, T, S]: days in any run from `first` to before `last`, both Float[B, runs, S]."""
    size, _, sites = first.shape
    change = torch.zeros(size, days + 1, sites, dtype=torch.int16)
    for ends, step in ((first, 1), (last, -1)):
        day = ends.ceil().clamp(0, days).long()
        change.scatter_add_(1, day, torch.full_like(day, step, dtype=torch.int16))
    return change[:, :-1].cumsum(dim=1) > 0


def _after(batch: Batch, settings: MaskConfig, generator: torch.Generator) -> Tensor:
    """Bool[B, T, 1]: days after an issue day, which is near the end in half of the windows."""
    size, days = batch.days.shape
    near = days - 1 - torch.randint(1, min(settings.lead_days, days - 1) + 1, (size,), generator=generator)
    far = torch.randint(days // 4, days - 1, (size,), generator=generator)
    issue = torch.where(_uniform((size,), generator) < 0.5, near, far)
    return (torch.arange(days)[None, :] > issue[:, None])[..., None]
