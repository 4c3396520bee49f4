"""Maps for a model of rivers: the preset `national` from the weights of gb-rivers, trained on the parts of maps alone.

    hydromae prepare DATA national.zarr --shape national --period 1970-10-01 2012-09-30 --simulate-maps 1
    OMP_NUM_THREADS=1 python benchmarks/national.py train --store national.zarr --out runs/national
    python benchmarks/national.py export --run runs/national --out gb-national

`train` starts from gb-rivers, whose answers without maps do not change (`finetune --trainable maps`), or goes on with the run
that lies there. Windows have 60 days, because maps have a short memory; `export` writes the model with the windows of
gb-rivers.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from hydromae.config import Config
from hydromae.config.presets import NATIONAL
from hydromae.inference.predictor import Model, load
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import latest_checkpoint, load_model, write_model
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import grid_of, load_store, scaling_of
from hydromae.train.finetune import PretrainedStart
from hydromae.train.trainer import train
from hydromae.train.updates import StepProgress

STREAM, WITH_EVAPORATION = "weather+riverflow", "weather+riverflow+evaporation"
ADDED = ("streams", "map_layers", "fusion_layers", "fusion_gates", "map_estimators", "map_distributions")
WINDOW = {"sequence_length": 60, "warm_up_days": 10, "stride": 31}
LEARNING = {"lr": 2e-3, "min_lr": 2e-5}


def config_of(rivers: Config, epochs: float) -> Config:
    """The configuration of a model of rivers, with the maps and the masks of `national`, in short windows."""
    return rivers.having(
        data={"patches_per_window": NATIONAL.data.patches_per_window, **WINDOW},
        model={name: getattr(NATIONAL.model, name) for name in ADDED},
        masks={"mixture": NATIONAL.masks.mixture},
        optimizer=LEARNING,
        train={
            "task_weights": NATIONAL.train.task_weights,
            "epochs": epochs,
            "steps_per_epoch": 250,
            "warmup_epochs": 0.4,
            "precision": "fp32",
            "checkpoint_every": 0.2,
        },
    )


def start_weights(config: Config, rivers: Model, scaling: Scaling) -> dict[str, Tensor]:
    """Weights of a new model, those of the model of rivers where it has them; evaporation is not read yet."""
    torch.manual_seed(config.train.seed)
    network = HydroMAE(config).set_scaling(scaling)
    own = network.state_dict()
    known = {name.replace(f".{STREAM}.", f".{WITH_EVAPORATION}."): w for name, w in rivers.network.state_dict().items()}
    lacking = set(known) - set(own)
    if lacking:
        raise SystemExit(f"{min(lacking)}: is not in the new model")
    zero = {name: torch.zeros_like(w) for name, w in own.items() if name.startswith("embeddings.evaporation.")}
    return own | zero | known


def joint_scaling(rivers: Scaling, store: Scaling) -> Scaling:
    """Scaling of the model of rivers, and of the store for variables that it lacks."""
    return replace(rivers, variables=store.variables | rivers.variables)


def teach(store: Path, out: Path, epochs: float, stop_after: int | None, console: Console) -> None:
    """Train, or go on with the run in `out`."""
    record, rivers = load_store(store), load("gb-rivers", "cpu", precision="fp32")
    config, scaling = config_of(rivers.config, epochs), joint_scaling(rivers.scaling, scaling_of(record))
    start, began = PretrainedStart(start_weights(config, rivers, scaling), "maps"), time.perf_counter()

    def told(progress: StepProgress) -> None:
        console.print(f"{progress.step} of {progress.steps}: {progress.loss:.4f} {progress.validation_loss or ''}")

    train(
        config,
        record,
        scaling,
        out,
        grid=grid_of(record),
        start=start,
        resume=latest_checkpoint(out) is not None,
        device="cpu",
        stop_after=stop_after,
        progress=told,
        log=console.print,
    )
    console.print(f"{out}: {(time.perf_counter() - began) / 60:.1f} min", markup=False)


def export(run: Path, out: Path) -> None:
    """Write the best weights of a run as a model with the windows of gb-rivers."""
    network, config, scaling, grid = load_model(run / "best")
    rivers = load("gb-rivers", "cpu").config.data
    data = {name: getattr(rivers, name) for name in WINDOW}
    out.mkdir(parents=True)
    write_model(out, network.state_dict(), config.having(data=data), scaling, grid)


def main() -> None:
    """Train or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "export"))
    parser.add_argument("--store", type=Path, help="a national store")
    parser.add_argument("--run", type=Path, help="the run to export")
    parser.add_argument("--out", type=Path, required=True, help="the run, or the exported model")
    parser.add_argument("--epochs", type=float, default=16, help="of 250 updates")
    parser.add_argument("--stop-after", type=int, help="stop at this update; the same command goes on")
    options = parser.parse_args()
    if options.what == "train":
        if options.store is None:
            parser.error("train: give --store")
        teach(options.store, options.out, options.epochs, options.stop_after, Console())
    else:
        if options.run is None:
            parser.error("export: give --run")
        export(options.run, options.out)


if __name__ == "__main__":
    main()
