"""Device and precision: selection, and the operations that a device does not support in half precision.

Selection depends on the properties of torch and the device and on small probes, not on measured times, so that a resumed run
on the same machine is bit-identical.
"""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import get_args

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from hydromae.config.schema import Precision
from hydromae.errors import InputError, first_line

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
X86_MACHINES = ("x86_64", "amd64")
EMULATED_ISA = ("AVX512_CORE", "AVX512_CORE_VNNI")
"""Limits of oneDNN's instruction set with which it emulates bf16."""
TENSOR_CORES = (7, 0)
"""First compute capability of CUDA with tensor cores for fp16."""


def pick_device(name: str | torch.device | None = "auto") -> torch.device:
    """The named device; for "auto" or None the first that works of CUDA, MPS and CPU.

    Raises:
        InputError: The device is not available, or fails.
    """
    name = "auto" if name is None else str(name)
    if name == "auto":
        return torch.device(
            next(kind for kind in ("cuda", "mps", "cpu") if is_available(kind) and not device_fault(kind))
        )
    kind, _, number = name.partition(":")
    kinds = [kind for kind in ("cpu", "cuda", "mps") if is_available(kind)]
    if kind not in kinds or (number and not number.isdecimal()):
        known = ", ".join(kinds)
        raise InputError(f"device '{name}': not on this machine, which has {known}; name one of them, or auto")
    if fault := device_fault(kind):
        raise InputError(f"device '{name}': fails ({fault}); install a torch that is built for it, or use --device cpu")
    return torch.device(name)


def is_available(kind: str) -> bool:
    """Whether torch finds a device of the kind "cpu", "cuda" or "mps"."""
    return {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(kind, lambda: True)()


@cache
def device_fault(kind: str) -> str | None:
    """Error of a small computation on a kind of device (for example a GPU that this torch does not support), or None."""
    try:
        (torch.ones(2, 2, device=kind) @ torch.ones(2, 2, device=kind)).sum().item()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return None


def device_fault_lines() -> list[str]:
    """A message for each available device that fails."""
    faults = {kind: device_fault(kind) for kind in ("cuda", "mps") if is_available(kind)}
    return [f"device {kind}: fails, and is not used ({fault})" for kind, fault in faults.items() if fault]


def widest_dtype(device: torch.device) -> torch.dtype:
    """The widest float dtype of a device: float64, or float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def parse_precision(name: str) -> Precision:
    """The precision of a name.

    Raises:
        InputError: The name is unknown.
    """
    for precision in get_args(Precision):
        if precision == name:
            return precision
    raise InputError(f"precision '{name}': unknown; choose one of {', '.join(get_args(Precision))}")


def pick_precision(requested: Precision, device: torch.device, trained: Precision = "auto") -> Precision:
    """The precision of computations: "fp32", "bf16" or "fp16".

    Args:
        requested: A precision other than "auto" is used, unless the device has no matrix products in it.
        trained: Precision of the training, which "auto" selects where it is native to the device, otherwise fp32. For "auto"
            it is bf16.
    """
    if requested != "auto":
        return "fp32" if is_unsupported("products", device.type, DTYPES[requested]) else requested
    preferred: Precision = "bf16" if trained == "auto" else trained
    return "fp32" if half_precision_faults(preferred, device) else preferred


def half_precision_faults(precision: Precision, device: torch.device) -> list[str]:
    """Reasons why a half precision is not native to a device: emulation, and each operation without a kernel."""
    dtype = DTYPES[precision]
    if dtype == torch.float32:
        return []
    emulated = emulation_reason(device.type, dtype)
    return ([emulated] if emulated else []) + [
        f"no kernel for {name}: {why}" for name, why in unsupported_operations(dtype, device).items()
    ]


def fallback_message(requested: Precision, device: torch.device, trained: Precision = "auto") -> str | None:
    """A message if the precision of `pick_precision` is not the requested one or not native, otherwise None."""
    used = pick_precision(requested, device, trained)
    preferred: Precision = requested if requested != "auto" else "bf16" if trained == "auto" else trained
    reasons = half_precision_faults(preferred, device)
    if not reasons:
        return None
    because = (
        f"{preferred} is not native to this device"
        if requested == "auto"
        else "as requested; operations without a kernel run in fp32"
    )
    return f"precision on {device.type}: {used}; {because} ({'; '.join(reasons)})"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Context for computations in a precision ("auto" as in `pick_precision`); unsupported operations run in fp32."""
    dtype = DTYPES[pick_precision(precision, device)]
    if dtype == torch.float32:
        return contextlib.nullcontext()
    unsupported_operations(dtype, device)  # run the probes outside the context
    return torch.autocast(device.type, dtype)


def is_unsupported(operation: str, kind: str, dtype: torch.dtype) -> bool:
    """Whether an operation of `PROBES` fails in a dtype on a kind of device, forward or backward."""
    return dtype.itemsize < 4 and unsupported_reason(operation, kind, dtype) is not None


def unsupported_operations(dtype: torch.dtype, device: torch.device) -> dict[str, str]:
    """The operations that fail in a half precision on a device, with the reason."""
    reasons = {operation: unsupported_reason(operation, device.type, dtype) for operation in PROBES}
    return {operation: reason for operation, reason in reasons.items() if reason}


@cache
def unsupported_reason(operation: str, kind: str, dtype: torch.dtype) -> str | None:
    """Why an operation fails in a half precision, from one run on zeros; None if it succeeds."""
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(kind, enabled=False),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # autocast warns of an unsupported dtype and uses fp32
            out = PROBES[operation](torch.device(kind), dtype)
            out.sum().backward()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return first_line(error).partition(". ")[0]
    return None if out.dtype == dtype else f"gives {out.dtype}"


def _products(device: torch.device, dtype: torch.dtype) -> Tensor:
    inputs, weight = (torch.zeros(4, 4, device=device, requires_grad=True) for _ in range(2))
    with torch.autocast(device.type, dtype):
        out = functional.linear(inputs, weight)
    return functional.gelu(torch.matmul(out, out.softmax(dim=-1)))


def _lstm(device: torch.device, dtype: torch.dtype) -> Tensor:
    """A bidirectional LSTM under autocast, without a change of torch's random state."""
    with torch.random.fork_rng(devices=[]):
        layer = nn.LSTM(4, 8, bidirectional=True).to(device)
    with torch.autocast(device.type, dtype):
        return layer(torch.zeros(3, 2, 4, device=device, requires_grad=True))[0]


def _attention(device: torch.device, dtype: torch.dtype) -> Tensor:
    query = torch.zeros(1, 2, 4, 8, device=device, dtype=dtype, requires_grad=True)
    return functional.scaled_dot_product_attention(query, query, query, attn_mask=query.new_zeros(1, 1, 4, 4).detach())


PROBES: dict[str, Callable[[torch.device, torch.dtype], Tensor]] = {
    "products": _products,
    "LSTM": _lstm,
    "attention": _attention,
}
"""Operations of the models in half precision."""


@cache
def emulation_reason(kind: str, dtype: torch.dtype) -> str | None:
    """Why a half precision is not native to a kind of device; None if it is."""
    if kind == "cpu":
        native = _cpu_native(dtype)
        return None if native else f"this CPU, {cpu_capability()}, emulates it"
    if kind == "cuda":
        if dtype == torch.bfloat16:
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cuda.get_device_capability() >= TENSOR_CORES
        return None if native else "this GPU emulates it"
    return f"not tried on {kind}"


def cpu_capability() -> str:
    """The vector instruction set that torch uses, such as AVX2 or AVX512."""
    return torch.backends.cpu.get_cpu_capability()


def _cpu_native(dtype: torch.dtype) -> bool:
    """Whether oneDNN supports a dtype, with ONEDNN_MAX_CPU_ISA; on x86, bf16 also needs AVX512_BF16."""
    name = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}[dtype]
    try:
        supported = bool(getattr(torch.ops.mkldnn, name)())
        if dtype != torch.bfloat16 or platform.machine().lower() not in X86_MACHINES:
            return supported
        has_instructions = bool(torch.cpu._is_avx512_bf16_supported())
    except (AttributeError, RuntimeError):  # torch without oneDNN, or with other names
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", ""))
    return supported and has_instructions and limit.upper() not in EMULATED_ISA
