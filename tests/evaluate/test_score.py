"""Evaluation: predictions are scored for each catchment, saved and loaded."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae import metrics
from hydromae.errors import InputError
from hydromae.evaluate import baselines, protocol, score
from hydromae.evaluate.answers import SCORED_LEVELS
from hydromae.evaluate.benchmark import scored_method
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.summary import summarise
from hydromae.inference.predictor import load
from hydromae.virtual import virtual_catchments

PERIOD = ("2011-02-01", "2011-06-30")


def record(rivers: int = 6) -> xr.Dataset:
    """Slowly changing flow of some rivers over a year and a half, with gauges and rain."""
    times = pd.date_range("2010-01-01", "2011-06-30")
    generator = np.random.default_rng(5)
    flow = np.exp(np.cumsum(generator.normal(scale=0.1, size=(len(times), rivers)), axis=0) * 0.5)
    flow[420, 2] = np.nan
    dims = ("time", "catchment")
    coords = {
        "time": times,
        "catchment": np.arange(rivers) + 1,
        "easting": ("catchment", np.arange(rivers) * 1e4),
        "northing": ("catchment", np.zeros(rivers)),
        "name": ("catchment", [f"River {number}" for number in range(rivers)]),
    }
    return xr.Dataset({"riverflow": (dims, flow), "precipitation": (dims, np.ones_like(flow))}, coords=coords)


class Constant:
    """Predicts 1 mm/day for all rivers but one, with a 90 % interval of 2 mm/day."""

    name = "constant"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        flow = xr.full_like(dataset["riverflow"], 1.0).where(dataset["catchment"] != 4)
        levels = pd.Index([0.05, 0.25, 0.5, 0.75, 0.95], name="quantile")
        quantiles = xr.concat([flow + shift for shift in (-1.0, -0.1, 0.0, 0.1, 1.0)], dim=levels)
        return dataset.assign(riverflow=dataset["riverflow"].fillna(flow), riverflow_quantile=quantiles)


def evaluation() -> score.Evaluation:
    """Two methods on gap and forecast-blind, one on simulate."""
    full = record()
    asked = [
        *protocol.gap_questions(full, PERIOD),
        *protocol.simulate_questions(full, PERIOD),
        *protocol.forecast_questions(full, PERIOD, "none", every=7),
    ]
    methods = {
        "gap": [Constant(), baselines.LogInterpolation()],
        "simulate": [Constant()],
        "forecast-blind": [baselines.Persistence(), Constant()],
    }
    return score.evaluate(methods, full, asked, PERIOD, {"seed": 0})


@pytest.fixture(scope="module")
def result() -> score.Evaluation:
    """One evaluation for all tests of this file."""
    return evaluation()


def test_persistence_scores_as_a_shift_by_the_lead(result):
    flow = record()["riverflow"].sel(time=slice(*PERIOD))
    for lead in (1, 3, 7):
        # Issues every 7 days from the first day, the last of them at least 7 days before the end.
        before = flow[:-7:7]
        truth = flow.values[lead::7][: len(before)]
        expected = metrics.nse(before, before.copy(data=truth))
        scored = result.scores["nse"].sel({"question": f"forecast-blind-{lead}", "method": "persistence"})
        np.testing.assert_allclose(np.delete(scored.values, 2), np.delete(expected.values, 2), rtol=1e-5)


def test_predictions_of_one_row_are_joined(result):
    days = result.scores["target_days"].sel({"question": "gap", "method": "constant"}).values
    # 150 days: 7 whole gaps of 10 days (the one on day 140 would end the period); one river lacks a day in one of them.
    missing = np.datetime64("2010-01-01") + 420
    opening = int((missing - np.datetime64(PERIOD[0])).astype(int)) % 20 < 10
    np.testing.assert_array_equal(days, [70, 70, 70 - opening, 70, 70, 70])


def test_scores_by_hand(result):
    flow = record()["riverflow"].sel(time=slice(*PERIOD)).values[:, 0]
    one = result.scores.sel({"question": "simulate", "method": "constant", "catchment": 1})
    np.testing.assert_allclose(one["nse"], 1 - ((flow - 1) ** 2).sum() / ((flow - flow.mean()) ** 2).sum(), rtol=1e-6)
    np.testing.assert_allclose(one["coverage90"], np.mean(np.abs(flow - 1) <= 1))
    np.testing.assert_allclose(one["coverage50"], np.mean(np.abs(flow - 1) <= 0.1), atol=0.01)
    assert 0 < float(one["crps"]) < np.abs(flow - 1).mean()
    assert float(one["target_days"]) == 150


def test_days_without_a_prediction_are_counted(result):
    unanswered = result.scores.sel({"question": "simulate", "method": "constant", "catchment": 4})
    assert (float(unanswered["target_days"]), float(unanswered["answered_days"])) == (150, 0)
    assert np.isnan(unanswered["nse"])
    row = summarise(result.scores).loc[("simulate", "constant")]
    np.testing.assert_allclose(row["answered"], (5 * 150 - 1) / (6 * 150 - 1))
    assert (row["catchments"], row["unanswered"]) == (6, 1)


def test_methods_that_were_not_asked_have_no_score(result):
    assert result.scores["nse"].sel({"question": "simulate", "method": "persistence"}).isnull().all()
    assert result.scores["crps"].sel({"question": "gap", "method": "log-interpolation"}).isnull().all()
    assert ("simulate", "persistence") not in summarise(result.scores).index


def test_the_summary_is_over_catchments_with_the_minimum_of_days(result):
    table = summarise(result.scores)
    values = result.scores["nse"].sel({"question": "gap", "method": "log-interpolation"}).values
    row = table.loc[("gap", "log-interpolation")]
    assert row["minimum_days"] == 35
    np.testing.assert_allclose(row["nse_median"], np.median(values))
    np.testing.assert_allclose(row["nse_p10"], np.percentile(values, 10))
    np.testing.assert_allclose(row["nse_p25"], np.percentile(values, 25))


def test_examples_are_hydrographs_of_the_first_method(result):
    examples = result.examples.isel(example=(result.examples["question"] == "gap").values)
    assert set(examples["method"].values) == {"constant"}
    assert examples["nse"].values.tolist() == sorted(examples["nse"].values)
    shown = examples["mean"].notnull()
    assert (examples["mean"].where(shown, 1.0) == 1.0).all()
    assert (shown.sum("time") >= 69).all()
    assert examples["quantile_value"].sel(quantile=0.95).isel(example=0).max() == 2.0
    catchment = examples["catchment"].values[0]
    truth = record()["riverflow"].sel(catchment=catchment, time=slice(*PERIOD)).values
    np.testing.assert_allclose(examples["truth"].values[0], truth, rtol=1e-6)


def test_all_leads_of_a_forecast_show_the_rivers_of_the_middle_lead(result):
    by_row = result.examples["catchment"].groupby(result.examples["question"])
    rivers = {str(row): part.values.tolist() for row, part in by_row}
    assert rivers["forecast-blind-1"] == rivers["forecast-blind-3"] == rivers["forecast-blind-7"]
    nse = result.scores["nse"].sel({"question": "forecast-blind-3", "method": "persistence"}).to_series().sort_values()
    assert rivers["forecast-blind-3"] == nse.index[[round(rank * (len(nse) - 1)) for rank in (0.1, 0.5, 0.9)]].tolist()
    assert result.scores["name"].values.tolist() == [f"River {number}" for number in range(6)]


def test_saved_and_loaded_evaluation_is_the_same(result, tmp_path):
    folder = tmp_path / "deep" / "evaluation"
    result.save(folder)
    result.save(folder)
    again = score.Evaluation.load(folder)
    xr.testing.assert_identical(again.scores, result.scores)
    xr.testing.assert_equal(again.examples, result.examples)
    assert again.settings == result.settings
    assert again.settings["period"] == list(PERIOD) and again.settings["seed"] == 0
    assert [path.name for path in folder.parent.iterdir()] == ["evaluation"]


def test_a_failed_save_leaves_the_old_evaluation(result, tmp_path):
    folder = tmp_path / "evaluation"
    result.save(folder)
    broken = score.Evaluation(result.scores, result.examples, {"command": object()})
    with pytest.raises(TypeError):
        broken.save(folder)
    assert score.Evaluation.load(folder).settings == result.settings
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation"]


def test_save_replaces_only_files_of_an_evaluation(result, tmp_path):
    result.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    again = score.Evaluation(result.scores, result.examples, {**result.settings, "seed": 1})
    again.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {*score.FILES, "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine" and score.Evaluation.load(tmp_path).settings["seed"] == 1


@pytest.mark.parametrize("name", ["thesis.tex", "settings.json", "scores.nc", "checkpoints", ".env"])
def test_save_refuses_a_folder_with_other_files(result, name, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="evaluation"):
        result.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no scores\.nc in it"):
        score.Evaluation.load(tmp_path)


def test_a_question_with_a_visible_target_is_refused():
    full = record()
    (question,) = protocol.simulate_questions(full, PERIOD)
    shown = protocol.Question("simulate", protocol.with_context(full, PERIOD), question.truth, question.targets)
    with pytest.raises(ValueError, match="a target is visible in its dataset"):
        score.evaluate({"simulate": [Constant()]}, full, [shown], PERIOD)


def test_quantiles_without_the_ends_of_intervals_are_refused():
    class Narrow(Constant):
        name = "narrow"

        def predict(self, dataset: xr.Dataset) -> xr.Dataset:
            return super().predict(dataset).sel(quantile=[0.25, 0.75])

    full = record()
    with pytest.raises(InputError, match=r"narrow: no quantile 0\.05"):
        score.evaluate({"simulate": [Narrow()]}, full, protocol.simulate_questions(full, PERIOD), PERIOD)


def test_distributions_are_scored_by_decile(result):
    full = record()
    edges = np.quantile(np.nan_to_num(full["riverflow"].values, nan=1.0), np.arange(1, 10) / 10, axis=0)
    limits = Thresholds(np.full(6, np.nan), np.full((12, 6), np.nan), edges)
    asked = {"simulate": [Constant(), baselines.Climatology.fit(full)]}
    found = score.evaluate(asked, full, protocol.simulate_questions(full, PERIOD), PERIOD, thresholds=limits).scores
    constant = found.sel({"question": "simulate", "method": "constant"})
    answered = float(constant["answered_days"].sum())
    assert constant["decile_days"].sum("decile").values.tolist() == [answered] * 2
    held = (constant["decile_days"] * constant["decile_coverage90"]).sum("decile").values
    np.testing.assert_allclose(held, float((constant["answered_days"] * constant["coverage90"]).sum()))
    assert found.sel({"method": "day-of-year-mean"})["decile_days"].isnull().all(), "it gives no distribution"
    assert result.scores["decile_days"].isnull().all(), "deciles are not known without a training record"


class LastDays(Constant):
    """As `Constant`, also for the last days alone; counts how it is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        self.calls.append("all days")
        return super().predict(dataset)

    def predict_last_days(self, dataset: xr.Dataset, days: int) -> xr.Dataset:
        self.calls.append(f"{days} days")
        return super().predict(dataset).isel(time=slice(-days, None))


def test_forecasts_are_predicted_for_the_days_of_their_leads_alone_and_score_the_same(result):
    full, method = record(), LastDays()
    asked = [*protocol.simulate_questions(full, PERIOD), *protocol.forecast_questions(full, PERIOD, "none", every=7)]
    assert asked[0].last_days is None
    for question in asked[1:]:
        assert question.last_days == 7
        assert all((days["time"] > question.dataset["time"][-8]).all() for days in question.targets.values())
    scores = score.evaluate({"simulate": [method], "forecast-blind": [method]}, full, asked, PERIOD).scores
    assert method.calls == ["all days"] + ["7 days"] * (len(asked) - 1)
    expected = result.scores.sel({"question": scores["question"], "method": ["constant"]})
    xr.testing.assert_equal(scores, expected)


def test_the_model_predicts_the_questions_as_it_predicts_a_dataset_of_a_user():
    """Records of the protocol are not checked again; the last days agree to the last bits of single precision."""
    model, full = load("gb-rivers", "cpu", "fp32"), virtual_catchments(500, 1, "2010-01-01", 6)
    period, method = ("2011-03-01", "2011-04-30"), scored_method(model, "rivers")
    (question, *_) = protocol.ungauged_limited_questions(full, period)
    expected = model.predict(question.dataset, SCORED_LEVELS)
    answer = method.predict(question.dataset)
    for name in ("riverflow", "riverflow_quantile"):
        np.testing.assert_array_equal(answer[name], expected[name])
    (question, *_) = protocol.forecast_questions(full, period, every=100)
    expected = model.predict(question.dataset, SCORED_LEVELS).isel(time=slice(-7, None))
    answer = method.predict_last_days(question.dataset, 7)
    for name in ("riverflow", "riverflow_quantile"):
        np.testing.assert_allclose(answer[name], expected[name], rtol=1e-5)
        np.testing.assert_array_equal(answer["time"], expected["time"])


def test_an_evaluation_without_questions_is_empty():
    empty = score.evaluate({}, record(), [], PERIOD)
    assert empty.scores.sizes["question"] == 0
    assert summarise(empty.scores).empty
