"""The engine: what a training step does on its device. The loop does not know which engine it drives."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydromae.config import TrainConfig
from hydromae.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """The named device, or the best one that is there: CUDA, Apple's MPS, else CPU.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    if name != "auto":
        return _device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device(name: str) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    plain, _, number = name.partition(":")
    if not there.get(plain) or (number and not number.isdecimal()):
        known = ", ".join(key for key, value in there.items() if value)
        raise InputError(f"device '{name}': not on this machine, which has {known}; name one of them, or auto")
    return torch.device(name)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Autocast to bf16, or nothing for fp32."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@dataclass
class Engine:
    """One process: backward, accumulation, clipping, update.

    Attributes
    ----------
    model : Module
    optimizer : AdamW
    config : TrainConfig
    clip : float
        Largest norm of the gradient.
    device : torch.device
    skipped : int
        Updates left out because a loss or gradient was not finite.
    """

    model: nn.Module
    optimizer: torch.optim.AdamW
    config: TrainConfig
    clip: float
    device: torch.device
    skipped: int = 0

    def backward(self, loss: Tensor) -> bool:
        """Add a loss to the gradients; a loss that is not finite is left out, counted, and answered with False."""
        if not bool(torch.isfinite(loss.detach())):
            self.skipped += 1
            return False
        (loss / self.config.accumulation).backward()
        return True

    def update(self, lr: float) -> float:
        """Clip, step with learning rate `lr`, clear the gradients; returns the norm before clipping."""
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.clip))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if norm < float("inf"):
            self.optimizer.step()
        else:
            self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        return norm
