"""What 1, 2 and 4 processes here really send in an update, and how long it takes, beside the model of `scaling.py`.

Started by `scaling.py --measure`; under torchrun it is one of the processes. Every process trains on an invented record,
with the engine of real runs (torch's DDP with sharded optimizer state) and with FSDP2, over gloo, and counts what its own
TCP connections sent (TCP_INFO), so that other work on the machine does not count. Processes share the cores: the model
expects the seconds of one process (the shortest step of several), times processes a core where they are more, plus bytes
over a bandwidth measured beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.distributed import ProcessGroup, init_process_group
from hydromae.grid import GridSpec
from hydromae.losses import loss
from hydromae.model.blocks import Block
from hydromae.model.decoder import CrossBlock
from hydromae.model.mae import HydroMAE
from hydromae.store.scaling import Scaling
from hydromae.train.engine import TorchEngine
from timed import invented, step

BYTES_ACKED = 120
"""Where `tcpi_bytes_acked`, 64 bits, stands in Linux's struct tcp_info (include/uapi/linux/tcp.h)."""
SETTLED = 0.3
"""Wait until the last bytes are acknowledged [s]."""
GLOO_PASSES = {"torch": 3, "fsdp2": 4}
"""As `scaling.PASSES`; gloo scatters sums as an all-reduce, which is one pass more than NCCL's."""
PERIOD = ("2001-01-01", "2001-01-20")


def small(quick: bool) -> Config:
    """`fast`, narrow and shallow enough that one step takes a fraction of a second."""
    width = 32 if quick else 128
    model = {"d_model": width, "decoder_dim": width // 2, "map_layers": 2, "series_layers": 2, "fusion_layers": 1}
    data = {"sequence_length": 4 if quick else 10, "stride": 1, "training_period": PERIOD}
    return PRESETS["fast"].having(model=model, data=data, train={"batch_size": 1})


def sent_bytes() -> int:
    """Bytes that the open TCP connections of this process sent and their receivers acknowledged (Linux)."""
    total = 0
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 (Path.iterdir would show its own descriptor, too)
        with contextlib.suppress(OSError):
            if not str(Path(f"/proc/self/fd/{number}").readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(number))) as held:
                if held.type == socket.SOCK_STREAM and held.family in (socket.AF_INET, socket.AF_INET6):
                    info = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED + 8)
                    total += struct.unpack_from("<Q", info, BYTES_ACKED)[0]
    return total


def bandwidth(process_group: ProcessGroup, numbers: int) -> float:
    """Bytes that a process sends in a second while all add up so many numbers."""
    values, times = torch.zeros(numbers), []
    for _ in range(5):
        process_group.barrier()
        began = time.perf_counter()
        dist.all_reduce(values)
        times.append(time.perf_counter() - began)
    return 2 * (process_group.size - 1) / process_group.size * 4 * numbers / statistics.median(times)


def one_step(
    engine: str, model: HydroMAE, config: Config, process_group: ProcessGroup, batch: Batch, hidden: Hidden
) -> Callable[[], object]:
    """What an update is: with torch's engine of real runs, or with FSDP2 around each block and the whole."""
    if engine == "torch":
        own = TorchEngine(model, config, process_group, 1)
        return lambda: step(own, batch, hidden, config)
    from torch.distributed.fsdp import fully_shard

    for part in model.modules():
        if isinstance(part, (Block, CrossBlock)):
            fully_shard(part)
    fully_shard(model, reshard_after_forward=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.optimizer.lr)

    def update() -> None:
        loss(model(batch, hidden), batch, hidden, config)[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()

    return update


def worker(out: Path, engine: str, steps: int, quick: bool) -> None:
    """One process among those that torchrun started; the first one writes."""
    config = small(quick)
    torch.manual_seed(0)
    model = HydroMAE(config)
    weights = sum(p.numel() for p in model.parameters())
    dataset = invented(list(model.embeddings), 64, 20)
    scaling = Scaling.fit(dataset, PERIOD)
    record = to_record_arrays(dataset, config, scaling, GridSpec())
    with init_process_group(torch.device("cpu")) as process_group:
        batch = windows(record, config, PERIOD, seed=process_group.rank, augment=True, update=1)(range(1))
        hidden = draw(batch, config.masks, torch.Generator().manual_seed(process_group.rank))
        update = one_step(engine, model.set_scaling(scaling), config, process_group, batch, hidden)
        for _ in range(2):  # the first steps also agree on how to bundle gradients
            update()
        process_group.barrier()
        time.sleep(SETTLED)
        before, times = sent_bytes(), []
        for _ in range(steps):
            began = time.perf_counter()
            update()
            times.append(time.perf_counter() - began)
        time.sleep(SETTLED)
        sent = float(process_group.sum(torch.tensor([float(sent_bytes() - before)]))[0])
        rate = bandwidth(process_group, weights) if process_group.size > 1 else None
        if process_group.is_main:
            found = {"engine": engine, "processes": process_group.size, "weights": weights, "step_s": min(times)}
            found |= {"sent_bytes": sent / process_group.size / steps, "bandwidth": rate}
            out.write_text(json.dumps(found), encoding="utf-8")
        del update, model


def check(quick: bool) -> list[dict[str, Any]]:
    """1, 2 and 4 processes under each engine, beside what the model says; quick: 2 under torch's."""
    if quick:
        return checked("torch", (2,), quick)
    return [row for engine in GLOO_PASSES for row in checked(engine, (1, 2, 4), quick)]


def checked(engine: str, counts: tuple[int, ...], quick: bool) -> list[dict[str, Any]]:
    """So many processes under one engine; the seconds of the first count say what the model expects of the others."""
    found: list[dict[str, Any]] = []
    cores = os.cpu_count() or 1
    for processes in counts:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.json"
            command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
            command += [f"--nproc_per_node={processes}", __file__, str(out), "--engine", engine] + ["--quick"] * quick
            ended = subprocess.run(
                command,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            if ended.returncode:
                sys.exit(f"{processes} processes under {engine} failed:\n{ended.stderr}")
            figures = json.loads(out.read_text(encoding="utf-8"))
        figures["sent_bytes_modelled"] = GLOO_PASSES[engine] * (processes - 1) / processes * 4 * figures["weights"]
        alone = found[0]["step_s"] if found else figures["step_s"]
        talk = figures["sent_bytes_modelled"] / figures["bandwidth"] if processes > 1 else 0.0
        figures["step_s_modelled"] = alone * max(1.0, processes / cores) + talk
        found.append(figures)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", choices=tuple(GLOO_PASSES), default="torch")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    worker(options.out, options.engine, 3 if options.quick else options.steps, options.quick)
