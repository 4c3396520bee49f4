"""The command that says what this machine has: versions, devices, memory, speed, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from hydromae.cli.common import Result, Say

OPTIONAL = {
    "deepspeed": "training on many GPUs",
    "wandb": "journals on Weights & Biases",
    "tensorboard": "journals in TensorBoard",
    "optuna": "hydromae sweep",
    "starlette": "hydromae explore",
}
"""Packages that one may do without, and what for."""
EXTRAS = {"starlette": "explore"}
"""Extras of hydromae that have another name than the package they bring."""
NEEDED = ("torch", "numpy", "pandas", "xarray", "zarr", "h5netcdf", "pydantic", "tyro", "scores", "safetensors")
SIZE, TIMES = 1024, 5
LEAST_FREE, LEAST_MEMORY = 5e9, 4e9
"""Bytes below which a national record is prepared or filled with difficulty."""


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has: versions, devices, memory, speed, what is missing and how to get it."""

    json: bool = False
    """Print the result as JSON."""

    def run(self, say: Say) -> Result:
        """Look, measure for some seconds, and answer a small question."""
        found = {"versions": _versions(), "machine": _machine(), "speed": _speed(), "answer_s": _answer()}
        advice = _advice(found)
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in {**found["versions"], **found["machine"], **found["speed"]}.items():
            table.add_row(name, value if isinstance(value, str) else f"{value:.4g}")
        table.add_row("a small question, answered", f"{found['answer_s']:.2f} s")
        say(table)
        for line in advice or ["nothing is missing"]:
            say(line)
        return {**found, "advice": advice}


def _versions() -> dict[str, str]:
    from hydromae import __version__

    def known(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    own = {"hydromae": __version__, "python": platform.python_version()}
    return own | {name: known(name) for name in (*NEEDED, *OPTIONAL)}


def _machine() -> dict[str, str | float]:
    import torch

    devices = ["cpu"] + [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] * torch.backends.mps.is_available()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "cores": float(os.cpu_count() or 1),
        "threads": float(torch.get_num_threads()),
        "devices": ", ".join(devices),
        "memory [GB]": memory / 1e9,
        "disk free here [GB]": shutil.disk_usage(".").free / 1e9,
    }


def _speed() -> dict[str, float]:
    """Rate of a product of two square matrices, in each precision [GFLOP/s]; the fastest of some."""
    import torch

    def rate(dtype: torch.dtype) -> float:
        one = torch.ones(SIZE, SIZE, dtype=dtype)
        return 2 * SIZE**3 / min(_timed(lambda: one @ one) for _ in range(TIMES)) / 1e9

    return {"fp32 [GFLOP/s]": rate(torch.float32), "bf16 [GFLOP/s]": rate(torch.bfloat16)}


def _answer() -> float:
    """Seconds that the shipped model takes to fill gaps of 20 rivers over 400 days, after it was loaded."""
    import numpy as np

    from hydromae.predict import load
    from hydromae.questions import fill_gaps, gap_pattern
    from hydromae.virtual import virtual_catchments

    rivers = virtual_catchments(400, 1, "2001-01-01", 20)
    question = fill_gaps(rivers, gap_pattern(rivers["time"], rivers["catchment"], 10, 40))
    model = load("gb-rivers")
    return _timed(lambda: np.asarray(model.predict(question)["riverflow"]))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _advice(found: dict[str, dict]) -> list[str]:
    """What is missing or short, each with what helps."""
    absent = {name for name, told in found["versions"].items() if told == "absent"}
    lines = [f"{name} is absent: pip install {name}" for name in NEEDED if name in absent]
    lines += [
        f"{name} is absent, for {use}: pip install 'hydromae[{EXTRAS.get(name, name)}]'"
        for name, use in OPTIONAL.items()
        if name in absent
    ]
    machine, speed = found["machine"], found["speed"]
    if machine["memory [GB]"] * 1e9 < LEAST_MEMORY:
        lines.append("memory is short: ask for fewer rivers or years at a time")
    if machine["disk free here [GB]"] * 1e9 < LEAST_FREE:
        lines.append("the disk is nearly full: a national record takes 5 GB; make room, or work elsewhere")
    if speed["bf16 [GFLOP/s]"] < speed["fp32 [GFLOP/s]"]:
        lines.append("bf16 is slower than fp32 here: train with --train.precision fp32")
    if machine["devices"] == "cpu":
        lines.append("no GPU was found: fill and forecast take minutes on a CPU, training of `base` takes long")
    return lines
