"""The protocol from end to end: the model and the baselines, the same questions, one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import xarray as xr

from hydromae.evaluate import protocol
from hydromae.evaluate.answers import LEVELS
from hydromae.evaluate.baselines import for_questions
from hydromae.evaluate.events import Thresholds
from hydromae.evaluate.protocol import Period, Question
from hydromae.evaluate.score import Evaluation, evaluate
from hydromae.predict import Model, Watch, unwatched
from hydromae.progress import telling
from hydromae.questions import Method


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
) -> Evaluation:
    """Ask the questions named and score every answer.

    Parameters
    ----------
    model : Model or None
        Comes first in every row; None scores the baselines alone.
    record : Dataset
        A water record with the truth.
    period : (str, str)
        First and last day that is scored.
    names : sequence of str
        Among fill, ungauged, ungauged-bare, simulate, forecast, forecast-blind.
    every : int
        Days between two issues of a forecast.
    baselines : bool
        Whether the baselines answer too, fitted on the training days.
    settings : mapping
        Said in the report beside the split.
    more : mapping of str to sequence of Method, optional
        Further methods by the name of the question, trained elsewhere.
    watch : callable
        Told how many questions are answered, and of how many.
    """
    own, training = [] if model is None else [ByModel(model, model.name)], protocol.training_record(record)
    others = for_questions(training) if baselines else {}
    thresholds = Thresholds.fit(training, record["catchment"].values)
    methods = {name: [*own, *(more or {}).get(name, []), *others.get(name, [])] for name in names}
    held = [str(name) for name in protocol.held_out(record["catchment"].values)]
    said = {"split": f"{len(held)} catchments never in training: seed 0, protocol.held_out", "issue_every_days": every}
    questions = _watched(asked(record, period, names, every), _count(record, period, names, every), watch)
    return evaluate(methods, record, questions, period, {**said, **settings}, thresholds)


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
        "forecast": protocol.forecast(record, period, "known", every),
        "forecast-blind": protocol.forecast(record, period, "blind", every),
    }
    return chain.from_iterable(made[name] for name in names)
