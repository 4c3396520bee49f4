"""Skill: trains the LSTM baselines, and scores models, LSTMs and donors on the protocol's questions, the same for all.

    python benchmarks/skill.py train --store rivers.zarr --folder skill lstm-0 lstm-ahead-1
    python benchmarks/skill.py score --store rivers.zarr --folder skill --model gb-rivers --model RUN

A network that lies in the folder is not trained again. The 60 held-out rivers are in no training sample of any network.
Scores of the years that choose (2011-01 to 2012-09) guide; those of the report are read when a design is fixed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from hydromae.cli.scores import events_table, scores_table
from hydromae.evaluate import pretrained_lstm, protocol
from hydromae.evaluate.benchmark import run_protocol, scored_method
from hydromae.evaluate.lstm import RegionalLSTM
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import load
from hydromae.inference.scenarios import Method
from hydromae.store.zarr_store import load_store


@dataclass(frozen=True)
class Shuffled:
    """A method whose answers are handed in for other rivers, each for another one: what is left of its score is no skill.

    A score that stays up where answers are shuffled would be a leak of the truth into the scoring.
    """

    method: Method

    @property
    def name(self) -> str:
        """The method's own, with what was done to it."""
        return f"{self.method.name}-shuffled"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Answers to every NaN, of the river before in an order drawn with the seed 0."""
        answer = self.method.predict(dataset)
        order = np.random.default_rng(0).permutation(dataset.sizes["catchment"])
        places = np.empty_like(order)
        places[order] = np.roll(order, 1)
        return answer.isel(catchment=places).assign_coords(catchment=dataset["catchment"])


def train(record: xr.Dataset, folder: Path, names: Sequence[str], steps: int | None, console: Console) -> None:
    """Train the named networks that the folder lacks."""
    for name in names:
        if pretrained_lstm.has_network(folder, name):
            console.print(f"{name}: lies there", markup=False)
            continue
        recipe = (
            pretrained_lstm.LSTM_CONFIGS[name]
            if steps is None
            else replace(pretrained_lstm.LSTM_CONFIGS[name], steps=steps)
        )
        losses: list[float] = []
        began, work = time.perf_counter(), time.process_time()
        fitted = RegionalLSTM.fit(
            pretrained_lstm.training_subset(record), recipe, name, lambda _, loss, seen=losses: seen.append(loss)
        )
        fitted.save(folder / name)
        took = f"{(time.perf_counter() - began) / 60:.1f} min, {(time.process_time() - work) / 60:.1f} of the processor"
        console.print(f"{name}: {recipe.steps} steps, {took}, loss {np.mean(losses[-200:]):.4f}", markup=False)


def names_of(models: Sequence[str]) -> list[str]:
    """The last part of the path of each model, or all of it where several have the same."""
    last = [Path(model).name for model in models]
    return [short if last.count(short) == 1 else model for short, model in zip(last, models, strict=True)]


def score(record: xr.Dataset, options: argparse.Namespace, console: Console) -> None:
    """Score models, networks and donors; write the evaluation, print the medians."""
    more = pretrained_lstm.load_methods(record, options.folder)
    for path, name in zip(options.model, names_of(options.model), strict=True):
        model: Method = scored_method(load(path), name)
        models = [model, Shuffled(model)] if options.shuffled else [model]
        more = {question: [*models, *more[question]] for question in protocol.QUESTION_NAMES}
    period = protocol.PERIODS[options.period]
    said = {"command": f"benchmarks/skill.py score --period {options.period} --issue-interval {options.issue_interval}"}
    questions = options.questions or protocol.QUESTION_NAMES
    found = run_protocol(None, record, period, questions, options.issue_interval, options.donors, said, more)
    out = options.folder / f"scores-{options.period}"
    found.save(out)
    medians = summarise(found.scores)
    console.print(scores_table(medians))
    console.print(events_table(medians))
    console.print(f"{out}: scores of every catchment", markup=False)


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument(
        "names",
        nargs="*",
        help=f"networks to train, all where none is named: {', '.join(pretrained_lstm.LSTM_CONFIGS)}",
    )
    parser.add_argument("--store", type=Path, required=True, help="a store of catchments")
    parser.add_argument("--folder", type=Path, required=True, help="where networks and scores lie")
    parser.add_argument("--steps", type=int, help="updates of each network, instead of its recipe's")
    parser.add_argument(
        "--model", action="append", default=[], help="a shipped name, a run, a folder; may be given again"
    )
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    parser.add_argument("--issue-interval", type=int, default=30, help="days between two issues of a forecast")
    parser.add_argument("--questions", action="append", choices=protocol.QUESTION_NAMES, help="all where none is named")
    parser.add_argument("--shuffled", action="store_true", help="score the models' answers for the wrong rivers, too")
    parser.add_argument("--donors", action="store_true", help="score the donor methods, too")
    options = parser.parse_intermixed_args()
    unknown = sorted(set(options.names) - set(pretrained_lstm.LSTM_CONFIGS))
    if unknown:
        parser.error(f"{unknown[0]}: is no network; choose among {', '.join(pretrained_lstm.LSTM_CONFIGS)}")
    record, console = load_store(options.store), Console()
    if options.what == "train":
        train(record, options.folder, options.names or list(pretrained_lstm.LSTM_CONFIGS), options.steps, console)
    else:
        score(record, options, console)


if __name__ == "__main__":
    main()
