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
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import xarray as xr
from rich.console import Console

from hydromae.cli.scores import QuestionName, events_table, scores_table
from hydromae.data.store import load_store
from hydromae.evaluate import protocol
from hydromae.evaluate.lstm import WEIGHTS, Ensemble, Recipe, RegionalLSTM
from hydromae.evaluate.lstm_ahead import ByLead, ErrorCorrected
from hydromae.evaluate.run import ByModel, run_protocol
from hydromae.evaluate.score import summary
from hydromae.predict import load
from hydromae.questions import Method

QUESTIONS = get_args(QuestionName)
SIMULATED = Recipe(steps=5000)
"""Meant to take about 55 minutes on one thread, as in the protocol; not measured yet."""
LAGGED = Recipe(steps=2200, days=365, warm_up=60)
"""Meant to take about 24 minutes on one thread, as in the protocol; not measured yet."""
MEMBERS = 5
RECIPES = (
    {f"lstm-{seed}": replace(SIMULATED, seed=seed) for seed in range(MEMBERS)}
    | {f"lstm-ahead-{lead}": replace(LAGGED, flow_lag=lead) for lead in protocol.LEADS}
    | {f"lstm-blind-{lead}": replace(LAGGED, flow_lag=lead, weather_lag=lead) for lead in protocol.LEADS}
)
CORRECTION_DAYS = ("2001-01-01", protocol.TRAINING_END)
"""Training days over which the decay of the simulation's errors is fitted."""


def learnt_from(record: xr.Dataset) -> xr.Dataset:
    """Days and rivers that a network may see."""
    names = record["catchment"].values
    kept = np.flatnonzero(~np.isin(names, protocol.held_out(names)))
    return protocol.training_record(record).isel(catchment=kept)


def train(record: xr.Dataset, folder: Path, names: Sequence[str], steps: int | None, console: Console) -> None:
    """Train the named networks that the folder lacks."""
    for name in names:
        if (folder / name / WEIGHTS).is_file():
            console.print(f"{name}: lies there", markup=False)
            continue
        recipe = RECIPES[name] if steps is None else replace(RECIPES[name], steps=steps)
        losses: list[float] = []
        began, work = time.perf_counter(), time.process_time()
        fitted = RegionalLSTM.fit(learnt_from(record), recipe, name, lambda _, loss, seen=losses: seen.append(loss))
        fitted.save(folder / name)
        took = f"{(time.perf_counter() - began) / 60:.1f} min, {(time.process_time() - work) / 60:.1f} of the processor"
        console.print(f"{name}: {recipe.steps} steps, {took}, loss {np.mean(losses[-200:]):.4f}", markup=False)


def trained(record: xr.Dataset, folder: Path) -> dict[str, list[Method]]:
    """Methods of each question, from the networks that lie in the folder."""
    there = {name: RegionalLSTM.load(folder / name, name) for name in RECIPES if (folder / name / WEIGHTS).is_file()}
    members = [there[name] for name in there if name.removeprefix("lstm-").isdigit()]
    found: dict[str, list[Method]] = {name: [] for name in QUESTIONS}
    if members:
        together = [Ensemble(members)] if len(members) > 1 else []
        for question in ("ungauged", "ungauged-bare", "simulate"):
            found[question] += [replace(members[0], name="lstm"), *together]
        past = learnt_from(record).sel(time=slice(*CORRECTION_DAYS))
        for simulator in (members[0], *together):
            name = "lstm-corrected" + "-ensemble" * (simulator is not members[0])
            found["forecast"].append(ErrorCorrected.fit(simulator, past, name))
    for question, kind in (("forecast", "ahead"), ("forecast-blind", "blind")):
        leads = {lead: there[f"lstm-{kind}-{lead}"] for lead in protocol.LEADS if f"lstm-{kind}-{lead}" in there}
        if leads:
            found[question].append(ByLead(leads, f"lstm-{kind}"))
    return found


def score(record: xr.Dataset, options: argparse.Namespace, console: Console) -> None:
    """Score models, networks and donors; write the evaluation, print the medians."""
    more = trained(record, options.folder)
    for name in options.model:
        model = ByModel(load(name), Path(name).name)
        more = {question: [model, *more[question]] for question in QUESTIONS}
    period = protocol.PERIODS[options.period]
    said = {"command": f"benchmarks/skill.py score --period {options.period} --every {options.every}"}
    questions = options.questions or QUESTIONS
    found = run_protocol(None, record, period, questions, options.every, options.donors, said, more)
    out = options.folder / f"scores-{options.period}"
    found.save(out)
    medians = summary(found)
    console.print(scores_table(medians))
    console.print(events_table(medians))
    console.print(f"{out}: scores of every catchment", markup=False)


def main() -> None:
    """Train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("names", nargs="*", help=f"networks to train, all where none is named: {', '.join(RECIPES)}")
    parser.add_argument("--store", type=Path, required=True, help="a store of catchments")
    parser.add_argument("--folder", type=Path, required=True, help="where networks and scores lie")
    parser.add_argument("--steps", type=int, help="updates of each network, instead of its recipe's")
    parser.add_argument(
        "--model", action="append", default=[], help="a shipped name, a run, a folder; may be given again"
    )
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="choose")
    parser.add_argument("--every", type=int, default=30, help="days between two issues of a forecast")
    parser.add_argument("--questions", action="append", choices=QUESTIONS, help="all where none is named")
    parser.add_argument("--donors", action="store_true", help="score the donor methods, too")
    options = parser.parse_intermixed_args()
    unknown = sorted(set(options.names) - set(RECIPES))
    if unknown:
        parser.error(f"{unknown[0]}: is no network; choose among {', '.join(RECIPES)}")
    record, console = load_store(options.store), Console()
    if options.what == "train":
        train(record, options.folder, options.names or list(RECIPES), options.steps, console)
    else:
        score(record, options, console)


if __name__ == "__main__":
    main()
