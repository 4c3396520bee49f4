"""What the parts of the national model give: the whole, one part taken away at a time, or estimators added, by question.

    python benchmarks/arms.py train --store national.zarr --folder arms whole maps footprints
    python benchmarks/arms.py score --store national.zarr --folder arms

The seed's streams (three maps, evaporation, river flow) in windows of 30 days, at a quarter of its width, with attention in
two directions; masks are those of the questions. Every arm has as many updates of the same windows. A run that lies in the
folder goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from hydromae.batching.windows import ALWAYS_KNOWN_ATTRIBUTES
from hydromae.cli.scores import scores_table
from hydromae.config import Config
from hydromae.config.presets import FAST, RIVERS
from hydromae.evaluate import protocol
from hydromae.evaluate.baselines import LogInterpolation, Persistence
from hydromae.evaluate.benchmark import run_protocol, scored_method
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import Method
from hydromae.store.zarr_store import grid_of, load_store
from hydromae.variables import ATTRIBUTES
from teaching import taught

WEATHER = ("precipitation", "soil_moisture", "temperature", "evaporation")
PERIODS = {
    "training_period": ("1989-01-01", protocol.TRAINING_END),
    "validation_period": protocol.PERIODS["validation"],
}
EPOCHS = 4
"""Of 125 updates."""
WHOLE = FAST.having(
    data=PERIODS,
    model={
        "d_model": 64,
        "heads": 4,
        "map_layers": 2,
        "series_layers": 2,
        "fusion_layers": 2,
        "decoder_dim": 64,
        "decoder_layers": 2,
        "dropout": 0.0,
    },
    masks={"kind": "mixture", "target_modalities": ("riverflow",), "mixture": RIVERS.masks.mixture},
    optimizer={"lr": 2e-3, "weight_decay": 0.01, "betas": (0.9, 0.99)},
    train={
        "batch_size": 2,
        "epochs": EPOCHS,
        "steps_per_epoch": 125,
        "warmup_epochs": 0.4,
        "precision": "auto",
        "ema_decay": 0.99,
        "task_weights": (*((name, 0.1) for name in WEATHER), ("riverflow", 1.0)),
        "nse_loss": True,
        "flow_loss_weight": 0.7,
        "validation_windows": 16,
    },
)
LESS: Mapping[str, dict[str, object]] = {
    "whole": {},
    "maps": {"streams": ("evaporation", "riverflow"), "footprints": False},
    "footprints": {"footprints": False},
    "neighbours": {"neighbours": 1},
    "traits": {"film": False},
    "static-tokens": {"static_tokens": False},
    "fusion": {"fusion_layers": 0},
}
"""What of the model each arm goes without; `traits` does without the traits themselves, too (`without_traits`)."""
ARMS: Mapping[str, dict[str, object]] = {**LESS, "estimators": {"estimators": True}}
"""And what an arm has beyond the specification."""
QUESTIONS: tuple[str, ...] = ("gap", "ungauged", "ungauged-limited", "simulate", "forecast", "forecast-blind")


SIMPLE: Mapping[str, tuple[Method, ...]] = {
    "gap": (LogInterpolation(),),
    "forecast": (Persistence(),),
    "forecast-blind": (Persistence(),),
}
"""Baselines that stand beside the arms."""


def without_traits(record: xr.Dataset) -> xr.Dataset:
    """The record, of whose rivers only their places and areas are known."""
    lost = [a.name for a in ATTRIBUTES if a.name not in ALWAYS_KNOWN_ATTRIBUTES]
    return record.assign({name: xr.full_like(record[name], np.nan) for name in lost})


@dataclass(frozen=True)
class Traitless:
    """A model that is asked without traits."""

    method: Method

    @property
    def name(self) -> str:
        """The model's."""
        return self.method.name

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Every NaN."""
        return self.method.predict(without_traits(dataset))


def config_of(arm: str, seed: int, held_out: tuple[str, ...], epochs: int = EPOCHS) -> Config:
    """Of an arm."""
    return WHOLE.having(data={"held_out": held_out}, model=ARMS[arm], train={"seed": seed, "epochs": epochs})


def teach(record: xr.Dataset, folder: Path, arm: str, seed: int, console: Console, epochs: int = EPOCHS) -> Path:
    """Train an arm, or go on with it."""
    held_out = protocol.held_out(record["catchment"].values).astype(str)
    config, out = config_of(arm, seed, tuple(held_out.tolist()), epochs), folder / f"{arm}-{seed}"
    shown = without_traits(record) if arm == "traits" else record
    return taught(config, shown, out, console, grid_of(record))


def methods(folder: Path) -> list[Method]:
    """Every arm that has ended, by the name of its folder."""
    ended = [run for run in sorted(folder.glob("*-[0-9]")) if (run / "last").is_dir()]
    arms = [scored_method(load(run / "last", "cpu"), run.name) for run in ended]
    return [Traitless(arm) if arm.name.startswith("traits") else arm for arm in arms]


def score(record: xr.Dataset, folder: Path, period: str, every: int, console: Console) -> None:
    """Score the arms that have ended; write the evaluation, print the medians."""
    said, arms = {"command": f"benchmarks/arms.py score --period {period} --issue-interval {every}"}, methods(folder)
    asked = {name: [*arms, *SIMPLE.get(name, ())] for name in QUESTIONS}
    found = run_protocol(None, record, protocol.PERIODS[period], QUESTIONS, every, False, said, asked)
    found.save(folder / f"scores-{period}")
    console.print(scores_table(summarise(found.scores)))
    console.print(paired(found.scores), markup=False)


def paired(scores: xr.Dataset) -> str:
    """What each part gives, river by river: NSE of the whole less that of the arm without it, of the same seed.

    A table: the median of the difference over rivers, and the share of rivers on which the whole is better.
    """
    nse, names = scores["nse"], scores["method"].values.tolist()
    wholes = {name: f"whole-{name.rpartition('-')[2]}" for name in names}
    parts = [name for name in names if name != wholes[name] and wholes[name] in names]
    if not parts:
        return "no whole to compare with"
    whole = nse.sel({"method": [wholes[name] for name in parts]}).assign_coords(method=parts)
    gain = whole - nse.sel({"method": parts})
    better = (gain > 0).where(gain.notnull()).mean("catchment")
    table = xr.Dataset({"gives": gain.median("catchment"), "better": better}).rename(method="without")
    return (
        table.to_dataframe(["without", "question"]).reset_index().to_string(index=False, float_format="{:.3f}".format)
    )


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("arms", nargs="*", help=f"all but estimators where none is named: {', '.join(ARMS)}")
    parser.add_argument("--store", type=Path, required=True, help="a national store")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and scores lie")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of 125 updates")
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    parser.add_argument("--issue-interval", type=int, default=60, help="days between two issues of a forecast")
    options = parser.parse_intermixed_args()
    unknown = sorted(set(options.arms) - set(ARMS))
    if unknown:
        parser.error(f"{unknown[0]}: is no part; choose among {', '.join(ARMS)}")
    record, console = load_store(options.store), Console()
    if options.what == "train":
        for arm in options.arms or LESS:
            teach(record, options.folder, arm, options.seed, console, options.epochs)
    else:
        score(record, options.folder, options.period, options.issue_interval, console)


if __name__ == "__main__":
    main()
