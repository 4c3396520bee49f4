"""Engine with DeepSpeed's ZeRO stage 1: reduction, clipping and sharded update (https://www.deepspeed.ai).

DeepSpeed's own checkpoints, which are pickles, are not used. Weights and optimizer state are read as tensors through its
public functions and written to the same checkpoints as those of `TorchEngine`; both engines resume from them.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import (
    lazy_init_hp_params_optimizer_state,
    logger,
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
)
from torch import Tensor, nn

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.config import Config
from hydromae.distributed import ProcessGroup
from hydromae.model.outputs import Predictions
from hydromae.train import extension
from hydromae.train.engine import MOMENTS, AutocastModel, loss_scale_of, propagate_nonfinite
from hydromae.train.optimizer import adamw


def load_extension(timeout: float, log: Callable[[str], None]) -> None:
    """Build and load the extension of DeepSpeed, if this machine supports it, before `deepspeed.initialize` does.

    Args:
        timeout: Longest wait for the build of another process [s].
        log: Called with a message during the wait.

    Raises:
        InputError: The build fails, or the wait is too long.
    """
    accelerator: Any = get_accelerator()
    builder = accelerator.create_op_builder("ShareMemCommBuilder")
    if builder is not None and deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
        extension.build_extension(builder.load, timeout, log)


class DeepSpeedEngine:
    """`Engine` with ZeRO stage 1 over fp32 weights and autocast inside the model."""

    def __init__(
        self, model: nn.Module, config: Config, process_group: ProcessGroup, batches: int, log: Callable[[str], None]
    ) -> None:
        logger.setLevel(logging.WARNING)
        with process_group.fail_together():
            load_extension(process_group.timeout, log)
        self.model, self.process_group, self.skipped = model, process_group, 0
        self.scale = loss_scale_of(config.train)
        self.engine, _, _, _ = deepspeed.initialize(
            model=AutocastModel(model, process_group.device, config.train.precision),
            optimizer=adamw(model, config.optimizer),
            config={
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": batches,
                "gradient_clipping": config.optimizer.clip,
                "zero_optimization": {"stage": 1},
                "zero_allow_untested_optimizer": True,
            },
            dist_init_required=False,
        )
        self.zero_optimizer: Any = self.engine.optimizer
        self.batches, self.batches_done = batches, 0
        if self.scale:
            self.zero_optimizer.override_loss_scale(self.scale.value)

    def accumulation_context(self) -> AbstractContextManager[object]:
        """No context: DeepSpeed counts the batches of an update."""
        return contextlib.nullcontext()

    def predict(self, batch: Batch, hidden: Hidden) -> Predictions:
        return self.engine(batch, hidden)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients; DeepSpeed divides by the batches of an update and multiplies by the loss scale."""
        self.engine.backward(propagate_nonfinite(loss))
        self.batches_done += 1
        if self.batches_done % self.batches:
            self.engine.step()  # inside an update this only increments DeepSpeed's count of batches

    def update(self, lr: float) -> float:
        for group in self.zero_optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = math.nan if self.zero_optimizer.overflow else float(self.engine.get_global_grad_norm() or 0.0)
        self.skipped += not math.isfinite(norm)
        if self.scale:
            self.scale.update(not math.isfinite(norm))
            self.zero_optimizer.override_loss_scale(self.scale.value)
        return norm

    def optimizer_state(self) -> dict[str, Tensor]:
        """The complete optimizer state in the main process; every process must call this to send its shard."""
        gathered: dict[str, Any] = {}
        states = self.zero_optimizer.optimizer.state
        if not all(states[flat] for _, flat in self._parameter_shards()):
            return gathered
        self._link_optimizer_state()
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                gathered |= {f"{key}/{name}": safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
                gathered[f"step/{name}"] = states[self._parameter_shards()[0][1]]["step"].clone()
        return gathered if self.process_group.is_main else {}

    def _parameter_shards(self) -> list[tuple[list[nn.Parameter], Tensor]]:
        """Parameters of each decay group, and this process's flat shard of them."""
        return list(
            zip(self.zero_optimizer.bit16_groups, self.zero_optimizer.single_partition_of_fp32_groups, strict=True)
        )

    def _link_optimizer_state(self) -> None:
        """Map every parameter to its part of the shard's state; DeepSpeed does this for the first group only."""
        for parameters, flat in self._parameter_shards():
            lazy_init_hp_params_optimizer_state(parameters, flat, self.zero_optimizer.optimizer.state)

    def load_optimizer_state(self, optimizer_state: Mapping[str, Tensor]) -> None:
        """Load weights from the model, and optimizer state; parameters without state get zeros."""
        self.zero_optimizer.refresh_fp32_params()
        steps = [value for key, value in optimizer_state.items() if key.startswith("step/")]
        if not steps:
            return
        for _, flat in self._parameter_shards():
            state = {"step": torch.stack(steps).max(), **{key: torch.zeros_like(flat) for key in MOMENTS}}
            self.zero_optimizer.optimizer.state[flat] = state
        self._link_optimizer_state()
        for name, parameter in self.model.named_parameters():
            for key in MOMENTS:
                if f"{key}/{name}" in optimizer_state:
                    safe_set_full_optimizer_state(parameter, optimizer_state[f"{key}/{name}"].to(parameter.device), key)
