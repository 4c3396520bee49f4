"""Clocks and limits: seconds of the clock and of the processor, the rate of plain products, and the largest memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of the processor in all threads of this process.

    On a machine that others use, the second is the one to trust; with several threads it counts waiting for each other, too.
    """

    s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Spent:
        """What the clocks show."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.perf_counter(), used.ru_utime + used.ru_stime)

    def __sub__(self, earlier: Spent) -> Spent:
        return Spent(self.s - earlier.s, self.cpu_s - earlier.cpu_s)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.s + other.s, self.cpu_s + other.cpu_s)


def median(spent: Sequence[Spent]) -> Spent:
    """Of each clock by itself."""
    return Spent(statistics.median(one.s for one in spent), statistics.median(one.cpu_s for one in spent))


class Gemm:
    """A product [rows, width] x [width, wide], the shape of a feed-forward part."""

    def __init__(self, rows: int, width: int, wide: int, dtype: torch.dtype) -> None:
        self.left, self.right = torch.randn(rows, width).to(dtype), torch.randn(width, wide).to(dtype)
        self.flops = 2 * rows * width * wide
        self.left @ self.right

    def rate(self, seconds: float) -> Spent:
        """FLOPs a second, by the median over so many seconds: of the clock (`s`), and of the processor (`cpu_s`)."""
        times: list[Spent] = []
        while not times or sum(one.s for one in times) < seconds:
            began = Spent.now()
            self.left @ self.right
            times.append(Spent.now() - began)
        middle = median(times)
        return Spent(self.flops / middle.s, self.flops / middle.cpu_s)


def gemm_rate(rows: int, width: int, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """FLOPs a second of a product [rows, width] x [width, 4 width], by the clock."""
    return Gemm(rows, width, 4 * width, dtype).rate(seconds).s


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    On Linux the kernel's VmHWM: ru_maxrss there also remembers the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
