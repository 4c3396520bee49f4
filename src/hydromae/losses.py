"""Losses: what is wrong with predictions, at targets only."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, targets
from hydromae.config import Config
from hydromae.model.mixture import Gaussians
from hydromae.model.outputs import Predictions
from hydromae.model.rainfall_runoff import Told


def loss(predictions: Predictions, batch: Batch, hidden: Hidden, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over modalities of squared error and, for series, negative log-likelihood; its mean over the windows.

    The squared error is that of scaled values over `batch.variance`; of river flow, a share of it (`train.flow_share`) is
    that of flow itself over its variance: 1 − NSE, where a catchment's own variance is divided by.

    Targets are observed, hidden, decoded, and after `data.warm_up_days`. Every window counts the same, however many
    targets it has, so that a forecast of a week teaches as much as a simulated year; one without any adds nothing. So the
    loss of a batch is the mean of the losses of its windows, however the windows are shared out.

    Returns:
        total: Scalar, differentiable.
        parts (dict of Float[2]): For each modality, detached: the sum over windows of the mean squared error, and the number
            of windows that have targets.
    """
    weights, model = config.train.weights, config.model
    total = batch.days.new_zeros((), dtype=torch.float32)
    parts: dict[str, Tensor] = {}
    for name, wanted in targets(batch, hidden).items():
        wanted = wanted & predictions.decoded[name][..., None]
        if batch.days.shape[1] > config.data.warm_up_days:
            wanted = wanted & _late(wanted, config.data.warm_up_days)
        truth = torch.where(wanted, batch.values[name], 0.0)
        share = config.train.flow_share if name == "riverflow" else 0.0
        each = _squared(name, predictions.mean[name], predictions.gaussians.get(name), batch, wanted, share)
        parts[name] = torch.stack([each.detach().sum(), wanted.flatten(1).any(dim=1).sum()])
        if name in predictions.gaussians and config.train.distribution_weight:
            around_mean = predictions.gaussians[name]
            shift = (predictions.mean[name] - predictions.mean[name].detach())[..., None]
            likely = type(around_mean)(around_mean.weight, around_mean.centre - shift, around_mean.spread)
            doubt = torch.where(wanted, -likely.log_likelihood(truth), 0.0)
            each = each + config.train.distribution_weight * _mean(doubt, wanted)
        for told in predictions.told if name == "riverflow" else ():
            each = each + config.train.memory_weight * _of_memory(told, batch, config.data.warm_up_days, share)
        total = total + weights[name] * each.mean()
    if predictions.contrast is not None:
        total = total + model.contrastive_weight * predictions.contrast
    return total, parts


def _squared(
    name: str, mean: Float[Tensor, "B T S F"], around: Gaussians | None, batch: Batch, wanted: Tensor, share: float
) -> Float[Tensor, " B"]:
    """Mean squared error of the targets of each window; `share` of it in units of flow, by the mean of its distribution.

    The spread of the distribution takes no gradient from it: the likelihood shapes it.
    """
    truth = batch.values[name]
    error = torch.where(wanted, mean - truth, 0.0).square() / batch.variance[name][:, None]
    if share and batch.flow is not None:
        spread = 0.0 if around is None else around.variance.detach()
        flow = torch.where(wanted, batch.flow.flow(mean, spread) - batch.flow.flow(truth), 0.0)
        error = (1 - share) * error + share * flow.square() / batch.flow.variance[:, None]
    return _mean(error, wanted)


def _of_memory(told: Told, batch: Batch, warm_up: int, share: float) -> Float[Tensor, " B"]:
    """Squared error of what a memory says, on every observed day that it was not shown."""
    wanted = batch.observed["riverflow"] & told.asked[..., None]
    if wanted.shape[1] > warm_up:
        wanted = wanted & _late(wanted, warm_up)
    return _squared("riverflow", told.mean[..., None], None, batch, wanted, share)


def _late(wanted: Tensor, warm_up: int) -> Tensor:
    return (torch.arange(wanted.shape[1], device=wanted.device) >= warm_up)[None, :, None, None]


def _mean(values: Tensor, wanted: Tensor) -> Float[Tensor, " B"]:
    """Mean over the targets of each window, 0 where it has none."""
    return values.flatten(1).sum(dim=1) / wanted.flatten(1).sum(dim=1).clamp(min=1)
