"""The LSTM baselines: their inputs, and their training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from hydromae.batching.windows import ALWAYS_KNOWN_ATTRIBUTES
from hydromae.errors import InputError
from hydromae.evaluate.lstm import SCORED_LEVELS, LSTMConfig, LSTMEnsemble, LSTMNetwork, RegionalLSTM, drop_attributes
from hydromae.evaluate.lstm_forecast import ErrorCorrectedLSTM, LSTMByLead
from hydromae.inference.scenarios import forecast_input
from hydromae.variables import ATTRIBUTES

DAYS, RIVERS = 500, 6
RECIPE = LSTMConfig(hidden_size=12, dropout=0.0, sequence_length=120, warm_up=30, batch_size=8, steps=120, lr=1e-2)


def record() -> xr.Dataset:
    """Rivers that are a linear reservoir of their rain, each with a memory of its own, which one trait tells."""
    draw = np.random.default_rng(0)
    rain = np.where(draw.random((DAYS, RIVERS)) < 0.4, draw.gamma(1.0, 6.0, (DAYS, RIVERS)), 0.0)
    memory, flow = np.linspace(0.6, 0.9, RIVERS), np.zeros((DAYS, RIVERS))
    for day in range(1, DAYS):
        flow[day] = memory * flow[day - 1] + (1 - memory) * rain[day]
    dims = ("time", "catchment")
    series = {
        "precipitation": rain,
        "temperature": np.full_like(rain, 10.0),
        "potential_evaporation": np.full_like(rain, 1.0),
        "riverflow": flow,
    }
    traits = {a.name: ("catchment", memory + draw.normal(0, 1e-3, RIVERS)) for a in ATTRIBUTES}
    coords = {"time": pd.date_range("2000-01-01", periods=DAYS), "catchment": np.arange(RIVERS)}
    return xr.Dataset({n: (dims, v.astype(np.float32)) for n, v in series.items()} | traits, coords)


@pytest.fixture(scope="module")
def trained() -> RegionalLSTM:
    return RegionalLSTM.fit(record().isel(time=slice(0, 400)), RECIPE)


def hidden(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(riverflow=xr.full_like(dataset["riverflow"], np.nan))


def test_the_lstm_learns_a_linear_reservoir(trained: RegionalLSTM) -> None:
    truth = record().isel(time=slice(300, None))
    answer = trained.predict(hidden(truth))["riverflow"].isel(time=slice(100, None))
    flow = truth["riverflow"].isel(time=slice(100, None))
    nse = 1 - ((answer - flow) ** 2).sum("time") / ((flow - flow.mean("time")) ** 2).sum("time")
    assert float(nse.median()) > 0.8


def test_catchments_without_flow_change_nothing_and_flow_is_needed() -> None:
    few, losses = replace(RECIPE, steps=2), []
    gauged = record().isel(time=slice(0, 200), catchment=slice(0, 4))
    scaled = record().isel(time=slice(0, 200))
    ungauged = scaled.assign(riverflow=scaled["riverflow"].where(scaled["catchment"] < 4))
    lstm = RegionalLSTM.fit(ungauged, few, progress=lambda _, loss: losses.append(loss))
    assert np.isfinite(losses).all()
    torch.manual_seed(few.seed)
    alone = RegionalLSTM(LSTMNetwork(few), few, lstm.scaling)
    alone._train(gauged, lambda step, loss: None)
    for one, other in zip(lstm.network.parameters(), alone.network.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="no riverflow was observed in it"):
        RegionalLSTM.fit(scaled.assign(riverflow=scaled["riverflow"].where(False)), few)


def test_an_attribute_that_a_record_lacks_is_unknown() -> None:
    few, whole = replace(RECIPE, steps=2), record().isel(time=slice(0, 200))
    lacking, unknown = whole.drop_vars("dpsbar"), whole.assign(dpsbar=whole["dpsbar"] * np.nan)
    lstm = RegionalLSTM.fit(whole, few)
    answers = [lstm.predict(hidden(part))["riverflow"].values for part in (lacking, unknown, whole)]
    assert np.array_equal(answers[0], answers[1]) and not np.array_equal(answers[0], answers[2])
    taught_without = RegionalLSTM.fit(lacking, few)
    answers = [taught_without.predict(hidden(part))["riverflow"].values for part in (lacking, whole)]
    assert np.array_equal(answers[0], answers[1]), "what was unknown in training stays unknown"


def test_observed_values_do_not_change_and_quantiles_are_ordered(trained: RegionalLSTM) -> None:
    asked = record().isel(time=slice(300, 400))
    asked["riverflow"][50:60, 2] = np.nan
    answer = trained.predict(asked)
    seen = np.isfinite(asked["riverflow"].values)
    assert np.array_equal(answer["riverflow"].values[seen], asked["riverflow"].values[seen])
    assert np.isfinite(answer["riverflow"].values).all()
    quantile = answer["riverflow_quantile"].transpose("quantile", "time", "catchment").values
    assert quantile.shape == (len(SCORED_LEVELS), 100, RIVERS) and (np.diff(quantile, axis=0) >= 0).all()
    assert (np.diff(quantile[:, ~seen], axis=0) > 0).any()


def test_a_simulation_uses_no_flow_and_no_later_day(trained: RegionalLSTM) -> None:
    asked = record().isel(time=slice(0, 100))
    plain = trained.predict(hidden(asked))["riverflow"].values
    other = hidden(asked)
    other["precipitation"][60:] += 5.0
    changed = trained.predict(other)["riverflow"].values
    assert np.array_equal(plain[:60], changed[:60]) and not np.array_equal(plain[60:], changed[60:])
    gap = asked.copy(deep=True)
    gap["riverflow"][40:50] = np.nan
    assert np.array_equal(trained.predict(gap)["riverflow"].values[40:50], plain[40:50])


@pytest.mark.parametrize(("flow_lag", "weather_lag"), [(3, 0), (3, 3)])
def test_a_lagged_network_uses_nothing_newer_than_its_lags(flow_lag: int, weather_lag: int) -> None:
    recipe = replace(RECIPE, flow_lag=flow_lag, weather_lag=weather_lag, steps=2)
    lagged = RegionalLSTM.fit(record(), recipe)
    asked = record().isel(time=slice(0, 80))
    asked["riverflow"][70] = np.nan

    def on_day_70(name: str, day: int) -> bool:
        other = asked.copy(deep=True)
        other[name][day] += 3.0
        return np.array_equal(
            lagged.predict(asked)["riverflow"].values[70], lagged.predict(other)["riverflow"].values[70]
        )

    assert [on_day_70("riverflow", 70 - age) for age in (1, 2, 3, 4)] == [True, True, False, False]
    assert [on_day_70("precipitation", 70 - age) for age in (0, 2, 3)] == [weather_lag > 0, weather_lag > 2, False]


def test_days_are_predicted_by_the_network_of_the_shortest_lead() -> None:
    leads = {lag: RegionalLSTM.fit(record(), replace(RECIPE, flow_lag=lag, steps=1, seed=lag)) for lag in (1, 3)}
    asked = forecast_input(record(), pd.Timestamp("2000-12-31"), 5, context_days=50)
    both = LSTMByLead(leads).predict(asked)["riverflow"].values
    for day, lag in ((-5, 1), (-4, 3), (-3, 3), (-2, 3), (-1, 3)):
        assert np.array_equal(both[day], leads[lag].predict(asked)["riverflow"].values[day])


def test_the_error_correction_decays(trained: RegionalLSTM) -> None:
    wrong = record()
    wrong["riverflow"] = wrong["riverflow"] * 1.5 + 0.2
    corrected = ErrorCorrectedLSTM.fit(trained, wrong)
    assert (corrected.decay > 0.3).all() and (corrected.decay < 1).all()
    asked = forecast_input(wrong, pd.Timestamp("2000-12-31"), 60, context_days=200)
    root, plain = (np.sqrt(m.predict(d)["riverflow"].values) for m, d in ((corrected, asked), (trained, hidden(asked))))
    error = np.sqrt(asked["riverflow"].values[-61]) - plain[-61]
    for day in (-60, -58, -50):
        assert root[day] - plain[day] == pytest.approx(error * corrected.decay ** (day + 61), abs=2e-3)
    nothing = hidden(asked)
    assert np.allclose(corrected.predict(nothing)["riverflow"], np.square(plain), atol=1e-4)


def test_an_ensemble_is_the_mean_of_its_members(trained: RegionalLSTM) -> None:
    other = RegionalLSTM.fit(record(), replace(RECIPE, seed=1, steps=3))
    asked = hidden(record().isel(time=slice(0, 60)))
    one, two, both = (
        m.predict(asked)["riverflow_quantile"].values for m in (trained, other, LSTMEnsemble([trained, other]))
    )
    assert np.allclose((one + two) / 2, both, atol=1e-5)


def test_a_loaded_network_predicts_the_same(trained: RegionalLSTM, tmp_path) -> None:
    trained.save(tmp_path / "lstm")
    asked = hidden(record().isel(time=slice(0, 60)))
    assert trained.predict(asked).identical(RegionalLSTM.load(tmp_path / "lstm").predict(asked))


def test_attribute_dropout_is_that_of_the_model() -> None:
    """A share of the sequences keeps position and area alone; flags tell; without dropout nothing is drawn."""
    count = 4000
    traits = np.concatenate([np.full((count, len(ATTRIBUTES)), 3.0), np.ones((count, len(ATTRIBUTES)))], axis=1)
    left = drop_attributes(traits, 0.2, np.random.default_rng(0))
    values, flags = np.split(left, 2, axis=1)
    assert np.array_equal(values, 3.0 * flags)
    always = np.array([a.name in ALWAYS_KNOWN_ATTRIBUTES for a in ATTRIBUTES])
    assert flags[:, always].all()
    bare = ~flags[:, ~always].any(axis=1)
    assert abs(bare.mean() - 0.2) < 0.03 and abs(flags[~bare][:, ~always].mean() - 0.9) < 0.01
    generator = np.random.default_rng(0)
    assert drop_attributes(traits, 0.0, generator) is traits and generator.random() == np.random.default_rng(0).random()
    plain, dropping = (
        RegionalLSTM.fit(record(), replace(RECIPE, steps=2, attribute_dropout=share)) for share in (0.0, 0.9)
    )
    asked = hidden(record().isel(time=slice(0, 60)))
    assert not plain.predict(asked).identical(dropping.predict(asked))
