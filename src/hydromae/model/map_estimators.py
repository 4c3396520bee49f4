"""Standard estimates of the cells of a map from visible values: in space, in time, and from the weather of catchments.

All are in the scaled space, and each has a flag that is True where it exists.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hydromae.batching.batch import Batch
from hydromae.model.estimators import interpolate
from hydromae.variables import MODALITIES

MAP_ESTIMATORS = ("spatial", "spatial_anomaly", "temporal_anomaly", "catchments")
"""Weighted mean of the cells of the same day; the cell's mean over the window plus that of the anomalies; the cell's mean
plus its interpolated anomaly; weighted mean of the catchments of the same day."""
OFFSETS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
"""A patch and the eight around it, in patches northward and eastward."""
NEAREST_CATCHMENTS = 12
FIRST_POWER = 3.0
"""Initial power of the inverse distance between cells."""
UNIT_DISTANCE = 10.0
"""Unit of the distance to catchments [km]."""


class MapEstimators(nn.Module):
    """Estimates of the cells of one map, and features for their gate.

    The weight of a visible cell depends on its place and on the place of the estimated cell, within a patch and its eight
    neighbours; it is learned and starts as a power of the inverse distance (normalised convolution; Knutsson and Westin 1993,
    CVPR).

    Args:
        pixels: Cells of a patch, a square number.
        has_weather: Whether catchments have the variable of the map.
    """

    def __init__(self, pixels: int, has_weather: bool) -> None:
        super().__init__()
        self.names = MAP_ESTIMATORS if has_weather else MAP_ESTIMATORS[:-1]
        self.features = 3 * len(self.names)
        self.side = math.isqrt(pixels)
        distance = cell_distances(self.side)
        self.log_weight = nn.Parameter(-FIRST_POWER * distance.clamp(min=1.0).log())
        self.register_buffer("is_other", distance > 0, persistent=False)
        self.log_decay_days = nn.Parameter(torch.tensor([math.log(3.0)]))
        self.power = nn.Parameter(torch.tensor([2.0])) if has_weather else None

    def forward(
        self,
        values: Float[Tensor, "B T P N"],
        seen: Bool[Tensor, "B T P N"],
        position: Float[Tensor, "B P 2"],
        weather: tuple[Tensor, Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "B T P N E"], Bool[Tensor, "B T P N E"], Float[Tensor, "B T P G"]]:
        """Estimates, whether each exists, and features of each patch.

        Args:
            values: Scaled values, 0 where they are not seen.
            position: Centres of the patches [km].
            weather: The variable of the map at catchments: values and seen [B, T, S], and their positions [B, S, 2].
        """
        count = seen.sum(dim=1, keepdim=True)
        mean = values.sum(dim=1, keepdim=True) / count.clamp(min=1)
        anomaly = torch.where(seen, values - mean, 0.0)
        around, width = neighbour_patches(position)
        (spatial, spread), is_near = self._around(torch.stack([values, anomaly]), seen, around)
        decayed = interpolate(anomaly.flatten(2), seen.flatten(2), torch.exp(self.log_decay_days))[0]
        has_mean = (count > 0).expand_as(seen)
        estimates = [spatial, mean + spread, mean + decayed.view_as(anomaly)]
        flags = [is_near, has_mean & is_near, has_mean]
        if self.power is not None and weather is not None:
            from_catchments, has_catchments = self._of_catchments(weather, position, width, self.power)
            estimates, flags = [*estimates, from_catchments], [*flags, has_catchments]
        exists = torch.stack(flags, dim=-1)
        stacked = torch.where(exists, torch.stack(estimates, dim=-1), 0.0)
        return stacked, exists, _patch_features(stacked, exists)

    def _around(
        self, values: Float[Tensor, "K B T P N"], seen: Bool[Tensor, "B T P N"], around: Int[Tensor, "B P 9"]
    ) -> tuple[Float[Tensor, "K B T P N"], Bool[Tensor, "B T P N"]]:
        """Weighted means of the visible cells of a patch and its neighbours, without the cell itself."""
        weights = torch.where(cast(Tensor, self.is_other), self.log_weight.exp(), 0.0)
        parts = torch.cat([values, seen.to(values.dtype)[None]])
        total = torch.zeros_like(parts)
        for offset in range(len(OFFSETS)):
            index = around[None, :, None, :, offset, None]
            gathered = parts.gather(3, index.clamp(min=0).expand(len(parts), -1, parts.shape[2], -1, parts.shape[4]))
            total = total + (gathered * (index >= 0).to(parts.dtype)) @ weights[offset]
        return total[:-1] / total[-1].clamp(min=1e-12), total[-1] > 0

    def _of_catchments(
        self,
        weather: tuple[Tensor, Tensor, Tensor],
        position: Float[Tensor, "B P 2"],
        width: Float[Tensor, " B"],
        power: Tensor,
    ) -> tuple[Float[Tensor, "B T P N"], Bool[Tensor, "B T P N"]]:
        """Mean of the nearest catchments of each patch, by inverse distance from the cell."""
        values, seen, place = weather
        count = min(NEAREST_CATCHMENTS, place.shape[1])
        index = torch.cdist(position, place).topk(count, dim=-1, largest=False).indices
        cells = position[:, :, None] + (cell_offsets(self.side, position.device) * width[:, None, None])[:, None]
        near = place[torch.arange(len(place), device=place.device)[:, None, None], index]
        distance = (cells[:, :, :, None] - near[:, :, None]).square().sum(dim=-1).sqrt() / UNIT_DISTANCE
        weight = (1.0 + distance).pow(-functional.softplus(power) - 1.0)
        flat = index.flatten(1)[:, None].expand(-1, values.shape[1], -1)
        parts = [part.gather(2, flat).unflatten(2, index.shape[1:]) for part in (values, seen.to(values.dtype))]
        total = torch.einsum("btpk, bpnk -> btpn", parts[0] * parts[1], weight)
        mass = torch.einsum("btpk, bpnk -> btpn", parts[1], weight)
        return total / mass.clamp(min=1e-12), mass > 0


def estimate_map(
    estimators: MapEstimators, name: str, values: dict[str, Tensor], seen: dict[str, Tensor], batch: Batch
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Estimates of a map with their flags, and features, in fp32."""
    position, channel = batch.metadata_of(name).position[:, :, 0], weather_channel(name, tuple(values))
    weather = None
    if channel is not None:
        place = batch.metadata_of("weather").position[:, :, 0]
        weather = (values["weather"][..., channel], seen["weather"][..., channel], place)
    with torch.autocast(values[name].device.type, enabled=False):
        value, exists, features = estimators(values[name], seen[name], position, weather)
    return (value, exists), features


def weather_channel(name: str, modalities: tuple[str, ...]) -> int | None:
    """Channel of the weather of catchments with the variable of a map; None if the model has none."""
    variables = MODALITIES["weather"].variables if "weather" in modalities else ()
    return variables.index(variable) if (variable := MODALITIES[name].variables[0]) in variables else None


def cell_distances(side: int) -> Float[Tensor, "9 N N"]:
    """Distance [cells] from each cell of a patch, in the order of `OFFSETS`, to each cell of the middle patch."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    cells = torch.stack([row.flatten(), column.flatten()], dim=-1).float()
    moved = cells + side * torch.tensor(OFFSETS, dtype=torch.float32)[:, None]
    return (moved[:, :, None] - cells).square().sum(dim=-1).sqrt()


def cell_offsets(side: int, device: torch.device) -> Float[Tensor, "N 2"]:
    """Easting and northing of the cells of a patch from its centre, in widths of the patch."""
    along = (torch.arange(side, device=device) - (side - 1) / 2) / side
    northing, easting = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([easting.flatten(), northing.flatten()], dim=-1)


def neighbour_patches(position: Float[Tensor, "B P 2"]) -> tuple[Int[Tensor, "B P 9"], Float[Tensor, " B"]]:
    """Index of the patch at each of `OFFSETS` around each patch (−1: none), and the width of the patches of a window [km].

    The width is the smallest distance between two patches; 0 with a single patch.
    """
    step = position[:, None] - position[:, :, None]
    distance = step.abs().amax(dim=-1)
    smallest = torch.where(distance > 0, distance, torch.inf).flatten(1).amin(dim=1)
    width = torch.where(smallest.isfinite(), smallest, 0.0)
    steps = (step / smallest[:, None, None, None]).round().long()
    found = []
    for row, column in OFFSETS:
        is_there = (steps[..., 0] == column) & (steps[..., 1] == row)
        found.append(torch.where(is_there.any(dim=-1), is_there.to(torch.int8).argmax(dim=-1), -1))
    return torch.stack(found, dim=-1), width


def _patch_features(values: Tensor, exists: Tensor) -> Float[Tensor, "B T P G"]:
    """Share of the cells that have an estimate, and the mean and standard deviation of these, for each estimate."""
    count = exists.sum(dim=3).clamp(min=1)
    mean = values.sum(dim=3) / count
    square = torch.where(exists, values - mean[:, :, :, None], 0.0).square().sum(dim=3) / count
    share = exists.to(values.dtype).mean(dim=3)
    return rearrange(torch.stack([share, mean, (square + 1e-12).sqrt()]), "k b t p e -> b t p (e k)")
