"""GR4J against its published equations, and its calibration."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.evaluate import gr4j
from hydromae.evaluate.baselines import fitted_baselines
from hydromae.evaluate.gr4j import GR4J, simulate_gr4j
from synthetic import rivers

NAN = float("nan")


def weather(days: int, catchments: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    rain = generator.gamma(0.4, 8.0, (days, catchments)).astype(np.float32)
    return rain, np.abs(generator.normal(1.5, 1.0, rain.shape)).astype(np.float32)


def published(parameters: tuple[float, ...], rain: np.ndarray, evaporation: np.ndarray) -> list[float]:
    """Perrin et al. 2003, equations 1 to 22, one river and one day at a time."""
    x1, x2, x3, x4 = parameters
    rise = [min(day / x4, 1) ** 2.5 for day in range(30)]
    slow = [0.5 * (day / x4) ** 2.5 if day <= x4 else 1 - 0.5 * max(2 - day / x4, 0) ** 2.5 for day in range(30)]
    production, routing, past, flow = 0.3 * x1, 0.5 * x3, np.zeros(29), []
    for p, e in zip(rain, evaporation, strict=True):
        full, net_rain, net_evaporation = production / x1, max(p - e, 0), max(e - p, 0)
        wet, dry = np.tanh(net_rain / x1), np.tanh(net_evaporation / x1)
        stored = x1 * (1 - full**2) * wet / (1 + full * wet)
        evaporated = production * (2 - full) * dry / (1 + (1 - full) * dry)
        production += stored - evaporated
        percolation = production * (1 - (1 + (4 / 9 * production / x1) ** 4) ** -0.25)
        production -= percolation
        past = np.concatenate([[percolation + net_rain - stored], past[:-1]])
        exchange = x2 * (routing / x3) ** 3.5
        routing = max(0, routing + 0.9 * past @ np.diff(rise) + exchange)
        outflow = routing * (1 - (1 + (routing / x3) ** 4) ** -0.25)
        routing -= outflow
        flow.append(outflow + max(0, 0.1 * past @ np.diff(slow) + exchange))
    return flow


@pytest.mark.parametrize("parameters", [(350.0, -0.5, 80.0, 1.7), (900.0, 1.0, 30.0, 0.6), (100.0, -3.0, 200.0, 4.3)])
def test_simulation_follows_the_published_equations(parameters: tuple[float, ...]) -> None:
    rain, evaporation = weather(400, 1)
    days = np.concatenate([np.resize(np.arange(365), gr4j.SPIN_UP_DAYS), np.arange(400)])
    expected = published(parameters, rain[days, 0], evaporation[days, 0])[gr4j.SPIN_UP_DAYS :]
    simulated = simulate_gr4j(np.array(parameters)[:, None, None], rain, evaporation)
    np.testing.assert_allclose(simulated[:, 0, 0], expected, rtol=1e-3, atol=1e-3)


def test_rivers_and_candidates_are_independent() -> None:
    rain, evaporation = weather(100, 3)
    parameters = (
        np.exp(np.random.default_rng(0).normal(0, 0.3, (4, 3, 2))) * np.array([350, -0.5, 80, 1.7])[:, None, None]
    )
    together = simulate_gr4j(parameters, rain, evaporation)
    alone = simulate_gr4j(parameters[:, 1:2, 1:], rain[:, 1:2], evaporation[:, 1:2])
    np.testing.assert_allclose(together[:, 1:2, 1:], alone, rtol=1e-4)


def gr4j_record(days: int = 800) -> xr.Dataset:
    """Three rivers that GR4J describes exactly; the flow of the first half of the second is unknown."""
    rain, evaporation = weather(days, 3)
    parameters = np.array([[300, 900, 150], [-1, 0.5, 0], [90, 40, 200], [1.2, 2.5, 3.4]])
    flow = simulate_gr4j(parameters[:, :, None], rain, evaporation)[:, :, 0]
    flow[: days // 2, 1] = NAN
    variables = {"riverflow": flow, "precipitation": rain, "potential_evaporation": evaporation}
    coords = {"time": pd.date_range("2001-01-01", periods=days), "catchment": [1, 2, 3]}
    return xr.Dataset({name: (("time", "catchment"), values) for name, values in variables.items()}, coords)


def hidden(record: xr.Dataset) -> xr.Dataset:
    return record.assign(riverflow=xr.full_like(record["riverflow"], NAN))


def test_calibration_finds_the_flow_of_known_parameters() -> None:
    record = gr4j_record(750)
    predicted = GR4J.fit(record).predict(hidden(record))["riverflow"]
    error = ((predicted - record["riverflow"]) ** 2).mean("time") / record["riverflow"].var("time")
    assert (error < 0.01).all(), error.values


def test_rivers_without_weather_flow_or_training_are_not_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gr4j, "GENERATIONS", 1)
    record = gr4j_record()
    record["riverflow"][:500, 2] = NAN
    record["precipitation"][3, 0] = NAN
    method = GR4J.fit(record)
    assert np.isfinite(method.parameters).all(axis=0).tolist() == [False, True, False]
    method = GR4J.fit(gr4j_record().isel(catchment=[0, 1]))
    answer = method.predict(hidden(record))["riverflow"].notnull()
    assert answer.any("time").values.tolist() == [False, True, False] and answer.values[:, 1].all()
    bare = method.predict(hidden(record).drop_vars("potential_evaporation"))["riverflow"]
    assert bare.isnull().all()


def test_flow_of_the_question_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gr4j, "GENERATIONS", 1)
    record = gr4j_record()
    method = GR4J.fit(record)
    half = record.assign(riverflow=record["riverflow"].where(record["riverflow"] > 1.5) * 7)
    answers = [method.predict(question)["riverflow"] for question in (hidden(record), half)]
    assert half["riverflow"].isnull().any() and half["riverflow"].notnull().any()
    np.testing.assert_array_equal(*(answer.values[half["riverflow"].isnull().values] for answer in answers))


def test_a_record_without_evaporation_has_no_gr4j(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gr4j, "GENERATIONS", 1)
    record = rivers(3, 400)
    names = [method.name for method in fitted_baselines(record, ("simulate",))["simulate"]]
    assert names == ["day-of-year-mean", "gr4j"] and not caplog.messages
    names = [m.name for m in fitted_baselines(record.drop_vars("potential_evaporation"), ("simulate",))["simulate"]]
    assert names == ["day-of-year-mean"]
    assert caplog.messages == ["gr4j is not scored: the record has no potential_evaporation"]
