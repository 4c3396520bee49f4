"""The evaluation protocol: the model and the baselines predict the same questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import xarray as xr

from hydromae.config.schema import DataConfig
from hydromae.evaluate import protocol
from hydromae.evaluate.answers import SCORED_LEVELS
from hydromae.evaluate.baselines import fitted_baselines
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.probe_table import probe_record, probed_methods, run_probes
from hydromae.evaluate.protocol import Period, Question
from hydromae.evaluate.score import Evaluation, evaluate
from hydromae.inference.method import ModelMethod
from hydromae.inference.predictor import Model, ProgressCallback, no_progress
from hydromae.inference.scenarios import Method
from hydromae.inference.training_overlap import seen_in_training
from hydromae.io.credits import list_credits
from hydromae.io.provenance import model_line
from hydromae.progress import progress_callback, warn_once


def scored_method(model: Model, name: str) -> ModelMethod:
    """A model as a method that predicts the quantiles that are scored."""
    return ModelMethod(model, name, SCORED_LEVELS, progress_callback("windows"))


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
    probes: bool = False,
    gap_lengths: Sequence[int] = (),
) -> Evaluation:
    """Score methods on tasks of the protocol.

    Args:
        model: First method of every task; None scores the other methods alone.
        record: A canonical water record with the truth.
        period (str, str): First and last day that is scored.
        names: Tasks, among `QuestionName`.
        every: Days between two issue days of forecasts.
        baselines: Also score the baselines, fitted on training days outside the period.
        settings: Settings of the evaluation, for the report.
        more: Further trained methods by task.
        progress: Called with the number of finished questions and the number of all.
        more_data: Data configurations of further methods by their names.
        probes: Also apply the physical probes to the methods of `simulate`.
        gap_lengths: Lengths of gaps [days] that are scored, each in a row `gap-G` (`protocol.gap_length_questions`), by the
            methods of `gap`.

    Returns:
        Evaluation: Its setting `seen_in_training`, if any, lists for the model and `more_data` which of the scored flow
            training may have used.
    """
    probed = probe_record(record, period) if probes else None
    model_methods = [] if model is None else [scored_method(model, model.name)]
    training = protocol.training_record(record)
    asked: list[str] = list(dict.fromkeys([*names, "gap"] if gap_lengths else names))
    baseline_methods = fitted_baselines(protocol.outside_period(training, period), asked) if baselines else {}
    thresholds = Thresholds.fit(training, record["catchment"].values)
    methods = {name: [*model_methods, *(more or {}).get(name, []), *baseline_methods.get(name, [])] for name in asked}
    held_out_count = len(protocol.held_out(record["catchment"].values))
    notes: dict[str, object] = {
        "split": f"{held_out_count} held-out catchments, drawn with seed 0 (protocol.held_out)",
        "issue_every_days": every,
    }
    notes |= {"predicted_by": model_line(model.identity)} if model is not None else {}
    notes |= {"data": "; ".join(list_credits(record))} if list_credits(record) else {}
    total = protocol.question_count(record, period, names, every)
    total += len(protocol.fitting_gap_lengths(record, period, gap_lengths))
    by_length = protocol.gap_length_questions(record, period, gap_lengths)
    questions = _with_progress(chain(protocol.questions(record, period, names, every), by_length), total, progress)
    with warn_once():
        evaluation = evaluate(methods, record, questions, period, {**notes, **settings}, thresholds)
    if probed is not None:
        simulators = [*model_methods, *(more or {}).get("simulate", []), *baseline_methods.get("simulate", [])]
        evaluation = replace(evaluation, probes=run_probes(probed_methods(simulators), probed))
    trained = ({} if model is None else {model.name: model.config.data}) | dict(more_data or {})
    return _with_overlap_warning(evaluation, record, trained)


def _with_overlap_warning(evaluation: Evaluation, record: xr.Dataset, trained: Mapping[str, DataConfig]) -> Evaluation:
    """The evaluation, with a line for each trained method on the scored flow that training may have used."""
    scored = (evaluation.scores["target_days"] > 0).any(("question", "method"))
    rivers = evaluation.scores["catchment"].values[scored.values]
    days = record["time"].sel(time=slice(*evaluation.settings["period"])).values
    notes = {name: seen_in_training(data, rivers, days) for name, data in trained.items()}
    lines = [f"{name}: {line}" for name, line in notes.items() if line]
    if not lines:
        return evaluation
    scores = evaluation.scores.assign_attrs(comment=" ".join(lines))
    return replace(evaluation, scores=scores, settings=evaluation.settings | {"seen_in_training": lines})


def _with_progress(questions: Iterator[Question], total: int, progress: ProgressCallback) -> Iterator[Question]:
    for done, question in enumerate(questions):
        progress(done, total)
        yield question
    progress(total, total)
