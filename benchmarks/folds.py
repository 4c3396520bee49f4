"""Ten folds of ungauged rivers: every river of the country answered as if it had no gauge, by a model that never saw it.

    python benchmarks/folds.py train --store rivers.zarr --folder folds
    python benchmarks/folds.py score --store rivers.zarr --folder folds

A model is trained without three or four folds at once, so three models answer ten folds: each learns from fewer rivers than
it would with one fold left out. A fold is answered as the protocol asks it, without its own flow and with that of all others.
Preset `rivers`, from random weights. A run that lies in the folder goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from hydromae.cli.scores import events_table, scores_table
from hydromae.config import Config
from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from hydromae.evaluate.baselines import fitted_baselines
from hydromae.evaluate.benchmark import scored_method
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.protocol import Question
from hydromae.evaluate.score import evaluate
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import Method
from hydromae.store.zarr_store import load_store
from teaching import taught

MODELS = 3
NAME = "hydromae-folds"
FOLDED = RIVERS.having(train={"epochs": 6})


def groups(catchments: np.ndarray) -> list[np.ndarray]:
    """Which folds each model goes without."""
    return np.array_split(np.arange(len(protocol.folds(catchments))), MODELS)


def config_of(catchments: np.ndarray, group: np.ndarray, seed: int) -> Config:
    """Of the model that goes without these folds."""
    parts = protocol.folds(catchments)
    left_out = np.concatenate([parts[fold] for fold in group]).astype(str)
    return FOLDED.having(data={"held_out": tuple(left_out.tolist())}, train={"seed": seed})


def teach(record: xr.Dataset, folder: Path, group: int, seed: int, console: Console) -> Path:
    """Train the model of a group of folds, or go on with it."""
    names, out = record["catchment"].values, folder / f"without-{group}"
    return taught(config_of(names, groups(names)[group], seed), record, out, console)


class ByFold:
    """The models of all groups as one method: each answers for the rivers that it never saw."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        """All of them, which must have ended."""
        self.models = [
            scored_method(load(folder / f"without-{group}" / "last", "cpu"), NAME) for group in range(MODELS)
        ]

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Every NaN, by the model that saw no river of the fold that has no flow here.

        Raises
        ------
        LookupError
            If no fold is without flow, or no model goes without it.
        """
        names = dataset["catchment"].values
        missing = set(names[dataset["riverflow"].isnull().all("time").values].astype(str).tolist())
        for fold in protocol.folds(names):
            for method in self.models:
                if set(fold.astype(str).tolist()) <= missing & set(method.model.config.data.held_out):
                    return method.predict(dataset)
        raise LookupError("no fold is without flow here")


def asked(record: xr.Dataset, period: protocol.Period) -> Iterator[Question]:
    """Each fold in turn."""
    for fold in protocol.folds(record["catchment"].values):
        yield from protocol.ungauged_questions(record, period, fold)


def score(record: xr.Dataset, folder: Path, period: str, console: Console) -> None:
    """Score the models beside the donors; write the evaluation, print the medians."""
    training, names = protocol.training_record(record), record["catchment"].values
    methods: list[Method] = [ByFold(folder), *fitted_baselines(training, ["ungauged"])["ungauged"]]
    said = {"command": f"benchmarks/folds.py score --period {period}", "split": "ten folds, protocol.folds"}
    days = protocol.PERIODS[period]
    found = evaluate({"ungauged": methods}, record, asked(record, days), days, said, Thresholds.fit(training, names))
    found.save(folder / f"scores-{period}")
    medians = summarise(found.scores)
    console.print(scores_table(medians))
    console.print(events_table(medians))


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--store", type=Path, required=True, help="a store of catchments")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and scores lie")
    parser.add_argument("--group", type=int, action="append", choices=range(MODELS), help="all where none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    options = parser.parse_args()
    record, console = load_store(options.store), Console()
    if options.what == "train":
        for group in options.group or range(MODELS):
            teach(record, options.folder, group, options.seed, console)
    else:
        score(record, options.folder, options.period, console)


if __name__ == "__main__":
    main()
