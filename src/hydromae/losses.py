"""Losses: what is wrong with predictions, at targets only."""

from __future__ import annotations

import torch
from torch import Tensor

from hydromae.batch import Batch
from hydromae.config import Config
from hydromae.masking import Hidden, targets
from hydromae.model.streams import Predictions


def loss(predictions: Predictions, batch: Batch, hidden: Hidden, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over modalities of squared error and, for series, negative log-likelihood.

    Targets are observed, hidden, decoded, and after `data.warm_up_days`. Every window counts the same, however many
    targets it has, so that a forecast of a week teaches as much as a simulated year.

    Returns
    -------
    total : Tensor
        Scalar, differentiable.
    parts : dict
        Detached mean squared error of each modality (over `batch.variance`), under its name.
    """
    weights, model = dict(config.train.task_weights), config.model
    total = batch.days.new_zeros((), dtype=torch.float32)
    parts: dict[str, Tensor] = {}
    for name, wanted in targets(batch, hidden).items():
        wanted = wanted & predictions.decoded[name][..., None]
        if batch.days.shape[1] > config.data.warm_up_days:
            wanted = wanted & _late(wanted, config.data.warm_up_days)
        truth = torch.where(wanted, batch.values[name], 0.0)
        error = torch.where(wanted, predictions.mean[name] - truth, 0.0).square() / batch.variance[name][:, None]
        square = _mean(error, wanted)
        parts[name] = square.detach()
        term = square
        if name in predictions.gaussians and config.train.distribution_weight:
            around_mean = predictions.gaussians[name]
            shift = (predictions.mean[name] - predictions.mean[name].detach())[..., None]
            likely = type(around_mean)(around_mean.weight, around_mean.centre - shift, around_mean.spread)
            doubt = torch.where(wanted, -likely.log_likelihood(truth), 0.0)
            term = term + config.train.distribution_weight * _mean(doubt, wanted)
        total = total + weights.get(name, 1.0) * term
    if predictions.contrast is not None:
        total = total + model.contrastive_weight * predictions.contrast
    return total, parts


def _late(wanted: Tensor, warm_up: int) -> Tensor:
    return (torch.arange(wanted.shape[1], device=wanted.device) >= warm_up)[None, :, None, None]


def _mean(values: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the targets of each window, then over the windows that have any."""
    count = wanted.flatten(1).sum(dim=1)
    each = values.flatten(1).sum(dim=1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)
