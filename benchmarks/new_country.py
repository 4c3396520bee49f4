"""A new country: gb-rivers fine-tuned on 19 rivers of France, beside models that learn from these rivers alone.

    hydromae prepare france_19_daily.nc france.zarr --training-period 1999-01-01 2012-12-31
    OMP_NUM_THREADS=1 python benchmarks/new_country.py train --store france.zarr --folder france
    python benchmarks/new_country.py score --store france.zarr --folder france --period test

All learn from flow of 1999 to 2012; the flow of 2013 and 2014 selects the weights of the fine-tuned model, as `hydromae
finetune` does. `ungauged` leaves one river out at a time: a model that was fine-tuned without the fold of the river predicts
it from the flow of the other 18. GR4J is calibrated for each river; the regional LSTM has random weights at the start; its
forecasts are corrected by the error of the last day with flow. The shipped model stands beside them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from hydromae.cli.scores import scores_table
from hydromae.config import Config
from hydromae.evaluate import protocol
from hydromae.evaluate.baselines import Persistence, fitted_baselines
from hydromae.evaluate.benchmark import scored_method
from hydromae.evaluate.lstm import LSTMConfig, RegionalLSTM
from hydromae.evaluate.lstm_forecast import ErrorCorrectedLSTM
from hydromae.evaluate.pretrained_lstm import has_network
from hydromae.evaluate.protocol import Question
from hydromae.evaluate.score import Evaluation, evaluate
from hydromae.evaluate.summary import summarise
from hydromae.inference.method import ModelMethod
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import Method
from hydromae.progress import warn_once
from hydromae.store.zarr_store import load_store
from hydromae.train.finetune import PretrainedStart
from skill_csv import all_methods, written
from teaching import taught

TRAINING, VALIDATION = ("1999-01-01", "2012-12-31"), ("2013-01-01", "2014-12-31")
PERIODS = {"validation": VALIDATION, "test": ("2015-01-01", "2018-12-31")}
FOLDS, WHOLE = 4, 0
UPDATES = {WHOLE: 1000} | dict.fromkeys(range(1, FOLDS + 1), 500)
"""Of 2 windows: of the model of all rivers, and of each model without a fold."""
EPOCH = 100
"""Updates between two validations."""
LEARNING_RATE = 5e-4
LSTM = LSTMConfig(steps=1500)
EVERY, LEADS = 10, (1, 3, 7)
"""Days between two issues of a forecast, and its days ahead."""


def run_name(fold: int) -> str:
    """Folder of the run without a fold, from 1; 0 is the run with all rivers."""
    return f"without-{fold}" if fold else "fine-tuned"


def config_of(base: Config, catchments: np.ndarray, fold: int, seed: int) -> Config:
    """The configuration of gb-rivers with the periods, the held-out rivers and the updates of a run."""
    held_out = protocol.folds(catchments, FOLDS)[fold - 1].astype(str).tolist() if fold else []
    return base.having(
        data={"training_period": TRAINING, "validation_period": VALIDATION, "held_out": tuple(held_out)},
        optimizer={"lr": LEARNING_RATE},
        train={"epochs": UPDATES[fold] / EPOCH, "steps_per_epoch": EPOCH, "warmup_epochs": 0.5, "seed": seed},
    )


def teach(record: xr.Dataset, folder: Path, fold: int, seed: int, console: Console) -> None:
    """Fine-tune gb-rivers, without the rivers of a fold, or go on with it."""
    rivers, names = load("gb-rivers", "cpu"), record["catchment"].values
    config = config_of(rivers.config, names, fold, seed)
    start = PretrainedStart(rivers.network.state_dict(), "full")
    taught(config, record, folder / run_name(fold), console, None, start, rivers.scaling)


def teach_lstm(record: xr.Dataset, folder: Path, seed: int, console: Console) -> None:
    """Train the regional LSTM of these rivers alone, if the folder has none."""
    if has_network(folder, "lstm"):
        return
    began, losses = time.perf_counter(), list[float]()
    RegionalLSTM.fit(
        training_record(record), replace(LSTM, seed=seed), "lstm", lambda _, loss: losses.append(loss)
    ).save(folder / "lstm")
    console.print(f"lstm: {(time.perf_counter() - began) / 60:.1f} min, loss {np.mean(losses[-50:]):.4f}", markup=False)


def training_record(record: xr.Dataset) -> xr.Dataset:
    """The training days."""
    return record.sel(time=slice(*TRAINING))


@dataclass(frozen=True)
class LeaveOneOut:
    """Fine-tuned models, each of which predicts the rivers that it was trained without."""

    models: Sequence[ModelMethod]
    name: str = "fine-tuned"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN by the model that held out the river without flow.

        Raises:
            LookupError: No model held all of them out.
        """
        missing = dataset["catchment"].values[dataset["riverflow"].isnull().all("time").values].astype(str)
        for method in self.models:
            if set(missing.tolist()) <= set(method.model.config.data.held_out):
                return method.predict(dataset)
        raise LookupError(f"no model was trained without {', '.join(missing)}")


def one_by_one(record: xr.Dataset, period: protocol.Period) -> Iterator[Question]:
    """Each river in turn without flow."""
    for name in record["catchment"].values:
        yield from protocol.ungauged_questions(record, period, np.array([name]))


def score(record: xr.Dataset, folder: Path, period: protocol.Period) -> Evaluation:
    """Score all methods on all questions."""
    training = training_record(record)
    tuned = scored_method(load(folder / "fine-tuned" / "best", "cpu"), "fine-tuned")
    without = [load(folder / run_name(fold) / "best", "cpu") for fold in range(1, FOLDS + 1)]
    shipped = scored_method(load("gb-rivers", "cpu"), "shipped")
    lstm: Method = RegionalLSTM.load(folder / "lstm", "lstm")
    baselines = fitted_baselines(training, ["simulate", "ungauged"])
    methods: dict[str, list[Method]] = {
        "simulate": [tuned, shipped, lstm, *baselines["simulate"]],
        "forecast": [tuned, shipped, ErrorCorrectedLSTM.fit(lstm, training), Persistence()],
        "ungauged": [LeaveOneOut([scored_method(m, "fine-tuned") for m in without]), shipped, *baselines["ungauged"]],
    }
    questions = [
        *protocol.simulate_questions(record, period),
        *protocol.forecast_questions(record, period, "observed", EVERY, LEADS),
        *one_by_one(record, period),
    ]
    with warn_once():
        return evaluate(methods, record, questions, period, {"command": "benchmarks/new_country.py score"})


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--store", type=Path, required=True, help="a store of the rivers of the new country")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and scores lie")
    parser.add_argument(
        "--fold", type=int, action="append", choices=range(FOLDS + 1), help="0 is the run of all rivers"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period", choices=tuple(PERIODS), default="validation")
    options = parser.parse_args()
    record, console = load_store(options.store), Console()
    if options.what == "train":
        for fold in options.fold or range(FOLDS + 1):
            teach(record, options.folder, fold, options.seed, console)
        teach_lstm(record, options.folder, options.seed, console)
        return
    found = score(record, options.folder, PERIODS[options.period])
    found.save(options.folder / f"scores-{options.period}")
    medians = summarise(found.scores)
    (options.folder / f"new_country_{options.period}.csv").write_text(written(all_methods(medians)), encoding="utf-8")
    console.print(scores_table(medians))


if __name__ == "__main__":
    main()
