"""Rainfall–runoff LSTMs: forward over the days of each catchment, with a prediction of flow for every day.

The simulation LSTM reads weather only, so every observed day is a target, whatever the mask (Kratzert et al. 2019, HESS 23,
5089). The autoregressive LSTM also reads flow, in training with additional gaps, so that a window has many issue days
(Nearing et al. 2022, HESS 26, 5493). The rest of the model uses their predictions, not their states, so that an
out-of-fold LSTM can replace them (`model.out_of_fold`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hydromae.batching.antecedent import DECAY_DAYS, antecedent_width
from hydromae.config import Config
from hydromae.model.blocks import cast_for
from hydromae.model.lstm import open_forget_gates, run_lstm
from hydromae.model.positional import season_features
from hydromae.store.scaling import Scaling
from hydromae.variables import MODALITIES

FLOW_FEATURES = 6
"""Inputs of the autoregressive LSTM from flow."""
NO_LIMIT = 1e6
"""Scaled temperature that no day reaches."""


@dataclass(frozen=True)
class LSTMPrediction:
    """Prediction of an LSTM.

    Attributes:
        mean (Float[B, T, S]): Scaled root of flow.
        is_target (Bool[B, T, S]): Days whose flow was not an input.
    """

    mean: Float[Tensor, "B T S"]
    is_target: Bool[Tensor, "B T S"]


class CatchmentLSTM(nn.Module):
    """One LSTM for all catchments, whose initial state depends on the site and on the antecedent weather.

    Args:
        width: Width of the state.
        position_width: Width of a site encoding.
        channels: Inputs of a day.
        antecedent: Features of the antecedent weather.
        dropout: Dropout of the states.
    """

    INPUT_WIDTH = 64

    def __init__(self, width: int, position_width: int, channels: int, antecedent: int, dropout: float) -> None:
        super().__init__()
        self.antecedent_width, self.dropout = antecedent, dropout
        self.inputs = nn.Linear(channels, self.INPUT_WIDTH)
        self.site = nn.Linear(position_width, self.INPUT_WIDTH)
        self.initial_state = nn.Linear(self.INPUT_WIDTH + antecedent, 2 * width)
        self.lstm = open_forget_gates(nn.LSTM(self.INPUT_WIDTH, width))
        self.mean = nn.Linear(width, 1)

    def forward(
        self, inputs: Float[Tensor, "B T S E"], sites: Float[Tensor, "B S D"], antecedent: Float[Tensor, "B S G"] | None
    ) -> Float[Tensor, "B T S"]:
        """Mean for every day."""
        size, _, count, _ = inputs.shape
        site = self.site(sites)
        tokens = functional.gelu(self.inputs(cast_for(self.inputs, inputs)) + site[:, None])
        antecedent_features = (
            sites.new_zeros(size, count, self.antecedent_width)
            if antecedent is None
            else antecedent[..., : self.antecedent_width]
        )
        hidden, cell = (
            self.initial_state(torch.cat([site, antecedent_features.to(site.dtype)], dim=-1))
            .flatten(0, 1)
            .chunk(2, dim=-1)
        )
        initial_state = (hidden.tanh()[None].contiguous(), cell[None].contiguous())
        states = run_lstm(self.lstm, rearrange(tokens, "b t s d -> t (b s) d"), initial_state)
        states = functional.dropout(states, self.dropout, self.training)
        return rearrange(self.mean(states)[..., 0].float(), "t (b s) -> b t s", b=size)


class RainfallRunoff(nn.Module):
    """The simulation LSTMs, whose predictions are averaged, and the autoregressive LSTM.

    Args:
        simulation_width, autoregressive_width: Widths; 0 omits the autoregressive LSTM.
        position_width: Width of a site encoding.
        channels: Weather variables.
        antecedent: Features of the antecedent weather (`batching.antecedent`).
        dropout: Dropout of the states.
        has_limit: Whether the LSTMs read at most `max_temperature` on days with known evaporation.
        members: Number of simulation LSTMs.

    Attributes:
        max_temperature (Float[]): Scaled temperature.
    """

    max_temperature: Tensor

    def __init__(
        self,
        simulation_width: int,
        autoregressive_width: int,
        position_width: int,
        channels: int,
        antecedent: int,
        dropout: float = 0.0,
        has_limit: bool = False,
        members: int = 1,
    ) -> None:
        super().__init__()
        self.has_limit = has_limit
        if has_limit:
            self.register_buffer("max_temperature", torch.tensor(NO_LIMIT))
        simulation = (simulation_width, position_width, 2 * channels + 4, antecedent, dropout)
        self.simulation = CatchmentLSTM(*simulation)
        self.more_simulations = nn.ModuleList(CatchmentLSTM(*simulation) for _ in range(members - 1))
        self.autoregressive = (
            CatchmentLSTM(autoregressive_width, position_width, 2 * channels + 4 + FLOW_FEATURES, antecedent, dropout)
            if autoregressive_width
            else None
        )

    @classmethod
    def of(cls, config: Config) -> RainfallRunoff:
        """The LSTMs of a configuration with `model.lstm_width`."""
        model, channels = config.model, len(MODALITIES["weather"].variables)
        antecedent = antecedent_width(channels) if config.data.antecedent_days else 0
        widths = (model.lstm_width, model.lstm_ar_width, model.d_model)
        has_limit = model.lstm_max_temperature is not None
        return cls(*widths, channels, antecedent, model.lstm_dropout, has_limit, model.lstm_members)

    @property
    def members(self) -> list[CatchmentLSTM]:
        """The simulation LSTMs."""
        more: list[CatchmentLSTM] = list(self.more_simulations)  # pyright: ignore[reportAssignmentType]
        return [self.simulation, *more]

    def set_limit(self, celsius: float | None, scaling: Scaling) -> None:
        """Set `max_temperature` where there is a limit and the scaling has temperature."""
        if self.has_limit and celsius is not None and "temperature" in scaling:
            self.max_temperature.fill_((celsius - scaling["temperature"].mean) / scaling["temperature"].std)

    def forward(
        self,
        weather: Float[Tensor, "B T S F"],
        forcing_observed: Bool[Tensor, "B T S F"],
        flow: Float[Tensor, "B T S"],
        flow_visible: Bool[Tensor, "B T S"],
        days: Int[Tensor, "B T"],
        sites: Float[Tensor, "B S E"],
        antecedent: Float[Tensor, "B S G"] | None,
        flow_dropout: Bool[Tensor, "B T S"] | None = None,
    ) -> list[LSTMPrediction]:
        """Predictions of both; values are 0 where not visible, and flow in `flow_dropout` is not an input.

        With a limit of temperature, that of the antecedent weather is not an input either, where evaporation is known.
        """
        if self.has_limit:
            weather, antecedent = self._limited(weather, forcing_observed), _without_temperature(antecedent)
        season_of_days = season_features(days)[:, :, None].expand(-1, -1, weather.shape[2], -1)
        inputs = torch.cat([weather, forcing_observed.to(weather.dtype), season_of_days], dim=-1)
        mean = torch.stack([member(inputs, sites, antecedent) for member in self.members]).mean(dim=0)
        predictions = [LSTMPrediction(mean, torch.ones_like(flow_visible))]
        if self.autoregressive is not None:
            flow_observed = flow_visible if flow_dropout is None else flow_visible & ~flow_dropout
            flow_features = _flow_features(flow, flow_observed, mean.detach())
            correction = self.autoregressive(torch.cat([inputs, flow_features], dim=-1), sites, antecedent)
            predictions.append(LSTMPrediction(mean.detach() + correction, ~flow_observed))
        return predictions

    def _limited(
        self, weather: Float[Tensor, "B T S F"], observed: Bool[Tensor, "B T S F"]
    ) -> Float[Tensor, "B T S F"]:
        """Weather with at most `max_temperature` on days with known evaporation."""
        rain, temperature, evaporation = weather.unbind(dim=-1)
        limited = torch.minimum(temperature, self.max_temperature.to(temperature.dtype))
        return torch.stack([rain, torch.where(observed[..., 2], limited, temperature), evaporation], dim=-1)


def _without_temperature(antecedent: Float[Tensor, "B S G"] | None) -> Float[Tensor, "B S G"] | None:
    """Antecedent weather without the temperature at time scales with known evaporation."""
    if antecedent is None:
        return None
    by_kind = antecedent.unflatten(-1, (len(DECAY_DAYS), 3, -1)).clone()  # mean, mean square, observed share
    is_known = by_kind[..., 2:, 2] > 0
    by_kind[..., :2, 1] = torch.where(is_known, 0.0, by_kind[..., :2, 1])
    return by_kind.flatten(-3)


def _flow_features(flow: Tensor, flow_observed: Tensor, simulated: Tensor) -> Float[Tensor, "B T S 6"]:
    """Flow of the day, and the last error of the simulation with its age."""
    step = torch.arange(flow.shape[1], device=flow.device)[None, :, None]
    last = torch.where(flow_observed, step, -1).cummax(dim=1).values
    exists = last >= 0
    error = torch.where(flow_observed, flow - simulated, 0.0)
    carried = error.gather(1, last.clamp(min=0)) * exists
    fresh = exists / (step - last + 1.0)
    level = torch.where(flow_observed, flow, 0.0)
    return torch.stack([level, flow_observed.to(flow.dtype), error, carried, fresh, carried * fresh], dim=-1)
