"""The LSTM baselines by name: how each is trained, from what, and which question it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.config.presets import RIVERS
from hydromae.evaluate import protocol
from hydromae.evaluate.lstm import LSTM_WEIGHTS, LSTMConfig, LSTMEnsemble, RegionalLSTM
from hydromae.evaluate.lstm_forecast import ErrorCorrectedLSTM, LSTMByLead
from hydromae.inference.scenarios import Method

NETWORKS = Path(__file__).parents[1] / "assets" / "networks"
"""Networks that come with the package, trained by benchmarks/skill.py."""
TRAINING_MODEL = "gb-rivers"
"""The shipped model whose days and rivers they were trained on."""
SIMULATION_CONFIG = LSTMConfig(steps=5000)
LAGGED_CONFIG = LSTMConfig(steps=2200, sequence_length=365, warm_up=60)
ENSEMBLE_SIZE = 5
LIMITED = "lstm-limited"
"""The one that learnt to do without traits, as often as the model; it answers where a river is barely known."""
LSTM_CONFIGS = (
    {f"lstm-{seed}": replace(SIMULATION_CONFIG, seed=seed) for seed in range(ENSEMBLE_SIZE)}
    | {LIMITED: replace(SIMULATION_CONFIG, attribute_dropout=RIVERS.data.attribute_dropout)}
    | {f"lstm-ahead-{lead}": replace(LAGGED_CONFIG, flow_lag=lead) for lead in protocol.LEADS}
    | {f"lstm-blind-{lead}": replace(LAGGED_CONFIG, flow_lag=lead, weather_lag=lead) for lead in protocol.LEADS}
)
CORRECTION_DAYS = ("2001-01-01", protocol.TRAINING_END)
"""Training days over which the decay of the simulation's errors is fitted."""


def training_subset(record: xr.Dataset) -> xr.Dataset:
    """Days and rivers that a network may see."""
    names = record["catchment"].values
    trained_index = np.flatnonzero(~np.isin(names, protocol.held_out(names)))
    return protocol.training_record(record).isel(catchment=trained_index)


def has_network(folder: Path, name: str) -> bool:
    """Whether a trained network lies in a folder of them."""
    return (folder / name / LSTM_WEIGHTS).is_file()


def load_methods(
    record: xr.Dataset, folder: Path, questions: Sequence[str] = protocol.QUESTION_NAMES
) -> dict[str, list[Method]]:
    """Methods of each of these questions, from the networks that lie in a folder.

    Simulators answer alone (seed 0) and as an ensemble; for forecasts the last error of the one of seed 0 is carried on, with
    a decay that is fitted on training days of the record, where it has any.
    """
    networks = {name: RegionalLSTM.load(folder / name, name) for name in LSTM_CONFIGS if has_network(folder, name)}
    members = [networks[name] for name in networks if name.removeprefix("lstm-").isdigit()]
    methods: dict[str, list[Method]] = {name: [] for name in protocol.QUESTION_NAMES}
    correction_record = training_subset(record).sel(time=slice(*CORRECTION_DAYS))
    can_correct = "forecast" in questions and correction_record.sizes["time"] > 0
    if members:
        ensembles = [LSTMEnsemble(members)] if len(members) > 1 else []
        for question in ("ungauged", "ungauged-limited", "simulate"):
            methods[question] += [replace(members[0], name="lstm"), *ensembles]
        if can_correct:
            methods["forecast"].append(ErrorCorrectedLSTM.fit(members[0], correction_record))
    if LIMITED in networks:
        methods["ungauged-limited"] = [networks[LIMITED]]
    for question, kind in (("forecast", "ahead"), ("forecast-blind", "blind")):
        leads = {lead: networks[f"lstm-{kind}-{lead}"] for lead in protocol.LEADS if f"lstm-{kind}-{lead}" in networks}
        if leads:
            methods[question].append(LSTMByLead(leads, f"lstm-{kind}"))
    return {name: methods[name] for name in questions}
