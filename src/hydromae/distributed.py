"""The processes of a run, one for each device, started by `torchrun` or `deepspeed`; otherwise a single process."""

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
"""Default of the longest wait for another process [s]."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process and the others of the run.

    Attributes:
        rank, size: Index of this process, and number of processes.
        device: Device of this process.
        local_rank: Index of this process on its machine.
        timeout: Longest wait for another process [s].
    """

    rank: int
    size: int
    device: torch.device
    local_rank: int = 0
    timeout: float = TIMEOUT

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, equal in each."""
        total = values.to(self.device, widest_dtype(self.device))
        if self.size > 1:
            dist.all_reduce(total)
        return total.cpu()

    def barrier(self) -> None:
        """Wait for every process."""
        if self.size > 1:
            self.sum(torch.zeros(1))

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Raise InputError in every process if the context raises it in any.

        Raises:
            InputError: The error of this process, or the number of processes that failed.
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
    """Connect the processes, and disconnect them at the end.

    Args:
        device: Its type; a process on CUDA uses the device of its local rank.
        timeout: Longest wait for another process [s], after which all processes end.

    Raises:
        InputError: Another process was lost.
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
        gc.collect()  # objects with gradient hooks must be deleted before the group, or the process aborts at exit
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
    """Whether an error comes from the communication between processes; gloo raises RuntimeErrors with its name."""
    message = str(error)
    return isinstance(error, dist.DistError) or "gloo" in message or "Connection" in message or "NCCL" in message
