"""From windows to one answer: how they overlap, and the weighted sums of what they say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from hydromae.model.mixture import Gaussians
from hydromae.store.scaling import Scaling, VariableScaling, apply_transform, undo_transform
from hydromae.variables import MODALITIES, Modality

UNSCALED = VariableScaling("none", 0.0, 1.0)
SPAN = (0.001, 0.999)
"""Quantiles of its own distribution between which a mean lies, whatever levels are asked for."""
NEGLIGIBLE = 0.01
"""How far beyond them it may lie [units of the variable, such as mm/day]."""


def overlapping(total: int, longest: int, warm_up: int) -> tuple[int, Int[np.ndarray, " W"], Float[np.ndarray, "W T"]]:
    """Windows over a record of `total` days: their length, first days, and the weight of each of their days.

    A record of up to a quarter more than the `longest` window is one window. Days of warm-up weigh nothing, but at the
    start of the record; then every day has a weight, and where two windows meet one fades as the other rises.
    """
    length = longest if total > longest + longest // 4 else total
    warm = min(warm_up, length // 3)
    blend = max(1, length // 6)
    starts = np.arange(0, max(1, total - length + 1), max(1, length - warm - blend))
    if starts[-1] + length < total:
        starts = np.append(starts, total - length)
    return length, starts, np.stack([_ramp(int(start), total, length, warm, blend) for start in starts])


def _ramp(start: int, total: int, length: int, warm: int, blend: int) -> Float[np.ndarray, " T"]:
    """Weight of a window's days: nothing while it warms up, then rising, falling at the end; full at the record's edges."""
    day = np.arange(length, dtype=np.float64)
    weight = np.ones(length)
    if start > 0:
        weight = np.minimum(weight, np.clip((day - warm + 1) / blend, 0.0, 1.0))
    if start + length < total:
        weight = np.minimum(weight, np.clip((length - day) / blend, 0.0, 1.0))
    return weight


class Sums:
    """Weighted sums of means and quantiles over the windows that answer a value; quantiles stay ordered in the blend."""

    def __init__(
        self,
        values: Mapping[str, np.ndarray],
        scaling: Scaling,
        levels: list[float],
        widening: Float[np.ndarray, "D S F"] | None = None,
    ) -> None:
        self.scaling, self.levels, self.widening = scaling, levels, widening
        self.mean = {name: np.zeros(held.shape, np.float32) for name, held in values.items()}
        self.weight = {name: np.zeros(held.shape[:2], np.float32) for name, held in values.items()}
        flow = values.get("riverflow")
        self.cut = {name: np.zeros(held.shape[1:], bool) for name, held in values.items()}
        self.quantile = None if flow is None else np.zeros((len(levels), *flow.shape), np.float32)

    def add(
        self,
        answers: dict[str, tuple[torch.Tensor, torch.Tensor, Gaussians | None]],
        weight: np.ndarray,
        starts: np.ndarray,
    ) -> None:
        """Add windows that start at the given days: asked tokens, means, distributions, and each day's weight."""
        for name, (asked, mean, gaussians) in answers.items():
            scale = _scaling_of_channels(MODALITIES[name], self.scaling, mean.shape[-1])
            value = natural_mean(mean, gaussians, scale)
            value, cut = within_span(value, gaussians, scale)
            window, day, site = (index.numpy() for index in asked.nonzero(as_tuple=True))
            cuts = None
            if name == "riverflow" and gaussians is not None:
                widening = None if self.widening is None else self.widening[starts[window] + day, site]
                cuts = self._cuts(gaussians, widening)
            for index, start in enumerate(starts):
                mine = window == index
                share = weight[index][day[mine]].astype(np.float32)
                where = (start + day[mine], site[mine])
                self.weight[name][where] += share
                self.mean[name][where] += value[mine] * share[:, None]
                if cut.any():
                    np.logical_or.at(self.cut[name], site[mine], cut[mine] & (share[:, None] > 0))
                if cuts is not None and self.quantile is not None:
                    self.quantile[:, *where] += cuts[:, mine] * share[:, None]

    def _cuts(self, gaussians: Gaussians, widening: Float[np.ndarray, "N F"] | None) -> Float[np.ndarray, "Q N F"]:
        """Quantiles of river flow [mm/day], as many times as far from the median in the scaled space where it is widened."""
        scaled = gaussians.quantiles(self.levels).double().numpy()
        if widening is not None:
            median = gaussians.quantiles([0.5]).double().numpy()
            scaled = median + widening * (scaled - median)
        return np.maximum(self.scaling.unscale("riverflow", scaled), 0.0).astype(np.float32)


def _scaling_of_channels(modality: Modality, scaling: Scaling, channels: int) -> list[VariableScaling]:
    """Scaling of every channel: variables turn by turn for catchments, one variable for all pixels of a map."""
    names = [modality.variables[i % len(modality.variables)].name for i in range(channels)]
    return [scaling.variables.get(name, UNSCALED) for name in names]


def natural_mean(
    mean: Float[torch.Tensor, "N F"], gaussians: Gaussians | None, scale: list[VariableScaling]
) -> Float[np.ndarray, "N F"]:
    """Mean of the distribution in the variable's own units; of a map, the unscaled prediction."""
    center = np.array([s.mean for s in scale])
    spread = np.array([s.std for s in scale])
    plain = mean.double().numpy() * spread + center
    root = np.array([s.transform == "root" for s in scale])
    log = np.array([s.transform == "log" for s in scale])
    variance = 0.0
    if gaussians is not None:
        variance = gaussians.variance.double().numpy() * spread**2
    plain = np.where(root, np.maximum(plain, 0.0) ** 2 + variance, plain)
    plain = np.where(log, np.exp(np.where(log, plain + 0.5 * variance, 0.0)) - 0.01, plain)
    return plain.astype(np.float32)


def within_span(
    value: Float[np.ndarray, "N F"], gaussians: Gaussians | None, scale: list[VariableScaling]
) -> tuple[Float[np.ndarray, "N F"], Bool[np.ndarray, "N F"]]:
    """Means (`natural_mean`) no further out than the quantiles `SPAN` of their own distributions, and which were cut to them.

    The mean of squares lies above all quantiles where a component of little weight is very wide, or the root far below zero;
    by less than `NEGLIGIBLE` it stays, as that of a river that is nearly dry.
    """
    cut = np.zeros(value.shape, bool)
    if gaussians is None:
        return value, cut
    scaled = [
        (apply_transform(s.transform, value[:, i].astype(np.float64)) - s.mean) / s.std for i, s in enumerate(scale)
    ]
    chance = gaussians.cumulative(torch.from_numpy(np.stack(scaled, axis=-1)).to(gaussians.centre.dtype)).numpy()
    rows = np.flatnonzero(((chance < SPAN[0]) | (chance > SPAN[1])).any(axis=-1))
    if not len(rows):
        return value, cut
    few = Gaussians(*(part[torch.from_numpy(rows)] for part in (gaussians.weight, gaussians.centre, gaussians.spread)))
    ends = few.quantiles(SPAN).double().numpy()
    low, high = (
        np.stack([undo_transform(s.transform, end[:, i] * s.std + s.mean) for i, s in enumerate(scale)], axis=-1)
        for end in ends
    )
    cut[rows] = (value[rows] < low - NEGLIGIBLE) | (value[rows] > high + NEGLIGIBLE)
    inside = value.copy()
    inside[rows] = np.where(cut[rows], np.clip(value[rows], low, high), value[rows])
    return inside, cut
