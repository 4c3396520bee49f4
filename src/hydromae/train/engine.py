"""Engines: forward pass, gradients and optimizer step of an update, on one device or several.

`TorchEngine` uses torch: one process, or several with DistributedDataParallel and sharded optimizer state (ZeRO stage 1;
Rajbhandari et al. 2020). `deepspeed_engine.DeepSpeedEngine` uses DeepSpeed. Both have fp32 weights and autocast to
`train.precision`, so a run can be resumed with the other.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.config import Config, Precision, TrainConfig
from hydromae.distributed import ProcessGroup, is_launched
from hydromae.errors import InputError
from hydromae.model.outputs import Predictions
from hydromae.runtime import autocast
from hydromae.train.loss_scale import LossScale
from hydromae.train.optimizer import adamw, decay_groups

EngineName = Literal["auto", "torch", "deepspeed"]
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of AdamW's averages of the gradient and of its square."""


class AutocastModel(nn.Module):
    """A model whose forward pass runs under autocast."""

    def __init__(self, model: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.model, self.device = model, device
        self.precision: Precision = precision

    def forward(self, batch: Batch, hidden: Hidden) -> Predictions:
        """Predict the hidden tokens."""
        with autocast(self.device, self.precision):
            return self.model(batch, hidden)


@runtime_checkable
class Engine(Protocol):
    """Interface of the engines.

    Attributes:
        model: The model, with equal fp32 weights in every process.
        skipped: Updates skipped because a loss or a gradient of any process was not finite.
        scale: Loss scale in fp16.
    """

    model: nn.Module
    skipped: int
    scale: LossScale | None

    def accumulation_context(self) -> AbstractContextManager[object]:
        """Context of the forward and backward pass of one batch."""
        ...

    def predict(self, batch: Batch, hidden: Hidden) -> Predictions:
        """The forward pass, in the precision of the run."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss; one that is not finite makes all processes skip the update."""
        ...

    def update(self, lr: float) -> float:
        """Clip, step with learning rate `lr`, clear gradients; returns the norm before clipping, not finite if skipped."""
        ...

    def optimizer_state(self) -> dict[str, Tensor]:
        """Optimizer state that this process writes: `step/…`, `exp_avg/…` and `exp_avg_sq/…` of each parameter."""
        ...

    def load_optimizer_state(self, optimizer_state: Mapping[str, Tensor]) -> None:
        """Load this process's part of the optimizer state of all processes, after the weights."""
        ...


def make_engine(
    name: EngineName,
    model: nn.Module,
    config: Config,
    process_group: ProcessGroup,
    batches: int,
    log: Callable[[str], None],
) -> Engine:
    """Make an engine.

    Args:
        name: `auto` is DeepSpeed if it is installed and a launcher started the run, otherwise torch.
        batches: Batches of one process in an update.
        log: Called with a message while the engine waits for a build.

    Raises:
        InputError: DeepSpeed is requested and not available.
    """
    is_installed = find_spec("deepspeed") is not None
    if name == "deepspeed" and not (is_installed and is_launched()):
        remedy = "start the run with deepspeed or torchrun" if is_installed else "pip install 'hydromae[deepspeed]'"
        raise InputError(f"engine deepspeed: not available; {remedy}, or use --engine torch")
    if name == "deepspeed" or (name == "auto" and is_installed and is_launched()):
        from hydromae.train.deepspeed_engine import DeepSpeedEngine

        return DeepSpeedEngine(model, config, process_group, batches, log)
    return TorchEngine(model, config, process_group, batches)


def loss_scale_of(train: TrainConfig) -> LossScale | None:
    """The loss scale of a run in fp16, otherwise None."""
    if train.precision != "fp16":
        return None
    return LossScale(train.loss_scale, train.loss_scale_window, train.loss_scale_hysteresis, train.min_loss_scale)


def propagate_nonfinite(loss: Tensor) -> Tensor:
    """The loss; if it is not finite, with gradients that are not finite either, so that every process receives them."""
    return loss if bool(torch.isfinite(loss.detach())) else loss * math.nan


class TorchEngine:
    """`Engine` with torch, for one process or several."""

    def __init__(self, model: nn.Module, config: Config, process_group: ProcessGroup, batches: int) -> None:
        self.model, self.batches, self.skipped = model, batches, 0
        self.clip = config.optimizer.clip
        self.batches_done = 0
        self.wrapped: nn.Module = AutocastModel(model, process_group.device, config.train.precision)
        self.scale = loss_scale_of(config.train)
        self.optimizer: torch.optim.Optimizer = adamw(model, config.optimizer)
        self.local_optimizer = self.optimizer
        if process_group.size > 1:
            from torch.distributed.optim import ZeroRedundancyOptimizer  # a slow import, not needed for one process

            ids = None if process_group.device.type == "cpu" else [process_group.device]
            settings, has_unused_layers = (
                config.optimizer,
                config.model.use_weighted_fm and config.model.use_fm_layers is not None,
            )
            # Every parameter is used in every batch, except in layers above the last one that is mixed.
            self.wrapped = DistributedDataParallel(self.wrapped, ids, find_unused_parameters=has_unused_layers)
            sharded = ZeroRedundancyOptimizer(
                decay_groups(model, settings), torch.optim.AdamW, lr=settings.lr, betas=settings.betas, eps=settings.eps
            )
            self.optimizer, self.local_optimizer = sharded, sharded.optim

    def accumulation_context(self) -> AbstractContextManager[object]:
        """Synchronise gradients with the last batch of an update only."""
        self.batches_done += 1
        if isinstance(self.wrapped, DistributedDataParallel) and self.batches_done % self.batches:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def predict(self, batch: Batch, hidden: Hidden) -> Predictions:
        return self.wrapped(batch, hidden)

    def backward(self, loss: Tensor) -> None:
        scale = self.scale.value if self.scale else 1.0
        (propagate_nonfinite(loss) * (scale / self.batches)).backward()

    def update(self, lr: float) -> float:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.scale:
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.grad.div_(self.scale.value)
        norm = float(nn.utils.clip_grad_norm_(parameters, self.clip))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if math.isfinite(norm):
            self.optimizer.step()
        else:
            self.skipped += 1
        if self.scale:
            self.scale.update(not math.isfinite(norm))
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def optimizer_state(self) -> dict[str, Tensor]:
        return {
            f"{key}/{name}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.local_optimizer.state.get(parameter, {}).items()
        }

    def load_optimizer_state(self, optimizer_state: Mapping[str, Tensor]) -> None:
        local_ids = {id(p) for group in self.local_optimizer.param_groups for p in group["params"]}
        for name, parameter in self.model.named_parameters():
            if id(parameter) in local_ids and f"step/{name}" in optimizer_state:
                moments: dict[str, Any] = {
                    key: optimizer_state[f"{key}/{name}"].to(parameter.device) for key in MOMENTS
                }
                self.local_optimizer.state[parameter] = {"step": optimizer_state[f"step/{name}"], **moments}
