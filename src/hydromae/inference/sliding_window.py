"""Overlapping windows, and the weighted averages of their predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from hydromae.model.mixture import GaussianMixture
from hydromae.store.scaling import Scaling, VariableScaling
from hydromae.variables import MODALITIES, Modality, Variable

UNSCALED = VariableScaling("none", 0.0, 1.0)
MEAN_BOUNDS = (0.001, 0.999)
"""A mean lies between these quantiles of its distribution."""
BOUNDS_TOLERANCE = 0.01
"""Largest distance of a mean beyond these quantiles [units of the variable, such as mm/day]."""


def overlapping_windows(
    total: int, longest: int, warm_up: int
) -> tuple[int, Int[np.ndarray, " W"], Float[np.ndarray, "W T"]]:
    """Windows over a record of `total` days: their length, first days, and the weight of each of their days.

    A record of at most 1.25 × `longest` days is one window. Warm-up days have weight 0, except at the start of the record.
    Where two windows overlap, the weight of one decreases as that of the other increases.
    """
    length = longest if total > longest + longest // 4 else total
    warm_up_days = min(warm_up, length // 3)
    fade_days = max(1, length // 6)
    starts = np.arange(0, max(1, total - length + 1), max(1, length - warm_up_days - fade_days))
    if starts[-1] + length < total:
        starts = np.append(starts, total - length)
    return (
        length,
        starts,
        np.stack([_day_weights(int(start), total, length, warm_up_days, fade_days) for start in starts]),
    )


def _day_weights(start: int, total: int, length: int, warm_up_days: int, fade_days: int) -> Float[np.ndarray, " T"]:
    """Weights of the days of a window: 0 in warm-up, increasing to 1, decreasing at its end; 1 at both ends of the record."""
    day = np.arange(length, dtype=np.float64)
    weight = np.ones(length)
    if start > 0:
        weight = np.minimum(weight, np.clip((day - warm_up_days + 1) / fade_days, 0.0, 1.0))
    if start + length < total:
        weight = np.minimum(weight, np.clip((length - day) / fade_days, 0.0, 1.0))
    return weight


class WindowAverager:
    """Weighted sums of means and quantiles over overlapping windows.

    Attributes:
        mean, quantile: Sums of weighted means, and of weighted quantiles of river flow and of maps with distributions;
            divided by `weight` they are averages.
        is_clipped: True for sites with a mean that `clip_to_quantiles` changed.
    """

    def __init__(
        self,
        values: Mapping[str, np.ndarray],
        scaling: Scaling,
        levels: list[float],
        widening: Float[np.ndarray, "D S F"] | None = None,
    ) -> None:
        self.scaling, self.levels, self.widening = scaling, levels, widening
        self.mean = {name: np.zeros(array.shape, np.float32) for name, array in values.items()}
        self.weight = {name: np.zeros(array.shape[:2], np.float32) for name, array in values.items()}
        flow = values.get("riverflow")
        self.is_clipped = {name: np.zeros(array.shape[1:], bool) for name, array in values.items()}
        self.quantile = {} if flow is None else {"riverflow": np.zeros((len(levels), *flow.shape), np.float32)}

    def add(
        self,
        answers: dict[str, tuple[torch.Tensor, torch.Tensor, GaussianMixture | None]],
        weight: np.ndarray,
        starts: np.ndarray,
    ) -> None:
        """Add windows: their target tokens, means and mixtures, the weights of their days, and their first days."""
        for name, (target, mean, gaussians) in answers.items():
            if not len(mean):
                continue
            scale = _scaling_of_channels(MODALITIES[name], self.scaling, mean.shape[-1])
            value = mean_in_units(mean, gaussians, scale)
            value, is_clipped = clip_to_quantiles(value, gaussians, scale)
            window, day, site = (index.numpy() for index in target.nonzero(as_tuple=True))
            quantiles = None
            if gaussians is not None and (name == "riverflow" or MODALITIES[name].kind == "map"):
                factors = self.widening if name == "riverflow" else None
                widening = None if factors is None else factors[starts[window] + day, site]
                quantiles = self._quantiles(MODALITIES[name].variables[0], gaussians, widening)
                if name not in self.quantile:
                    self.quantile[name] = np.zeros((len(self.levels), *self.mean[name].shape), np.float32)
            for index, start in enumerate(starts):
                in_window = window == index
                day_weight = weight[index][day[in_window]].astype(np.float32)
                day_and_site = (start + day[in_window], site[in_window])
                self.weight[name][day_and_site] += day_weight
                self.mean[name][day_and_site] += value[in_window] * day_weight[:, None]
                if is_clipped.any():
                    has_weight = day_weight[:, None] > 0
                    np.logical_or.at(self.is_clipped[name], site[in_window], is_clipped[in_window] & has_weight)
                if quantiles is not None:
                    self.quantile[name][:, *day_and_site] += quantiles[:, in_window] * day_weight[:, None]

    def _quantiles(
        self, variable: Variable, gaussians: GaussianMixture, widening: Float[np.ndarray, "N F"] | None
    ) -> Float[np.ndarray, "Q N F"]:
        """Quantiles of a variable; distances from the median are multiplied by `widening` in the scaled space."""
        scaled = gaussians.quantiles(self.levels).double().numpy()
        if widening is not None:
            median = gaussians.quantiles([0.5]).double().numpy()
            scaled = median + widening * (scaled - median)
        quantiles = self.scaling.unscale(variable.name, scaled)
        if variable.minimum is not None:
            quantiles = np.maximum(quantiles, variable.minimum)
        return quantiles.astype(np.float32)


def _scaling_of_channels(modality: Modality, scaling: Scaling, channels: int) -> list[VariableScaling]:
    """Scaling of every channel: the variables in turn for catchments, one variable for all pixels of a map."""
    names = [modality.variables[i % len(modality.variables)].name for i in range(channels)]
    return [scaling.variables.get(name, UNSCALED) for name in names]


def mean_in_units(
    mean: Float[torch.Tensor, "N F"], gaussians: GaussianMixture | None, scale: list[VariableScaling]
) -> Float[np.ndarray, "N F"]:
    """Mean of the distribution in the variable's own units; of a map, the unscaled prediction."""
    means = mean.double().numpy()
    variances = np.zeros_like(means) if gaussians is None else gaussians.variance.double().numpy()
    columns = [s.expected_value(means[:, i], variances[:, i]) for i, s in enumerate(scale)]
    return np.stack(columns, axis=-1).astype(np.float32)


def clip_to_quantiles(
    value: Float[np.ndarray, "N F"], gaussians: GaussianMixture | None, scale: list[VariableScaling]
) -> tuple[Float[np.ndarray, "N F"], Bool[np.ndarray, "N F"]]:
    """Means (`mean_in_units`) limited to the quantiles `MEAN_BOUNDS` of their distributions, and which of them changed.

    The mean of squares is above all quantiles if a component of small weight is very wide, or the root is far below zero. A
    mean within `BOUNDS_TOLERANCE` of the quantiles does not change, as for a river that is nearly dry.
    """
    is_clipped = np.zeros(value.shape, bool)
    if gaussians is None:
        return value, is_clipped
    scaled = [s.scale(value[:, i].astype(np.float64)) for i, s in enumerate(scale)]
    probability = gaussians.cumulative(torch.from_numpy(np.stack(scaled, axis=-1)).to(gaussians.centre.dtype)).numpy()
    rows = np.flatnonzero(((probability < MEAN_BOUNDS[0]) | (probability > MEAN_BOUNDS[1])).any(axis=-1))
    if not len(rows):
        return value, is_clipped
    selected = GaussianMixture(
        *(part[torch.from_numpy(rows)] for part in (gaussians.weight, gaussians.centre, gaussians.spread))
    )
    ends = selected.quantiles(MEAN_BOUNDS).double().numpy()
    low, high = (np.stack([s.unscale(end[:, i]) for i, s in enumerate(scale)], axis=-1) for end in ends)
    is_clipped[rows] = (value[rows] < low - BOUNDS_TOLERANCE) | (value[rows] > high + BOUNDS_TOLERANCE)
    clipped = value.copy()
    clipped[rows] = np.where(is_clipped[rows], np.clip(value[rows], low, high), value[rows])
    return clipped, is_clipped
