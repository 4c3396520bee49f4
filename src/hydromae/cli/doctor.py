"""The command that says what this machine has: versions, devices, memory, speed, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

from hydromae.cli.common import Result, Say

EXTRAS = {
    "deepspeed": (("deepspeed",), "training on many GPUs"),
    "wandb": (("wandb",), "journals on Weights & Biases"),
    "tensorboard": (("tensorboard",), "journals in TensorBoard"),
    "optuna": (("optuna", "filelock"), "hydromae sweep"),
    "explore": (("starlette", "uvicorn"), "hydromae explore"),
}
"""What one may do without: the extra of hydromae, the packages that it brings, and what for."""
NEEDED = (
    *("torch", "numpy", "pandas", "pyarrow", "h5py", "h5netcdf", "xarray", "scipy", "zarr", "dask", "pydantic", "tyro"),
    *("rich", "einops", "jaxtyping", "safetensors", "huggingface_hub", "httpx", "pyproj", "scores", "matplotlib"),
    "contourpy",
)
"""Packages without which nothing can be measured or answered."""
ABSENT = "absent"
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
        versions = _versions()
        whole = all(versions[name] != ABSENT for name in NEEDED)
        found: dict[str, Any] = {"versions": versions, "machine": _machine(whole), "speed": _speed() if whole else {}}
        found["answer_s"] = _answer() if whole else None
        advice = _advice(found)
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in {**found["versions"], **found["machine"], **found["speed"]}.items():
            table.add_row(name, value if isinstance(value, str) else f"{value:.4g}")
        if whole:
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
            return ABSENT

    own = {"hydromae": __version__, "python": platform.python_version()}
    optional = [name for packages, _ in EXTRAS.values() for name in packages]
    return own | {name: known(name) for name in (*NEEDED, *optional)}


def _machine(with_torch: bool) -> dict[str, str | float]:
    devices, threads = ["cpu"], float(os.cpu_count() or 1)
    if with_torch:
        import torch

        devices += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
        devices += ["mps"] * torch.backends.mps.is_available()
        threads = float(torch.get_num_threads())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "cores": float(os.cpu_count() or 1),
        "threads": threads,
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


def _advice(found: dict[str, Any]) -> list[str]:
    """What is missing or short, each with what helps."""
    absent = {name for name, told in found["versions"].items() if told == ABSENT}
    lines = [f"{name} is absent, and needed: pip install {name}" for name in NEEDED if name in absent]
    for extra, (packages, use) in EXTRAS.items():
        lacking = [name for name in packages if name in absent]
        if lacking:
            verb = "is" if len(lacking) == 1 else "are"
            lines.append(f"{' and '.join(lacking)} {verb} absent, for {use}: pip install 'hydromae[{extra}]'")
    machine, speed = found["machine"], found["speed"]
    if machine["memory [GB]"] * 1e9 < LEAST_MEMORY:
        lines.append("memory is short: ask for fewer rivers or years at a time")
    if machine["disk free here [GB]"] * 1e9 < LEAST_FREE:
        lines.append("the disk is nearly full: a national record takes 5 GB; make room, or work elsewhere")
    if speed and speed["bf16 [GFLOP/s]"] < speed["fp32 [GFLOP/s]"]:
        lines.append("bf16 is slower than fp32 here: train with --train.precision fp32")
    if machine["devices"] == "cpu":
        lines.append("no GPU was found: fill and forecast take minutes on a CPU, training of `base` takes long")
    return lines
