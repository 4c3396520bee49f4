"""The protocol from end to end: the model and the baselines, the same questions, one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import xarray as xr

from hydromae.config.schema import DataConfig
from hydromae.evaluate import protocol
from hydromae.evaluate.answers import LEVELS
from hydromae.evaluate.baselines import for_questions
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.protocol import Period, Question
from hydromae.evaluate.score import Evaluation, evaluate
from hydromae.inference.predictor import Model, Watch, unwatched
from hydromae.inference.scenarios import Method
from hydromae.inference.training_overlap import seen_in_training
from hydromae.io.credits import credits_in
from hydromae.io.provenance import described
from hydromae.progress import remarked_once, telling


@dataclass(frozen=True)
class ByModel:
    """A model as a method: it is asked for the quantiles that all distributions are scored by."""

    model: Model
    name: str

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Every NaN, with `LEVELS`."""
        return self.model.predict(dataset, LEVELS, watch=telling("windows"))


def run_protocol(
    model: Model | None,
    record: xr.Dataset,
    period: Period,
    names: Sequence[str],
    every: int,
    baselines: bool,
    settings: Mapping[str, object],
    more: Mapping[str, Sequence[Method]] | None = None,
    watch: Watch = unwatched,
    more_data: Mapping[str, DataConfig] | None = None,
) -> Evaluation:
    """Ask the questions named and score every answer.

    Args:
        model: Comes first in every row; None scores the baselines alone.
        record: A water record with the truth.
        period (str, str): First and last day that is scored.
        names: Among fill, ungauged, ungauged-bare, simulate, forecast, forecast-blind.
        every: Days between two issues of a forecast.
        baselines: Whether the baselines answer too, fitted on the training days outside the period.
        settings: Said in the report beside the split.
        more: Further methods by the name of the question, trained elsewhere.
        watch: Told how many questions are answered, and of how many.
        more_data: What further methods were trained on, by what they are called.

    Returns:
        Evaluation: Its setting `seen_in_training` says, for each of the model and `more_data`, what training may have seen of
            the flow that is scored; it is not there where there is nothing to say.
    """
    own, training = [] if model is None else [ByModel(model, model.name)], protocol.training_record(record)
    others = for_questions(protocol.outside(training, period)) if baselines else {}
    thresholds = Thresholds.fit(training, record["catchment"].values)
    methods = {name: [*own, *(more or {}).get(name, []), *others.get(name, [])] for name in names}
    held = [str(name) for name in protocol.held_out(record["catchment"].values)]
    said = {"split": f"{len(held)} catchments asked as ungauged: seed 0, protocol.held_out", "issue_every_days": every}
    said |= {"answered_by": described(model.maker)} if model is not None else {}
    said |= {"data": "; ".join(credits_in(record))} if credits_in(record) else {}
    questions = _watched(asked(record, period, names, every), _count(record, period, names, every), watch)
    with remarked_once():
        found = evaluate(methods, record, questions, period, {**said, **settings}, thresholds)
    return _warned(found, record, ({} if model is None else {model.name: model.config.data}) | dict(more_data or {}))


def _warned(found: Evaluation, record: xr.Dataset, trained: Mapping[str, DataConfig]) -> Evaluation:
    """The evaluation, with what training may have seen of the flow that is scored, for each of those that were trained."""
    scored = (found.scores["target_days"] > 0).any(("question", "method"))
    rivers = found.scores["catchment"].values[scored.values]
    days = record["time"].sel(time=slice(*found.settings["period"])).values
    said = {name: seen_in_training(data, rivers, days) for name, data in trained.items()}
    lines = [f"{name}: {line}" for name, line in said.items() if line]
    if not lines:
        return found
    scores = found.scores.assign_attrs(comment=" ".join(lines))
    return replace(found, scores=scores, settings=found.settings | {"seen_in_training": lines})


def _count(record: xr.Dataset, period: Period, names: Sequence[str], every: int) -> int:
    """How many questions there are."""
    issues = len(protocol.issues(record, period, every))
    return sum({"fill": protocol.PASSES, "forecast": issues, "forecast-blind": issues}.get(name, 1) for name in names)


def _watched(questions: Iterator[Question], total: int, watch: Watch) -> Iterator[Question]:
    for done, question in enumerate(questions):
        watch(done, total)
        yield question
    watch(total, total)


def asked(record: xr.Dataset, period: Period, names: Sequence[str], every: int) -> Iterator[Question]:
    """The questions of the protocol, by name."""
    made: dict[str, Iterable[Question]] = {
        "fill": protocol.fill(record, period),
        "ungauged": protocol.ungauged(record, period),
        "ungauged-bare": protocol.ungauged_bare(record, period),
        "simulate": protocol.simulate(record, period),
        "forecast": protocol.forecast(record, period, "observed", every),
        "forecast-blind": protocol.forecast(record, period, "none", every),
    }
    return chain.from_iterable(made[name] for name in names)
