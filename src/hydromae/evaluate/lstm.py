"""LSTM baseline: one LSTM for all rivers that predicts flow from weather and static attributes.

Source: Kratzert et al. 2019 (HESS 23, 5089); for British rivers Lees et al. 2021 (HESS 25, 5517); with a distribution
Klotz et al. 2022 (HESS 26, 1673); with lagged flow as input Nearing et al. 2022 (HESS 26, 5493).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
import xarray as xr
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hydromae.batching.windows import draw_known_attributes
from hydromae.evaluate.answers import SCORED_LEVELS, with_predictions
from hydromae.inference.scenarios import WEATHER
from hydromae.io.atomic import write_text_atomic
from hydromae.io.text_file import read_text
from hydromae.model.lstm import open_forget_gates, run_lstm
from hydromae.model.mixture import GaussianMixture, mixture_around
from hydromae.progress import track
from hydromae.runtime import autocast
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES

SEQUENCE_STARTS = 4
"""Number of first days of the sequences in a batch."""
LSTM_WEIGHTS = "lstm.safetensors"
RIVERS_PER_BATCH = 100
"""Rivers of one forward pass in prediction."""


@dataclass(frozen=True)
class LSTMConfig:
    """Configuration of the network and its training.

    Attributes:
        hidden_size, dropout: Width of the LSTM, and dropout of its states.
        flow_lag: Days from the newest flow in the input to the predicted day; None: no flow in the input.
        weather_lag: Days from the newest weather in the input to the predicted day.
        sequence_length, warm_up: Days of a sequence, and its first days, which are not in the loss.
        batch_size, steps, lr, gradient_clip: Sequences in a batch; updates; largest learning rate of Adam, on a cosine;
            largest norm of the gradient.
        mixture_components, likelihood_weight: Gaussians of a mixture, and the weight of its negative log-likelihood in the
            loss.
        attribute_dropout: Share of sequences with position and area as their only attributes; half as many lack single
            attributes (`windows.draw_known_attributes`).
    """

    hidden_size: int = 128
    dropout: float = 0.3
    flow_lag: int | None = None
    weather_lag: int = 0
    sequence_length: int = 540
    warm_up: int = 180
    batch_size: int = 128
    steps: int = 4000
    lr: float = 2e-3
    gradient_clip: float = 1.0
    mixture_components: int = 3
    likelihood_weight: float = 0.1
    attribute_dropout: float = 0.0
    seed: int = 0


class LSTMNetwork(nn.Module):
    """LSTM, dropout, and a linear head for the mean and the mixture of each day."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        inputs = len(WEATHER) + 1 + 4 + 3 * (config.flow_lag is not None) + 2 * len(ATTRIBUTES)
        self.recurrence = open_forget_gates(nn.LSTM(inputs, config.hidden_size))
        self.dropout = config.dropout
        self.head = nn.Linear(config.hidden_size, 1 + 3 * config.mixture_components)

    def forward(self, dynamic: Float[Tensor, "T N E"]) -> tuple[Tensor, GaussianMixture]:
        """Mean Float[T, N] of the scaled root of flow, and the mixture around it."""
        states = functional.dropout(run_lstm(self.recurrence, dynamic), self.dropout, self.training)
        output = self.head(states).float()
        return output[..., 0], mixture_around(output[..., 0], output[..., 1:])


@dataclass(frozen=True)
class RegionalLSTM:
    """A trained network that predicts flow from weather and attributes, and with `flow_lag` from earlier flow."""

    network: LSTMNetwork
    config: LSTMConfig
    scaling: Scaling
    name: str = "lstm"

    @classmethod
    def fit(
        cls,
        training: xr.Dataset,
        config: LSTMConfig,
        name: str = "lstm",
        progress: Callable[[int, float], None] = lambda step, loss: None,
    ) -> RegionalLSTM:
        """Train a network.

        Args:
            training: A water record of training days and catchments; those without flow are left out.
            config: Configuration of the network.
            name: Name in tables of scores.
            progress: Called with step and loss after every update.

        Raises:
            InputError: A variable is unobserved on all training days.
        """
        days = training["time"].values.astype("datetime64[D]").astype(str)
        scaling = Scaling.fit(training, (days[0], days[-1]))
        torch.manual_seed(config.seed)
        lstm = cls(LSTMNetwork(config), config, scaling, name)
        lstm._train(training, progress)
        return lstm

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict mean and quantiles of every NaN."""
        dynamic, attributes, flow = self._inputs(dataset)
        is_missing = np.isnan(flow)
        mean, quantiles = np.empty_like(flow), np.broadcast_to(flow, (len(SCORED_LEVELS), *flow.shape)).copy()
        self.network.eval()
        with torch.inference_mode():
            parts = np.array_split(np.arange(dynamic.shape[1]), -(-dynamic.shape[1] // RIVERS_PER_BATCH))
            for rivers in track(parts, f"hundreds of rivers, {self.name}", len(parts)):
                root, gaussians = self.network(_concatenated(dynamic[:, rivers], attributes[rivers]))
                mean[:, rivers] = self._mean_flow(root, gaussians)
                missing_index = np.nonzero(is_missing[:, rivers])
                mixtures = GaussianMixture(
                    *(part[missing_index] for part in (gaussians.weight, gaussians.centre, gaussians.spread))
                )
                quantiles[:, missing_index[0], rivers[missing_index[1]]] = self.scaling.unscale(
                    "riverflow", mixtures.quantiles(SCORED_LEVELS).double().numpy()
                )
        dims, coords = ("quantile", "time", "catchment"), {"quantile": list(SCORED_LEVELS)}
        return with_predictions(dataset, mean).assign(
            riverflow_quantile=xr.DataArray(quantiles, dims=dims, coords=coords)
        )

    def _inputs(self, dataset: xr.Dataset) -> tuple[Float[np.ndarray, "T C E"], Float[np.ndarray, "C G"], np.ndarray]:
        """Dynamic inputs, static inputs (0 where unknown), and flow [mm/day]."""
        days = dataset.transpose("time", "catchment", ...)
        flow = days["riverflow"].values.astype(np.float32)
        parts = [_lagged(self._scaled(days, name), self.config.weather_lag) for name in WEATHER]
        parts.insert(0, np.square(parts[0]))  # the square separates heavy rain better than the root
        angle = 2 * math.pi / 365.2425 * days["time"].values.astype("datetime64[D]").astype(np.float64)
        for part in (np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)):
            parts.append(np.broadcast_to(part[:, None], flow.shape))
        if self.config.flow_lag is not None:
            lagged_flow = _lagged(self._scaled(days, "riverflow"), self.config.flow_lag)
            parts += [lagged_flow, np.square(lagged_flow), np.isfinite(lagged_flow)]
        columns = [self._scaled_attribute(dataset, attribute.name) for attribute in ATTRIBUTES]
        attributes = np.stack([*columns, *(np.isfinite(column) for column in columns)], axis=-1)
        dynamic = np.stack([np.nan_to_num(part).astype(np.float32) for part in parts], axis=-1)
        return dynamic, np.nan_to_num(attributes).astype(np.float32), flow

    def _scaled(self, dataset: xr.Dataset, name: str) -> Float[np.ndarray, "T C"]:
        return self.scaling.scale(name, dataset[name].values.astype(np.float32))

    def _scaled_attribute(self, dataset: xr.Dataset, name: str) -> Float[np.ndarray, " C"]:
        """A scaled attribute; NaN where it is unknown to the record or to the training record."""
        if name not in dataset.variables or name not in self.scaling:
            return np.full(dataset.sizes["catchment"], np.nan)
        return self.scaling.scale(name, dataset[name].values.astype(np.float64))

    def _mean_flow(self, root: Tensor, gaussians: GaussianMixture) -> Float[Tensor, "T N"]:
        """Mean flow [mm/day] of a distribution of its scaled root."""
        return self.scaling["riverflow"].expected_value(root, gaussians.variance)

    def _train(self, training: xr.Dataset, progress: Callable[[int, float], None]) -> None:
        config, generator = self.config, np.random.default_rng(self.config.seed)
        dynamic, attributes, flow = self._inputs(training)
        gauged = np.isfinite(flow).any(axis=0)
        dynamic, attributes, flow = dynamic[:, gauged], attributes[gauged], flow[:, gauged]
        root = self.scaling.scale("riverflow", flow)
        spread = np.nanvar(flow, axis=0) + 0.02
        adam = torch.optim.AdamW(self.network.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, config.lr, config.steps, pct_start=0.03, div_factor=100)
        self.network.train()
        for step in range(config.steps):
            draws = [_draw_sequences(len(flow), flow.shape[1], config, generator) for _ in range(SEQUENCE_STARTS)]
            kept_attributes = [
                drop_attributes(attributes[rivers], config.attribute_dropout, generator) for _, rivers in draws
            ]
            inputs = torch.cat(
                [_concatenated(dynamic[d][:, r], t) for (d, r), t in zip(draws, kept_attributes, strict=True)], dim=1
            )
            truth, root_target = (
                torch.from_numpy(np.concatenate([a[days][:, rivers] for days, rivers in draws], axis=1))
                for a in (flow, root)
            )
            variance = torch.from_numpy(np.concatenate([spread[rivers] for _, rivers in draws])).float()
            with autocast(torch.device("cpu"), "auto"):
                mean, gaussians = self.network(inputs)
            loss = self._loss(mean, gaussians, truth, root_target, variance)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
            adam.step()
            schedule.step()
            adam.zero_grad()
            progress(step + 1, loss.item())

    def _loss(self, mean: Tensor, gaussians: GaussianMixture, truth: Tensor, root: Tensor, variance: Tensor) -> Tensor:
        """Squared error over the variance of the river (NSE*, Kratzert et al. 2019, eq. 15), and negative log-likelihood."""
        is_target = torch.isfinite(truth)
        is_target[: self.config.warm_up] = False
        error = torch.where(is_target, self._mean_flow(mean, gaussians) - truth.nan_to_num(), 0.0).square() / variance
        negative_log_likelihood = torch.where(is_target, -gaussians.log_likelihood(root.nan_to_num()), 0.0)
        return (error + self.config.likelihood_weight * negative_log_likelihood).sum() / is_target.sum().clamp(min=1)

    def save(self, folder: Path) -> None:
        """Write configuration and scaling, then the weights: a folder with weights is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / "config.json", json.dumps(asdict(self.config), indent=1), "make room there")
        write_text_atomic(folder / "scaling.json", self.scaling.to_json(), "make room there")
        partial = folder / f"{LSTM_WEIGHTS}.partial"
        save_file(self.network.state_dict(), partial)
        partial.replace(folder / LSTM_WEIGHTS)

    @classmethod
    def load(cls, folder: Path, name: str = "lstm") -> RegionalLSTM:
        """Read a folder that `save` wrote."""
        config = LSTMConfig(**json.loads(read_text(folder / "config.json")))
        network = LSTMNetwork(config)
        network.load_state_dict(load_file(folder / LSTM_WEIGHTS))
        return cls(network, config, Scaling.from_json(read_text(folder / "scaling.json")), name)


def _draw_sequences(
    days: int, rivers: int, config: LSTMConfig, generator: np.random.Generator
) -> tuple[slice, Int[np.ndarray, " N"]]:
    start = int(generator.integers(0, days - config.sequence_length + 1))
    chosen = generator.choice(rivers, min(rivers, config.batch_size // SEQUENCE_STARTS), replace=False)
    return slice(start, start + config.sequence_length), chosen


def drop_attributes(
    attributes: Float[np.ndarray, "N G"], dropout: float, generator: np.random.Generator
) -> Float[np.ndarray, "N G"]:
    """Attributes and their flags, with 0 for those that are dropped."""
    if not dropout:
        return attributes
    is_known = draw_known_attributes((len(attributes), 1, len(ATTRIBUTES)), dropout, generator)[:, 0]
    return np.where(np.concatenate([is_known, is_known], axis=1), attributes, 0.0).astype(np.float32)


def _concatenated(dynamic: Float[np.ndarray, "T N E"], attributes: Float[np.ndarray, "N G"]) -> Float[Tensor, "T N H"]:
    static = np.broadcast_to(attributes, (len(dynamic), *attributes.shape))
    return torch.from_numpy(np.concatenate([dynamic, static], axis=-1))


def _lagged(values: Float[np.ndarray, "T C"], days: int) -> Float[np.ndarray, "T C"]:
    """Values of `days` days before; NaN on the first days."""
    return values if days == 0 else np.concatenate([np.full_like(values[:days], np.nan), values[:-days]])


@dataclass(frozen=True)
class LSTMEnsemble:
    """Means of the means and of the quantiles of several networks."""

    members: Sequence[RegionalLSTM]
    name: str = "lstm-ensemble"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN."""
        first, *others = (member.predict(dataset) for member in self.members)
        for other in others:
            first = first.assign({n: first[n] + other[n] for n in ("riverflow", "riverflow_quantile")})
        return first.assign({n: first[n] / len(self.members) for n in ("riverflow", "riverflow_quantile")})
