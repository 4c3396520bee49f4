"""Maps for a model of rivers: it starts from the answers of the shipped weights, and is exported as a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import national
from hydromae.batching.masking import nothing
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import cut_batch
from hydromae.evaluate.score import Evaluation
from hydromae.inference.predictor import load
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import load_model, write_model
from synthetic import GRID, country, rivers

DAYS = 40


def test_it_starts_from_the_answers_of_the_shipped_weights_and_is_exported(tmp_path) -> None:
    shipped = load("gb-rivers", "cpu", precision="fp32")
    config = national.config_of(shipped.config, epochs=1.0)
    assert set(config.model.modalities) > set(shipped.config.model.modalities)
    assert config.model.lstm_width == shipped.config.model.lstm_width
    record = rivers(5, DAYS)
    store = record.merge(country(5, DAYS)[["evaporation"]])
    scaling = national.joint_scaling(shipped.scaling, shipped.scaling)
    network = HydroMAE(config).set_scaling(scaling).eval()
    network.load_state_dict(national.start_weights(config, shipped, scaling))
    flows = []
    for model, settings, data in (
        (shipped.network.eval(), shipped.config, record),
        (network, config, record),
        (network, config, store),
    ):
        arrays = to_record_arrays(data, settings, scaling)
        batch = cut_batch(arrays, np.array([0]), DAYS, None, [DAYS])
        hidden = nothing(batch)
        hidden["riverflow"][:, 10:20] = True
        with torch.no_grad():
            flows.append(model(batch, hidden).mean["riverflow"])
    assert torch.equal(flows[0], flows[1]) and torch.equal(flows[0], flows[2])
    run = tmp_path / "run" / "best"
    run.mkdir(parents=True)
    write_model(run, network.state_dict(), config, scaling, None)
    national.export(run.parent, tmp_path / "exported")
    exported = load_model(tmp_path / "exported")[1]
    assert config.data.sequence_length == 60
    assert exported.data.sequence_length == shipped.config.data.sequence_length == 365
    assert exported.model == config.model


def test_flow_is_scored_with_the_weather_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = pd.date_range("2011-06-01", "2014-09-30", unit="ns")
    weather = rivers(10, len(days))
    own = {f"{name}_series": weather[name] for name in ("precipitation", "temperature")}
    record = country(10, len(days)).assign(own)
    record = record.assign_coords(time=days).assign_attrs(grid=json.dumps(vars(GRID)))
    monkeypatch.setattr(national, "load_store", lambda _: record)
    monkeypatch.setattr(national, "QUESTIONS", ("simulate",))
    found = []
    for source in ("maps", "both"):
        national.score(tmp_path, ["gb-rivers"], source, "test", 30, tmp_path / source)
        evaluation = Evaluation.load(tmp_path / source)
        assert evaluation.settings["weather"] == source
        found.append(evaluation.scores["nse"].values)
        assert np.isfinite(found[-1]).all()
    assert not np.array_equal(*found), "rain of the maps, and of the catchments"


def test_weather_is_that_of_catchments_of_maps_or_of_both() -> None:
    record = country(5, DAYS).assign(precipitation_series=rivers(5, DAYS)["precipitation"])
    record = record.assign(temperature_series=rivers(5, DAYS)["temperature"])
    assert national.with_weather(record, "both") is record
    maps = national.with_weather(record, "maps")
    assert maps["precipitation"].dims == ("time", "cell") and "precipitation_series" not in maps
    catchments = national.with_weather(record, "catchments")
    assert catchments["precipitation"].dims == ("time", "catchment")
    assert not {"cell", "evaporation", "soil_moisture"} & {*catchments.variables, *catchments.dims}
