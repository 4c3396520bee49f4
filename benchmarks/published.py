"""A published split: simulation of British rivers as Lees et al. (2021, HESS 25, 5517) trained and tested their LSTM.

    hydromae prepare FOLDER rivers.zarr
    OMP_NUM_THREADS=1 python benchmarks/published.py train --store rivers.zarr --folder published
    python benchmarks/published.py score --store rivers.zarr --folder published --scores published_lstm_camels_gb.csv

Training on 1988 to 1997, test on 1998 to 2008. Flow of all other years is removed before anything reads the record, except
that of 2009 and 2010, which selects the weights. First the LSTMs are trained from random weights, then the rest of the preset
`rivers` beside them. Their inputs are the rain, temperature and potential evaporation of CAMELS-GB and its attributes; here
potential evaporation is computed from temperature, and there are 11 attributes. SCORES has a row for each river: `id`,
`nse_lstm`, `nse_ealstm`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table

from hydromae import metrics
from hydromae.config import Config
from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from hydromae.inference.predictor import load
from hydromae.model.mae import HydroMAE
from hydromae.store.scaling_cache import scaling_for
from hydromae.store.zarr_store import load_store
from hydromae.train.finetune import PretrainedStart
from peers import paired
from teaching import taught

TRAINING, VALIDATION, TEST = ("1988-01-01", "1997-12-31"), ("2009-01-01", "2010-12-31"), ("1998-01-01", "2008-12-31")
LSTM_UPDATES, UPDATES = 6000, 1000
SIMULATIONS = (("simulate", 0.8), ("outage", 0.2))
PUBLISHED = {"nse_lstm": "LSTM, published", "nse_ealstm": "EA-LSTM, published"}


def training_record(record: xr.Dataset) -> xr.Dataset:
    """The record with flow of the training and validation years alone."""
    year = record["time"].dt.year
    used = [(year >= int(first[:4])) & (year <= int(last[:4])) for first, last in (TRAINING, VALIDATION)]
    return record.assign(riverflow=record["riverflow"].where(used[0] | used[1]))


def config_of(seed: int, **train: object) -> Config:
    """The preset with the years of the split, and simulations as the task."""
    return RIVERS.having(
        data={"training_period": TRAINING, "validation_period": VALIDATION},
        masks={"mixture": SIMULATIONS},
        train={"seed": seed, "steps_per_epoch": 500, **train},
    )


def teach(record: xr.Dataset, folder: Path, seed: int, console: Console) -> None:
    """Train the LSTMs, then the rest, or go on with them."""
    known, lstm = training_record(record), folder / "lstm"
    config = config_of(seed, epochs=LSTM_UPDATES / 500, batch_size=8).having(optimizer={"lr": 3e-3})
    scaling = scaling_for(known, config, lstm)
    torch.manual_seed(seed)
    fresh = PretrainedStart(HydroMAE(config).set_scaling(scaling).state_dict(), "lstm", reinit_lstm=True)
    taught(config, known, lstm, console, None, fresh, scaling)
    whole = config_of(seed, epochs=UPDATES / 500, batch_size=4)
    start = PretrainedStart(load(lstm / "best", "cpu").network.state_dict(), "all-but-lstm")
    taught(whole, known, folder / "whole", console, None, start, scaling)


def simulated(record: xr.Dataset, model: str | Path) -> xr.DataArray:
    """NSE of every river in the test years, all flow hidden."""
    (question,) = protocol.simulate_questions(record, TEST)
    answer = load(model, "cpu").predict_record(question.dataset, [0.05, 0.5, 0.95]).sel(time=slice(*TEST))
    return metrics.nse(answer["riverflow"], record["riverflow"].sel(time=slice(*TEST)))


def compared(own: xr.DataArray, scores: pd.DataFrame) -> pd.DataFrame:
    """NSE of all methods on the rivers that both have and that have a score."""
    table = pd.DataFrame({"hydromae": own.values}, index=own["catchment"].values.astype(str))
    rivers = scores["id"].astype(str).to_numpy()
    others = pd.DataFrame({name: scores[column].to_numpy() for column, name in PUBLISHED.items()}, index=rivers)
    return table.join(others, how="inner").dropna()


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--store", type=Path, required=True, help="a store of catchments")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and scores lie")
    parser.add_argument("--scores", type=Path, help="published scores; required to score")
    parser.add_argument("--model", help="a model or run; default the run in the folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    record, console = load_store(options.store), Console()
    if options.what == "train":
        teach(record, options.folder, options.seed, console)
        return
    if options.scores is None:
        parser.error("score: needs --scores FILE")
    own = simulated(record, options.model or options.folder / "whole" / "best")
    methods = compared(own, pd.read_csv(options.scores))
    methods.to_csv(options.folder / "published.csv", index_label="catchment")
    shown = Table("method", "NSE: median (10th percentile)", "hydromae minus the method: median (95 %), better")
    for name, values in methods.items():
        difference = "–" if name == "hydromae" else paired(methods["hydromae"].to_numpy(), values.to_numpy())
        shown.add_row(str(name), f"{values.median():.3f} ({values.quantile(0.1):.3f})", difference)
    console.print(f"{len(methods)} rivers", shown)


if __name__ == "__main__":
    main()
