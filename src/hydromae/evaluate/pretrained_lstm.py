"""The LSTM baselines by name: how each is trained, from what, and which question it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from hydromae.evaluate.lstm import WEIGHTS, Ensemble, Recipe, RegionalLSTM
from hydromae.evaluate.lstm_forecast import ByLead, ErrorCorrected
from hydromae.inference.scenarios import Method

SHIPPED = Path(__file__).parents[1] / "assets" / "networks"
"""Networks that come with the package, trained by benchmarks/skill.py."""
TRAINED_AS = "gb-rivers"
"""The shipped model whose days and rivers they were trained on."""
SIMULATED = Recipe(steps=5000)
LAGGED = Recipe(steps=2200, days=365, warm_up=60)
MEMBERS = 5
BARE = "lstm-bare"
"""The one that learnt to do without traits, as often as the model; it answers where a river is barely known."""
RECIPES = (
    {f"lstm-{seed}": replace(SIMULATED, seed=seed) for seed in range(MEMBERS)}
    | {BARE: replace(SIMULATED, trait_dropout=RIVERS.data.trait_dropout)}
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


def lies_in(folder: Path, name: str) -> bool:
    """Whether a trained network lies in a folder of them."""
    return (folder / name / WEIGHTS).is_file()


def methods_of(record: xr.Dataset, folder: Path, questions: Sequence[str] = protocol.NAMES) -> dict[str, list[Method]]:
    """Methods of each of these questions, from the networks that lie in a folder.

    Simulators answer alone (seed 0) and as an ensemble; for forecasts the last error of the one of seed 0 is carried on, with
    a decay that is fitted on training days of the record, where it has any.
    """
    there = {name: RegionalLSTM.load(folder / name, name) for name in RECIPES if lies_in(folder, name)}
    members = [there[name] for name in there if name.removeprefix("lstm-").isdigit()]
    found: dict[str, list[Method]] = {name: [] for name in protocol.NAMES}
    past = learnt_from(record).sel(time=slice(*CORRECTION_DAYS))
    correctable = "forecast" in questions and past.sizes["time"] > 0
    if members:
        together = [Ensemble(members)] if len(members) > 1 else []
        for question in ("ungauged", "ungauged-bare", "simulate"):
            found[question] += [replace(members[0], name="lstm"), *together]
        if correctable:
            found["forecast"].append(ErrorCorrected.fit(members[0], past))
    if BARE in there:
        found["ungauged-bare"] = [there[BARE]]
    for question, kind in (("forecast", "ahead"), ("forecast-blind", "blind")):
        leads = {lead: there[f"lstm-{kind}-{lead}"] for lead in protocol.LEADS if f"lstm-{kind}-{lead}" in there}
        if leads:
            found[question].append(ByLead(leads, f"lstm-{kind}"))
    return {name: found[name] for name in questions}
