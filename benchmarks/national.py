"""Maps for a model of rivers: the preset `national` from the weights of gb-rivers, trained on the parts of maps alone.

    hydromae prepare DATA national.zarr --shape national --period 1970-10-01 2012-09-30 --simulate-maps 1
    OMP_NUM_THREADS=1 python benchmarks/national.py train --store national.zarr --out runs/national
    python benchmarks/national.py export --run runs/national --out gb-national
    hydromae prepare DATA derived.zarr --shape national --period 2010-01-01 2014-09-30
    python benchmarks/national.py score --store derived.zarr --model gb-national --model gb-rivers --weather maps

`train` starts from gb-rivers, whose answers without maps do not change (`finetune --trainable maps`), or goes on with the run
that lies there. Windows have 60 days, because maps have a short memory; `export` writes the model with the windows of
gb-rivers. `score` asks the protocol's questions on the test period with the weather of the catchments alone, of the derived
maps alone, or of both.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
import xarray as xr
from rich.console import Console
from torch import Tensor

from hydromae.cli.scores import scores_table
from hydromae.config import Config
from hydromae.config.presets import NATIONAL
from hydromae.evaluate import protocol
from hydromae.evaluate.benchmark import run_protocol, scored_method
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import Model, load
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import latest_checkpoint, load_model, write_model
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import grid_of, load_store, scaling_of
from hydromae.train.finetune import PretrainedStart
from hydromae.train.trainer import train
from hydromae.train.updates import StepProgress
from hydromae.variables import SERIES_BESIDE_MAPS
from skill import names_of

STREAM, WITH_EVAPORATION = "weather+riverflow", "weather+riverflow+evaporation"
ADDED = ("streams", "map_layers", "fusion_layers", "fusion_gates", "map_estimators", "map_distributions")
WINDOW = {"sequence_length": 60, "warm_up_days": 10, "stride": 31}
QUESTIONS = ("gap", "ungauged", "ungauged-limited", "simulate", "forecast", "forecast-blind")
LEARNING = {"lr": 2e-3, "min_lr": 2e-5}
MIXTURE = tuple(
    {
        "gap": 0.1,
        "ungauged": 0.1,
        "simulate": 0.1,
        "forecast": 0.1,
        "forecast-blind": 0.15,
        "outage": 0.1,
        "random": 0.3,
        "modality": 0.05,
    }.items()
)
"""More of the windows than in the preset hide parts of maps, because only the parts of maps are trained."""


def config_of(rivers: Config, epochs: float) -> Config:
    """The configuration of a model of rivers, with the maps and the masks of `national`, in short windows."""
    return rivers.having(
        data={"patches_per_window": NATIONAL.data.patches_per_window, **WINDOW},
        model={name: getattr(NATIONAL.model, name) for name in ADDED},
        masks={"mixture": MIXTURE},
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


def with_weather(record: xr.Dataset, weather: str) -> xr.Dataset:
    """A national record with its maps and series ("both"), without the series, or without the maps."""
    series = {name: variable.name for name, variable in SERIES_BESIDE_MAPS.items()}
    if weather == "both":
        return record
    if weather == "maps":
        return record.drop_vars(list(series.values()))
    without = record.drop_dims("cell").drop_vars("evaporation")
    return without.rename({held: name for name, held in series.items()})


def score(store: Path, models: list[str], weather: str, period: str, every: int, out: Path | None) -> None:
    """Score models on the questions of the protocol and print the medians."""
    record = with_weather(load_store(store), weather)
    methods = [scored_method(load(path, "cpu"), name) for path, name in zip(models, names_of(models), strict=True)]
    asked = dict.fromkeys(QUESTIONS, methods)
    found = run_protocol(None, record, protocol.PERIODS[period], QUESTIONS, every, False, {"weather": weather}, asked)
    Console(width=None if sys.stdout.isatty() else 110).print(scores_table(summarise(found.scores)))
    if out is not None:
        found.save(out)


def main() -> None:
    """Train, export or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "export", "score"))
    parser.add_argument("--store", type=Path, help="a national store")
    parser.add_argument("--run", type=Path, help="the run to export")
    parser.add_argument("--out", type=Path, help="the run, the exported model, or the scores")
    parser.add_argument("--model", action="append", help="a model to score; may be given again")
    parser.add_argument("--weather", choices=("catchments", "maps", "both"), default="both")
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="test")
    parser.add_argument("--issue-interval", type=int, default=30, help="days between two issues of a forecast")
    parser.add_argument("--epochs", type=float, default=5, help="of 250 updates")
    parser.add_argument("--stop-after", type=int, help="stop at this update; the same command goes on")
    options = parser.parse_args()
    needed = {"train": ("store", "out"), "export": ("run", "out"), "score": ("store", "model")}[options.what]
    for name in needed:
        if getattr(options, name) is None:
            parser.error(f"{options.what}: give --{name}")
    if options.what == "train":
        teach(options.store, options.out, options.epochs, options.stop_after, Console())
    elif options.what == "export":
        export(options.run, options.out)
    else:
        period, every = options.period, options.issue_interval
        score(options.store, options.model, options.weather, period, every, options.out)


if __name__ == "__main__":
    main()
