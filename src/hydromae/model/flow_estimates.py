"""Estimates of flow in the tokens of a window: one catchment or several in a token, weather of catchments or of maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hydromae.batching.batch import Batch
from hydromae.model.blocks import Context
from hydromae.model.estimators import Estimators
from hydromae.model.outputs import Estimates
from hydromae.model.positional import nearest_context
from hydromae.model.rainfall_runoff import LSTMPrediction
from hydromae.variables import MODALITIES

NEAREST_DONORS = 24
"""Catchments that a catchment is estimated from, including itself, if the model has no number of neighbours."""


def estimate_flow(
    estimators: Estimators,
    values: dict[str, Tensor],
    seen: dict[str, Tensor],
    footprint_means: Tensor | None,
    batch: Batch,
    neighbours: tuple[int | None, Context],
    lstm_predictions: Sequence[LSTMPrediction],
) -> Estimates:
    """Estimates of flow from the flow and the weather of a window, in fp32.

    Args:
        values, seen: Scaled values, and which are visible.
        footprint_means (Float[B, T, S, V, E] or None): `encoder.footprint_features`; rain where catchments have no weather.
        neighbours: Their number in the model, and its nearest sites.
    """
    metadata, (count, context) = batch.metadata_of("riverflow"), neighbours
    sites, slots = metadata.valid.shape[1:]
    if slots > 1 or context.separation is None:
        context = nearest_context(metadata.ungrouped(), count or NEAREST_DONORS)
    flow, flow_seen = values["riverflow"].flatten(2), seen["riverflow"].flatten(2)
    rain, evaporation = _weather(values, seen, footprint_means, (flow, torch.zeros_like(flow_seen)))
    lstm_means = [p.mean.detach() for p in lstm_predictions]  # their own loss trains the LSTMs
    with torch.autocast(flow.device.type, enabled=False):
        found = estimators(flow, flow_seen, *rain, *evaporation, context, lstm_means)
    value, exists, features = (part.unflatten(2, (sites, slots)) for part in found)
    return Estimates(value[..., None, :], exists[..., None, :], features)


def _weather(
    values: dict[str, Tensor], seen: dict[str, Tensor], footprint_means: Tensor | None, nothing: tuple[Tensor, Tensor]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rain and potential evaporation of each catchment with where they are visible, [B, T, S × V]; else `nothing`."""
    if "weather" in values:
        names = [variable.name for variable in MODALITIES["weather"].variables]
        parts = [part["weather"].unflatten(3, (-1, len(names))).flatten(2, 3) for part in (values, seen)]
        rain, evaporation = (names.index(name) for name in ("precipitation", "potential_evaporation"))
        return (parts[0][..., rain], parts[1][..., rain]), (parts[0][..., evaporation], parts[1][..., evaporation])
    if "precipitation" not in values or footprint_means is None:
        return nothing, nothing
    index = 2 * [name for name in values if MODALITIES[name].kind == "map"].index("precipitation")
    return (footprint_means[..., index].flatten(2), footprint_means[..., index + 1].flatten(2) > 0), nothing
