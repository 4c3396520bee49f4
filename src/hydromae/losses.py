"""Training loss, computed at targets only."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, targets
from hydromae.config import Config
from hydromae.model.mixture import GaussianMixture
from hydromae.model.outputs import Predictions
from hydromae.model.rainfall_runoff import LSTMPrediction


def loss(predictions: Predictions, batch: Batch, hidden: Hidden, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over modalities of squared error and, for series, negative log-likelihood; mean over the windows.

    The squared error is that of scaled values over `batch.variance`; for river flow, a share `train.flow_loss_weight` of
    it is that of flow [mm/day] over its variance, which is 1 − NSE where each catchment has its own variance.

    Targets are decoded and after `data.warm_up_days` (`masking.targets`). Every window has the same weight, whatever its
    number of targets; a window without targets has loss 0. The loss of a batch is therefore the mean of the losses of its
    windows, however they are divided between processes.

    Returns:
        total: Scalar, differentiable.
        parts (dict of Float[2]): For each modality, detached: the sum over windows of the mean squared error, and the number
            of windows with targets.
    """
    weights, model = config.train.weights, config.model
    total = batch.days.new_zeros((), dtype=torch.float32)
    parts: dict[str, Tensor] = {}
    for name, wanted in targets(batch, hidden).items():
        wanted = wanted & predictions.decoded[name][..., None]
        if batch.days.shape[1] > config.data.warm_up_days:
            wanted = wanted & _after_warm_up(wanted, config.data.warm_up_days)
        truth = torch.where(wanted, batch.values[name], 0.0)
        flow_weight = config.train.flow_loss_weight if name == "riverflow" else 0.0
        window_loss = _squared_error(
            name, predictions.mean[name], predictions.gaussians.get(name), batch, wanted, flow_weight
        )
        parts[name] = torch.stack([window_loss.detach().sum(), wanted.flatten(1).any(dim=1).sum()])
        if name in predictions.gaussians and config.train.distribution_weight:
            mixture = predictions.gaussians[name]
            shift = (predictions.mean[name] - predictions.mean[name].detach())[..., None]
            detached_mixture = type(mixture)(mixture.weight, mixture.centre - shift, mixture.spread)
            negative_log_likelihood = torch.where(wanted, -detached_mixture.log_likelihood(truth), 0.0)
            window_loss = window_loss + config.train.distribution_weight * _mean_over_targets(
                negative_log_likelihood, wanted
            )
        for prediction in predictions.lstm_predictions if name == "riverflow" else ():
            window_loss = window_loss + config.train.lstm_loss_weight * _lstm_error(
                prediction, batch, config.data.warm_up_days, flow_weight
            )
        total = total + weights[name] * window_loss.mean()
    if predictions.contrastive_loss is not None:
        total = total + model.contrastive_weight * predictions.contrastive_loss
    return total, parts


def _squared_error(
    name: str,
    mean: Float[Tensor, "B T S F"],
    mixture: GaussianMixture | None,
    batch: Batch,
    wanted: Tensor,
    flow_weight: float,
) -> Float[Tensor, " B"]:
    """Mean squared error of the targets of each window, a share `flow_weight` of it in units of flow.

    It has no gradient with respect to the variance of the distribution, which the likelihood alone fits.
    """
    truth = batch.values[name]
    error = torch.where(wanted, mean - truth, 0.0).square() / batch.variance[name][:, None]
    if flow_weight and batch.flow_transform is not None:
        variance = 0.0 if mixture is None else mixture.variance.detach()
        scaling = batch.flow_transform.scaling
        flow = torch.where(wanted, scaling.expected_value(mean, variance) - scaling.expected_value(truth), 0.0)
        error = (1 - flow_weight) * error + flow_weight * flow.square() / batch.flow_transform.variance[:, None]
    return _mean_over_targets(error, wanted)


def _lstm_error(prediction: LSTMPrediction, batch: Batch, warm_up: int, flow_weight: float) -> Float[Tensor, " B"]:
    """Squared error of an LSTM, on every observed day whose flow was not its input."""
    wanted = batch.available("riverflow") & prediction.is_target[..., None]
    if wanted.shape[1] > warm_up:
        wanted = wanted & _after_warm_up(wanted, warm_up)
    return _squared_error("riverflow", prediction.mean[..., None], None, batch, wanted, flow_weight)


def _after_warm_up(wanted: Tensor, warm_up: int) -> Tensor:
    return (torch.arange(wanted.shape[1], device=wanted.device) >= warm_up)[None, :, None, None]


def _mean_over_targets(values: Tensor, wanted: Tensor) -> Float[Tensor, " B"]:
    """Mean over the targets of each window, 0 without targets."""
    return values.flatten(1).sum(dim=1) / wanted.flatten(1).sum(dim=1).clamp(min=1)
