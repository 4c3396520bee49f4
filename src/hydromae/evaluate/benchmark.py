"""The protocol from end to end: the model and the baselines, the same questions, one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import xarray as xr

from hydromae.config.schema import DataConfig
from hydromae.evaluate import protocol
from hydromae.evaluate.answers import SCORED_LEVELS
from hydromae.evaluate.baselines import fitted_baselines
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.protocol import Period, Question
from hydromae.evaluate.score import Evaluation, evaluate
from hydromae.inference.predictor import Model, ProgressCallback, no_progress
from hydromae.inference.scenarios import Method
from hydromae.inference.training_overlap import seen_in_training
from hydromae.io.credits import list_credits
from hydromae.io.provenance import model_line
from hydromae.progress import progress_callback, warn_once


@dataclass(frozen=True)
class ModelMethod:
    """A model as a method: it predicts the quantiles that are scored, of records that a reader has checked."""

    model: Model
    name: str

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Predict every NaN."""
        return self._predict(dataset, None)

    def predict_last_days(self, dataset: xr.Dataset, days: int) -> xr.Dataset:
        """Predict every NaN of the last `days` days, without the others."""
        return self._predict(dataset, days)

    def _predict(self, dataset: xr.Dataset, last_days: int | None) -> xr.Dataset:
        return self.model.predict_record(dataset, list(SCORED_LEVELS), progress_callback("windows"), last_days)


def run_protocol(
    model: Model | None,
    record: xr.Dataset,
    period: Period,
    names: Sequence[str],
    every: int,
    baselines: bool,
    settings: Mapping[str, object],
    more: Mapping[str, Sequence[Method]] | None = None,
    progress: ProgressCallback = no_progress,
    more_data: Mapping[str, DataConfig] | None = None,
) -> Evaluation:
    """Ask the questions named and score every answer.

    Args:
        model: Comes first in every row; None scores the baselines alone.
        record: A water record with the truth.
        period (str, str): First and last day that is scored.
        names: Among gap, ungauged, ungauged-limited, simulate, forecast, forecast-blind.
        every: Days between two issues of a forecast.
        baselines: Whether the baselines answer too, fitted on the training days outside the period.
        settings: Said in the report beside the split.
        more: Further methods by the name of the question, trained elsewhere.
        progress: Called with how many questions are answered, and of how many.
        more_data: What further methods were trained on, by what they are called.

    Returns:
        Evaluation: Its setting `seen_in_training` says, for each of the model and `more_data`, what training may have seen of
            the flow that is scored; it is not there where there is nothing to say.
    """
    model_methods, training = (
        [] if model is None else [ModelMethod(model, model.name)],
        protocol.training_record(record),
    )
    baseline_methods = fitted_baselines(protocol.outside_period(training, period)) if baselines else {}
    thresholds = Thresholds.fit(training, record["catchment"].values)
    methods = {name: [*model_methods, *(more or {}).get(name, []), *baseline_methods.get(name, [])] for name in names}
    held_out = [str(name) for name in protocol.held_out(record["catchment"].values)]
    notes = {
        "split": f"{len(held_out)} catchments asked as ungauged: seed 0, protocol.held_out",
        "issue_every_days": every,
    }
    notes |= {"answered_by": model_line(model.identity)} if model is not None else {}
    notes |= {"data": "; ".join(list_credits(record))} if list_credits(record) else {}
    questions = _with_progress(
        protocol_questions(record, period, names, every), _question_count(record, period, names, every), progress
    )
    with warn_once():
        evaluation = evaluate(methods, record, questions, period, {**notes, **settings}, thresholds)
    return _with_overlap_warning(
        evaluation, record, ({} if model is None else {model.name: model.config.data}) | dict(more_data or {})
    )


def _with_overlap_warning(evaluation: Evaluation, record: xr.Dataset, trained: Mapping[str, DataConfig]) -> Evaluation:
    """The evaluation, with what training may have seen of the flow that is scored, for each of those that were trained."""
    scored = (evaluation.scores["target_days"] > 0).any(("question", "method"))
    rivers = evaluation.scores["catchment"].values[scored.values]
    days = record["time"].sel(time=slice(*evaluation.settings["period"])).values
    notes = {name: seen_in_training(data, rivers, days) for name, data in trained.items()}
    lines = [f"{name}: {line}" for name, line in notes.items() if line]
    if not lines:
        return evaluation
    scores = evaluation.scores.assign_attrs(comment=" ".join(lines))
    return replace(evaluation, scores=scores, settings=evaluation.settings | {"seen_in_training": lines})


def _question_count(record: xr.Dataset, period: Period, names: Sequence[str], every: int) -> int:
    """How many questions there are."""
    issues = len(protocol.issues(record, period, every))
    return sum(
        {"gap": protocol.GAP_PASSES, "forecast": issues, "forecast-blind": issues}.get(name, 1) for name in names
    )


def _with_progress(questions: Iterator[Question], total: int, progress: ProgressCallback) -> Iterator[Question]:
    for done, question in enumerate(questions):
        progress(done, total)
        yield question
    progress(total, total)


def protocol_questions(record: xr.Dataset, period: Period, names: Sequence[str], every: int) -> Iterator[Question]:
    """The questions of the protocol, by name."""
    by_name: dict[str, Iterable[Question]] = {
        "gap": protocol.gaps(record, period),
        "ungauged": protocol.ungauged(record, period),
        "ungauged-limited": protocol.ungauged_limited(record, period),
        "simulate": protocol.simulate(record, period),
        "forecast": protocol.forecast(record, period, "observed", every),
        "forecast-blind": protocol.forecast(record, period, "none", every),
    }
    return chain.from_iterable(by_name[name] for name in names)
