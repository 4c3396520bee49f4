"""Batch: values with their coordinates, as tensors, for every modality at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hydromae.store.scaling import VariableScaling
from hydromae.variables import MODALITIES


@dataclass(frozen=True)
class SiteMetadata:
    """Where the sites of one kind are and what is known of them; V catchments share a site (V = 1 for map patches).

    Attributes:
        position (Float[B, S, V, 2]): Easting and northing [km].
        present (Bool[B, S, V]): False for a padding slot of the last group.
        traits (Float[B, S, V, A]): Scaled static attributes, 0 where unknown.
        known (Bool[B, S, V, A]): Which traits are known.
        placed (Bool[B, S, V] or None): False where a position lies outside what the model was trained on: it counts for
            distances, and stands in no address.
    """

    position: Float[Tensor, "B S V 2"]
    valid: Bool[Tensor, "B S V"]
    static_attributes: Float[Tensor, "B S V A"]
    is_known: Bool[Tensor, "B S V A"]
    is_located: Bool[Tensor, "B S V"] | None = None


@dataclass(frozen=True)
class CellWeights:
    """Footprints as tensors: entry k gives map site `patch[k]`, pixel `pixel[k]` the `weight[k]` in slot `slot[k]`.

    `slot` counts catchment slots (site × V + place in the group).
    """

    slot: Int[Tensor, " N"]
    patch: Int[Tensor, " N"]
    pixel: Int[Tensor, " N"]
    weight: Float[Tensor, " N"]


@dataclass(frozen=True)
class FlowTransform:
    """What a loss in units of flow needs.

    Attributes:
        scaling: Of river flow.
        variance (Float[B, S, F]): Divisor of squared errors [mm²/day²].
    """

    scaling: VariableScaling
    variance: Float[Tensor, "B S F"]


@dataclass(frozen=True)
class Batch:
    """B windows of T days.

    Attributes:
        values (dict of Float[B, T, S, F]): Scaled values of each modality; whatever stands where `observed` is False is never
            looked at.
        observed (dict of Bool[B, T, S, F]): True where a value was really measured.
        variance (dict of Float[B, S, F]): What squared errors are divided by.
        days (Int[B, T]): Days since 1970-01-01.
        places: By kind, "map" and "series".
        cells: Footprints of the catchments, the same for each window.
        before (Float[B, S, E] or None): Weather of the years before the window (`batching.antecedent`), by series site.
        gaps (Bool[B, T, S] or None): Days whose flow is kept from the memory that looks ahead (`model.lstm_width`), so that a
            window has many issue days.
        stand_in (Int[B, S] or None): Which of `model.stand_ins` was taught without the river.
        flow: Where the loss looks at flow itself (`train.flow_loss_weight`).
    """

    values: dict[str, Float[Tensor, "B T S F"]]
    observed: dict[str, Bool[Tensor, "B T S F"]]
    variance: dict[str, Float[Tensor, "B S F"]]
    days: Int[Tensor, "B T"]
    site_metadata: dict[str, SiteMetadata]
    cells: CellWeights | None = None
    antecedent: Float[Tensor, "B S E"] | None = None
    flow_dropout: Bool[Tensor, "B T S"] | None = None
    fold_index: Int[Tensor, "B S"] | None = None
    flow_transform: FlowTransform | None = None
    dropped: dict[str, Bool[Tensor, "B F"]] | None = None

    def available(self, modality: str) -> Bool[Tensor, "B T S F"]:
        """Values that may be inputs or targets: observed and not dropped."""
        observed = self.observed[modality]
        return observed if self.dropped is None else observed & ~self.dropped[modality][:, None, None]

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device; transfers are asynchronous where memory is pinned."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can fetch from by itself; the loader calls this where there is one."""
        return map_tensors(self, lambda tensor: tensor.pin_memory())

    def window(self, index: int) -> Batch:
        """One window of the batch, as views."""
        part = slice(index, index + 1)
        return replace(map_tensors(replace(self, cells=None), lambda tensor: tensor[part]), cells=self.cells)

    def metadata_of(self, modality: str) -> SiteMetadata:
        """Places of a modality's sites."""
        return self.site_metadata[MODALITIES[modality].kind]

    @property
    def size(self) -> int:
        """Windows in the batch."""
        return self.days.shape[0]


def map_tensors(nested: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same thing (a tensor, or a dictionary or dataclass of such) with a function applied to every tensor in it."""
    if isinstance(nested, Tensor):
        return function(nested)
    if isinstance(nested, dict):
        return {key: map_tensors(value, function) for key, value in nested.items()}
    if is_dataclass(nested) and not isinstance(nested, type):
        return type(nested)(*(map_tensors(getattr(nested, f.name), function) for f in fields(nested)))
    return nested
