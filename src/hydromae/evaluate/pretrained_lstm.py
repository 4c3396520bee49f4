"""The trained LSTM baselines: their configurations, training data and tasks."""

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
"""Networks in the package, trained by benchmarks/skill.py."""
TRAINING_MODEL = "gb-rivers"
"""The shipped model with the same training days and catchments."""
SIMULATION_CONFIG = LSTMConfig(steps=5000)
LAGGED_CONFIG = LSTMConfig(steps=2200, sequence_length=365, warm_up=60)
ENSEMBLE_SIZE = 5
LIMITED = "lstm-limited"
"""The network that is trained with attribute dropout, as the model is, for `ungauged-limited`."""
LSTM_CONFIGS = (
    {f"lstm-{seed}": replace(SIMULATION_CONFIG, seed=seed) for seed in range(ENSEMBLE_SIZE)}
    | {LIMITED: replace(SIMULATION_CONFIG, attribute_dropout=RIVERS.data.attribute_dropout)}
    | {f"lstm-ahead-{lead}": replace(LAGGED_CONFIG, flow_lag=lead) for lead in protocol.LEADS}
    | {f"lstm-blind-{lead}": replace(LAGGED_CONFIG, flow_lag=lead, weather_lag=lead) for lead in protocol.LEADS}
)
CORRECTION_DAYS = ("2001-01-01", protocol.TRAINING_END)
"""Training days on which `ErrorCorrectedLSTM` is fitted."""


def training_subset(record: xr.Dataset) -> xr.Dataset:
    """Training days and training catchments of a record."""
    names = record["catchment"].values
    trained_index = np.flatnonzero(~np.isin(names, protocol.held_out(names)))
    return protocol.training_record(record).isel(catchment=trained_index)


def has_network(folder: Path, name: str) -> bool:
    """True if the folder contains the trained network."""
    return (folder / name / LSTM_WEIGHTS).is_file()


def load_methods(
    record: xr.Dataset, folder: Path, questions: Sequence[str] = protocol.QUESTION_NAMES
) -> dict[str, list[Method]]:
    """Methods for each task, from the networks in a folder.

    `ungauged` and `simulate` have the simulation of seed 0 and the ensemble; `forecast` has the simulation of seed 0 with
    error correction, if the record has training days to fit it on, and the networks for each lead.
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
