"""The network that hydrologists train today: one LSTM for all rivers, weather and traits in, flow out.

Kratzert et al. 2019 (HESS 23, 5089); for British rivers Lees et al. 2021 (HESS 25, 5517); with a distribution Klotz et al.
2022 (HESS 26, 1673); with the river's own earlier flow among its inputs Nearing et al. 2022 (HESS 26, 5493). Written apart
from the model, which it is to be compared with.
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

from hydromae.batching.windows import kept_traits
from hydromae.evaluate.answers import LEVELS, answered
from hydromae.inference.scenarios import WEATHER
from hydromae.io.atomic import write_whole
from hydromae.model.lstm import opened, run
from hydromae.model.mixture import Gaussians, around
from hydromae.progress import counted
from hydromae.runtime import autocast
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES

STARTS = 4
"""Different first days in a batch: sequences that start together are cut as one block."""
WEIGHTS = "lstm.safetensors"
AT_ONCE = 100
"""Rivers answered at once."""


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        units, dropout: Width of the LSTM, and dropout of its states.
        flow_lag: Days from the newest flow it sees to the day it answers; None sees no flow.
        weather_lag: Days from the newest weather it sees to the day it answers: 0 where the weather is known.
        days, warm_up: Length of a sequence, and its first days that are not scored.
        sequences, steps, lr, clip: Sequences in a batch; updates; highest rate of Adam, after a cosine; largest norm of a
            gradient.
        components, likelihood: Gaussians of a distribution, and the weight of its log-likelihood beside the squared error
            over each river's variance.
        trait_dropout: Share of sequences of which position and area alone are known, as of the model's own training; half as
            many lose single traits.
    """

    units: int = 128
    dropout: float = 0.3
    flow_lag: int | None = None
    weather_lag: int = 0
    days: int = 540
    warm_up: int = 180
    sequences: int = 128
    steps: int = 4000
    lr: float = 2e-3
    clip: float = 1.0
    components: int = 3
    likelihood: float = 0.1
    trait_dropout: float = 0.0
    seed: int = 0


class Network(nn.Module):
    """LSTM, dropout, and a head that reads mean and Gaussians off each state."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        inputs = len(WEATHER) + 1 + 4 + 3 * (recipe.flow_lag is not None) + 2 * len(ATTRIBUTES)
        self.recurrence = opened(nn.LSTM(inputs, recipe.units))
        self.dropout = recipe.dropout
        self.head = nn.Linear(recipe.units, 1 + 3 * recipe.components)

    def forward(self, given: Float[Tensor, "T N E"]) -> tuple[Tensor, Gaussians]:
        """Mean Float[T, N] of the scaled root of flow and the Gaussians around it."""
        states = functional.dropout(run(self.recurrence, given), self.dropout, self.training)
        answer = self.head(states).float()
        return answer[..., 0], around(answer[..., 0], answer[..., 1:])


@dataclass(frozen=True)
class RegionalLSTM:
    """A trained network; answers every NaN of `riverflow` of any river with weather and traits.

    Uses weather and traits, and with `flow_lag` the river's own flow so many days before the day it answers.
    """

    network: Network
    recipe: Recipe
    scaling: Scaling
    name: str = "lstm"

    @classmethod
    def fit(
        cls,
        training: xr.Dataset,
        recipe: Recipe,
        name: str = "lstm",
        watch: Callable[[int, float], None] = lambda step, loss: None,
    ) -> RegionalLSTM:
        """Train on a record of the days and rivers that may be learnt from.

        Args:
            training: A water record.
            name: Name in tables of scores.
            watch: Told step and loss after every update.
        """
        days = training["time"].values.astype("datetime64[D]").astype(str)
        scaling = Scaling.fit(training, (days[0], days[-1]))
        torch.manual_seed(recipe.seed)
        fitted = cls(Network(recipe), recipe, scaling, name)
        fitted._train(training, watch)
        return fitted

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Mean and quantiles of every NaN."""
        given, traits, flow = self._inputs(dataset)
        asked = np.isnan(flow)
        mean, cuts = np.empty_like(flow), np.broadcast_to(flow, (len(LEVELS), *flow.shape)).copy()
        self.network.eval()
        with torch.inference_mode():
            parts = np.array_split(np.arange(given.shape[1]), -(-given.shape[1] // AT_ONCE))
            for rivers in counted(parts, f"hundreds of rivers, {self.name}", len(parts)):
                root, gaussians = self.network(_joined(given[:, rivers], traits[rivers]))
                mean[:, rivers] = self._natural(root, gaussians)
                here = np.nonzero(asked[:, rivers])
                some = Gaussians(*(part[here] for part in (gaussians.weight, gaussians.centre, gaussians.spread)))
                cuts[:, here[0], rivers[here[1]]] = self.scaling.unscale(
                    "riverflow", some.quantiles(LEVELS).double().numpy()
                )
        dims, coords = ("quantile", "time", "catchment"), {"quantile": list(LEVELS)}
        return answered(dataset, mean).assign(riverflow_quantile=xr.DataArray(cuts, dims=dims, coords=coords))

    def _inputs(self, dataset: xr.Dataset) -> tuple[Float[np.ndarray, "T C E"], Float[np.ndarray, "C G"], np.ndarray]:
        """What changes with the days, what does not, and flow [mm/day]; a value that is not there is 0."""
        days = dataset.transpose("time", "catchment", ...)
        flow = days["riverflow"].values.astype(np.float32)
        parts = [_later(self._scaled(days, name), self.recipe.weather_lag) for name in WEATHER]
        parts.insert(0, np.square(parts[0]))  # the root of rain alone hides how heavy it was
        angle = 2 * math.pi / 365.2425 * days["time"].values.astype("datetime64[D]").astype(np.float64)
        for part in (np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)):
            parts.append(np.broadcast_to(part[:, None], flow.shape))
        if self.recipe.flow_lag is not None:
            seen = _later(self._scaled(days, "riverflow"), self.recipe.flow_lag)
            parts += [seen, np.square(seen), np.isfinite(seen)]
        columns = [self.scaling.scale(a.name, dataset[a.name].values.astype(np.float64)) for a in ATTRIBUTES]
        traits = np.stack([*columns, *(np.isfinite(column) for column in columns)], axis=-1)
        given = np.stack([np.nan_to_num(part).astype(np.float32) for part in parts], axis=-1)
        return given, np.nan_to_num(traits).astype(np.float32), flow

    def _scaled(self, dataset: xr.Dataset, name: str) -> Float[np.ndarray, "T C"]:
        return self.scaling.scale(name, dataset[name].values.astype(np.float32))

    def _natural(self, root: Tensor, gaussians: Gaussians) -> Float[Tensor, "T N"]:
        """Mean flow [mm/day] of a distribution of its scaled root."""
        by = self.scaling["riverflow"]
        return (root * by.std + by.mean).clamp(min=0.0).square() + gaussians.variance * by.std**2

    def _train(self, training: xr.Dataset, watch: Callable[[int, float], None]) -> None:
        recipe, generator = self.recipe, np.random.default_rng(self.recipe.seed)
        given, traits, flow = self._inputs(training)
        root = self.scaling.scale("riverflow", flow)
        spread = np.nanvar(flow, axis=0) + 0.02
        adam = torch.optim.AdamW(self.network.parameters(), lr=recipe.lr, betas=(0.9, 0.99), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, recipe.lr, recipe.steps, pct_start=0.03, div_factor=100)
        self.network.train()
        for step in range(recipe.steps):
            cuts = [_cut(len(flow), flow.shape[1], recipe, generator) for _ in range(STARTS)]
            known = [known_traits(traits[rivers], recipe.trait_dropout, generator) for _, rivers in cuts]
            inputs = torch.cat([_joined(given[d][:, r], t) for (d, r), t in zip(cuts, known, strict=True)], dim=1)
            truth, rooted = (
                torch.from_numpy(np.concatenate([a[days][:, rivers] for days, rivers in cuts], axis=1))
                for a in (flow, root)
            )
            divide = torch.from_numpy(np.concatenate([spread[rivers] for _, rivers in cuts])).float()
            with autocast(torch.device("cpu"), "auto"):
                mean, gaussians = self.network(inputs)
            loss = self._loss(mean, gaussians, truth, rooted, divide)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
            adam.step()
            schedule.step()
            adam.zero_grad()
            watch(step + 1, loss.item())

    def _loss(self, mean: Tensor, gaussians: Gaussians, truth: Tensor, root: Tensor, divide: Tensor) -> Tensor:
        """Squared error over each river's variance (NSE*, Kratzert et al. 2019, eq. 15), and the log-likelihood."""
        seen = torch.isfinite(truth)
        seen[: self.recipe.warm_up] = False
        error = torch.where(seen, self._natural(mean, gaussians) - truth.nan_to_num(), 0.0).square() / divide
        doubt = torch.where(seen, -gaussians.log_likelihood(root.nan_to_num()), 0.0)
        return (error + self.recipe.likelihood * doubt).sum() / seen.sum().clamp(min=1)

    def save(self, folder: Path) -> None:
        """Weights, recipe and scaling; the weights last, by which a reader knows that all is there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "recipe.json", json.dumps(asdict(self.recipe), indent=1), "make room there")
        write_whole(folder / "scaling.json", self.scaling.to_json(), "make room there")
        aside = folder / f"{WEIGHTS}.partial"
        save_file(self.network.state_dict(), aside)
        aside.replace(folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path, name: str = "lstm") -> RegionalLSTM:
        """What `save` wrote."""
        recipe = Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
        network = Network(recipe)
        network.load_state_dict(load_file(folder / WEIGHTS))
        return cls(network, recipe, Scaling.from_json((folder / "scaling.json").read_text(encoding="utf-8")), name)


def _cut(days: int, rivers: int, recipe: Recipe, generator: np.random.Generator) -> tuple[slice, Int[np.ndarray, " N"]]:
    start = int(generator.integers(0, days - recipe.days + 1))
    chosen = generator.choice(rivers, min(rivers, recipe.sequences // STARTS), replace=False)
    return slice(start, start + recipe.days), chosen


def known_traits(
    traits: Float[np.ndarray, "N G"], dropout: float, generator: np.random.Generator
) -> Float[np.ndarray, "N G"]:
    """What is left of the traits of some sequences, and of their flags."""
    if not dropout:
        return traits
    kept = kept_traits((len(traits), 1, len(ATTRIBUTES)), dropout, generator)[:, 0]
    return np.where(np.concatenate([kept, kept], axis=1), traits, 0.0).astype(np.float32)


def _joined(given: Float[np.ndarray, "T N E"], traits: Float[np.ndarray, "N G"]) -> Float[Tensor, "T N H"]:
    static = np.broadcast_to(traits, (len(given), *traits.shape))
    return torch.from_numpy(np.concatenate([given, static], axis=-1))


def _later(values: Float[np.ndarray, "T C"], days: int) -> Float[np.ndarray, "T C"]:
    """Values as they were so many days before."""
    return values if days == 0 else np.concatenate([np.full_like(values[:days], np.nan), values[:-days]])


@dataclass(frozen=True)
class Ensemble:
    """The mean of several methods' means and of their quantiles."""

    members: Sequence[RegionalLSTM]
    name: str = "lstm-ensemble"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """All members, averaged."""
        first, *others = (member.predict(dataset) for member in self.members)
        for other in others:
            first = first.assign({n: first[n] + other[n] for n in ("riverflow", "riverflow_quantile")})
        return first.assign({n: first[n] / len(self.members) for n in ("riverflow", "riverflow_quantile")})
