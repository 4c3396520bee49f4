"""Standard hydrological estimates of flow from visible values: interpolation, donors, regression and corrected LSTMs.

All are scaled roots of flow. Each estimate has a flag that is True where it exists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from hydromae.model.blocks import Context

ESTIMATORS = ("interpolation", "donor_idw", "donor_regression", "donor_regression_corrected")
"""Interpolation in time; neighbours weighted by distance and attributes; regression on neighbours; regression with the
interpolated residual."""
LSTM_ESTIMATORS = ("lstm", "lstm_interpolation", "lstm_donor_idw", "lstm_donor_regression", "lstm_corrected")
"""Simulation of the LSTM; with its interpolated error; with the neighbours' error of the day, weighted by distance and
attributes; with that error and a regression on the neighbours' errors; and with the interpolated residual of that."""
AUTOREGRESSIVE_ESTIMATORS = ("lstm_ar",)
"""Prediction of the autoregressive LSTM."""
MIN_COMMON_DAYS = 20
"""Fewest common days for a regression between two rivers."""


class Estimators(nn.Module):
    """Estimates of flow, and features for their gate.

    Args:
        separations: Size of the last axis of `Context.separation`.
        simulated, autoregressive: Whether the model has the two LSTMs.

    Attributes:
        constants (Float[3, 2]): Mean and standard deviation of the scaling of flow, precipitation and potential evaporation.
    """

    constants: Tensor

    def __init__(self, separations: int, simulated: bool = False, autoregressive: bool = False) -> None:
        super().__init__()
        self.names = ESTIMATORS + LSTM_ESTIMATORS * simulated + AUTOREGRESSIVE_ESTIMATORS * autoregressive
        self.features = 2 * len(self.names) + 8
        self.correction = ErrorCorrection(separations) if simulated else None
        self.slope = nn.Parameter(torch.tensor([1.0] + [-2.0] * (separations - 1)))
        self.evaporation_logit = nn.Parameter(torch.zeros(1))
        self.sharpness = nn.Parameter(torch.ones(1))
        self.log_decay_days = nn.Parameter(torch.tensor([math.log(5.0)]))
        self.register_buffer("constants", torch.tensor([[0.0, 1.0]] * 3))

    def forward(
        self,
        flow: Float[Tensor, "B T S"],
        seen: Bool[Tensor, "B T S"],
        rain: Float[Tensor, "B T S"],
        rain_seen: Bool[Tensor, "B T S"],
        evaporation: Float[Tensor, "B T S"],
        evaporation_seen: Bool[Tensor, "B T S"],
        context: Context,
        lstm_means: Sequence[Float[Tensor, "B T S"]] = (),
    ) -> tuple[Float[Tensor, "B T S P"], Bool[Tensor, "B T S P"], Float[Tensor, "B T S G"]]:
        """Estimates, whether each exists, and features.

        Args:
            flow, rain, evaporation: Scaled values; arbitrary where they are not seen.
            lstm_means: Predictions of the simulation LSTM and of the autoregressive LSTM.
        """
        flow = torch.where(seen, flow, 0.0)
        neighbour_index = _neighbours(context, flow.shape[2], flow.device)
        others = neighbour_index != torch.arange(flow.shape[2], device=flow.device)[:, None]
        neighbour_flow, neighbour_seen = (
            _gather(flow, neighbour_index),
            _gather(seen, neighbour_index) & others[:, None],
        )
        supply, rain_observed = self._water_supply(rain, rain_seen, evaporation, evaporation_seen), rain_seen.any(dim=1)
        interpolated, interpolated_exists, interpolation_features = interpolate(flow, seen, decay=None)
        idw, idw_exists = self._donor_idw(
            neighbour_flow, neighbour_seen, supply, rain_observed, neighbour_index, context
        )
        regressed, regressed_exists, spread = self._donor_regression(flow, seen, neighbour_flow, neighbour_seen)
        error, error_exists, _ = interpolate(
            flow - regressed, seen & regressed_exists, decay=torch.exp(self.log_decay_days)
        )
        estimates = [interpolated, idw, regressed, regressed + error]
        flags = [interpolated_exists, idw_exists, regressed_exists, regressed_exists & error_exists]
        if self.correction is not None:
            simulated, *autoregressive = lstm_means
            corrected, exists = self.correction(flow, seen, neighbour_seen, simulated, neighbour_index, context)
            estimates, flags = (
                estimates + corrected + autoregressive,
                flags + exists + [torch.ones_like(seen) for _ in autoregressive],
            )
        exists = torch.stack(flags, dim=-1)
        values = torch.where(exists, torch.stack(estimates, dim=-1), 0.0)
        differences = torch.stack([spread, error, interpolated - regressed, idw - regressed], dim=-1)
        flags_of_differences = [
            regressed_exists,
            regressed_exists & error_exists,
            regressed_exists & interpolated_exists,
            regressed_exists & idw_exists,
        ]
        differences = torch.where(torch.stack(flags_of_differences, dim=-1), differences, 0.0)
        features = torch.cat([values, exists.to(values.dtype), differences, interpolation_features], dim=-1)
        return values, exists, features

    def _water_supply(self, rain: Tensor, rain_seen: Tensor, air: Tensor, air_seen: Tensor) -> Float[Tensor, "B S"]:
        """Mean effective precipitation of the window [mm/day]: rain minus a learned share of potential evaporation."""
        rain_depth = (rain * self.constants[1, 1] + self.constants[1, 0]).square()
        rain_depth = _mean(rain_depth, rain_seen, dim=1)
        evaporation_depth = _mean(air * self.constants[2, 1] + self.constants[2, 0], air_seen, dim=1)
        return torch.maximum(
            rain_depth - torch.sigmoid(self.evaporation_logit) * evaporation_depth, 0.1 * rain_depth
        ).clamp(min=0.05)

    def _donor_idw(
        self,
        flow: Tensor,
        seen: Tensor,
        supply: Tensor,
        rain_observed: Tensor,
        neighbour_index: Int[Tensor, "B S K"],
        context: Context,
    ) -> tuple[Tensor, Tensor]:
        """Neighbours weighted by distance and attributes, their flow scaled by the ratio of effective precipitation.

        Without rain at one of the two rivers the ratio is 1.
        """
        assert context.separation is not None
        weight = proximity(context.separation, self.slope)
        window = torch.arange(neighbour_index.shape[0], device=neighbour_index.device)[:, None, None]
        neighbour_values = supply[:, None].expand(-1, supply.shape[1], -1).gather(2, neighbour_index)
        ratio = torch.sqrt(supply[:, :, None] / neighbour_values).clamp(0.2, 5.0)
        ratio = torch.where(rain_observed[:, :, None] & rain_observed[window, neighbour_index], ratio, 1.0)
        root = flow * self.constants[0, 1] + self.constants[0, 0]
        weight = (weight + 1e-8)[:, None] * seen
        total = weight.sum(dim=-1)
        mixed = (weight * root * ratio[:, None]).sum(dim=-1) / total.clamp(min=1e-12)
        return (mixed - self.constants[0, 0]) / self.constants[0, 1], total > 0

    def _donor_regression(
        self, flow: Tensor, seen: Tensor, neighbour_values: Tensor, neighbour_seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Regressions on each neighbour over the common visible days, weighted by their residual variance."""
        is_common = (neighbour_seen & seen[..., None]).to(flow.dtype)
        count = is_common.sum(dim=1)
        share = is_common / count.clamp(min=1)[:, None]
        mean_own, mean_their = (share * flow[..., None]).sum(dim=1), (share * neighbour_values).sum(dim=1)
        own_anomaly, their_anomaly = flow[..., None] - mean_own[:, None], neighbour_values - mean_their[:, None]
        var_own, var_their = (share * own_anomaly.square()).sum(dim=1), (share * their_anomaly.square()).sum(dim=1)
        covariance = (share * own_anomaly * their_anomaly).sum(dim=1)
        shrunk = covariance * count / (count + 10.0)
        slope = shrunk / (var_their + 1e-3)
        residual = (var_own - slope * covariance).clamp(min=0) + 0.02 * var_own + 1e-4
        usable = (count >= MIN_COMMON_DAYS) & (covariance > 0)
        weight = torch.where(usable, residual, 1.0).pow(-functional.softplus(self.sharpness) * 2) * usable
        weight = weight / weight.amax(dim=-1, keepdim=True).clamp(min=1e-12)
        weight = weight[:, None] * neighbour_seen
        total = weight.sum(dim=-1)
        predicted = mean_own[:, None] + slope[:, None] * their_anomaly
        mixed = (weight * predicted).sum(dim=-1) / total.clamp(min=1e-12)
        residual_variance = (weight * residual[:, None]).sum(dim=-1) / total.clamp(min=1e-12)
        exists = total > 1e-6
        return torch.where(exists, mixed, 0.0), exists, torch.log(residual_variance.clamp(min=1e-4))


class ErrorCorrection(nn.Module):
    """The simulation of the LSTM, corrected by its errors on other days and at the neighbours on the same day."""

    def __init__(self, separations: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0] + [-2.0] * (separations - 1)))
        self.shrinkage = nn.Parameter(torch.tensor([-1.0]))
        self.log_ridge = nn.Parameter(torch.tensor([math.log(0.3)]))
        self.log_decay_days = nn.Parameter(torch.tensor([math.log(10.0)]))

    def forward(
        self,
        flow: Float[Tensor, "B T S"],
        seen: Bool[Tensor, "B T S"],
        neighbour_seen: Bool[Tensor, "B T S K"],
        simulated: Float[Tensor, "B T S"],
        neighbour_index: Int[Tensor, "B S K"],
        context: Context,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The `LSTM_ESTIMATORS`, and where they exist.

        Errors are in units of the standard deviation of each river's simulation, so that rivers of different variability are
        comparable.
        """
        std = simulated.std(dim=1, keepdim=True, correction=0).clamp(min=0.05)
        error = torch.where(seen, (flow - simulated) / std, 0.0)
        interpolated, interpolated_exists, _ = interpolate(error, seen, decay=torch.exp(self.log_decay_days))
        neighbour_values = self._neighbour_error(error, neighbour_seen, neighbour_index, context)
        regressed = neighbour_values + self._donor_regression(
            error, seen, neighbour_values, neighbour_seen, neighbour_index
        )
        residual, residual_exists, _ = interpolate(
            torch.where(seen, error - regressed, 0.0), seen, decay=torch.exp(self.log_decay_days)
        )
        neighbours_exist = neighbour_seen.any(dim=-1)
        corrected = [
            simulated,
            *(simulated + std * part for part in (interpolated, neighbour_values, regressed, regressed + residual)),
        ]
        everywhere = torch.ones_like(interpolated_exists)
        return corrected, [
            everywhere,
            interpolated_exists,
            neighbours_exist,
            neighbours_exist,
            neighbours_exist & residual_exists,
        ]

    def _donor_regression(
        self,
        error: Tensor,
        seen: Tensor,
        neighbour_values: Tensor,
        neighbour_seen: Tensor,
        neighbour_index: Int[Tensor, "B S K"],
    ) -> Float[Tensor, "B T S"]:
        """Ridge regression of a river's error, minus the weighted mean of `_neighbour_error`, on its neighbours' errors.

        Hidden errors of a neighbour are replaced by its own `_neighbour_error`; without visible days the result is 0.
        """
        filled_error = _gather(torch.where(seen, error, neighbour_values.detach()), neighbour_index)
        others = (neighbour_index != torch.arange(neighbour_index.shape[1], device=neighbour_index.device)[:, None])[
            :, None
        ]
        known = torch.where(neighbour_seen & seen[..., None], filled_error, 0.0).transpose(1, 2)
        residual = torch.where(seen, error - neighbour_values.detach(), 0.0).transpose(1, 2)
        gram = known.transpose(-1, -2) @ known
        strength = gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None] + 1.0
        ridge = torch.exp(self.log_ridge) * strength * torch.eye(gram.shape[-1], device=gram.device)
        slope = torch.linalg.solve(gram + ridge, known.transpose(-1, -2) @ residual[..., None])[..., 0]
        return (torch.where(others, filled_error, 0.0) * slope[:, None]).sum(dim=-1)

    def _neighbour_error(
        self, error: Tensor, neighbour_seen: Tensor, neighbour_index: Tensor, context: Context
    ) -> Float[Tensor, "B T S"]:
        """Mean error of the neighbours weighted by distance and attributes, shrunk to 0 if they are few or distant."""
        assert context.separation is not None
        weight = proximity(context.separation, self.slope)[:, None] * neighbour_seen
        total = weight.sum(dim=-1) + functional.softplus(self.shrinkage)
        return (weight * _gather(error, neighbour_index)).sum(dim=-1) / total


def interpolate(
    values: Float[Tensor, "B T S"], seen: Bool[Tensor, "B T S"], decay: Tensor | None
) -> tuple[Float[Tensor, "B T S"], Bool[Tensor, "B T S"], Float[Tensor, "B T S 4"]]:
    """Interpolate between the previous and the next visible day, weighted by inverse distance.

    The value of a visible day is not used for that day, so that visible and hidden days are alike. With `decay` [days] the
    result decays to 0 with the distance.

    Returns:
        Values, whether there is any other visible day, and four features.
    """
    days = values.shape[1]
    step = torch.arange(days, device=values.device)[None, :, None]
    marked = torch.where(seen, step, -1)
    before = functional.pad(marked.cummax(dim=1).values[:, :-1], (0, 0, 1, 0), value=-1)
    marked = torch.where(seen, step, 2 * days)
    after = functional.pad(marked.flip(1).cummin(dim=1).values.flip(1)[:, 1:], (0, 0, 0, 1), value=2 * days)
    has_before, has_after = before >= 0, after < days
    last = values.gather(1, before.clamp(min=0)) * has_before
    following = values.gather(1, after.clamp(max=days - 1)) * has_after
    back, forth = (step - before).to(values.dtype), (after - step).to(values.dtype)
    from_last, from_next = has_before / back, has_after / forth
    mixed = (from_last * last + from_next * following) / (from_last + from_next).clamp(min=1e-6)
    if decay is not None:
        mixed = mixed * torch.exp(
            -(torch.minimum(torch.where(has_before, back, 1e4), torch.where(has_after, forth, 1e4)) - 1) / decay
        )
    features = torch.stack([from_last, from_next, from_last * last, from_next * following], dim=-1)
    return mixed, has_before | has_after, features


def proximity(separation: Float[Tensor, "B S K G"], slope: Float[Tensor, " G"]) -> Float[Tensor, "B S K"]:
    """Weight of each neighbour, which decreases with distance and differences of attributes."""
    return torch.exp(-(separation * functional.softplus(slope)).sum(dim=-1))


def _neighbours(context: Context, sites: int, device: torch.device) -> Int[Tensor, "B S K"]:
    if context.neighbours is not None:
        return context.neighbours
    assert context.separation is not None
    return torch.arange(sites, device=device).expand(context.separation.shape[0], sites, sites)


def _gather(values: Shaped[Tensor, "B T S"], neighbour_index: Int[Tensor, "B S K"]) -> Shaped[Tensor, "B T S K"]:
    size, sites, count = neighbour_index.shape
    index = neighbour_index.reshape(size, 1, sites * count).expand(-1, values.shape[1], -1)
    return values.gather(2, index).view(size, values.shape[1], sites, count)


def _mean(values: Tensor, seen: Tensor, dim: int) -> Tensor:
    count = seen.sum(dim=dim)
    return torch.where(seen, values, 0.0).sum(dim=dim) / count.clamp(min=1)
