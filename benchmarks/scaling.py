"""What a record a hundred times larger costs in bytes, FLOPs, traffic and time, and a check of that model on this machine.

    python benchmarks/scaling.py --out scaling.json              # the model: the tables of docs/scaling.md
    python benchmarks/scaling.py --measure --out scaling.json    # and 1, 2 and 4 processes here against it

Everything is arithmetic on stated assumptions (`Session`, `Cut`, `Machine`); FLOPs and activations come from the closed
formula of `flops.py`, which torch's counter confirms. Change an assumption here and the tables follow.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from countries import HUNDREDFOLD, MAPS, PIXELS, SEED, SERIES, Cut, Session, cuts
from exchange import check
from flops import formula
from hydromae.config import Config
from hydromae.model.mae import HydroMAE

PASSES = {"torch": 3, "deepspeed": 2, "fsdp2": 3}
"""How often an update sends the size of the weights, times (N − 1)/N: see `exchanged`."""


@dataclass(frozen=True)
class Machine:
    """Assumptions on the accelerators: NVIDIA H100 SXM, eight in a node (its data sheet; the share reached is assumed).

    Attributes
    ----------
    peak, share : float
        bf16 products [FLOP/s], and the share of it that a step reaches.
    memory : float
        Of a GPU [bytes].
    inside, between : float
        What a GPU sends inside a node and between nodes [bytes/s].
    node : int
        GPUs in a node.
    latency : float
        Of one message [s].
    cores, prepared : int, float
        Cores of a node, and what one prepares [bytes/s].
    storage : float
        What a node reads from object storage [bytes/s].
    """

    peak: float = 989e12
    share: float = 0.25
    memory: float = 80e9
    inside: float = 450e9
    between: float = 50e9
    node: int = 8
    latency: float = 5e-6
    cores: int = 64
    prepared: float = 50e6
    storage: float = 5e9

    def bandwidth(self, gpus: int) -> float:
        """Of the slowest link that a ring over so many GPUs has."""
        return self.inside if gpus <= self.node else self.between


def parameters(config: Config) -> int:
    """Weights of a model; none is made."""
    with torch.device("meta"):
        return sum(p.numel() for p in HydroMAE(config, PIXELS).parameters())


def exchanged(engine: str, weights: int, processes: int, width: int = 4) -> float:
    """Bytes that one process sends in an update, on average over the processes.

    A ring all-reduce sends 2 (N − 1)/N of what it sums (Patarasuk and Yuan 2009), half of it to scatter the sums, half to
    gather them; handing out or gathering sharded weights sends (N − 1)/N once more. Torch's DDP with sharded optimizer state:
    an all-reduce, then the updated weights. DeepSpeed ZeRO-1: scattered sums, then the updated weights. FSDP2 (ZeRO-3): the
    weights gathered in forward and again in backward, scattered sums. `width` is that of a number [bytes].
    """
    return PASSES[engine] * (processes - 1) / processes * weights * width


def state_bytes(engine: str, weights: int, processes: int) -> float:
    """Weights, gradients and AdamW's two averages in fp32 on one GPU."""
    if engine == "fsdp2":
        return 16 * weights / processes
    return 8 * weights + 8 * weights / processes


def activation_bytes(cut: Cut, country: Session, windows: int, precision: str = "bf16") -> float:
    """What forward keeps for backward of a batch; with recomputation, what enters each block, and one block of the fusion."""
    kept = formula(cut.config, cut.sizes(country, windows)).saved_bytes(precision)
    if not cut.recomputed:
        return kept
    model, sizes = cut.config.model, cut.sizes(country, windows)
    sites = MAPS * sizes.patches * model.map_layers + SERIES * sizes.sites * model.series_layers
    sites += (MAPS * sizes.patches + SERIES * sizes.sites) * model.fusion_layers
    fewer = cut.config.having(model={"fusion_layers": model.fusion_layers - 1})
    one_block = kept - formula(fewer, sizes).saved_bytes(precision)
    return windows * sizes.days * sites * sizes.kept_of() * model.d_model * 4 + one_block


def work_of(cut: Cut, country: Session, windows: int) -> float:
    """FLOPs of a batch; recomputed blocks go forward twice."""
    flops = formula(cut.config, cut.sizes(country, windows))
    return flops.total + cut.recomputed * flops.forward


def step(cut: Cut, country: Session, machine: Machine, gpus: int, windows: int, engine: str) -> dict[str, float]:
    """One update on so many GPUs with so many windows on each; nothing overlaps, so it is the slowest it may be."""
    weights = parameters(cut.config)
    work = work_of(cut, country, windows)
    sent = exchanged(engine, weights, gpus)
    compute = work / (machine.peak * machine.share)
    talk = sent / machine.bandwidth(gpus) + PASSES[engine] * (gpus - 1) * machine.latency
    steps = math.ceil(cut.windows(country) / (windows * gpus))
    return {
        "gpus": gpus,
        "windows_a_step": windows * gpus,
        "flops_a_gpu": work,
        "sent_bytes_a_gpu": sent,
        "compute_s": compute,
        "talk_s": talk,
        "step_s": compute + talk,
        "efficiency": compute / (compute + talk),
        "state_bytes_a_gpu": state_bytes(engine, weights, gpus),
        "activation_bytes_a_gpu": activation_bytes(cut, country, windows),
        "read_bytes_per_s_a_gpu": windows * cut.bytes_read(country) / (compute + talk),
        "steps_an_epoch": steps,
        "epoch_s": steps * (compute + talk),
    }


def fits(cut: Cut, country: Session, machine: Machine, gpus: int, engine: str) -> int:
    """Windows that a GPU holds at once, at nine tenths of its memory; 0 where not even one."""
    room = 0.9 * machine.memory - state_bytes(engine, parameters(cut.config), gpus)
    return max(0, int(room // activation_bytes(cut, country, 1)))


def modelled(machine: Machine) -> dict[str, list[dict]]:
    """All figures of the model."""
    records = [
        {
            **asdict(c),
            "steps": c.steps,
            "memory_bytes": c.bytes_in_memory(),
            "store_bytes": c.bytes_in_store(),
            "prepare_s": c.bytes_in_store() / (machine.cores * machine.prepared),
            "read_s": sum(c.bytes_in_memory().values()) / machine.storage,
        }
        for c in (SEED, HUNDREDFOLD)
    ]
    windows = []
    for country in (SEED, HUNDREDFOLD):
        for cut in cuts(country)[: 2 if country is SEED else None]:
            work = work_of(cut, country, 1)
            windows.append(
                {
                    "country": country.name,
                    "cut": cut.name,
                    "weights": parameters(cut.config),
                    "tokens": cut.tokens(country),
                    "windows_an_epoch": cut.windows(country),
                    "flops": work,
                    "flops_of_parts": formula(cut.config, cut.sizes(country)).parts,
                    "activation_bytes": activation_bytes(cut, country, 1),
                    "read_bytes": cut.bytes_read(country),
                    "epoch_flops": work * cut.windows(country),
                }
            )
    steps = []
    for cut, engine in ((cuts(HUNDREDFOLD)[3], "torch"), (cuts(HUNDREDFOLD)[4], "fsdp2")):
        for gpus in (8, 64, 512):
            held = fits(cut, HUNDREDFOLD, machine, gpus, engine)
            figures = step(cut, HUNDREDFOLD, machine, gpus, max(1, held), engine)
            steps.append({"cut": cut.name, "engine": engine, "fits": held} | figures)
    return {"records": records, "windows": windows, "steps": steps}


def amount(value: float, unit: str = "B") -> str:
    """A number with a decimal prefix, two or three digits."""
    for prefix, scale in (("Z", 1e21), ("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:,.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def tables(found: dict[str, list[dict]]) -> list[str]:
    """The tables of docs/scaling.md, as lines of markdown."""
    lines = ["| record | time steps | in memory: maps + series | store, before compression | prepared, read once |"]
    lines += ["|---|---|---|---|---|"]
    for r in found["records"]:
        memory = f"{amount(r['memory_bytes']['maps'])} + {amount(r['memory_bytes']['series'])}"
        lines.append(
            f"| {r['name']} | {r['steps']:,} | {memory} | {amount(r['store_bytes'])} | "
            f"{amount(r['prepare_s'], 's')}, {amount(r['read_s'], 's')} |"
        )
    lines += [
        "",
        "| record: a window of | weights | tokens | FLOPs a window | kept for backward, bf16 | windows, FLOPs an epoch |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    for w in found["windows"]:
        epoch = f"{w['windows_an_epoch']:,}, {amount(w['epoch_flops'], 'FLOP')}"
        lines.append(
            f"| {w['country']}: {w['cut']} | {amount(w['weights'], '')} | {w['tokens']:,} | {amount(w['flops'], 'FLOP')} | "
            f"{amount(w['activation_bytes'])} | {epoch} |"
        )
    lines += [
        "",
        "| model, engine | GPUs | windows a step | state + activations a GPU | sent a GPU and step | compute + talk | ",
    ]
    lines[-1] += "read a GPU | epoch |"
    lines += ["|---|---|---|---|---|---|---|---|"]
    for s in found["steps"]:
        memory = f"{amount(s['state_bytes_a_gpu'])} + {amount(s['activation_bytes_a_gpu'])}" + " (too much)" * (
            not s["fits"]
        )
        sent = amount(s["sent_bytes_a_gpu"])
        lines.append(
            f"| {s['cut']}, {s['engine']} | {s['gpus']} | {s['windows_a_step']:,} | {memory} | {sent} | "
            f"{s['compute_s']:.3f} + {s['talk_s']:.3f} s | {amount(s['read_bytes_per_s_a_gpu'])}/s | "
            f"{s['steps_an_epoch']:,} steps, {amount(s['epoch_s'], 's')} |"
        )
    return lines


def beside(measured: list[dict[str, Any]]) -> list[str]:
    """What the processes of this machine did, beside what the model says of them."""
    lines = [
        "| engine | processes | sent a process and step: measured, modelled | seconds a step: measured, modelled |",
        "|---|---|---|",
    ]
    for m in measured:
        sent = f"{amount(m['sent_bytes'])}, {amount(m['sent_bytes_modelled'])}"
        lines.append(f"| {m['engine']} | {m['processes']} | {sent} | {m['step_s']:.3f}, {m['step_s_modelled']:.3f} |")
    return lines


def main() -> None:
    """Compute, measure where asked, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=Machine.share, help="share of the peak that a step reaches")
    parser.add_argument("--measure", action="store_true", help="check the model with gloo processes on this machine")
    parser.add_argument("--quick", action="store_true", help="measure 2 processes of a tiny model only, for a test")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    machine = Machine(share=options.share)
    found: dict[str, Any] = {"machine": asdict(machine)}
    figures = modelled(machine)
    print("\n".join(tables(figures)))
    found |= figures
    if options.measure:
        found["measured"] = check(options.quick)
        print("\n".join(["", *beside(found["measured"])]))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
