"""The command doctor: versions, devices, memory and speed of this machine, and missing packages."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from hydromae.cli.common import Echo, Result
from hydromae.errors import first_line
from hydromae.io.outputs import Output

EXTRAS = {
    "deepspeed": (("deepspeed",), "training on many GPUs"),
    "wandb": (("wandb",), "journals on Weights & Biases"),
    "tensorboard": (("tensorboard",), "journals in TensorBoard"),
    "optuna": (("optuna",), "hydromae sweep"),
    "boundaries": (("pyogrio", "shapely"), "catchment boundaries"),
    "explore": (("starlette", "uvicorn"), "hydromae explore"),
    "excel": (("openpyxl",), "answers as .xlsx"),
    "peers": (("lightgbm",), "boosted trees as a baseline of hydromae evaluate"),
}
"""Extras of hydromae: their packages and their use."""
NEEDED = (
    *("torch", "numpy", "pandas", "pyarrow", "h5py", "h5netcdf", "xarray", "scipy", "zarr", "dask", "pydantic", "tyro"),
    *("rich", "einops", "jaxtyping", "safetensors", "huggingface_hub", "httpx", "pyproj", "scores", "matplotlib"),
    *("contourpy", "filelock", "jinja2", "markupsafe"),
)
"""Packages that the checks and predictions need."""
ABSENT = "absent"
SIZE, TIMES = 1024, 5
MIN_FREE_BYTES, MIN_MEMORY_BYTES = 5e9, 4e9
"""Free disk space and memory below which a national record may not fit."""


@dataclass(frozen=True)
class Doctor:
    """Show versions, devices, memory and speed of this machine, missing packages, and how to install them."""

    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {}

    def run(self, echo: Echo) -> Result:
        """Run all checks; the exit code is 2 if a small prediction fails."""
        versions = _versions()
        has_all = all(versions[name] != ABSENT for name in NEEDED)
        results: dict[str, Any] = {"versions": versions, "failed": {}}
        for key, check in CHECKS.items():
            try:
                results[key] = check.work() if has_all or not check.needs_packages else check.nothing()
            except Exception as error:  # a failed check does not stop the others
                results[key], results["failed"][key] = check.nothing(), first_line(error)
        results["machine"] |= results.pop("devices")
        results["advice"] = _advice(results)
        echo(_results_table(results))
        for line in results["advice"] or ["nothing is missing"]:
            echo(line)
        return {**results, "exit_code": 2 if "answer_s" in results["failed"] else 0}


def _results_table(results: dict[str, Any]) -> Table:
    """Return a table of versions and results, with the reason of each failure."""
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = dict(results["versions"])
    for key, check in CHECKS.items():
        value = results.get(key)
        if key in results["failed"]:
            rows[check.name] = f"failed ({results['failed'][key]})"
        elif value is not None and check.shown:
            rows |= value if isinstance(value, dict) else {check.name: f"{value:.2f} s"}
    for name, value in rows.items():
        table.add_row(name, Text(value if isinstance(value, str) else f"{value:.4g}"))
    return table


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # delays the start of every command

    from hydromae import __version__

    def known(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ABSENT

    own = {"hydromae": __version__, "python": platform.python_version()}
    optional = [name for packages, _ in EXTRAS.values() for name in packages]
    return own | {name: known(name) for name in (*NEEDED, *optional)}


def _machine() -> dict[str, str | float]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "cores": float(os.cpu_count() or 1),
        "memory [GB]": memory / 1e9,
        "disk free here [GB]": shutil.disk_usage(".").free / 1e9,
    }


def _devices() -> dict[str, str | float]:
    import torch

    devices = ["cpu", *(f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
    devices += ["mps"] * torch.backends.mps.is_available()
    return {"threads": float(torch.get_num_threads()), "devices": ", ".join(devices)}


def _precision() -> dict[str, str]:
    """Return the precision "auto" of each device with its reason, and missing private operators of torch."""
    import torch

    from hydromae.model.kernels import PRIVATE
    from hydromae.runtime import device_fault, fallback_message, is_available, pick_precision

    rows = {}
    for device_kind in (device_kind for device_kind in ("cpu", "cuda", "mps") if is_available(device_kind)):
        device, fault = torch.device(device_kind), device_fault(device_kind)
        used = f"fails, and is not used ({fault})" if fault else pick_precision("auto", device)
        line = None if fault else fallback_message("auto", device)
        rows[f"precision on {device_kind}"] = used if line is None else line.partition(": ")[2]
    lost = [name for name, operator in PRIVATE.items() if operator is None]
    return rows | ({"operators that this torch lacks": f"{', '.join(lost)}; public ones are used"} if lost else {})


def _speed() -> dict[str, float]:
    """Return the best rate of a matrix product in each precision [GFLOP/s]."""
    import torch

    def rate(dtype: torch.dtype) -> float:
        one = torch.ones(SIZE, SIZE, dtype=dtype)
        return 2 * SIZE**3 / min(_timed(lambda: one @ one) for _ in range(TIMES)) / 1e9

    return {"fp32 [GFLOP/s]": rate(torch.float32), "bf16 [GFLOP/s]": rate(torch.bfloat16)}


def _answer() -> float:
    """Return the seconds in which the loaded shipped model fills gaps of 20 rivers over 400 days."""
    import numpy as np

    from hydromae.inference.predictor import load
    from hydromae.inference.scenarios import fill_gaps, gap_pattern
    from hydromae.virtual import virtual_catchments

    rivers = virtual_catchments(400, 1, "2001-01-01", 20)
    question = fill_gaps(rivers, gap_pattern(rivers["time"], rivers["catchment"], 10, 40))
    model = load("gb-rivers")
    return _timed(lambda: np.asarray(model.predict(question)["riverflow"]))


def _build_locks() -> dict[str, str]:
    """Return lock files in the extension cache of torch with their ages; a killed build leaves its lock."""
    from hydromae.train.extension import lock_age, lock_files, torch_cache

    return {str(lock): lock_age(lock) for lock in lock_files(torch_cache())}


@dataclass(frozen=True)
class Check:
    """One check of the doctor.

    Attributes:
        name: Name of the row.
        work: Returns rows, or seconds; it may raise any exception.
        rows: Whether it returns rows, not seconds.
        needs_packages: Whether it runs only if all of `NEEDED` are installed.
        shown: Whether its rows are in the table, not only in the advice.
    """

    name: str
    work: Callable[[], Any]
    rows: bool = True
    needs_packages: bool = True
    shown: bool = True

    def nothing(self) -> dict[str, Any] | None:
        """Return the result of a check that failed or did not run."""
        return {} if self.rows else None


CHECKS: dict[str, Check] = {
    "machine": Check("machine", lambda: _machine(), needs_packages=False),
    "devices": Check("devices", lambda: _devices()),
    "precision": Check("precision", lambda: _precision()),
    "speed": Check("speed", lambda: _speed()),
    "build_locks": Check("locks of builds", lambda: _build_locks(), shown=False),
    "answer_s": Check("a small prediction", lambda: _answer(), rows=False),
}
"""Checks by the name of their result; lambdas look up their function when they run, so that tests can replace it."""


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _advice(results: dict[str, Any]) -> list[str]:
    """Return lines on missing packages and short resources, each with a remedy."""
    absent_packages = {name for name, found_version in results["versions"].items() if found_version == ABSENT}
    lines = [f"{name} is missing: pip install {name}" for name in NEEDED if name in absent_packages]
    for extra, (packages, use) in EXTRAS.items():
        lacking = [name for name in packages if name in absent_packages]
        if lacking:
            verb = "is" if len(lacking) == 1 else "are"
            lines.append(f"{' and '.join(lacking)} {verb} missing, for {use}: pip install 'hydromae[{extra}]'")
    for key, reason in results.get("failed", {}).items():
        lines.append(f"the check '{CHECKS[key].name}' failed ({reason}): report it with this table")
    machine, speed = results["machine"], results["speed"]
    if machine.get("memory [GB]", math.inf) * 1e9 < MIN_MEMORY_BYTES:
        lines.append("memory is short: predict fewer rivers or years at a time")
    if machine.get("disk free here [GB]", math.inf) * 1e9 < MIN_FREE_BYTES:
        lines.append("the disk is nearly full: a national record takes 5 GB; make room, or use another disk")
    chosen = results.get("precision", {}).get("precision on cpu", "bf16")
    if chosen == "bf16" and speed and speed["bf16 [GFLOP/s]"] < speed["fp32 [GFLOP/s]"]:
        lines.append("bf16 is slower than fp32 here: train with --train.precision fp32")
    if machine.get("devices") == "cpu":
        lines.append("no GPU was found: fill and forecast take minutes on a CPU, training of `base` takes long")
    for lock, lock_age in results.get("build_locks", {}).items():
        lines.append(
            f"{lock}: {lock_age}, the lock of a build of an extension of torch; where no build runs, remove this file, or "
            "DeepSpeed waits for it"
        )
    return lines
