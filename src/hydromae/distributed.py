"""The world: the processes of a run, one a device, as `torchrun` or `deepspeed` started them; alone where nobody did."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from hydromae.errors import InputError, first_line
from hydromae.runtime import widest_dtype

TIMEOUT = 1800.0
"""Longest wait for another process [s], where the run does not say."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of the run.

    Attributes:
        rank, size: Its number, counted from 0, and how many there are.
        device: Where its tensors are.
        local: Its number among those of its machine.
        timeout: Longest wait for another process [s].
    """

    rank: int
    size: int
    device: torch.device
    local_rank: int = 0
    timeout: float = TIMEOUT

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, the same in each."""
        total = values.to(self.device, widest_dtype(self.device))
        if self.size > 1:
            dist.all_reduce(total)
        return total.cpu()

    def barrier(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            self.sum(torch.zeros(1))

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """A step that may raise InputError in some processes: where any process raises, all do.

        Raises:
            InputError: The error of this process, or one that counts the processes that failed.
        """
        fault = None
        try:
            yield
        except InputError as error:
            fault = str(error)
        faulty = int(self.sum(torch.tensor([float(fault is not None)]))[0])
        if fault is not None:
            raise InputError(fault)
        if faulty:
            raise InputError(
                f"process {self.rank}: stops because {faulty} of {self.size} processes failed; see their lines"
            )


SINGLE_PROCESS = ProcessGroup(0, 1, torch.device("cpu"))
"""One process on a CPU."""


def is_launched() -> bool:
    """Whether `torchrun` or `deepspeed` started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def init_process_group(device: torch.device, timeout: float = TIMEOUT) -> Iterator[ProcessGroup]:
    """Meet the other processes, and part from them at the end.

    `timeout` is the longest wait for another process [s]; a process that is lost or silent so long ends the others.

    Raises:
        InputError: If another process was lost.
    """
    if not is_launched():
        yield ProcessGroup(0, 1, device)
        return
    rank, size, local = (int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    try:
        _connect("nccl" if device.type == "cuda" else "gloo", rank, size, timeout)
        yield ProcessGroup(rank, size, device, local, timeout)
        gc.collect()  # what still holds gradient hooks must go before the group does, or the process aborts at its end
        dist.barrier()
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise InputError(
            f"process {rank} of {size}: another process was lost ({first_line(error)}); start all again with --resume"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _connect(backend: str, rank: int, size: int, timeout: float) -> None:
    """Connect the processes, through a port on which the first one, or the launcher, listens."""
    port = os.environ.get("MASTER_PORT", "")
    address = f"{os.environ.get('MASTER_ADDR', '')}:{port}"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            fault = f"port {port} is in use on this machine, by another run or program"
        else:
            fault = f"no first process was found at {address} ({first_line(error)})"
        raise InputError(
            f"process {rank} of {size}: {fault}; give the launcher another --master_port (torchrun: or --standalone)"
        ) from error


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether an error comes from the talk between processes; gloo raises plain RuntimeErrors that carry its name."""
    message = str(error)
    return isinstance(error, dist.DistError) or "gloo" in message or "Connection" in message or "NCCL" in message
