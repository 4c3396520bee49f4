"""Physical probes of simulators whose responses are known by hand, their summary, and the files of an evaluation."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console, RenderableType

from hydromae.cli.probes import echo_probes
from hydromae.errors import InputError
from hydromae.evaluate import probe_table, probes
from hydromae.evaluate.baselines import Climatology
from hydromae.evaluate.changed_weather import delay_weather, scale_weather, stop_rain, warm_weather
from hydromae.evaluate.probe_table import PROBES, bounds_text, probe_record, run_probes, summarise_probes
from hydromae.evaluate.score import Evaluation

NAN = float("nan")
DIMS = ("time", "catchment")
PERIOD = ("2011-01-01", "2011-12-31")


def weather(rivers: int = 2, days: int = probes.PROBE_DAYS, **constant: float) -> xr.Dataset:
    """Random rain, 10 °C and 1 mm/day of potential evaporation; observed flow is half of the rain."""
    rain = np.random.default_rng(0).gamma(0.5, 6.0, (days, rivers))
    values = {"precipitation": rain, "temperature": 10.0, "potential_evaporation": 1.0} | constant
    data = {name: (DIMS, np.broadcast_to(value, rain.shape).copy()) for name, value in values.items()}
    times = pd.date_range("2010-01-01", periods=days)
    coords = {"time": times, "catchment": np.arange(rivers) + 1}
    return xr.Dataset(data | {"riverflow": (DIMS, 0.5 * rain)}, coords=coords)


def simulator(flow: Callable[[xr.Dataset], np.ndarray]) -> probes.Simulator:
    return lambda record: record.assign(riverflow=(DIMS, flow(record)))


def rain_of(record: xr.Dataset) -> np.ndarray:
    return record["precipitation"].values


half = simulator(lambda record: 0.5 * rain_of(record))
"""Half of the rain of the day: no storage, no season, no evaporation."""


def recession(record: xr.Dataset, rate: float = 0.9) -> np.ndarray:
    """Flow of a linear reservoir, a tenth of its storage each day."""
    stored, flow = np.zeros(record.sizes["catchment"]), []
    for rain in rain_of(record):
        stored = stored * rate + rain
        flow.append((1 - rate) * stored)
    return np.stack(flow)


def test_half_of_the_rain_has_a_response_in_proportion() -> None:
    record = weather()
    for measure, factor in ((probes.more_rain, 1.2), (probes.less_rain, 0.8)):
        table = measure(record, half)
        assert table.index.tolist() == [1, 2] and table.index.name == "catchment"
        np.testing.assert_allclose(table["flow_change"], factor - 1)
        np.testing.assert_allclose(table["elasticity"], 1.0)
        np.testing.assert_allclose(table["flow_per_rain"], 0.5)
        np.testing.assert_array_equal(table["opposite_days"], 0.0)
    balance = probes.mass_balance(record, half)
    np.testing.assert_allclose(balance["runoff_ratio"], 0.5)
    rain = rain_of(record)[probes.WARM_UP_DAYS :].mean(axis=0)
    np.testing.assert_allclose(balance["loss_ratio"], 0.5 * rain)


def test_the_square_of_rain_has_an_elasticity_of_two() -> None:
    square = simulator(lambda record: rain_of(record) ** 2)
    np.testing.assert_allclose(probes.more_rain(weather(), square)["elasticity"], 2.0)
    np.testing.assert_allclose(probes.less_rain(weather(), square)["elasticity"], 2.0)


def test_days_that_respond_against_rain_are_counted() -> None:
    odd = simulator(lambda record: np.where(np.arange(730)[:, None] % 4 == 0, 100 - rain_of(record), rain_of(record)))
    record = weather(precipitation=10.0)
    days = (np.arange(730)[probes.WARM_UP_DAYS :] % 4 == 0).mean()
    for measure in (probes.more_rain, probes.less_rain):
        np.testing.assert_allclose(measure(record, odd)["opposite_days"], days)


def test_the_budyko_curve_has_its_own_response_to_evaporation() -> None:
    def flow(record: xr.Dataset) -> np.ndarray:
        return probes.budyko_flow(rain_of(record), record["potential_evaporation"].values)

    record = weather(precipitation=3.0, potential_evaporation=4.0)
    np.testing.assert_allclose(probes.budyko_flow(np.array([3.0]), np.array([4.0])), 3 - 12 / 5)
    np.testing.assert_allclose(probes.more_evaporation(record, simulator(flow))["share_of_budyko"], 1.0)
    change = (3 - 3 * 4.8 / np.hypot(3, 4.8)) / 0.6 - 1
    np.testing.assert_allclose(probes.more_evaporation(record, simulator(flow))["flow_change"], change)
    np.testing.assert_allclose(probes.warmer_and_drier(record, simulator(flow))["share_of_budyko"], 1.0)
    np.testing.assert_allclose(probes.warmer(record, simulator(flow))["flow_change"], 0.0)


def test_temperature_that_replaces_evaporation_is_measured() -> None:
    cold = simulator(lambda record: rain_of(record) * (1 - 0.02 * record["temperature"].values))
    np.testing.assert_allclose(probes.warmer(weather(), cold)["flow_change"], 0.72 / 0.8 - 1)


def test_a_reservoir_drains_without_rain() -> None:
    table = probes.dry_spell(weather(), simulator(recession))
    np.testing.assert_allclose(table["rise"], 0.0, atol=1e-12)
    assert (table["remaining"] < 1e-6).all() and (table["remaining_to_q95"] < 1).all()
    assert (table["end_to_lowest"] < 1).all() and (table["lowest"] > 0).all() and (table["earlier_days"] == 0).all()


def test_a_rise_without_rain_is_that_above_the_lowest_day_before_it() -> None:
    def seasonal(record: xr.Dataset) -> np.ndarray:
        flow = np.full((730, 2), 1.0)
        flow[400] = flow[401:500, 0] = 0.49
        flow[500:, 0] = 0.74
        return flow

    table = probes.dry_spell(weather(), simulator(seasonal))
    np.testing.assert_allclose(table["rise"], [0.5, 1.01 / 0.5 - 1])
    np.testing.assert_allclose(table["remaining"].iloc[1], 1 / ((639 + 0.49) / 640))
    frosty = weather()
    frosty["temperature"][probes.SPELL_START - 3, 1] = -1.0
    table = probes.dry_spell(frosty, simulator(seasonal))
    assert table["rise"].isna().tolist() == [False, True], "snow may melt in the spell of the second river"


def test_a_simulator_that_reads_the_future_changes_before_the_spell() -> None:
    future = simulator(lambda record: np.roll(rain_of(record), -20, axis=0) + 1)
    counts = rain_of(weather())[probes.SPELL_START : probes.SPELL_START + 20]
    expected = (counts > 0.01 * (counts + 1)).sum(axis=0) / (probes.SPELL_START - probes.WARM_UP_DAYS)
    table = probes.dry_spell(weather(), future)
    np.testing.assert_allclose(table["earlier_days"], expected, atol=0.02)
    assert (table["earlier_days"] > 0.05).all()


def test_delayed_weather_delays_flow() -> None:
    table = probes.delayed(weather(), simulator(recession))
    np.testing.assert_array_equal(table["lag"], 7.0)
    np.testing.assert_allclose(table["nse"], 1.0, atol=1e-4)
    calendar = simulator(lambda record: np.sin(np.arange(730.0) / 58)[:, None] + 2 + 0 * rain_of(record))
    fixed = probes.delayed(weather(), calendar)
    assert (fixed["lag"] == 0).all() and (fixed["nse"] < 0.999).all()


def test_extreme_heat_finds_what_is_not_finite_or_negative() -> None:
    def flow(record: xr.Dataset) -> np.ndarray:
        values = rain_of(record) + 1
        is_hot = record["temperature"].values > 20
        values[-160:] = np.where(is_hot[-160:], np.nan, values[-160:])
        return np.where(is_hot, values - 2, values)

    table = probes.extreme_heat(weather(), simulator(flow))
    np.testing.assert_allclose(table["finite_days"], 1 - 160 / 640)
    assert (table["lowest"] < 0).all() and (table["flow_change"] < 0).all()


def test_days_without_flow_do_not_count_and_a_river_without_flow_has_no_value() -> None:
    def partly(record: xr.Dataset) -> np.ndarray:
        flow = 0.5 * rain_of(record)
        flow[:, 1] = np.nan
        flow[100:400, 0] = np.nan
        return flow

    table = run_probes({"partly": simulator(partly)}, weather())
    values = table[table["method"] == "partly"].set_index(["probe", "quantity", "catchment"])["value"]
    assert values.loc[:, :, 2].isna().all()
    np.testing.assert_allclose(values.loc["rain × 1.2", "flow_per_rain", 1], 0.5)
    summary = summarise_probes(table).set_index(["method", "probe", "quantity"])
    assert summary.loc[("partly", "rain × 1.2", "elasticity"), "rivers"] == 1


def test_changed_weather_stays_valid_and_other_variables_stay() -> None:
    record = weather(temperature=40.0)
    assert float(warm_weather(record, 15.0)["temperature"].max()) == 45.0
    dry = stop_rain(record.where(record["time"] != record["time"][500]), 300)
    assert (dry["precipitation"][300:] == 0).all() and (
        dry["precipitation"][:300] == record["precipitation"][:300]
    ).all()
    xr.testing.assert_identical(scale_weather(record, "precipitation", 1.2)["temperature"], record["temperature"])
    late = delay_weather(record, 7)["precipitation"].values
    np.testing.assert_array_equal(late[7:], rain_of(record)[:-7])
    cells = record.rename(precipitation="precipitation_series").assign(
        precipitation=(("time", "cell"), np.ones((730, 3)))
    )
    changed = stop_rain(cells, 0)
    assert float(changed["precipitation"].sum()) == float(changed["precipitation_series"].sum()) == 0.0


def test_the_summary_has_bounds_shares_and_verdicts() -> None:
    rise = [0.0] * 8 + [0.2, 0.1000000001]
    rows = {"method": "m", "probe": "no rain from day 300", "quantity": "rise", "catchment": range(10), "value": rise}
    row = summarise_probes(pd.DataFrame(rows)).iloc[0]
    assert (row["within"], row["passed"], row["high"], row["rivers"]) == (0.9, True, 0.1, 10)
    worse = summarise_probes(pd.DataFrame(rows | {"value": [*rise[1:], 0.2]})).iloc[0]
    assert (worse["within"], worse["passed"]) == (0.8, False)
    unbounded = summarise_probes(pd.DataFrame(rows | {"quantity": "remaining"})).iloc[0]
    assert unbounded["passed"] is None and np.isnan(unbounded["within"])
    nothing = summarise_probes(pd.DataFrame(rows | {"value": NAN})).iloc[0]
    assert nothing["rivers"] == 0 and nothing["passed"] is None
    texts = [bounds_text(*bounds) for bounds in ((1, 3), (-0.1, 1.1), (NAN, 2), (0, NAN), (7, 7), (NAN, NAN))]
    assert texts == ["1 to 3", "−0.1 to 1.1", "≤ 2", "≥ 0", "7", ""]


def test_every_quantity_of_every_probe_is_in_its_table_with_a_source() -> None:
    for probe in PROBES:
        columns = probe.measure(weather(), half).columns.tolist()
        assert columns == [quantity.name for quantity in probe.quantities], probe.name
        assert all(q.source or not np.isfinite([q.low, q.high]).any() for q in probe.quantities), probe.name


def test_probes_without_their_weather_are_omitted_and_the_unchanged_flow_is_computed_once() -> None:
    record = weather().drop_vars("temperature")
    asked: list[bool] = []

    def counted(changed: xr.Dataset) -> xr.Dataset:
        asked.append(changed is record)
        return half(changed)

    table = run_probes({"half": counted}, record)
    assert sum(asked) == 1
    assert {"+4 °C", "+15 °C, evaporation × 2"} & set(table["probe"]) == set()
    assert set(table.loc[table["method"] == "observed", "probe"]) == {"mass balance"}
    np.testing.assert_allclose(table.loc[table["method"] == "observed", "value"].iloc[0], 0.5)


def test_the_record_has_two_years_and_at_most_sixty_rivers(monkeypatch: pytest.MonkeyPatch) -> None:
    record = weather(5, 800)
    chosen = probe_record(record, ("2012-01-01", "2012-02-29"))
    assert chosen.sizes["time"] == 730 and str(chosen["time"].values[-1])[:10] == "2012-02-29"
    monkeypatch.setattr(probe_table, "PROBE_RIVERS", 3)
    assert probe_record(record, PERIOD)["catchment"].values.tolist() == sorted(
        1 + np.random.default_rng(0).permutation(5)[:3]
    )
    with pytest.raises(InputError, match="365 days up to 2010-12-31"):
        probe_record(record, ("2010-06-01", "2010-12-31"))
    with pytest.raises(InputError, match="no rain"):
        probe_record(record.drop_vars("precipitation"), PERIOD)


def test_methods_are_asked_without_flow_and_those_without_weather_are_not_probed() -> None:
    class Asked:
        name = "asked"

        def predict(self, dataset: xr.Dataset) -> xr.Dataset:
            assert dataset["riverflow"].isnull().all()
            return half(dataset)

    record = weather()
    climatology = Climatology.fit(record)
    simulators = probe_table.probed_methods([Asked(), climatology])
    assert list(simulators) == ["asked"]
    np.testing.assert_allclose(probes.more_rain(record, simulators["asked"])["elasticity"], 1.0)


def test_the_table_of_the_terminal_fits_80_columns_and_marks_what_fails() -> None:
    by_river = run_probes({"calendar": simulator(lambda record: rain_of(record) ** 0.5)}, weather())
    shown: list[RenderableType] = []
    rows = echo_probes(by_river, shown.append)
    screen = Console(width=80, file=io.StringIO())
    for part in shown:
        screen.print(part, markup=False, highlight=False)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "Physical probes of observed" in text and "Physical probes of calendar" in text
    assert next(line for line in text.splitlines() if "1 to 3" in line).split()[-2:] == ["0%", "!"]
    assert max(map(len, text.splitlines()[1:])) <= 80
    assert len(rows) == len(summarise_probes(by_river)) and json.dumps(rows, allow_nan=False)


def test_an_evaluation_keeps_its_probes_and_no_file_of_another(tmp_path: Path) -> None:
    by_river = run_probes({"half": half}, weather())
    empty, settings = xr.Dataset(), {"period": list(PERIOD), "questions": []}
    Evaluation(empty, empty, settings, by_river).save(tmp_path / "e")
    found = Evaluation.load(tmp_path / "e")
    assert found.probes is not None
    pd.testing.assert_frame_equal(found.probes, by_river)
    summary = pd.read_csv(tmp_path / "e" / "probes.csv")
    assert summary.columns.tolist()[:4] == ["method", "probe", "quantity", "units"] and len(summary) > 20
    (tmp_path / "e" / "probes_by_river.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="cannot be read as probes"):
        Evaluation.load(tmp_path / "e")
    Evaluation(empty, empty, found.settings).save(tmp_path / "e")
    assert Evaluation.load(tmp_path / "e").probes is None and not (tmp_path / "e" / "probes.csv").exists()
    (tmp_path / "e" / "probes.csv").write_text("mine")
    with pytest.raises(InputError, match=r"probes\.csv: was not written by"):
        Evaluation(empty, empty, settings, by_river).save(tmp_path / "e")
    Evaluation(empty, empty, settings).save(tmp_path / "e")
    assert (tmp_path / "e" / "probes.csv").read_text() == "mine"
    assert "probes" not in json.loads((tmp_path / "e" / "settings.json").read_text())
