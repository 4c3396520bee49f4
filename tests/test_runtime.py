"""Device and precision: chosen by what the device does, the same every time, and obeyed where they are forced."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from hydromae import runtime
from hydromae.errors import InputError
from hydromae.runtime import autocast, fallback_message, pick_device, pick_precision

CPU, BF16, FP16 = torch.device("cpu"), torch.bfloat16, torch.float16
CACHED = (runtime.unsupported_reason, runtime.emulation_reason, runtime.device_fault)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """What was probed with capabilities of a test is forgotten after it."""
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


def without(*operations: str) -> dict[str, Callable]:
    """Probes of a device on which some operations have no kernel."""

    def fails(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        raise RuntimeError("could not create a primitive. Run workload with more words")

    return {name: fails if name in operations else lambda d, t: torch.zeros(1, dtype=t, requires_grad=True) for name in
            runtime.PROBES}  # fmt: skip


def device_with(monkeypatch: pytest.MonkeyPatch, native: bool, *lacking: str) -> None:
    monkeypatch.setattr(runtime, "_cpu_native", lambda dtype: native)
    monkeypatch.setattr(runtime, "PROBES", without(*lacking))


def test_auto_is_bf16_where_the_device_has_it_and_fp32_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    device_with(monkeypatch, native=True)
    assert pick_precision("auto", CPU) == "bf16" and fallback_message("auto", CPU) is None
    runtime.unsupported_reason.cache_clear()
    device_with(monkeypatch, True, "LSTM")
    assert pick_precision("auto", CPU) == "fp32"
    assert fallback_message("auto", CPU) == (
        "precision on cpu: fp32; bf16 is not native to this device (no kernel for LSTM: could not create a primitive)"
    )
    runtime.unsupported_reason.cache_clear(), runtime.emulation_reason.cache_clear()
    device_with(monkeypatch, native=False)
    monkeypatch.setattr(runtime, "cpu_capability", lambda: "AVX2")
    assert pick_precision("auto", CPU) == "fp32"
    said = fallback_message("auto", CPU)
    assert said is not None and said.endswith("(this CPU, AVX2, emulates it)") and "\n" not in said


def test_what_a_model_was_trained_in_is_used_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    device_with(monkeypatch, native=True)
    given = {trained: pick_precision("auto", CPU, trained) for trained in ("auto", "fp32", "bf16", "fp16")}
    assert given == {"auto": "bf16", "fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}
    runtime.unsupported_reason.cache_clear()
    device_with(monkeypatch, True, "LSTM")
    assert {pick_precision("auto", CPU, trained) for trained in given} == {"fp32"}
    assert fallback_message("auto", CPU, "fp32") is None, "fp32 is what was wished for"


def test_what_is_forced_is_obeyed_and_what_has_no_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    device_with(monkeypatch, True, "LSTM", "attention")
    assert pick_precision("bf16", CPU, "fp32") == "bf16" and pick_precision("fp16", CPU) == "fp16"
    assert pick_precision("fp32", CPU, "bf16") == "fp32" and fallback_message("fp32", CPU) is None
    said = fallback_message("fp16", CPU)
    assert said is not None and "fp16; as requested" in said and "LSTM" in said and "attention" in said
    assert runtime.is_unsupported("LSTM", "cpu", BF16) and not runtime.is_unsupported("products", "cpu", BF16)
    assert not runtime.is_unsupported("LSTM", "cpu", torch.float32)
    runtime.unsupported_reason.cache_clear()
    device_with(monkeypatch, True, "products")
    assert pick_precision("bf16", CPU) == "fp32", "nothing is left that could run in bf16"
    with autocast(CPU, "bf16"):
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(InputError, match=r"precision 'half'.*auto, fp32, bf16, fp16"):
        runtime.parse_precision("half")


def test_autocast_is_of_the_precision() -> None:
    for precision, dtype in {"bf16": BF16, "fp16": FP16}.items():
        with autocast(CPU, precision):  # type: ignore[arg-type]
            assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == dtype
    with autocast(CPU, "fp32"):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(CPU, "auto"):
        assert torch.is_autocast_enabled("cpu") == (pick_precision("auto", CPU) == "bf16")


def test_a_probe_moves_no_random_number_and_stands_apart_from_what_is_around_it() -> None:
    """The first call may come inside a forward pass: under autocast, without gradients."""
    torch.manual_seed(3)
    drawn = torch.rand(4)
    outside = [
        runtime.unsupported_reason(operation, "cpu", dtype) for operation in runtime.PROBES for dtype in (BF16, FP16)
    ]
    runtime.unsupported_reason.cache_clear()
    torch.manual_seed(3)
    with torch.inference_mode(), torch.autocast("cpu", FP16):
        inside = [
            runtime.unsupported_reason(operation, "cpu", dtype)
            for operation in runtime.PROBES
            for dtype in (BF16, FP16)
        ]
    assert torch.equal(torch.rand(4), drawn) and inside == outside
    assert runtime.unsupported_reason("products", "cpu", BF16) is None, "every CPU of torch has products in bf16"


@pytest.mark.parametrize(
    ("onednn", "instructions", "isa", "machine", "native"),
    [
        (True, True, "", "x86_64", True),
        (True, False, "", "x86_64", False),  # AVX-512 without bf16: oneDNN emulates it
        (False, True, "", "x86_64", False),  # restricted to AVX2
        (True, True, "avx512_core", "AMD64", False),  # restricted to an AVX-512 without bf16
        (True, False, "", "aarch64", True),  # ARM has no AVX
    ],
)
def test_bf16_is_native_to_a_cpu_by_onednn_and_its_instructions(
    onednn: bool, instructions: bool, isa: str, machine: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions, raising=False)
    monkeypatch.setattr(runtime.platform, "machine", lambda: machine)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert (runtime.emulation_reason("cpu", BF16) is None) == native


def test_a_torch_without_onednn_has_no_native_half_precision_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> bool:
        raise RuntimeError("no such operator")

    for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
        monkeypatch.setattr(torch.ops.mkldnn, name, absent, raising=False)
    assert runtime.emulation_reason("cpu", BF16) and runtime.emulation_reason("cpu", FP16)


@pytest.mark.parametrize(("bf16", "capability"), [(True, (9, 0)), (False, (7, 5)), (False, (6, 1))])
def test_native_support_of_cuda_excludes_emulation(
    bf16: bool, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hopper, Turing, Pascal."""

    def supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert (runtime.emulation_reason("cuda", BF16) is None) == bf16
    assert (runtime.emulation_reason("cuda", FP16) is None) == (capability >= (7, 0))


def test_mps_computes_in_fp32_unless_it_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PROBES", without())
    mps = torch.device("mps")
    assert pick_precision("auto", mps) == "fp32" and "not tried on mps" in str(fallback_message("auto", mps))
    assert runtime.widest_dtype(mps) == torch.float32 and runtime.widest_dtype(CPU) == torch.float64


def test_pick_device() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match=r"device 'cdua'.*auto"):
        pick_device("cdua")
    with pytest.raises(InputError, match="cpu:one"):
        pick_device("cpu:one")


def test_a_gpu_that_this_torch_cannot_use_is_passed_over_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch finds the GPU, its first kernel fails."""
    monkeypatch.setattr(runtime, "is_available", lambda kind: kind in ("cpu", "cuda"))
    monkeypatch.setattr(
        runtime, "device_fault", lambda kind: "no kernel image is available" if kind == "cuda" else None
    )
    assert pick_device() == CPU
    assert runtime.device_fault_lines() == ["device cuda: fails, and is not used (no kernel image is available)"]
    with pytest.raises(InputError, match=r"device 'cuda:1': fails \(no kernel image.*--device cpu"):
        pick_device("cuda:1")
