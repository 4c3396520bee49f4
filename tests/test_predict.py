"""The one door: any length, any catchments, any NaN; what was observed comes back, what was not is answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hydromae.cli import main
from hydromae.cli.scores import Evaluate
from hydromae.errors import InputError
from hydromae.inference.predictor import DEFAULT_LEVELS, SHIPPED, Model, load
from hydromae.inference.sliding_window import overlapping_windows
from hydromae.io.conventions import with_positions
from hydromae.model.mae import HydroMAE
from hydromae.train.checkpoint import save_model
from hydromae.train.trainer import train
from hydromae.variables import ATTRIBUTES, VARIABLES
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

RIVERS = rivers(6, 120, seed=5)
OBSERVED, FILLED, FORECAST, UNGAUGED, MISSING = range(5)
SERIES = ("riverflow", "precipitation", "temperature", "potential_evaporation")


def untrained(config=SMALL, dataset=RIVERS, grid=None) -> Model:
    """A model whose weights are drawn, wide awake: no gate and no FiLM stands at the identity it starts from."""
    torch.manual_seed(1)
    fit = config.having(data={"training_period": ("2001-01-01", "2001-02-20")})
    scaling = scaling_of(dataset, fit)
    network = HydroMAE(config, 100 if grid is None else grid.patch**2).set_scaling(scaling).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model(network, config, scaling, grid, torch.device("cpu"))


MODEL = untrained()


def with_holes(dataset: xr.Dataset, share: float = 0.3, seed: int = 0) -> xr.Dataset:
    """Every series with NaN at random."""
    generator = np.random.default_rng(seed)
    names = [name for name in SERIES if name in dataset]
    return dataset.assign({n: dataset[n].where(generator.random(dataset[n].shape) >= share) for n in names})


def check(question: xr.Dataset, answer: xr.Dataset) -> None:
    """What holds of every answer."""
    assert answer["riverflow"].notnull().all()
    for name in question.data_vars:
        given_, told = question[name].values, answer[name].values
        seen = ~np.isnan(given_)
        assert told.dtype == given_.dtype
        assert np.array_equal(told[seen], given_[seen])
    flow, quantile = answer["riverflow"], answer["riverflow_quantile"]
    assert np.isfinite(quantile).all() and (quantile >= 0).all() and (flow >= 0).all()
    assert (quantile.diff("quantile") >= 0).all()
    origin = answer["riverflow_origin"]
    asked = question["riverflow"].isnull() if "riverflow" in question else xr.ones_like(flow, bool)
    assert ((origin > 0) == asked).all()
    known = quantile.where(~asked, flow)
    np.testing.assert_allclose(known, flow.broadcast_like(known).transpose(*known.dims), rtol=1e-5)
    assert set(answer.coords) - set(question.coords) == {"quantile"}


# ---------------------------------------------------------------- lengths, catchments, patterns


@pytest.mark.parametrize("days", [1, 2, 25, 40, 50, 51, 100])
def test_any_length(days):
    """Windows have 40 days: shorter, exactly one, up to a quarter more in one, two and a half."""
    question = with_holes(RIVERS.isel(time=slice(0, days)), 0.5)
    check(question, MODEL.predict(question))


def test_any_subset_in_any_order_answers_in_that_order():
    question = with_holes(RIVERS)
    whole = MODEL.predict(question)
    turned = MODEL.predict(question.isel(catchment=[4, 0, 5, 2, 1, 3]))
    assert list(turned["catchment"].values) == [1005, 1001, 1006, 1003, 1002, 1004]
    xr.testing.assert_allclose(turned.sel(catchment=whole["catchment"]), whole, rtol=1e-3, atol=1e-3)
    for few in ([3], [5, 1]):
        part = question.isel(catchment=few)
        check(part, MODEL.predict(part))


@given(
    days=st.integers(1, 90),
    few=st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.0, 0.05, 0.5, 0.97, 1.0]),
    sites=st.sampled_from([0.0, 0.5, 1.0]),
    last=st.integers(0, 20),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_any_pattern_of_nan(days, few, seed, share, sites, last):
    """Holes, whole columns, the last days: of flow and of weather."""
    generator = np.random.default_rng(seed)
    question = with_holes(RIVERS.isel(time=slice(0, days), catchment=few), share, seed)
    empty = xr.DataArray(generator.random((len(few),)) < sites, dims="catchment")
    name = SERIES[seed % 4]
    question["riverflow"] = question["riverflow"].where(~empty)
    question[name] = question[name].where(np.arange(days)[:, None] < days - last)
    check(question, MODEL.predict(question))


def test_a_record_without_nan_is_its_own_answer():
    answer = MODEL.predict(RIVERS)
    check(RIVERS, answer)
    assert (answer["riverflow_origin"] == OBSERVED).all()


def test_origin_tells_a_gap_from_a_forecast_from_an_ungauged_river():
    question = RIVERS.copy(deep=True)
    flow = question["riverflow"]
    flow[10:15, 0] = np.nan
    flow[-3:, 1] = np.nan
    flow[:4, 2] = np.nan
    flow[:, 3] = np.nan
    expected = np.zeros(flow.shape, int)
    expected[10:15, 0] = FILLED
    expected[-3:, 1] = FORECAST
    expected[:4, 2] = FILLED
    expected[:, 3] = UNGAUGED
    answer = MODEL.predict(question)
    np.testing.assert_array_equal(answer["riverflow_origin"], expected)
    assert answer["riverflow_origin"].attrs["flag_meanings"] == "observed filled forecast ungauged"
    nothing = MODEL.predict(question.assign(riverflow=flow * np.nan))
    assert (nothing["riverflow_origin"] == UNGAUGED).all()
    check(question.assign(riverflow=flow * np.nan), nothing)


def with_gaps() -> xr.Dataset:
    """Gaps of flow of 10 and 11 days, at the ends of 10 and 11 days, a river without flow, and a gap of rain of 11 days."""
    question = RIVERS.copy(deep=True)
    flow = question["riverflow"]
    flow[20:30, 0], flow[50:61, 0] = np.nan, np.nan
    flow[:10, 1], flow[-10:, 1] = np.nan, np.nan
    flow[:11, 2], flow[-11:, 2] = np.nan, np.nan
    flow[:, 3] = np.nan
    question["precipitation"][40:51, 4] = np.nan
    return question


@pytest.mark.parametrize("kind", ["dataset", "table"])
def test_gaps_longer_than_the_limit_stay_missing(kind: str) -> None:
    question = with_gaps()
    expected = np.isnan(question["riverflow"].values)
    expected[20:30, 0] = expected[:10, 1] = expected[-10:, 1] = False
    data = question if kind == "dataset" else frame_of(question)
    answer, whole = MODEL.predict(data, longest_gap=10), MODEL.predict(data)
    flow, origin = (np.asarray(answer[n]).reshape(-1) for n in ("riverflow", "riverflow_origin"))
    left = expected.reshape(-1)
    np.testing.assert_array_equal(np.isnan(flow), left)
    np.testing.assert_array_equal(origin == MISSING, left)
    np.testing.assert_array_equal(flow[~left], np.asarray(whole["riverflow"]).reshape(-1)[~left])
    assert (
        np.isnan(np.asarray(answer["precipitation"])).sum() == 11 == (answer["precipitation_origin"] == MISSING).sum()
    )
    levels = answer["riverflow_quantile"] if kind == "dataset" else answer.filter(regex=r"riverflow_q\d+").to_numpy().T
    np.testing.assert_array_equal(
        np.isnan(np.asarray(levels)).reshape(len(levels), -1), np.tile(left, (len(levels), 1))
    )
    note = (answer["riverflow_quantile"] if kind == "dataset" else answer).attrs["processing"]
    assert note.endswith(f"4 gaps of more than 10 days ({11 + 22 + 120} days in all) left missing")
    again = MODEL.predict(answer)
    assert np.isnan(np.asarray(again["riverflow"])).sum() == 0, "nothing that is missing is read as observed"
    check(question, again if kind == "dataset" else MODEL.predict(MODEL.predict(question, longest_gap=10)))


def test_a_limit_of_gaps_is_listed_with_its_origin_and_at_least_a_day() -> None:
    question = with_gaps()
    origin = MODEL.predict(question, longest_gap=10)["riverflow_origin"]
    assert origin.attrs["flag_meanings"] == "observed filled forecast ungauged missing" and origin.dtype == np.int8
    all_filled = MODEL.predict(question, longest_gap=120)
    assert all_filled["riverflow_origin"].attrs["flag_meanings"] == "observed filled forecast ungauged"
    xr.testing.assert_equal(all_filled, MODEL.predict(question))
    assert MODEL.predict(question.drop_vars("riverflow"), longest_gap=10)["riverflow"].isnull().all()
    with pytest.raises(InputError, match="longest gap of 0 days: give 1 day or more"):
        MODEL.predict(question, longest_gap=0)


def test_quantiles_lie_around_the_mean():
    question = RIVERS.assign(riverflow=RIVERS["riverflow"] * np.nan)
    answer = MODEL.predict(question, quantiles=[0.95, 0.005, 0.05, 0.5, 0.995])
    quantile = answer["riverflow_quantile"]
    assert list(quantile["quantile"].values) == [0.005, 0.05, 0.5, 0.95, 0.995]
    inside = (quantile.sel(quantile=0.05) <= answer["riverflow"]) & (answer["riverflow"] <= quantile.sel(quantile=0.95))
    assert inside.mean() > 0.98
    assert (quantile.sel(quantile=0.995) > quantile.sel(quantile=0.005)).all()
    assert list(MODEL.predict(question)["quantile"].values) == list(DEFAULT_LEVELS)


# ---------------------------------------------------------------- what a record lacks


def test_a_catchment_that_training_never_saw_and_traits_that_nobody_knows():
    strange = rivers(3, 60, seed=77).assign_coords(catchment=[9, 7, 8])
    strange["latitude"] = strange["latitude"] + 2.0
    bare = strange.drop_vars([a.name for a in ATTRIBUTES if a.name not in ("latitude", "longitude")])
    unknown = strange.assign(bfihost=strange["bfihost"] * np.nan, dpsbar=strange["dpsbar"].where([True, False, True]))
    for dataset in (strange, bare, unknown):
        question = with_holes(dataset)
        check(question, MODEL.predict(question))


@pytest.mark.parametrize("absent", [("temperature",), ("temperature", "potential_evaporation", "precipitation")])
def test_an_absent_variable_is_not_observed_and_stays_absent(absent):
    question = with_holes(RIVERS).drop_vars(absent)
    answer = MODEL.predict(question)
    check(question, answer)
    assert not set(absent) & set(answer.data_vars)
    empty = with_holes(RIVERS).assign({name: RIVERS[name] * np.nan for name in absent})
    told = MODEL.predict(empty)
    np.testing.assert_array_equal(told["riverflow"], answer["riverflow"])
    assert all(told[name].notnull().all() for name in absent)


def test_a_record_without_flow_is_answered_whole():
    answer = MODEL.predict(RIVERS.drop_vars("riverflow"))
    check(RIVERS.drop_vars("riverflow"), answer)
    assert (answer["riverflow_origin"] == UNGAUGED).all()
    assert answer["riverflow"].attrs["units"] == "mm day-1"


def test_a_variable_that_the_model_never_learned_is_left_as_it_is():
    few = Model(**{**vars(MODEL), "scaling": scaling_of(RIVERS.drop_vars("temperature"), SMALL)})
    question = with_holes(RIVERS)
    answer = few.predict(question)
    xr.testing.assert_identical(answer["temperature"], question["temperature"])
    np.testing.assert_array_equal(answer["riverflow"], few.predict(question.drop_vars("temperature"))["riverflow"])


# ---------------------------------------------------------------- the form of the answer


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("units", ["mm/day", "m3/s"])
def test_the_answer_has_the_units_and_the_bits_of_the_question(kind, units):
    question = with_holes(RIVERS)
    factor = RIVERS["catchment-area"] / 86.4 if units == "m3/s" else 1.0
    flow = (question["riverflow"].astype(np.float64) * factor / 3 * 3).astype(kind)
    question["riverflow"] = flow.assign_attrs(units=units)
    answer = MODEL.predict(question)
    check(question, answer)
    assert answer["riverflow"].attrs["units"] == units == answer["riverflow_quantile"].attrs["units"]
    plain = MODEL.predict(with_holes(RIVERS))
    np.testing.assert_allclose(answer["riverflow"], plain["riverflow"] * factor, rtol=2e-3)


def test_kelvin_comes_back_as_kelvin():
    question = with_holes(RIVERS)
    kelvin = question.assign(temperature=(question["temperature"] + 273.15).assign_attrs(units="K"))
    plain, told = MODEL.predict(question), MODEL.predict(kelvin)
    np.testing.assert_allclose(told["temperature"], plain["temperature"] + 273.15, atol=0.01)


def test_the_callers_dataset_is_not_changed():
    question = with_holes(RIVERS)
    before = question.copy(deep=True)
    MODEL.predict(question)
    xr.testing.assert_identical(question, before)
    assert question["riverflow"].dtype == before["riverflow"].dtype


@pytest.mark.parametrize("names", [[31, 12, 25, 4, 50, 6], ["ash", "elm", "oak", "yew", "fir", "box"]])
def test_a_dimension_called_id_stays_that(names):
    question = with_holes(RIVERS).assign_coords(catchment=names).rename(catchment="id")
    answer = MODEL.predict(question)
    assert answer["riverflow"].dims == ("time", "id") and list(answer["id"].values) == names
    assert answer["riverflow_quantile"].dims == ("quantile", "time", "id")
    check(question, answer)
    np.testing.assert_array_equal(answer["riverflow"], MODEL.predict(with_holes(RIVERS))["riverflow"])


def test_transposed_and_unsorted_and_with_positions_in_metres():
    question = with_holes(RIVERS)
    expected = MODEL.predict(question)
    turned = question.transpose("catchment", "time").isel(time=slice(None, None, -1))
    answer = MODEL.predict(turned)
    assert answer["riverflow"].dims == ("catchment", "time")
    np.testing.assert_array_equal(answer["riverflow"].transpose("time", "catchment")[::-1], expected["riverflow"])
    metres = question.drop_vars(["latitude", "longitude"]).assign(
        easting=("catchment", 1000.0 * np.arange(310, 316)), northing=("catchment", 1000.0 * np.arange(210, 216))
    )
    check(metres, MODEL.predict(metres))


def test_days_that_are_not_on_the_time_axis_count_as_unobserved():
    kept = np.r_[0:30, 45:120]
    question = with_holes(RIVERS)
    answer = MODEL.predict(question.isel(time=kept))
    assert answer.sizes["time"] == len(kept)
    nan = question.copy(deep=True)
    for name in SERIES:
        nan[name][30:45] = np.nan
    np.testing.assert_array_equal(answer["riverflow"], MODEL.predict(nan)["riverflow"][kept])


def test_the_sentinel_and_infinity_are_answered_too():
    question = RIVERS.copy(deep=True)
    question["riverflow"][5, 0] = -99999.0
    question["riverflow"][6, 0] = np.inf
    answer = MODEL.predict(question)
    asked = RIVERS.copy(deep=True)
    asked["riverflow"][5:7, 0] = np.nan
    np.testing.assert_array_equal(answer["riverflow"], MODEL.predict(asked)["riverflow"])
    assert (answer["riverflow_origin"][5:7, 0] == FILLED).all()


def frame_of(dataset: xr.Dataset) -> pd.DataFrame:
    traits = [a.name for a in ATTRIBUTES]
    return dataset.to_dataframe()[[*traits, *SERIES]].reset_index().rename(columns={"catchment": "id", "time": "date"})


def test_a_table_comes_back_as_the_same_table_filled():
    question = with_holes(RIVERS)
    frame = frame_of(question).sample(frac=1.0, random_state=2)
    frame["note"] = "kept"
    frame = frame[["note", "id", *SERIES, "date", *(a.name for a in ATTRIBUTES)]]
    before = frame.copy(deep=True)
    answer = MODEL.predict(frame)
    pd.testing.assert_frame_equal(frame, before)
    added = ["riverflow_q05", "riverflow_q25", "riverflow_q50", "riverflow_q75", "riverflow_q95", "riverflow_origin"]
    origins = [f"{name}_origin" for name in SERIES if name != "riverflow" and frame[name].isna().any()]
    assert list(answer.columns) == [*frame.columns, *added, *origins], "weather that was answered has its origin"
    pd.testing.assert_index_equal(answer.index, frame.index)
    pd.testing.assert_series_equal(answer.dtypes[frame.columns], frame.dtypes)
    for name in SERIES:
        seen = frame[name].notna()
        assert answer[name].notna().all()
        assert (answer.loc[seen, name] == frame.loc[seen, name]).all()
    expected = MODEL.predict(question)
    filled = answer.set_index(["date", "id"])["riverflow"].to_xarray().transpose("date", "id")
    np.testing.assert_allclose(filled.values, expected["riverflow"].values, rtol=1e-4, atol=1e-5)


def test_a_table_in_cubic_metres_and_one_without_flow():
    frame = frame_of(with_holes(RIVERS))
    cubic = frame.assign(riverflow=frame["riverflow"].astype(np.float64) * frame["catchment-area"] / 86.4)
    cubic = cubic.rename(columns={"riverflow": "discharge_vol"}).set_index(["date", "id"])
    answer, plain = MODEL.predict(cubic), MODEL.predict(frame)
    seen = cubic["discharge_vol"].notna()
    assert (answer.loc[seen, "discharge_vol"] == cubic.loc[seen, "discharge_vol"]).all()
    in_depth = answer["discharge_vol"] * 86.4 / answer["catchment-area"]
    np.testing.assert_allclose(in_depth, plain["riverflow"], rtol=1e-3)
    np.testing.assert_allclose(
        answer["riverflow_q95"] * 86.4 / answer["catchment-area"], plain["riverflow_q95"], rtol=1e-3
    )
    dry = MODEL.predict(frame.drop(columns="riverflow"))
    assert dry["riverflow"].notna().all() and (dry["riverflow_origin"] == UNGAUGED).all()


def test_an_answer_that_is_asked_again_is_answered_as_before():
    """What was answered is a question again: the same values, origins and counts, whatever the quantiles."""
    question = with_holes(RIVERS).assign_attrs(hydromae_format="hydromae-store-1", scaling="{}", title="kept")
    first = MODEL.predict(question, quantiles=(0.1, 0.9))
    again = MODEL.predict(first)
    assert again["quantile"].values.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    for name in (*SERIES, "riverflow_origin", "precipitation_origin"):
        np.testing.assert_array_equal(again[name].values, first[name].values)
    assert first.attrs["title"] == "kept" and not {"hydromae_format", "scaling"} & first.attrs.keys(), (
        "no answer is a store"
    )
    frame = frame_of(question)
    table = MODEL.predict(frame, quantiles=(0.1, 0.9))
    same = MODEL.predict(table)
    assert "riverflow_q10" not in same and "riverflow_q05" in same
    pd.testing.assert_frame_equal(
        same[table.columns.drop(["riverflow_q10", "riverflow_q90"])],
        table.drop(columns=["riverflow_q10", "riverflow_q90"]),
    )


def test_negative_flow_is_answered_on_a_word():
    question = with_holes(RIVERS)
    place = {"time": 7, "catchment": 2}
    question["riverflow"][place] = np.nan
    expected = MODEL.predict(question)
    question["riverflow"][place] = -0.3
    for one in (question, frame_of(question)):
        with pytest.raises(InputError, match="negative_flow='missing' in Python"):
            MODEL.predict(one)
    told = MODEL.predict(question, negative_flow="missing")
    np.testing.assert_array_equal(told["riverflow"].values, expected["riverflow"].values)
    assert int(told["riverflow_origin"][place]) == 1
    table = MODEL.predict(frame_of(question), negative_flow="missing")
    assert (table["riverflow"] >= 0).all()
    assert MODEL.forecast(question, days=2, negative_flow="missing").sizes["lead"] == 2


class Stopped(Exception):
    """Raised where the reading is over."""


@pytest.mark.parametrize("command", ["predict", "forecast", "evaluate"])
def test_every_command_that_reads_takes_the_word_for_negative_flow(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*given: object, **options: object) -> None:
        raise Stopped

    frame = frame_of(RIVERS.isel(time=slice(0, 60)))
    frame.loc[3, "riverflow"] = -0.3
    frame.to_csv(tmp_path / "tide.csv", index=False)
    monkeypatch.setattr("hydromae.inference.predictor.load", lambda *given: MODEL)
    monkeypatch.setattr(Model, "predict", stop)
    monkeypatch.setattr(Model, "predict_record", stop)
    monkeypatch.setattr("hydromae.evaluate.benchmark.run_protocol", stop)
    words = [command, str(tmp_path / "tide.csv"), "--model", "x", "--out", str(tmp_path / "answer.nc")]
    assert main(words) == 2 and "--negative-flow missing" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(Stopped):
        main([*words, "--negative-flow", "missing"])
    assert "riverflow: 1 negative values are missing" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("code", [1e20, 9.969209968386869e36, -99999.0, np.inf, "NaN", "---", ""])
def test_a_code_never_comes_back_as_an_answer(code: object):
    frame = frame_of(with_holes(RIVERS)).astype({"riverflow": object if isinstance(code, str) else float})
    place = frame.index[frame["riverflow"].notna()][7]
    expected = MODEL.predict(frame.assign(riverflow=frame["riverflow"].where(frame.index != place)))
    told = MODEL.predict(frame.assign(riverflow=frame["riverflow"].where(frame.index != place, code)))
    assert told.loc[place, "riverflow_origin"] == 1 and told.loc[place, "riverflow"] == expected.loc[place, "riverflow"]
    flat, traits = wide()
    flat = flat.astype(object if isinstance(code, str) else float)
    asked, plain = flat.copy(), flat.copy()
    asked.iloc[9, 1], plain.iloc[9, 1] = code, np.nan
    answer, expected = (MODEL.predict(one, attributes=traits) for one in (asked, plain))
    name = flat.columns[1]
    assert answer[f"{name}_origin"].iloc[9] == 1 and answer[name].iloc[9] == expected[name].iloc[9]


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("preset", [(365, 60), (180, 30), (30, 0), (40, 5)])
@pytest.mark.parametrize("times", [0.5, 1.0, 1.3, 2.5, 7.03])
def test_weights_of_overlapping_windows_sum_to_one(preset, times):
    """After division by their sum they always do; here: every day has a weight, and it does not jump from day to day."""
    longest, warm_up = preset
    total = round(longest * times)
    length, starts, weights = overlapping_windows(total, longest, warm_up)
    assert starts[0] == 0 and starts[-1] + length == total and length <= longest + longest // 4
    laid = np.zeros((len(starts), total))
    for row, start, weight in zip(laid, starts, weights, strict=True):
        row[start : start + length] = weight
    assert (laid.sum(axis=0) > 0).all()
    shares = laid / laid.sum(axis=0)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    blend = max(1, length // 6)
    assert np.abs(np.diff(shares, axis=1)).max() <= 2 / blend
    for row, start in zip(laid[1:], starts[1:], strict=True):
        assert (row[start : start + min(warm_up, length // 3)] == 0).all()


def test_two_windows_that_meet_fade_into_each_other_in_a_line():
    """200 days in windows of 60 without warm-up: they start 50 days apart and share 10."""
    length, starts, weights = overlapping_windows(200, 60, 0)
    assert length == 60 and list(starts) == [0, 50, 100, 140]
    falling, rising = weights[0][50:], weights[1][:10]
    np.testing.assert_allclose(falling / (falling + rising), 1 - np.arange(1, 11) / 11)


def test_a_record_answered_in_pieces_is_continuous():
    """Where weather is the same every day and flow is asked everywhere, no seam of windows shows."""
    calm = RIVERS.copy(deep=True)
    for name in SERIES[1:]:
        calm[name][:] = calm[name].mean("time")
    calm["riverflow"] = calm["riverflow"] * np.nan
    calm = xr.concat(
        [calm, calm.assign_coords(time=calm["time"] + np.timedelta64(120, "D"))], "time", data_vars="minimal"
    )
    # untrained memories are longer than five days of warm-up
    bare = SMALL.having(data={"antecedent_days": 0, "max_flow_gap": 0}, model={"lstm_width": 0, "lstm_ar_width": 0})
    flow = untrained(bare).predict(calm)["riverflow"].values
    steps = np.abs(np.diff(flow, axis=0)).max(axis=1)[5:]  # the start of the record is no seam
    assert steps.max() <= 4 * np.median(steps)  # at a seam without blend it is six to ten times the median


def test_what_stands_in_later_windows_changes_an_answer_only_through_the_blend():
    question = with_holes(RIVERS)
    later = question.copy(deep=True)
    for name in SERIES[:2]:
        later[name][80:] = 2 * later[name][80:]
    one, two = MODEL.predict(question), MODEL.predict(later)
    length, starts, weights = overlapping_windows(120, 40, 5)
    first = min(
        start + np.flatnonzero(weight > 0)[0]
        for start, weight in zip(starts, weights, strict=True)
        if start + length > 80
    )
    assert first >= 40
    for name in ("riverflow", "riverflow_quantile", "riverflow_origin"):
        xr.testing.assert_equal(one[name].isel(time=slice(0, first)), two[name].isel(time=slice(0, first)))
    assert not one["riverflow"][first:80].equals(two["riverflow"][first:80])


# ---------------------------------------------------------------- forecasts


def test_a_forecast_is_the_prediction_of_days_after_the_last_flow():
    answer = MODEL.forecast(RIVERS, days=5)
    assert dict(answer["riverflow"].sizes) == {"issue_time": 1, "lead": 5, "catchment": RIVERS.sizes["catchment"]}
    assert answer["issue_time"].values[0] == RIVERS["time"].values[-1]
    assert str(answer["valid_time"].values[0, -1])[:10] == "2001-05-05"
    assert (answer["riverflow_origin"] == FORECAST).all()
    last = slice(120 - MODEL.config.data.sequence_length, None)
    asked = RIVERS.reindex(time=pd.date_range("2001-01-01", periods=125)).isel(time=last)
    expected = MODEL.predict(asked).isel(time=slice(-5, None))
    np.testing.assert_array_equal(answer["riverflow"][0], expected["riverflow"])
    np.testing.assert_array_equal(answer["riverflow_quantile"][:, 0], expected["riverflow_quantile"])


def test_weather_after_the_last_flow_is_used_where_it_is_given_and_wanted():
    given = RIVERS.copy(deep=True)
    given["riverflow"][-4:] = np.nan
    wetter = given.copy(deep=True)
    wetter["precipitation"][-4:] += 5.0
    observed, none = ([MODEL.forecast(d, 4, future_weather=w) for d in (given, wetter)] for w in ("observed", "none"))
    assert observed[0]["issue_time"].values[0] == RIVERS["time"].values[-5]
    assert not np.allclose(observed[0]["riverflow"], observed[1]["riverflow"])
    xr.testing.assert_equal(none[0], none[1])


@pytest.mark.parametrize("dates", ["text", "dates", "index"])
def test_forecast_of_a_table_is_a_table(dates):
    frame = frame_of(RIVERS)
    if dates == "text":
        frame["date"] = frame["date"].dt.strftime("%Y-%m-%d")
    given_ = frame.set_index(["date", "id"]) if dates == "index" else frame
    issues = pd.to_datetime(["2001-04-20", "2001-04-25"])
    answer = MODEL.forecast(given_, days=2, issues=issues)
    assert list(answer.columns[:5]) == ["issue_time", "lead", "date", "catchment", "riverflow"]
    assert len(answer) == 2 * 2 * 6 and (answer["riverflow_origin"] == FORECAST).all()
    expected = MODEL.forecast(RIVERS, days=2, issues=issues)["riverflow"].values.ravel()
    np.testing.assert_allclose(answer["riverflow"], expected, rtol=1e-4)


def test_only_the_last_days_are_computed_and_they_are_the_same():
    asked, flow = with_holes(RIVERS), ["riverflow", "riverflow_quantile"]
    whole = MODEL.predict_record(asked, [0.05, 0.5])
    last = MODEL.predict_record(asked, [0.05, 0.5], last_days=3)
    # the size of a matrix product may change the last bit of its rows
    xr.testing.assert_allclose(whole[flow].isel(time=slice(-3, None)), last[flow], rtol=1e-5)


def test_a_model_is_shown_by_name_modalities_parameters_precision_and_device():
    model = replace(MODEL, loaded_as="my <model>")
    weights = sum(value.numel() for value in model.network.parameters())
    modalities = ", ".join(model.config.model.modalities)
    assert repr(model) == (
        f"Model(name='my <model>', modalities='{modalities}', parameters='{weights:,}', "
        f"precision='{model.precision_used}', device='cpu')"
    )
    html = model._repr_html_()
    assert "<td>my &lt;model&gt;</td>" in html and html.count("<tr>") == 5 and f"<td>{weights:,}</td>" in html


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("mixers", [("joint",), ("time", "space")])
def test_a_national_record_is_answered_on_its_maps_too(mixers):
    dataset = country()
    model = untrained(SMALL_MAPS.having(model={"mixers": mixers}), dataset, GRID)
    question = dataset.isel(time=slice(0, 20)).copy(deep=True)
    generator = np.random.default_rng(0)
    for name in ("precipitation", "soil_moisture", "temperature", "riverflow", "evaporation"):
        question[name] = question[name].where(generator.random(question[name].shape) < 0.7)
    answer = model.predict(question)
    check(question, answer)
    for name in ("precipitation", "soil_moisture", "temperature"):
        assert answer[name].notnull().all() and answer[name].dims == ("time", "cell")
    assert (answer["precipitation"] >= 0).all()
    series = question[["riverflow", "evaporation", *(a.name for a in ATTRIBUTES)]]
    check(series, model.predict(series))


# ---------------------------------------------------------------- refusals


def spoiled(**changes: object) -> xr.Dataset:
    return RIVERS.assign(changes)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (RIVERS, {"quantiles": [1.5]}, "quantiles"),
        (RIVERS, {"quantiles": [0.5, float("nan")]}, "quantiles"),
        (RIVERS, {"quantiles": []}, "quantiles"),
        (spoiled(riverflow=RIVERS["riverflow"].assign_attrs(units="furlong/s")), {}, "'furlong/s'"),
        (spoiled(riverflow=RIVERS["riverflow"].drop_attrs()), {}, "no units"),
        (spoiled(riverflow=RIVERS["riverflow"].assign_attrs(units=np.array([1, 2]))), {}, "no units"),
        (spoiled(riverflow=RIVERS["riverflow"].astype(str).assign_attrs(units="mm/day")), {}, "riverflow is of type"),
        (RIVERS.drop_vars(["latitude", "longitude"]), {}, "have no position"),
        (
            spoiled(latitude=RIVERS["latitude"].where(RIVERS["catchment"] != 1003)),
            {},
            r"first: 1003\) have no position",
        ),
        (RIVERS.isel(time=[0, 1, 1, 2]), {}, "2001-01-02 occurs more than once"),
        (RIVERS.isel(catchment=[0, 0]), {}, "catchment 1001 occurs more than once"),
        (RIVERS.drop_vars("catchment"), {}, "has no names"),
        (RIVERS[["latitude"]], {}, "no riverflow"),
        (spoiled(temperature=RIVERS["temperature"] + 273.15), {}, "Kelvin"),
        (spoiled(riverflow=-RIVERS["riverflow"]), {}, "riverflow has the value"),
        (RIVERS.isel(time=slice(0, 0)), {}, "no day"),
        (frame_of(RIVERS).assign(riverflow="much"), {}, "'much'"),
        (frame_of(RIVERS).drop(columns="id"), {}, "no catchment column"),
        (pd.concat([frame_of(RIVERS)] * 2), {}, "has 2001-01-01 twice"),
    ],
)
def test_bad_input_is_one_line(data, options, message):
    with pytest.raises(InputError, match=message) as caught:
        MODEL.predict(data, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "name"), [("record.nc", "str"), (RIVERS["riverflow"], "DataArray")])
def test_another_kind_of_thing_is_one_line(data, name):
    unchecked = Model.predict.__wrapped__  # without the tests' own checks of types
    with pytest.raises(InputError, match=f"data: a {name} is not a record"):
        unchecked(MODEL, data)


def test_cubic_metres_cannot_be_answered_without_an_area():
    flow = (RIVERS["riverflow"] * RIVERS["catchment-area"] / 86.4).where(RIVERS["catchment"] != 1002)
    area = RIVERS["catchment-area"].where(RIVERS["catchment"] != 1002)
    question = RIVERS.assign({"riverflow": flow.assign_attrs(units="m3/s"), "catchment-area": area})
    with pytest.raises(InputError, match="catchment 1002: no catchment-area"):
        MODEL.predict(question)


@pytest.mark.parametrize("data", [RIVERS, frame_of(RIVERS)])
def test_a_forecast_needs_a_day(data):
    with pytest.raises(InputError, match="forecast of 0 days"):
        MODEL.forecast(data, days=0)
    with pytest.raises(InputError):
        MODEL.forecast(data.drop_vars("time") if isinstance(data, xr.Dataset) else data.assign(date="soon"))


# ---------------------------------------------------------------- models on disk


def test_load_a_run_its_parts_and_nothing(tmp_path: Path):
    scaling = scaling_of(rivers(), SMALL)
    train(SMALL, rivers(), scaling, tmp_path / "run", device="cpu")
    question = with_holes(RIVERS.isel(time=slice(0, 40)))
    run, best = load(tmp_path / "run"), load(str(tmp_path / "run" / "best"), device="cpu")
    assert run.config == SMALL and run.scaling == scaling and not run.network.training
    xr.testing.assert_identical(*(one.predict(question).drop_attrs(deep=False) for one in (run, best)))
    assert load(tmp_path / "run" / "checkpoints" / "step-0000003").config == SMALL
    assert run.name == "hydromae"
    with pytest.raises(InputError, match="nowhere") as caught:
        load(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        load(tmp_path)


def test_a_run_that_was_interrupted_early_is_loaded_from_its_last_checkpoint(tmp_path: Path):
    train(SMALL, rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu", stop_after=1)
    (tmp_path / "run" / "last").rename(tmp_path / "run" / "elsewhere")
    assert load(tmp_path / "run").config == SMALL


def test_a_model_folder_answers_as_the_model_that_was_saved(tmp_path: Path):
    save_model(tmp_path / "m", MODEL.network.state_dict(), SMALL, MODEL.scaling, None)
    question = with_holes(RIVERS.isel(time=slice(0, 30)))
    models = load(tmp_path / "m", "cpu"), MODEL
    xr.testing.assert_identical(*(one.predict(question).drop_attrs(deep=False) for one in models))


def test_the_mean_is_that_of_the_distribution():
    """Root of flow ~ N(m, s²) has flow's mean m² + s²; a mixture likewise."""
    from hydromae.inference.sliding_window import mean_in_units
    from hydromae.model.mixture import GaussianMixture
    from hydromae.store.scaling import VariableScaling

    mixture = GaussianMixture(
        torch.tensor([[[0.25, 0.75]]]), torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.5, 0.1]]])
    )
    mean = torch.tensor([[1.75]])
    told = mean_in_units(mean, mixture, [VariableScaling("root", 3.0, 2.0)])
    # root = 3 + 2 z: E[root²] = Σ weight × ((3 + 2 centre)² + 4 spread²)
    assert told[0, 0] == pytest.approx(0.25 * (25 + 1.0) + 0.75 * (49 + 0.04), rel=1e-5)
    assert mean_in_units(mean, None, [VariableScaling("none", 3.0, 2.0)])[0, 0] == pytest.approx(6.5)
    assert VARIABLES["riverflow"].transform == "root"


def wide(units: str | None = "m3 s-1") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Flow of RIVERS with holes as a table with a column for each river, and the attributes of the rivers."""
    held = with_positions(with_holes(RIVERS))
    flow = held["riverflow"] * held["catchment-area"] / 86.4
    frame = pd.DataFrame(flow.values, index=pd.DatetimeIndex(held["time"].values), columns=held["catchment"].values)
    if units is not None:
        frame.attrs["units"] = units
    names = [a.name for a in ATTRIBUTES] + ["easting", "northing"]
    traits = pd.DataFrame({n: held[n].values for n in names if n in held.variables}, index=held["catchment"].values)
    return frame, traits


def test_a_wide_table_comes_back_wide() -> None:
    frame, traits = wide()
    answer = MODEL.predict(frame, attributes=traits)
    assert answer.index.equals(frame.index) and list(answer.columns[: frame.shape[1]]) == list(frame.columns)
    seen = frame.notna().to_numpy()
    assert (~seen).any() and answer.notna().all(axis=None)
    assert np.array_equal(answer[frame.columns].to_numpy()[seen], frame.to_numpy()[seen])
    bare = with_holes(RIVERS)[["riverflow", *(a.name for a in ATTRIBUTES if a.name in RIVERS)]]
    whole = MODEL.predict(bare)
    for place, name in enumerate(frame.columns):
        cubic = whole["riverflow"].values[:, place] * float(RIVERS["catchment-area"][place]) / 86.4
        gone = ~seen[:, place]
        assert np.allclose(answer[name].to_numpy()[gone], cubic[gone], rtol=1e-3)
        assert (answer[f"{name}_q05"] <= answer[f"{name}_q95"]).all()
        assert set(answer[f"{name}_origin"].unique()) <= {0, 1, 2, 3}


def test_a_wide_table_says_its_units_and_attributes_are_checked() -> None:
    frame, traits = wide(None)
    with pytest.raises(InputError, match="has no units"):
        MODEL.predict(frame, attributes=traits)
    frame.attrs["units"] = "mm day-1"
    with pytest.raises(InputError, match=r"catchments \(first: .*\) have no position"):
        MODEL.predict(frame)
    with pytest.raises(InputError, match="no column of an attribute"):
        MODEL.predict(frame, attributes=pd.DataFrame({"x": [1.0]}, index=[1]))
    with pytest.raises(InputError, match="occurs twice"):
        MODEL.predict(frame, attributes=pd.concat([traits, traits]))
    with pytest.raises(InputError, match="latitude of catchment"):
        MODEL.predict(frame, attributes=traits.assign(latitude=99.0))
    metres = traits.drop(columns=[n for n in ("latitude", "longitude") if n in traits])
    assert MODEL.predict(frame, attributes=metres).notna().all(axis=None)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_wide_table_is_forecast(indexed: bool) -> None:
    frame, traits = wide()
    given = frame if indexed else frame.rename_axis("date").reset_index()
    given.attrs["units"] = "m3 s-1"
    answer = MODEL.forecast(given, 3, attributes=traits)
    assert len(answer) == 3 * frame.shape[1] and answer.notna().all(axis=None)
    assert pd.DatetimeIndex(answer["date"]).max() == frame.index[-1] + pd.Timedelta(days=3)
    assert "riverflow [m3 s-1]" in answer.columns and (answer["riverflow_origin"] == 2).all()


def test_quantiles_that_are_close_have_columns_of_their_own() -> None:
    answer = MODEL.predict(frame_of(with_holes(RIVERS)), quantiles=[0.02, 0.025, 0.5, 0.995])
    named = [column for column in answer.columns if column.startswith("riverflow_q")]
    assert named == ["riverflow_q02", "riverflow_q02.5", "riverflow_q50", "riverflow_q99.5"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"precipitation": "precip"}, "no precipitation is read, but 'precip' may be it"),
        ({"temperature": "Temp [C]"}, "no temperature is read"),
    ],
)
def test_a_column_that_is_almost_a_variable_is_asked_about(change: dict[str, str], told: str) -> None:
    frame = frame_of(RIVERS)
    with pytest.raises(InputError, match=told):
        MODEL.predict(frame.rename(columns=change))
    assert MODEL.predict(frame.drop(columns=list(change)).assign(rain_flag=1)).notna().all(axis=None)


def test_an_impossible_value_is_found_for_the_user_and_empty_text_is_empty() -> None:
    frame = frame_of(RIVERS)
    wrong = frame.assign(precipitation=frame["precipitation"].where(frame.index != 7, -9999.0))
    day, name = frame.loc[7, ["date", "id"]]
    with pytest.raises(InputError, match=rf"a code for missing.*catchment {name} on {day:%Y-%m-%d}"):
        MODEL.predict(wrong)
    with pytest.raises(InputError, match=r"bfihost of catchment .* is -9999, outside 0"):
        MODEL.predict(frame.assign(bfihost=-9999.0))
    text = frame["riverflow"].astype(str).where(frame.index % 3 > 0, " ")
    assert pd.to_numeric(MODEL.predict(frame.assign(riverflow=text))["riverflow"]).notna().all()


def test_embeddings_are_of_rivers_and_days() -> None:
    found = MODEL.embed(RIVERS)
    width = SMALL.model.d_model
    assert found["site_embedding"].shape == (6, width) and found["day_embedding"].shape == (120, width)
    assert np.isfinite(found["site_embedding"]).all() and np.isfinite(found["day_embedding"]).all()
    assert found["site_embedding"].std("catchment").max() > 1e-3
    order = [3, 1, 0, 5, 4, 2]
    moved = MODEL.embed(RIVERS.isel(catchment=order))
    np.testing.assert_allclose(moved["site_embedding"], found["site_embedding"].isel(catchment=order), atol=2e-3)
    frame = RIVERS.to_dataframe().reset_index()
    np.testing.assert_allclose(MODEL.embed(frame)["day_embedding"], found["day_embedding"], atol=2e-3)


def test_embeddings_of_groups_with_maps() -> None:
    found = untrained(SMALL_MAPS, country(), GRID).embed(country())
    assert found["site_embedding"].shape == (country().sizes["catchment"], SMALL_MAPS.model.d_model)
    assert np.isfinite(found["site_embedding"]).all()


def test_a_model_travels_as_a_folder(tmp_path: Path) -> None:
    MODEL.save_pretrained(tmp_path / "mine")
    again = Model.from_pretrained(tmp_path / "mine")
    question = with_holes(RIVERS)
    assert np.array_equal(again.predict(question)["riverflow"], MODEL.predict(question)["riverflow"])


def head_of(card: Path) -> dict[str, object]:
    """The YAML at the head of a card."""
    opening, head, body = card.read_text(encoding="utf-8").split("---\n", 2)
    assert opening == "" and body.startswith("# ")
    return yaml.safe_load(head)


def test_a_saved_model_has_a_card_with_what_is_known(tmp_path: Path) -> None:
    MODEL.save_pretrained(tmp_path / "mine")
    card = tmp_path / "mine" / "README.md"
    told = head_of(card)
    assert (told["library_name"], told["license"]) == ("hydromae", "unknown") and "datasets" not in told
    assert "metrics" not in told and "hydrology" in told["tags"]  # type: ignore[operator]
    text = card.read_text(encoding="utf-8")
    weights = sum(value.numel() for value in MODEL.network.parameters())
    first, last = MODEL.config.data.training_period
    assert f"{weights:,} parameters" in text and f"{first} to {last}" in text and "Not evaluated" in text
    card.write_text("---\nlicense: mit\n---\n# mine, edited\n", encoding="utf-8")
    again = Model.from_pretrained(tmp_path / "mine")
    assert np.array_equal(
        again.predict(with_holes(RIVERS))["riverflow"], MODEL.predict(with_holes(RIVERS))["riverflow"]
    )
    again.save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text(encoding="utf-8") == card.read_text(encoding="utf-8")


def test_a_card_says_what_its_maker_adds(tmp_path: Path) -> None:
    data = ["Rivers: of mine (doi:1/2)", "- another"]
    MODEL.save_pretrained(tmp_path / "mine", datasets=data, licence="cc-by-4.0", scores={"gap": 0.8125})
    told = head_of(tmp_path / "mine" / "README.md")
    assert told["datasets"] == data and told["license"] == "cc-by-4.0" and told["metrics"] == ["nse"]
    assert "| gap | 0.812 |" in (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")


def test_a_saved_model_leaves_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other models, a clone's .git, a README of the user's; also in the working folder itself."""
    for name in ("other/model.safetensors", ".git/HEAD", "mine.old/thesis.tex"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    (tmp_path / "README.md").write_text("my repository")
    monkeypatch.chdir(tmp_path)
    MODEL.save_pretrained(".")
    MODEL.save_pretrained("mine")
    MODEL.save_pretrained("mine")  # a model is replaced
    for name in ("other/model.safetensors", ".git/HEAD", "mine.old/thesis.tex"):
        assert (tmp_path / name).read_text() == "mine"
    assert (tmp_path / "README.md").read_text() == "my repository"
    files = {"README.md", "config.json", "model.safetensors", "scaling.json", "checksums.json"}
    assert {file.name for file in (tmp_path / "mine").iterdir()} == files
    assert {file.name for file in tmp_path.iterdir()} == {*files, "other", ".git", "mine", "mine.old"}
    load("."), load("mine")
    with pytest.raises(InputError, match=r"README\.md: not a model card of hydromae"):
        MODEL.save_pretrained(".", licence="mit")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "state.json", "journal.jsonl", "zarr.json"])
def test_a_model_is_not_saved_over_what_is_no_model(name: str, tmp_path: Path) -> None:
    """Another program's model, a run, a checkpoint, a store."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="model"):
        MODEL.save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "{}"


@pytest.mark.parametrize("moves", range(10))
def test_a_model_is_replaced_whole_or_not_at_all(moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails at each move of a file in turn: the old model answers, or the new one; after a kill, one or none."""
    other = untrained(SMALL_MAPS, country(), GRID)
    MODEL.save_pretrained(tmp_path / "m")
    rename, done = Path.rename, [0]

    def failing(self: Path, target: Path) -> Path:
        done[0] += 1
        if done[0] == moves + 1:
            copytree(tmp_path / "m", tmp_path / "killed")
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    try:
        other.save_pretrained(tmp_path / "m")
        assert moves == 9
        expected = other
    except InputError as error:
        assert "(No space left on device); make room there" in str(error)
        expected = MODEL
    monkeypatch.undo()
    assert {file.name for file in (tmp_path / "m").iterdir()} >= {"model.safetensors", "checksums.json"}
    assert not list((tmp_path / "m").glob(".*"))
    assert load(tmp_path / "m").config == expected.config
    if moves == 0:  # nothing was moved when the process ended
        assert load(tmp_path / "killed").config == MODEL.config
    elif moves < 9:
        with pytest.raises(InputError, match="not found"):
            load(tmp_path / "killed")


def test_the_card_of_the_shipped_model_parses() -> None:
    told = head_of(SHIPPED / "gb-rivers" / "README.md")
    assert (told["license"], told["library_name"]) == ("apache-2.0", "hydromae")


def test_who_watches_is_told_of_every_window() -> None:
    told: list[tuple[int, int]] = []
    long = rivers(3, 400, seed=2)
    MODEL.predict(with_holes(long), progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] > 1 and [done for done, _ in told] == sorted({done for done, _ in told})


def test_answers_and_embeddings_are_in_the_precision_that_is_asked_for() -> None:
    """The model was trained in fp32; bf16 is near it, and another number."""
    half, question = replace(MODEL, precision="bf16"), RIVERS.isel(time=slice(0, 60)).copy(deep=True)
    question["riverflow"][20:30, 1] = np.nan
    for ask, name in (("predict", "riverflow"), ("embed", "site_embedding")):
        one, other = (getattr(model, ask)(question)[name].values for model in (MODEL, half))
        assert not np.array_equal(one, other, equal_nan=True), ask
        np.testing.assert_allclose(other, one, rtol=0.1, atol=0.05)
    with pytest.raises(InputError, match="precision 'half'"):
        load("gb-rivers", precision="half")


@pytest.mark.parametrize("command", ["predict", "forecast", "evaluate", "explore"])
def test_commands_hand_on_the_precision(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def loaded(name: object, device: str, precision: str) -> None:
        asked.append(precision)
        raise InputError("seen")

    for module in ("hydromae.inference.predictor", "hydromae.explore.session"):
        monkeypatch.setattr(f"{module}.load", loaded)
    place = [str(tmp_path / "record.nc"), "--model", "gb-rivers", "--precision", "bf16"]
    assert main([command, *place, *([] if command == "explore" else ["--out", str(tmp_path / "out.nc")])]) == 2
    assert asked == ["bf16"]


def test_an_evaluation_keeps_the_precision_of_its_command() -> None:
    command = str(Evaluate(Path("s"), Path("e"), precision="bf16")._settings()["command"])
    assert command == "hydromae evaluate s --out e --precision bf16"
