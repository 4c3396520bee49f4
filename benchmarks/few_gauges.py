"""What pre-training gives: a new region with few gauges and few years of flow, by several ways to a model of it.

    hydromae prepare DATA rivers.zarr
    OMP_NUM_THREADS=1 python benchmarks/few_gauges.py train --store rivers.zarr --folder few --gauges 5
    python benchmarks/few_gauges.py score --store rivers.zarr --folder few

The region is the 60 held-out catchments, on whose flow gb-rivers was not trained. 5, 20 or 40 of them have a gauge, with
flow of the last 1, 5 or 20 years before 2011; the other 20 are ungauged. Nothing else of Great Britain is in the record. For
each of these nine cases: gb-rivers fine-tuned, the same model from random weights, and two regional LSTMs (weather alone, and
with the flow of the day before). gb-rivers without fine-tuning stands beside them. The flow of 2011-01 to 2012-09 selects the
weights of the models; LSTMs keep their last ones.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console

from hydromae.config import Config
from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from hydromae.evaluate.benchmark import scored_method
from hydromae.evaluate.lstm import LSTMConfig, RegionalLSTM
from hydromae.evaluate.lstm_forecast import LSTMByLead
from hydromae.evaluate.pretrained_lstm import has_network
from hydromae.evaluate.score import evaluate
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import Method
from hydromae.store.zarr_store import load_store
from hydromae.train.finetune import PretrainedStart
from teaching import taught

GAUGES, YEARS, UNGAUGED = (5, 20, 40), (1, 5, 20), 20
UPDATES = {"fine-tuned": 200, "random": 1000, "lstm": 700, "lstm-ahead": 700}
"""Of 2 windows, and of 128 sequences (fewer with 5 gauges)."""
EPOCH = 100
"""Updates between two validations."""
LEARNING_RATE = 5e-4
"""Of fine-tuning; from random weights it is that of the preset."""
EVERY = 10
"""Days between two issues of a forecast."""


def region(record: xr.Dataset, gauges: int, years: int) -> tuple[xr.Dataset, np.ndarray]:
    """The record of the region without flow before the last years of training, and the names of the ungauged catchments.

    The gauges of a smaller case are among those of a larger one; the ungauged catchments have flow for the score alone.
    """
    names = protocol.held_out(record["catchment"].values)
    order = np.random.default_rng(1).permutation(names)
    ungauged, gauged = order[:UNGAUGED], order[UNGAUGED : UNGAUGED + gauges]
    part = record.sel(catchment=np.concatenate([gauged, ungauged]))
    first = first_day(years)
    part = part.sel(time=slice(first - pd.Timedelta(days=365), None))
    is_gauge = ~part["catchment"].isin(ungauged)
    known = (part["time"] > np.datetime64(protocol.TRAINING_END)) | (is_gauge & (part["time"] >= np.datetime64(first)))
    return part.assign(riverflow=part["riverflow"].where(known)), ungauged


def first_day(years: int) -> pd.Timestamp:
    """First day with flow."""
    return pd.Timestamp(protocol.TRAINING_END) - pd.DateOffset(years=years) + pd.Timedelta(days=1)


def config_of(base: Config, method: str, gauges: int, years: int, seed: int, updates: int) -> Config:
    """Of gb-rivers or the preset, with the training period and the updates of a case; the weather of a year precedes it."""
    start = first_day(years) - pd.Timedelta(days=365)
    return base.having(
        data={
            "training_period": (f"{start:%Y-%m-%d}", protocol.TRAINING_END),
            "held_out": (),
            "catchments_per_window": min(gauges, base.data.catchments_per_window or gauges),
        },
        optimizer={"lr": LEARNING_RATE} if method == "fine-tuned" else {},
        train={"epochs": updates / EPOCH, "steps_per_epoch": EPOCH, "warmup_epochs": 0.5, "seed": seed},
    )


def updates_of(longer: float) -> dict[str, int]:
    """`UPDATES`, those of random weights times `longer`."""
    return {name: count if name == "fine-tuned" else round(longer * count) for name, count in UPDATES.items()}


def teach(
    record: xr.Dataset, folder: Path, gauges: int, years: int, seed: int, console: Console, longer: float = 1.0
) -> None:
    """Train what the folder lacks of a case."""
    updates = updates_of(longer)
    part, ungauged = region(record, gauges, years)
    known = part.drop_sel(catchment=ungauged)
    place = folder / f"{gauges}-gauges-{years}-years"
    rivers = load("gb-rivers", "cpu")
    config, start = (
        config_of(rivers.config, "fine-tuned", gauges, years, seed, updates["fine-tuned"]),
        rivers.network.state_dict(),
    )
    taught(config, known, place / "fine-tuned", console, None, PretrainedStart(start, "full"), rivers.scaling)
    taught(config_of(RIVERS, "random", gauges, years, seed, updates["random"]), known, place / "random", console)
    training = protocol.training_record(known)
    for name, lag in (("lstm", None), ("lstm-ahead", 1)):
        if has_network(place, name):
            continue
        config, began = LSTMConfig(steps=updates[name], flow_lag=lag, seed=seed), time.perf_counter()
        if lag is not None:
            config = replace(config, sequence_length=365, warm_up=60)
        losses: list[float] = []
        RegionalLSTM.fit(training, config, name, lambda _, loss, seen=losses: seen.append(loss)).save(place / name)
        took = (time.perf_counter() - began) / 60
        console.print(f"{place}, {name}: {took:.1f} min, loss {np.mean(losses[-50:]):.4f}", markup=False)


def methods_of(place: Path) -> dict[str, list[Method]]:
    """The methods of a case by question."""
    models = [scored_method(load(place / name / "best", "cpu"), name) for name in ("fine-tuned", "random")]
    models.append(scored_method(load("gb-rivers", "cpu"), "shipped"))
    lstm: Method = RegionalLSTM.load(place / "lstm", "lstm")
    ahead = LSTMByLead({1: RegionalLSTM.load(place / "lstm-ahead", "lstm")}, "lstm")
    return {"simulate": [*models, lstm], "ungauged": [*models, lstm], "forecast": [*models, ahead]}


def score(record: xr.Dataset, place: Path, gauges: int, years: int, period: str) -> pd.DataFrame:
    """Median and 10th percentile of NSE of a case by question and method; read from the folder where they are there."""
    file = place / f"scores_{period}.csv"
    if file.is_file():
        return pd.read_csv(file)
    part, ungauged = region(record, gauges, years)
    methods, known, days = methods_of(place), part.drop_sel(catchment=ungauged), protocol.PERIODS[period]
    asked = (
        (known, protocol.simulate_questions(known, days)),
        (part, protocol.ungauged_questions(part, days, ungauged)),
        (known, protocol.forecast_questions(known, days, "observed", EVERY, (1,))),
    )
    tables = []
    for scored, questions in asked:
        found = summarise(evaluate(methods, scored, questions, days).scores)
        tables.append(found[["nse_median", "nse_p10"]].reset_index())
    table = pd.concat(tables, ignore_index=True).assign(gauges=gauges, years=years).round(3)
    table.to_csv(file, index=False)
    return table


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--store", type=Path, required=True, help="a store of catchments")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and scores lie")
    parser.add_argument("--gauges", type=int, action="append", choices=GAUGES, help="all where none is named")
    parser.add_argument("--years", type=int, action="append", choices=YEARS, help="all where none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longer", type=float, default=1.0, help="factor of the updates of random weights and of LSTMs"
    )
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    options = parser.parse_args()
    record, console = load_store(options.store), Console()
    cases = list(product(options.gauges or GAUGES, options.years or YEARS))
    if options.what == "train":
        for gauges, years in cases:
            teach(record, options.folder, gauges, years, options.seed, console, options.longer)
        return
    places = {case: options.folder / "{}-gauges-{}-years".format(*case) for case in cases}
    trained = {case: place for case, place in places.items() if has_network(place, "lstm-ahead")}
    if not trained:
        parser.error(f"{options.folder}: no case was trained; train first")
    table = pd.concat([score(record, place, *case, options.period) for case, place in trained.items()])
    table.to_csv(options.folder / f"few_gauges_{options.period}.csv", index=False)
    console.print(table.pivot_table(index=["question", "gauges", "years"], columns="method", values="nse_median"))


if __name__ == "__main__":
    main()
