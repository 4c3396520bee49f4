"""Fine-tuning of a pretrained model: which weights are trained.

LoRA after Hu et al. (2022, ICLR, section 4.1): a frozen matrix W is used as W + B A, with A drawn from a Gaussian and B zero,
so that training starts from exactly the pretrained model. The factor alpha / r is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hydromae.errors import InputError
from hydromae.model.mae import HydroMAE
from hydromae.model.out_of_fold import OutOfFoldLSTMs
from hydromae.model.rainfall_runoff import RainfallRunoff
from hydromae.variables import MODALITIES

FinetuneMethod = Literal["full", "frozen", "lora", "lstm", "all-but-lstm", "maps"]
OUTPUT_MODULES = ("heads", "decoders", "queries", "mix")
"""Modules after the encoders, trained by `frozen` and `lora`."""
LSTM_PREFIX, POSITIONAL_PREFIX = "rainfall_runoff.", "positional."
"""Prefixes of the names of weights."""
LORA_MODULES = ("mixers", "mlp")
"""Modules of a block whose matrices get adapters."""


class LowRank(nn.Module):
    """W → W + B A, with B Float[O, R] zero at the start and A Float[R, I] of variance 1 / I."""

    def __init__(self, weight: Float[Tensor, "O I"], rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        drawn = torch.randn(rank, columns, generator=generator) * columns**-0.5
        self.a = nn.Parameter(drawn.to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The adapted matrix, in the precision of the weights."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.b @ self.a


@dataclass(frozen=True)
class OutOfFoldRun:
    """LSTMs of a run that was trained without some catchments.

    Attributes:
        weights: Of the run's model.
        held_out: Catchments that were not in its training.
        name: Name in error messages.
    """

    weights: Mapping[str, Tensor]
    held_out: tuple[str, ...]
    name: str

    def lstm_for(self, model: HydroMAE) -> RainfallRunoff:
        """Its LSTMs, for a model with the same positional encoding.

        Raises:
            InputError: The LSTMs or the positional encodings differ.
        """
        state, lstm_state = model.state_dict(), _submodule_state(self.weights, LSTM_PREFIX)
        is_same_lstm = _shapes(lstm_state) == _shapes(_submodule_state(state, LSTM_PREFIX))
        positional, run_positional = (
            _submodule_state(state, POSITIONAL_PREFIX),
            _submodule_state(self.weights, POSITIONAL_PREFIX),
        )
        is_same_positional = set(positional) == set(run_positional) and all(
            torch.equal(value.cpu(), run_positional[name]) for name, value in positional.items()
        )
        if model.rainfall_runoff is None or not is_same_lstm or not is_same_positional:
            raise InputError(
                f"{self.name}: is not a run of LSTMs from the same model; finetune --trainable lstm makes one"
            )
        lstm = deepcopy(model.rainfall_runoff)
        lstm.load_state_dict(lstm_state)
        return lstm


def _submodule_state(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def out_of_fold_index(stand_ins: Sequence[OutOfFoldRun], names: Sequence[str]) -> Int[np.ndarray, " S"]:
    """Index of the first run that was trained without each catchment.

    Raises:
        InputError: All runs were trained on a catchment.
    """
    held_out = [set(run.held_out) for run in stand_ins]
    indices = [next((run_index for run_index, rivers in enumerate(held_out) if name in rivers), -1) for name in names]
    if -1 in indices:
        raise InputError(
            f"--oof-runs: all were trained on {names[indices.index(-1)]}; name a run trained without it (--fold)"
        )
    return np.array(indices)


@dataclass(frozen=True)
class PretrainedStart:
    """Initial weights of a run, and which of them are trained.

    Attributes:
        weights: Of a pretrained model of the same configuration.
        method: `full` trains all weights; `frozen` the heads and decoders; `lora` these and low-rank adapters of the encoders
            and the fusion; `lstm` the LSTMs only, without the rest of the forward pass (0.3 of the time of a step of
            gb-rivers); `all-but-lstm` all but the LSTMs and the positional encodings that they use; `maps` the parts of maps
            and the fusion, and how evaporation is read and predicted, so that answers without either do not change.
        rank: Rank of the adapters.
        reinit_lstm: Whether the LSTMs start from random weights.
        stand_ins: Runs whose LSTMs provide out-of-fold predictions.
    """

    weights: Mapping[str, Tensor]
    method: FinetuneMethod = "full"
    rank: int = 8
    reinit_lstm: bool = False
    stand_ins: tuple[OutOfFoldRun, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"rank {self.rank}: below 1; give a rank of at least 1")

    def apply_to(self, model: HydroMAE) -> None:
        """Load the weights, freeze those that are not trained, and add adapters, before the optimizer is made.

        Adapters have their own generator, so they are equal in every run and process.

        Raises:
            InputError: The method needs LSTMs and the model has none, or an out-of-fold run does not fit.
        """
        initial = model.state_dict() if self.reinit_lstm else {}
        drawn = {name: value.clone() for name, value in initial.items() if name.startswith(LSTM_PREFIX)}
        model.load_state_dict(dict(self.weights) | drawn)
        if self.stand_ins:
            model.out_of_fold = OutOfFoldLSTMs([run.lstm_for(model) for run in self.stand_ins])
        if self.method == "full":
            return
        if self.method == "lstm":
            _train_lstm_only(model)
            return
        if self.method == "all-but-lstm":
            _train_all_but_lstm(model)
            return
        if self.method == "maps":
            _train_maps(model)
            return
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in OUTPUT_MODULES)
        if self.method == "lora":
            generator = torch.Generator().manual_seed(0)
            for module, name in list(_adapted_matrices(model)):
                adapter = LowRank(module.get_parameter(name), self.rank, generator)
                parametrize.register_parametrization(module, name, adapter)


def _train_lstm_only(model: HydroMAE) -> None:
    if model.rainfall_runoff is None:
        raise InputError("--trainable lstm: the model has no LSTM (model.lstm_width 0); choose full, frozen or lora")
    model.requires_grad_(False)
    model.rainfall_runoff.requires_grad_(True)
    model.lstm_only = True


def _train_all_but_lstm(model: HydroMAE) -> None:
    if model.rainfall_runoff is None:
        raise InputError(
            "--trainable all-but-lstm: the model has no LSTM (model.lstm_width 0); choose full, frozen or lora"
        )
    model.rainfall_runoff.requires_grad_(False)
    model.positional.requires_grad_(False)


def _train_maps(model: HydroMAE) -> None:
    if not model.config.model.fusion_gates:
        raise InputError(
            "--trainable maps: the model has no maps that are added to its catchments (model.fusion_gates); choose another"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_of_maps(name))


def _is_of_maps(name: str) -> bool:
    """Whether a weight has no effect on catchments without maps and without evaporation."""
    module, _, path = name.partition(".")
    key, _, parameter = path.partition(".")
    if module in ("map_estimators", "fusion"):
        return True
    modality = MODALITIES.get(key.split("+")[0])
    if modality is None or modality.kind == "map":
        return modality is not None
    return key == "evaporation" and (module == "heads" or (module == "embeddings" and parameter == "project.weight"))


def _adapted_matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules and parameter names of the matrices that get adapters."""
    for path, module in model.named_modules():
        parts = path.split(".")
        if (
            parts[0] in ("encoders", "fusion")
            and set(parts) & set(LORA_MODULES)
            and isinstance(module, nn.Linear | nn.LSTM)
        ):
            yield from (
                (module, name) for name, parameter in module.named_parameters(recurse=False) if parameter.ndim == 2
            )


def count_trainable(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
