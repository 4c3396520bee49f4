"""Peers: other methods and libraries beside the shipped model, on the same rivers, days and inputs.

    pip install 'hydromae[peers]' neuralhydrology pypots
    python benchmarks/peers.py FOLDER --rivers 20

FOLDER holds `camels_gb_daily.nc` and the NRFA's attributes. Gaps (`gap`), simulations (`simulate`) and forecasts with
observed weather (`forecast`, issued every 10 days) of the evaluation protocol in the test period are predicted for rivers
that are drawn with the seed 0 among the training catchments with flow on most days; every method learns on days to
2010-12-31. LightGBM and GR4J are the package's baselines. The networks of neuralhydrology (CudaLSTM; for forecasts the one
with a state handoff) and SAITS (PyPOTS) have the settings of the first examples in their documentation; the number of
updates or epochs is an option. A peer that is not installed is named and omitted. With `--keep FOLDER` the scores of the
networks of other packages are kept, and read in a later run with the same rivers and settings. Seconds are processor
seconds of one process. Lines are those that a user writes, without comments, docstrings, reading of files and scoring.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console

from hydromae import metrics
from hydromae.datasets import reader
from hydromae.evaluate import boosted_donors, donor_regression, gr4j, protocol
from hydromae.evaluate.answers import log_flow, river_flow, with_predictions
from hydromae.evaluate.donors import attribute_values
from hydromae.evaluate.protocol import Question
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import WEATHER
from hydromae.io.atomic import write_text_atomic
from hydromae.variables import ATTRIBUTES

FIRST_DAY = "1990-10-01"
QUESTIONS = ("gap", "simulate", "forecast")
ISSUE_INTERVAL = 10
RESAMPLES = 10_000
LSTM_FIRST_DAY, LSTM_DAYS, LEAD_DAYS = "2000-10-01", 365, max(protocol.LEADS)
SAITS_DAYS, SAITS_DONORS = 60, 8
FULL_SHARE = 0.95
"""Share of training and test days with flow from which a river may be drawn."""
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass
class Peer:
    """A method that learns on a training record and predicts datasets.

    Attributes:
        name: Name in the table.
        package: Package that it needs.
        questions: Tasks that it predicts.
        fit: From a training record and the scored rivers, a method: a function from a dataset to one with predictions.
        code: What a user writes.
        setting: Updates or epochs; None without such an option.
    """

    name: str
    package: str
    questions: tuple[str, ...]
    fit: Callable[[xr.Dataset, np.ndarray], Callable[[xr.Dataset], xr.Dataset]]
    code: Sequence[Any] = field(default_factory=tuple)
    setting: int | None = None

    @property
    def lines(self) -> int:
        """Lines of its code."""
        return sum(code_lines(inspect.getsource(part)) for part in self.code or (self.fit,))


def code_lines(source: str) -> int:
    """Lines with code; comments, blank lines and docstrings do not count."""
    lines, previous = set[int](), tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc(source)).readline):
        is_docstring = token.type == tokenize.STRING and previous in (tokenize.NEWLINE, tokenize.INDENT)
        if token.type not in NOT_CODE and not is_docstring:
            lines.update(range(token.start[0], token.end[0] + 1))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            previous = token.type
    return len(lines)


def hydromae_peer(training: xr.Dataset, rivers: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
    """The shipped model."""
    model = load("gb-rivers", "cpu")
    return model.predict


def lightgbm_peer(training: xr.Dataset, rivers: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
    """Boosted trees on donors and weather."""
    ridge = donor_regression.DonorRidge.fit(training, transform="root").with_residual()
    return boosted_donors.BoostedDonors.fit(training, ridge).only(rivers).predict


def gr4j_peer(training: xr.Dataset, rivers: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
    """GR4J, calibrated for each river."""
    return gr4j.GR4J.fit(training.sel(catchment=rivers)).predict


@dataclass(frozen=True)
class CudaLSTM:
    """neuralhydrology's CudaLSTM on a processor, one network for all scored rivers.

    Attributes:
        updates: Updates of the network, in 5 epochs.
    """

    updates: int
    sequence_days, predicted_days = LSTM_DAYS, 1

    def __call__(self, training: xr.Dataset, rivers: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
        """Train in a temporary folder; `predict` writes its dataset into the same folder."""
        from neuralhydrology.training.train import start_training
        from neuralhydrology.utils.config import Config

        temporary = tempfile.TemporaryDirectory()
        folder = Path(temporary.name)
        training = training.sel(catchment=rivers, time=slice(LSTM_FIRST_DAY, None))
        self._write(training, folder)
        config = Config(self._settings(folder, training))
        start_training(config)

        def predict(dataset: xr.Dataset) -> xr.Dataset:
            from neuralhydrology.evaluation import get_tester

            chosen = dataset.sel(catchment=rivers)
            self._write(chosen, Path(temporary.name))
            config.update_config(self._days("test", chosen))
            tester = get_tester(config, config.run_dir, "test", init_model=True)
            results = tester.evaluate(save_results=False)
            flow = np.full((dataset.sizes["time"], len(rivers)), np.nan)
            days = pd.Index(chosen["time"].values)
            for index, river in enumerate(rivers):
                simulated = results[str(river)]["1D"]["xr"]["riverflow_sim"]
                last_days = days.get_indexer(pd.Index(simulated["date"].values))
                for step in simulated["time_step"].values:  # 0 is the last day of a sequence
                    flow[last_days + step, index] = simulated.sel(time_step=step).values
            return with_predictions(chosen, flow)

        return predict

    def _settings(self, folder: Path, training: xr.Dataset) -> dict[str, object]:
        """The configuration of the documentation's introduction, with static attributes and NSE loss for many basins."""
        return {
            "experiment_name": "peer",
            "run_dir": folder / "runs",
            "train_basin_file": folder / "rivers.txt",
            "validation_basin_file": folder / "rivers.txt",
            "test_basin_file": folder / "rivers.txt",
            **self._days("train", training),
            **self._days("validation", training),
            **self._days("test", training),
            "device": "cpu",
            "validate_every": 1000,
            "validate_n_random_basins": 1,
            "metrics": ["NSE"],
            "model": "cudalstm",
            "head": "regression",
            "output_activation": "linear",
            "hidden_size": 64,
            "initial_forget_bias": 3,
            "output_dropout": 0.4,
            "optimizer": "Adam",
            "loss": "NSE",
            "learning_rate": {0: 1e-2, 3: 5e-3, 4: 1e-3},
            "batch_size": 256,
            "epochs": 5,
            "max_updates_per_epoch": max(1, self.updates // 5),
            "clip_gradient_norm": 1,
            "predict_last_n": self.predicted_days,
            "seq_length": self.sequence_days,
            "num_workers": 0,
            "seed": 0,
            "log_tensorboard": False,
            "save_weights_every": 5,
            "dataset": "generic",
            "data_dir": folder,
            "dynamic_inputs": list(WEATHER),
            "target_variables": ["riverflow"],
            "clip_targets_to_zero": ["riverflow"],
            "static_attributes": [attribute.name for attribute in ATTRIBUTES],
        }

    def _write(self, dataset: xr.Dataset, folder: Path) -> None:
        """The files of neuralhydrology's generic dataset."""
        for name in ("time_series", "attributes"):
            (folder / name).mkdir(exist_ok=True)
        for river in dataset["catchment"].values:
            series = self._series(dataset.sel(catchment=river, drop=True)).rename(time="date")
            series.reset_coords(drop=True).to_netcdf(folder / "time_series" / f"{river}.nc", engine="h5netcdf")
        table = pd.DataFrame({a.name: attribute_values(dataset, a.name) for a in ATTRIBUTES})
        table = table.fillna(table.mean()).fillna(0.0).set_index(pd.Index(dataset["catchment"].values, name="gauge_id"))
        table.to_csv(folder / "attributes" / "attributes.csv")
        (folder / "rivers.txt").write_text("\n".join(map(str, dataset["catchment"].values)) + "\n", encoding="utf-8")

    def _series(self, river: xr.Dataset) -> xr.Dataset:
        """Inputs and target of a river."""
        return river[[*WEATHER, "riverflow"]]

    def _days(self, name: str, dataset: xr.Dataset) -> dict[str, str]:
        """First and last predicted day of a part of the configuration."""
        ends = min(self.sequence_days, dataset.sizes["time"]) - self.predicted_days, -1
        first, last = (pd.Timestamp(dataset["time"].values[day]) for day in ends)
        return {f"{name}_start_date": f"{first:%d/%m/%Y}", f"{name}_end_date": f"{last:%d/%m/%Y}"}


@dataclass(frozen=True)
class HandoffLSTM(CudaLSTM):
    """neuralhydrology's forecast network: an LSTM to the issue day gives its state to another one of the days ahead.

    The first reads weather and flow, the second weather. A day without flow has that of the last day with flow.
    """

    sequence_days, predicted_days = LSTM_DAYS + LEAD_DAYS, LEAD_DAYS

    def _settings(self, folder: Path, training: xr.Dataset) -> dict[str, object]:
        """As CudaLSTM, with the handoff of the documentation's example."""
        return super()._settings(folder, training) | {
            "model": "handoff_forecast_lstm",
            "hindcast_inputs": [*WEATHER, "past_flow"],
            "forecast_inputs": list(WEATHER),
            "dynamic_inputs": [*WEATHER, "past_flow"],
            "forecast_seq_length": LEAD_DAYS,
            "state_handoff_network": {"type": "fc", "hiddens": [64], "activation": "tanh", "dropout": 0.0},
        }

    def _series(self, river: xr.Dataset) -> xr.Dataset:
        """Inputs, past flow and target of a river."""
        past = river["riverflow"].to_series().ffill().bfill()
        return super()._series(river).assign(past_flow=river["riverflow"].copy(data=past.to_numpy()))


@dataclass(frozen=True)
class Saits:
    """PyPOTS' SAITS, one network for all scored rivers: windows of root flow of the river and its donors, and weather.

    Attributes:
        epochs: Epochs of training.
    """

    epochs: int

    def __call__(self, training: xr.Dataset, rivers: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
        """Train on windows of 60 days; `predict` averages windows that start every 30 days."""
        from pypots.imputation import SAITS

        ridge = donor_regression.DonorRidge.fit(training, transform="root")
        scale = {
            river: (np.nanmean(part, axis=0), np.nanstd(part, axis=0) + 1e-6)
            for river, part in self._features(training, rivers, ridge)
        }
        windows = [
            part[start : start + SAITS_DAYS]
            for river, features in self._features(training, rivers, ridge)
            for part in [(features - scale[river][0]) / scale[river][1]]
            for start in range(0, len(part) - SAITS_DAYS + 1, SAITS_DAYS // 2)
        ]
        usable = np.stack([window for window in windows if np.isfinite(window[:, 0]).any()])
        network = SAITS(
            n_steps=SAITS_DAYS,
            n_features=usable.shape[2],
            n_layers=2,
            d_model=256,
            n_heads=4,
            d_k=64,
            d_v=64,
            d_ffn=128,
            dropout=0.1,
            batch_size=32,
            epochs=self.epochs,
            device="cpu",
            verbose=False,
        )
        network.fit({"X": usable})

        def predict(dataset: xr.Dataset) -> xr.Dataset:
            chosen = dataset.sel(catchment=rivers)
            flow = np.full((dataset.sizes["time"], len(rivers)), np.nan)
            for index, (river, features) in enumerate(self._features(dataset, rivers, ridge)):
                mean, deviation = scale[river]
                days = len(features)
                starts = [*range(0, days - SAITS_DAYS, SAITS_DAYS // 2), days - SAITS_DAYS]
                parts = np.stack([((features - mean) / deviation)[start : start + SAITS_DAYS] for start in starts])
                filled = np.asarray(network.impute({"X": parts}))[:, :, 0] * deviation[0] + mean[0]
                total, count = np.zeros((2, days))
                for start, window in zip(starts, filled, strict=True):
                    total[start : start + SAITS_DAYS] += window
                    count[start : start + SAITS_DAYS] += 1
                flow[:, index] = np.square(np.maximum(total / count, 0))
            return with_predictions(chosen, flow)

        return predict

    def _features(
        self, dataset: xr.Dataset, rivers: np.ndarray, ridge: donor_regression.DonorRidge
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """For each river: root flow of the river and of its best-correlated gauges, and weather (T, F)."""
        values, position = ridge.transformed(dataset)
        weather = [dataset[name].transpose("time", "catchment").values for name in WEATHER]
        for river in rivers:
            index = int(np.flatnonzero(ridge.catchments == river)[0])
            donors = ridge.ranked[index][ridge.ranked[index] >= 0][:SAITS_DONORS]
            columns = [values[:, index], *values[:, donors].T, *(one[:, position[index]] for one in weather)]
            yield river, np.stack(columns, axis=1).astype(np.float32)


def draw_rivers(record: xr.Dataset, held_out: np.ndarray, count: int) -> np.ndarray:
    """Scored rivers by the seed 0: catchments that are not held out, with flow on nearly all training and test days."""
    trained = record.isel(catchment=np.flatnonzero(~record["catchment"].isin(held_out).values))
    parts = protocol.training_record(trained), trained.sel(time=slice(*protocol.PERIODS["test"]))
    full = np.logical_and(*(part["riverflow"].notnull().mean("time").values >= FULL_SHARE for part in parts))
    names = trained["catchment"].values[full]
    return names[np.sort(np.random.default_rng(0).permutation(len(names))[:count])]


@dataclass(frozen=True)
class Scored:
    """Scores of a peer on one row of the table.

    Attributes:
        nse, log_nse (array (S)): Of flow [mm/day], and of ln(flow + 0.01).
        training_seconds, answer_seconds: Processor seconds.
        river_years: River-years of flow and weather that were predicted.
    """

    nse: np.ndarray
    log_nse: np.ndarray
    training_seconds: float
    answer_seconds: float
    river_years: float


Rows = dict[str, Scored]


def score(
    peer: Peer, questions: Sequence[Question], training: xr.Dataset, rivers: np.ndarray, predicted_rivers: int
) -> Rows:
    """Fit a peer, predict the questions of one task, and score the targets of the rivers, by row of the table."""
    began = time.process_time()
    predict = peer.fit(training, rivers)
    trained = time.process_time()
    answers = [predict(question.dataset).sel(catchment=rivers) for question in questions]
    seconds = trained - began, time.process_time() - trained
    years = sum(question.dataset.sizes["time"] for question in questions) / 365.25 * predicted_rivers
    found = {}
    for name in questions[0].targets:
        parts = [
            _at_targets(question, name, answer, rivers) for question, answer in zip(questions, answers, strict=True)
        ]
        mean, truth = (
            xr.DataArray(np.concatenate(part), dims=("time", "catchment")) for part in zip(*parts, strict=True)
        )
        logs = [one.copy(data=log_flow(one.values)) for one in (mean, truth)]
        found[name] = Scored(metrics.nse(mean, truth).values, metrics.nse(*logs).values, *seconds, years)
    return found


def _at_targets(question: Question, name: str, answer: xr.Dataset, rivers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed flow of a question on the days of a row (T, S); NaN where there is no target."""
    target = question.targets[name].sel(catchment=rivers).transpose("time", "catchment")
    truth = question.truth.sel(catchment=rivers, time=target["time"]).transpose(*target.dims).values.astype(np.float64)
    is_day = answer["time"].isin(target["time"]).values
    flow = np.where(target.values, river_flow(answer)[is_day], np.nan)
    return flow, np.where(np.isfinite(flow), truth, np.nan)


def kept_or(folder: Path | None, peer: Peer, question: str, rivers: np.ndarray, score_now: Callable[[], Rows]) -> Rows:
    """The scores of a trained peer in a folder, if they are of the same rivers; else those of now, which are kept there."""
    if folder is None or peer.setting is None:
        return score_now()
    file = folder / f"{question}-{peer.name.split()[0].lower()}-{peer.setting}.json"
    names = [str(river) for river in rivers]
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["rivers"] == names:
            return {
                row: Scored(np.array(one.pop("nse")), np.array(one.pop("log_nse")), **one)
                for row, one in kept["rows"].items()
            }
    found = score_now()
    rows = {row: asdict(one) | {"nse": one.nse.tolist(), "log_nse": one.log_nse.tolist()} for row, one in found.items()}
    write_text_atomic(file, json.dumps({"rivers": names, "rows": rows}), "choose another --keep")
    return found


def paired(nse: np.ndarray, reference: np.ndarray) -> str:
    """Median difference from the reference over rivers, its 95 % bootstrap interval, and the rivers with a higher NSE."""
    difference = nse - reference
    sample = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.quantile(np.median(difference[sample], axis=1), [0.025, 0.975])
    better = int((difference > 0).sum())
    return f"{np.median(difference):+.3f} ({low:+.3f} to {high:+.3f}), {better} of {len(difference)}"


def row(question: str, peer: Peer, found: Scored, reference: Scored) -> str:
    """A line of the table."""
    cells = [f"`{question}`", peer.name]
    for values in (found.nse, found.log_nse):
        cells.append(f"{np.median(values):.3f} ({np.quantile(values, 0.1):.2f})")
    difference = "–" if found is reference else paired(found.nse, reference.nse)
    training = "–" if peer.name == "hydromae" else f"{found.training_seconds:.0f}"
    cells += [difference, training, f"{found.answer_seconds / found.river_years:.3f}", str(peer.lines)]
    return f"| {' | '.join(cells)} |"


def peers(updates: int, epochs: int) -> list[Peer]:
    """All peers."""
    neural = "neuralhydrology"
    lightgbm_code, handoff_code = (boosted_donors, donor_regression), (CudaLSTM, HandoffLSTM)
    return [
        Peer("hydromae", "hydromae", QUESTIONS, hydromae_peer),
        Peer("LightGBM on donors and weather", "lightgbm", ("gap",), lightgbm_peer, lightgbm_code),
        Peer("SAITS (PyPOTS)", "pypots", ("gap",), Saits(epochs), (Saits,), epochs),
        Peer("GR4J", "hydromae", ("simulate",), gr4j_peer, (gr4j,)),
        Peer("CudaLSTM (neuralhydrology)", neural, ("simulate",), CudaLSTM(updates), (CudaLSTM,), updates),
        Peer("handoff LSTM (neuralhydrology)", neural, ("forecast",), HandoffLSTM(updates), handoff_code, updates),
    ]


def main() -> None:
    """Score every installed peer and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with camels_gb_daily.nc and the NRFA's attributes")
    parser.add_argument("--rivers", type=int, default=20, help="scored rivers")
    parser.add_argument(
        "--within", nargs=2, type=int, help="first and last NRFA number of a smaller record; default all"
    )
    parser.add_argument("--peers", nargs="+", default=[], help="packages; all where none is named")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    parser.add_argument("--updates", type=int, default=500, help="updates of neuralhydrology's network")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of PyPOTS' network")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where scores of other methods are kept")
    options, console = parser.parse_args(), Console(soft_wrap=True)
    days = (FIRST_DAY, protocol.PERIODS["test"][1])
    sources = options.data / "camels_gb_daily.nc", options.data / "Catchment_attributes_nrfa.csv"
    record = reader.open_record(*sources, days)
    held_out = protocol.held_out(record["catchment"].values)
    if options.within is not None:
        first, last = options.within
        numbers = record["catchment"].values.astype(int)
        record = record.isel(catchment=np.flatnonzero((numbers >= first) & (numbers <= last)))
    record = record.load()
    rivers = draw_rivers(record, held_out, options.rivers)
    run(record, rivers, peers(options.updates, options.epochs), options, console)


def run(
    record: xr.Dataset, rivers: np.ndarray, every_peer: Sequence[Peer], options: argparse.Namespace, console: Console
) -> None:
    """Score the peers that are named, or all, and print the table as Markdown; a peer that is not installed is named."""
    training = protocol.training_record(record)
    console.print(f"{len(rivers)} rivers: {', '.join(map(str, rivers))}", markup=False, soft_wrap=True)
    heads = ["task", "method", "NSE", "NSE of log flow", "NSE minus that of hydromae (95 % interval), rivers better"]
    heads += ["seconds to train", "seconds a river-year", "lines"]
    console.print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", markup=False)
    for name in options.questions:
        questions = list(protocol.questions(record, protocol.PERIODS["test"], (name,), ISSUE_INTERVAL))
        reference: Rows = {}
        for peer in every_peer:
            chosen = peer.name == "hydromae" or not options.peers or peer.package in options.peers
            if name not in peer.questions or not chosen:
                continue
            if find_spec(peer.package) is None:
                console.print(f"| `{name}` | {peer.name} | {peer.package} is not installed |", markup=False)
                continue
            predicted = record.sizes["catchment"] if peer.name == "hydromae" else len(rivers)
            found = kept_or(
                options.keep, peer, name, rivers, partial(score, peer, questions, training, rivers, predicted)
            )
            reference = reference or found
            for row_name, scored in found.items():
                console.print(row(row_name, peer, scored, reference[row_name]), markup=False)


if __name__ == "__main__":
    main()
