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
from hydromae.model.out_of_fold import StandIns
from hydromae.model.rainfall_runoff import Runoff

Method = Literal["full", "frozen", "lora", "memories", "rest"]
ANSWERING = ("heads", "decoders", "queries", "mix")
"""Parts of the model that read answers from what was encoded; they learn under every method."""
MEMORIES, ADDRESSES = "runoff.", "addresses."
"""How names of their weights begin."""
ADAPTED = ("mixers", "feed")
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
class StandIn:
    """Memories of a run that was kept from some rivers.

    Attributes:
        weights: Of the run's model: its memories were taught beside the weights that are taught further now.
        unseen: Rivers that it was kept from.
        name: What a refusal calls it.
    """

    weights: Mapping[str, Tensor]
    unseen: tuple[str, ...]
    name: str

    def memory(self, model: HydroMAE) -> Runoff:
        """Its memories, for a model that reads addresses as it does.

        Raises:
            InputError: If it reads others, or has other memories.
        """
        own, memories = model.state_dict(), _part(self.weights, MEMORIES)
        fits = _shapes(memories) == _shapes(_part(own, MEMORIES))
        read, theirs = _part(own, ADDRESSES), _part(self.weights, ADDRESSES)
        alike = set(read) == set(theirs) and all(torch.equal(value.cpu(), theirs[name]) for name, value in read.items())
        if model.runoff is None or not fits or not alike:
            raise InputError(
                f"{self.name}: is no run of memories from the same model; finetune --weights memories makes one"
            )
        memory = deepcopy(model.runoff)
        memory.load_state_dict(memories)
        return memory


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights of a part of the model, by their names within it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def stand_in_of(stand_ins: Sequence[StandIn], names: Sequence[str]) -> Int[np.ndarray, " S"]:
    """For each river the first stand-in that was kept from it.

    Raises:
        InputError: If one of them all saw.
    """
    unseen = [set(one.unseen) for one in stand_ins]
    found = [next((place for place, rivers in enumerate(unseen) if name in rivers), -1) for name in names]
    if -1 in found:
        raise InputError(
            f"stand-ins: all of them were taught on {names[found.index(-1)]}; name one that was kept from it (--leave-out)"
        )
    return np.array(found)


@dataclass(frozen=True)
class Start:
    """Where training starts, and what of the model learns.

    Attributes:
        weights: Of a pretrained model of the same configuration.
        method: Everything learns; or the heads and decoders alone, so that one encoder serves many questions (its norms stay
            as they are, too); or these and adapters of the encoders and the fusion; or the memories of rivers
            (`model.runoff`, `ahead`) on all their days, where nothing else runs (of gb-rivers, a step then takes 0.3 of its
            time: 40 in 3.9 s instead of 13.3 s, validation included, on 2 cores); or all but these and the addresses that
            they read.
        rank: Of the adapters; other methods have none.
        anew: Whether the memories begin from random weights.
        stand_ins: Memories that speak for rivers which they never saw, while the rest is taught.
    """

    weights: Mapping[str, Tensor]
    method: Method = "full"
    rank: int = 8
    anew: bool = False
    stand_ins: tuple[StandIn, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"rank {self.rank}: an adapter needs a rank of at least 1; give a larger one")

    def fit(self, model: HydroMAE) -> None:
        """Load the weights, freeze what does not learn, attach adapters; before the optimizer is made.

        Adapters are drawn from a generator of their own, so they are the same in every run and on every rank.

        Raises:
            InputError: If the memories, or all but these, are to learn and the model has none; or if a stand-in does not fit.
        """
        kept = model.state_dict() if self.anew else {}
        drawn = {name: value.clone() for name, value in kept.items() if name.startswith(MEMORIES)}
        model.load_state_dict(dict(self.weights) | drawn)
        if self.stand_ins:
            model.stand_ins = StandIns([one.memory(model) for one in self.stand_ins])
        if self.method == "full":
            return
        if self.method == "memories":
            _memories_alone(model)
            return
        if self.method == "rest":
            _but_memories(model)
            return
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in ANSWERING)
        if self.method == "lora":
            generator = torch.Generator().manual_seed(0)
            for module, name in list(_matrices(model)):
                adapter = LowRank(module.get_parameter(name), self.rank, generator)
                parametrize.register_parametrization(module, name, adapter)


def _memories_alone(model: HydroMAE) -> None:
    """Only the memories run, and learn; what the rest reads of them stays as it is."""
    if model.runoff is None:
        raise InputError("memories: the model has none (model.runoff 0); choose full, frozen or lora")
    model.requires_grad_(False)
    model.runoff.requires_grad_(True)
    model.memories_alone = True


def _but_memories(model: HydroMAE) -> None:
    """All but the memories learns, and but the addresses, which they read."""
    if model.runoff is None:
        raise InputError("rest: the model has no memories (model.runoff 0); choose full, frozen or lora")
    model.runoff.requires_grad_(False)
    model.addresses.requires_grad_(False)


def _matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The matrices that get adapters, in the order of the model."""
    for path, module in model.named_modules():
        parts = path.split(".")
        if parts[0] in ("encoders", "fusion") and set(parts) & set(ADAPTED) and isinstance(module, nn.Linear | nn.LSTM):
            yield from ((module, name) for name, held in module.named_parameters(recurse=False) if held.ndim == 2)


def learning(model: nn.Module) -> int:
    """How many numbers of a model learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
