"""Standard estimates of the cells of a map from visible values: in space, in time, and from the weather of catchments.

All are in the scaled space, and each has a flag that is True where it exists.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hydromae.batching.batch import Batch
from hydromae.model.estimators import interpolate
from hydromae.model.kriging import PatchKriging, neighbour_patches
from hydromae.model.outputs import Estimates
from hydromae.variables import MODALITIES

MAP_ESTIMATORS = ("kriging", "kriging_standardised", "temporal_anomaly", "catchments")
"""Kriging of the values of the day; of the values in standard deviations of the cell from its mean; the mean of the cell plus
its interpolated anomaly; the weighted mean of the catchments of the day."""
PASSES = 2
"""Passes of the mean and the standard deviation of cells: visible days differ from cell to cell, so they are those of the
visible and the kriged values, first of the values themselves, then of the standardised ones."""
REACH = 1
"""Patches around a patch that kriging reads, in each direction; further ones make a step of training longer."""
NEAREST_CATCHMENTS = 12
MIN_STD = 0.05
"""Smallest standard deviation of a cell, in the scaled space."""
UNIT_DISTANCE = 10.0
"""Unit of the distance to catchments [km]."""


class MapEstimators(nn.Module):
    """Estimates of the cells of one map, and features for their gate.

    Args:
        pixels: Cells of a patch, a square number.
        has_weather: Whether catchments have the variable of the map.
    """

    def __init__(self, pixels: int, has_weather: bool) -> None:
        super().__init__()
        self.names = MAP_ESTIMATORS if has_weather else MAP_ESTIMATORS[:-1]
        self.features = 3 * len(self.names)
        self.side = math.isqrt(pixels)
        self.log_decay_days = nn.Parameter(torch.tensor([math.log(3.0)]))
        self.power = nn.Parameter(torch.tensor([2.0])) if has_weather else None

    def forward(
        self,
        values: Float[Tensor, "B T P N"],
        seen: Bool[Tensor, "B T P N"],
        position: Float[Tensor, "B P 2"],
        weather: tuple[Tensor, Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "B T P N E"], Bool[Tensor, "B T P N E"], Float[Tensor, "B T P G"]]:
        """Estimates, whether each exists, and features of each patch. Kriging exists for values that are not seen.

        Args:
            values: Scaled values, 0 where they are not seen.
            position: Centres of the patches [km].
            weather: The variable of the map at catchments: values and seen [B, T, S], and their positions [B, S, 2].
        """
        around, width = neighbour_patches(position, REACH)
        with torch.no_grad():
            kriged, standardised, mean, has_mean, is_near = _krige(values, seen, around)
        anomaly = torch.where(seen, values - mean, 0.0)
        decayed = interpolate(anomaly.flatten(2), seen.flatten(2), torch.exp(self.log_decay_days))[0]
        estimates = [kriged, standardised, mean + decayed.view_as(anomaly)]
        flags = [is_near, is_near, has_mean]
        if self.power is not None and weather is not None:
            from_catchments, has_catchments = self._of_catchments(weather, position, width, self.power)
            estimates, flags = [*estimates, from_catchments], [*flags, has_catchments]
        exists = torch.stack(flags, dim=-1)
        stacked = torch.where(exists, torch.stack(estimates, dim=-1), 0.0)
        return stacked, exists, _patch_features(stacked, exists)

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


def _krige(
    values: Float[Tensor, "B T P N"], seen: Bool[Tensor, "B T P N"], around: Int[Tensor, "B P 9"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Kriging of the values, and of standardised values; the mean of each cell, where it exists, and where kriging exists."""
    kriging = PatchKriging(seen, around)
    kriged = estimate = kriging(values)
    is_known = seen | kriging.exists
    count = is_known.sum(dim=1, keepdim=True).clamp(min=1)
    mean = torch.zeros_like(values[:, :1])
    for _ in range(PASSES):
        filled = torch.where(seen, values, estimate)
        mean = filled.sum(dim=1, keepdim=True) / count
        variance = torch.where(is_known, filled - mean, 0.0).square().sum(dim=1, keepdim=True) / count
        std = variance.sqrt().clamp(min=MIN_STD)
        estimate = torch.where(kriging.exists, mean + std * kriging((values - mean) / std), 0.0)
    return kriged, estimate, mean, is_known.any(dim=1, keepdim=True).expand_as(seen), kriging.exists


def estimate_map(
    estimators: MapEstimators, name: str, values: dict[str, Tensor], seen: dict[str, Tensor], batch: Batch
) -> Estimates:
    """Estimates of a map, in fp32."""
    position, channel = batch.metadata_of(name).position[:, :, 0], weather_channel(name, tuple(values))
    weather = None
    if channel is not None:
        place = batch.metadata_of("weather").position[:, :, 0]
        weather = (values["weather"][..., channel], seen["weather"][..., channel], place)
    with torch.autocast(values[name].device.type, enabled=False):
        value, exists, features = estimators(values[name], seen[name], position, weather)
    return Estimates(value[:, :, :, None], exists[:, :, :, None], features[:, :, :, None])


def weather_channel(name: str, modalities: tuple[str, ...]) -> int | None:
    """Channel of the weather of catchments with the variable of a map; None if the model has none."""
    variables = MODALITIES["weather"].variables if "weather" in modalities else ()
    return variables.index(variable) if (variable := MODALITIES[name].variables[0]) in variables else None


def cell_offsets(side: int, device: torch.device) -> Float[Tensor, "N 2"]:
    """Easting and northing of the cells of a patch from its centre, in widths of the patch."""
    along = (torch.arange(side, device=device) - (side - 1) / 2) / side
    northing, easting = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([easting.flatten(), northing.flatten()], dim=-1)


def _patch_features(values: Tensor, exists: Tensor) -> Float[Tensor, "B T P G"]:
    """Share of the cells that have an estimate, and the mean and standard deviation of these, for each estimate."""
    count = exists.sum(dim=3).clamp(min=1)
    mean = values.sum(dim=3) / count
    square = torch.where(exists, values - mean[:, :, :, None], 0.0).square().sum(dim=3) / count
    share = exists.to(values.dtype).mean(dim=3)
    return rearrange(torch.stack([share, mean, (square + 1e-12).sqrt()]), "k b t p e -> b t p (e k)")
