"""Batch: values of every modality with their coordinates, as tensors."""

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
    """Positions and static attributes of the sites of one kind; V catchments share a site (V = 1 for map patches).

    Attributes:
        position (Float[B, S, V, 2]): Easting and northing [km].
        valid (Bool[B, S, V]): False for a padding slot of the last group.
        static_attributes (Float[B, S, V, A]): Scaled, 0 where unknown.
        is_known (Bool[B, S, V, A]): Which attributes are known.
        is_located (Bool[B, S, V] or None): False where a position lies outside the training domain: distances use it,
            positional encodings do not.
    """

    position: Float[Tensor, "B S V 2"]
    valid: Bool[Tensor, "B S V"]
    static_attributes: Float[Tensor, "B S V A"]
    is_known: Bool[Tensor, "B S V A"]
    is_located: Bool[Tensor, "B S V"] | None = None

    def ungrouped(self) -> SiteMetadata:
        """The same with a site for every slot, site × V + index in the group."""
        return map_tensors(self, lambda tensor: tensor.flatten(1, 2)[:, :, None])


@dataclass(frozen=True)
class CellWeights:
    """Footprints: entry k gives pixel `pixel[k]` of patch `patch[k]` the weight `weight[k]` in catchment slot `slot[k]`.

    A catchment slot is site × V + index in the group.
    """

    slot: Int[Tensor, " N"]
    patch: Int[Tensor, " N"]
    pixel: Int[Tensor, " N"]
    weight: Float[Tensor, " N"]


@dataclass(frozen=True)
class FlowTransform:
    """Scaling of river flow, and the divisor of squared errors of flow, Float[B, S, F] [mm²/day²]."""

    scaling: VariableScaling
    variance: Float[Tensor, "B S F"]


@dataclass(frozen=True)
class Batch:
    """B windows of T days.

    Attributes:
        values (dict of Float[B, T, S, F]): Scaled values of each modality; arbitrary where `observed` is False.
        observed (dict of Bool[B, T, S, F]): True where a value was measured.
        variance (dict of Float[B, S, F]): Divisor of squared errors.
        days (Int[B, T]): Days since 1970-01-01.
        site_metadata: By kind, "map" and "series".
        cells: Footprints of the catchments, the same for each window.
        antecedent (Float[B, S, E] or None): Antecedent weather of each series site (`batching.antecedent`).
        flow_dropout (Bool[B, T, S] or None): Days whose flow is not an input of the autoregressive LSTM
            (`model.lstm_ar_width`), so that a window has many issue days.
        fold_index (Int[B, S] or None): Index of the out-of-fold LSTM that was trained without the catchment.
        flow_transform: For the loss in units of flow (`train.flow_loss_weight`).
        dropped (dict of Bool[B, F] or None): Channels that input dropout removes from a window, as inputs and as targets.
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
        """The batch on another device; the transfer is asynchronous from pinned memory."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory."""
        return map_tensors(self, lambda tensor: tensor.pin_memory())

    def window(self, index: int) -> Batch:
        """One window of the batch, as views."""
        part = slice(index, index + 1)
        return replace(map_tensors(replace(self, cells=None), lambda tensor: tensor[part]), cells=self.cells)

    def metadata_of(self, modality: str) -> SiteMetadata:
        """Metadata of a modality's sites."""
        return self.site_metadata[MODALITIES[modality].kind]

    @property
    def size(self) -> int:
        """Number of windows."""
        return self.days.shape[0]


def map_tensors(nested: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of a dictionary or dataclass, however deep; other values are kept."""
    if isinstance(nested, Tensor):
        return function(nested)
    if isinstance(nested, dict):
        return {key: map_tensors(value, function) for key, value in nested.items()}
    if is_dataclass(nested) and not isinstance(nested, type):
        return type(nested)(*(map_tensors(getattr(nested, f.name), function) for f in fields(nested)))
    return nested
