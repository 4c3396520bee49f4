"""From a pretrained model to a question: which weights learn. All of them, the heads alone, low-rank adapters and heads, the
memories alone, which then run without the rest, or the rest alone, with others speaking for the memories.

LoRA after Hu et al. (2022, ICLR, section 4.1): a frozen matrix W is used as W + B A, with A drawn from a Gaussian and B zero,
so that training starts from exactly the pretrained model. Their factor alpha / r is 1 here.
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

FinetuneMethod = Literal["full", "frozen", "lora", "lstm", "all-but-lstm"]
OUTPUT_MODULES = ("heads", "decoders", "queries", "mix")
"""Parts of the model that read answers from what was encoded; they learn under every method."""
LSTM_PREFIX, POSITIONAL_PREFIX = "rainfall_runoff.", "positional."
"""How names of their weights begin."""
LORA_MODULES = ("mixers", "mlp")
"""Parts of a block whose matrices get adapters: attention or recurrence, and the feed-forward part."""


class LowRank(nn.Module):
    """W → W + B A, with B Float[O, R] zero at the start and A Float[R, I] of variance 1 / I."""

    def __init__(self, weight: Float[Tensor, "O I"], rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        drawn = torch.randn(rank, columns, generator=generator) * columns**-0.5
        self.a = nn.Parameter(drawn.to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The adapted matrix, in the precision of the weights, as `plain` merges it."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.b @ self.a


@dataclass(frozen=True)
class OutOfFoldRun:
    """Memories of a run that was kept from some rivers.

    Attributes:
        weights: Of the run's model: its memories were taught beside the weights that are taught further now.
        held_out: Rivers that it was kept from.
        name: What a refusal calls it.
    """

    weights: Mapping[str, Tensor]
    held_out: tuple[str, ...]
    name: str

    def lstm_for(self, model: HydroMAE) -> RainfallRunoff:
        """Its memories, for a model that reads addresses as it does.

        Raises:
            InputError: If it reads others, or has other memories.
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
                f"{self.name}: is no run of memories from the same model; finetune --trainable lstm makes one"
            )
        lstm = deepcopy(model.rainfall_runoff)
        lstm.load_state_dict(lstm_state)
        return lstm


def _submodule_state(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights of a part of the model, by their names within it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def out_of_fold_index(stand_ins: Sequence[OutOfFoldRun], names: Sequence[str]) -> Int[np.ndarray, " S"]:
    """For each river the first stand-in that was kept from it.

    Raises:
        InputError: If one of them all saw.
    """
    held_out = [set(run.held_out) for run in stand_ins]
    indices = [next((run_index for run_index, rivers in enumerate(held_out) if name in rivers), -1) for name in names]
    if -1 in indices:
        raise InputError(
            f"stand-ins: all of them were taught on {names[indices.index(-1)]}; name one that was kept from it (--fold)"
        )
    return np.array(indices)


@dataclass(frozen=True)
class PretrainedStart:
    """Where training starts, and what of the model learns.

    Attributes:
        weights: Of a pretrained model of the same configuration.
        method: Everything learns; or the heads and decoders alone, so that one encoder serves many questions (its norms stay
            as they are, too); or these and adapters of the encoders and the fusion; or the memories of rivers
            (`HydroMAE.rainfall_runoff`) on all their days, where nothing else runs (of gb-rivers, a step then takes 0.3 of
            its time: 40 in 3.9 s instead of 13.3 s, validation included, on 2 cores); or all but these and the addresses that
            they read.
        rank: Of the adapters; other methods have none.
        reinit_lstm: Whether the memories begin from random weights.
        stand_ins: Memories that speak for rivers which they never saw, while the rest is taught.
    """

    weights: Mapping[str, Tensor]
    method: FinetuneMethod = "full"
    rank: int = 8
    reinit_lstm: bool = False
    stand_ins: tuple[OutOfFoldRun, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"rank {self.rank}: an adapter needs a rank of at least 1; give a larger one")

    def apply_to(self, model: HydroMAE) -> None:
        """Load the weights, freeze what does not learn, attach adapters; before the optimizer is made.

        Adapters are drawn from a generator of their own, so they are the same in every run and on every rank.

        Raises:
            InputError: If the memories, or all but these, are to learn and the model has none; or if a stand-in does not fit.
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
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in OUTPUT_MODULES)
        if self.method == "lora":
            generator = torch.Generator().manual_seed(0)
            for module, name in list(_adapted_matrices(model)):
                adapter = LowRank(module.get_parameter(name), self.rank, generator)
                parametrize.register_parametrization(module, name, adapter)


def _train_lstm_only(model: HydroMAE) -> None:
    """Only the memories run, and learn; what the rest reads of them stays as it is."""
    if model.rainfall_runoff is None:
        raise InputError("memories: the model has none (model.lstm_width 0); choose full, frozen or lora")
    model.requires_grad_(False)
    model.rainfall_runoff.requires_grad_(True)
    model.lstm_only = True


def _train_all_but_lstm(model: HydroMAE) -> None:
    """All but the memories learns, and but the addresses, which they read."""
    if model.rainfall_runoff is None:
        raise InputError("rest: the model has no memories (model.lstm_width 0); choose full, frozen or lora")
    model.rainfall_runoff.requires_grad_(False)
    model.positional.requires_grad_(False)


def _adapted_matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The matrices that get adapters, in the order of the model."""
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
    """How many numbers of a model learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
