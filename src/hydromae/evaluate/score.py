"""Scores of every method on every question, for each catchment, through the same door as users."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae import metrics
from hydromae.errors import InputError
from hydromae.evaluate.events import COUNTS, KINDS, Thresholds, event_counts
from hydromae.evaluate.flow_deciles import DECILE_BY, DECILE_SCORES, DECILES, by_decile
from hydromae.evaluate.hydrographs import ExampleHydrograph, example_table, typical_catchments
from hydromae.evaluate.protocol import Period, Question
from hydromae.inference.scenarios import LastDaysMethod, Method
from hydromae.io.atomic import atomic_files, write_netcdf
from hydromae.io.folders import EVALUATION
from hydromae.io.outputs import output_folder, reserve_output
from hydromae.progress import track

EVENTS = tuple(f"{kind}_{name}" for kind in KINDS for name in COUNTS)
SCORES = ("nse", "kge", "target_days", "answered_days", "crps", "coverage50", "coverage90", *EVENTS)
INTERVAL_LEVELS = (0.05, 0.25, 0.75, 0.95)
FILES = ("scores.nc", "examples.nc", "settings.json")
"""Of an evaluation; the last one is what it is recognised by."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        scores (Dataset (question, method, catchment)): `nse`, `kge`, `target_days` (observed days that were asked for),
            `answered_days` (those of them that the method answered; scores look at these), `crps` [mm/day], `coverage50`,
            `coverage90` (NaN where a method gives no distribution), counts of floods and droughts (`evaluate.events`),
            coordinates `easting`, `northing` [m] where the record has them. NaN where a method was not asked. `decile_days`,
            `decile_crps`, `decile_coverage50` and `decile_coverage90` (question, method, by, decile): distributions by tenth
            of the flow (`evaluate.deciles`).
        examples (Dataset (example, time)): Hydrographs: `truth`, `mean` and `quantile_value` (quantile, example, time) of the
            answers on target days, `precipitation`, with coordinates `question`, `method`, `catchment`, `nse` of each
            example.
        settings: How it was made (period, seed, split, command), as JSON holds it.
    """

    scores: xr.Dataset
    examples: xr.Dataset
    settings: dict

    def save(self, folder: str | Path) -> None:
        """Write `scores.nc`, `examples.nc` and `settings.json`, in place of those of an earlier evaluation; the rest stays.

        Raises:
            InputError: The folder is neither empty nor an evaluation, cannot be written, or another process writes there.
        """
        folder = Path(folder)
        settings = json.dumps(self.settings, indent=2) + "\n"
        with reserve_output(output_folder(folder, EVALUATION)), atomic_files(folder, FILES, FILES[-1]) as aside:
            write_netcdf(self.scores, aside / FILES[0])
            write_netcdf(self.examples, aside / FILES[1])
            (aside / FILES[2]).write_text(settings, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what `save` wrote.

        Raises:
            InputError: If the folder does not hold an evaluation.
        """
        folder = Path(folder)
        for name in FILES:
            if not (folder / name).is_file():
                raise InputError(f"{folder}: no {name} in it; name a folder that hydromae evaluate wrote")
        scores = xr.load_dataset(folder / "scores.nc", engine="h5netcdf")
        examples = xr.load_dataset(folder / "examples.nc", engine="h5netcdf")
        return cls(scores, examples, json.loads((folder / "settings.json").read_text(encoding="utf-8")))


def evaluate(
    methods: Mapping[str, Sequence[Method]],
    record: xr.Dataset,
    questions: Iterable[Question],
    period: Period,
    settings: Mapping | None = None,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Ask methods the questions, and score the answers for each catchment over all its target days of the period.

    Args:
        methods: Methods to ask, by the name of the question (gap, ungauged, simulate, forecast, forecast-blind); hydrographs
            of the first one are kept as examples.
        record: The water record, with the truth.
        questions: Of `evaluate.protocol`; answers to questions of one row of scores are put together before they are scored.
        period (str, str): First and last day that is scored.
        settings: What else the report should know (seed, split, command), of JSON types.
        thresholds: What floods and droughts are on each river of the record; without it they are not counted.

    Raises:
        InputError: If a method gives quantiles without the ends of the 50 % and 90 % interval.
        ValueError: If a question shows the answer that it asks for.
    """
    days = record.sel(time=slice(*period))
    truth = days["riverflow"].transpose("time", "catchment").astype(np.float64)
    answers: dict[tuple[str, str], _MethodPredictions] = {}
    for question in questions:
        _refuse_visible_targets(question)
        asked = methods.get(question.name, ())
        for method in track(asked, f"methods that answer {question.name}", len(asked)):
            answer = _predict(method, question)
            for row, target in question.targets.items():
                answers.setdefault((row, method.name), _MethodPredictions(truth)).add(method.name, answer, target)
    given = track(answers.items(), "answers scored", len(answers))
    table = {key: entry.scores(truth, thresholds) for key, entry in given}
    coordinates = {name: days[name] for name in ("easting", "northing") if name in days.variables}
    scores = _score_table(table, truth["catchment"]).assign_coords(coordinates)
    own_settings = {"period": list(period), "questions": list(scores["question"].values.tolist())}
    examples = example_table(_hydrographs(answers, table), days)
    return Evaluation(scores, examples, {**own_settings, **(settings or {})})


def _predict(method: Method, question: Question) -> xr.Dataset:
    """Predictions for a question: of the days with targets alone where the method can."""
    if question.last_days is not None and isinstance(method, LastDaysMethod):
        return method.predict_last_days(question.dataset, question.last_days)
    return method.predict(question.dataset)


def _refuse_visible_targets(question: Question) -> None:
    """Raise if a target of a question is visible in it: then the question is broken, not the method."""
    visible = question.dataset["riverflow"].notnull()
    for row, target in question.targets.items():
        if bool((target & visible.sel(time=target["time"])).any()):
            raise ValueError(f"question {row} shows flow that it asks for")


class _MethodPredictions:
    """Answers of one method to one row of scores, put together over the days of the period."""

    def __init__(self, truth: xr.DataArray) -> None:
        """Nothing asked yet."""
        self.target = xr.zeros_like(truth, dtype=bool)
        self.mean = xr.full_like(truth, np.nan, dtype=np.float32)
        self.quantiles: xr.DataArray | None = None

    def add(self, method: str, answer: xr.Dataset, target: xr.DataArray) -> None:
        """Keep the answers on target days."""
        rows = pd.Index(self.target["time"].values).get_indexer(pd.Index(target["time"].values))
        rows, target = rows[rows >= 0], target.isel(time=np.flatnonzero(rows >= 0))
        selection = {"time": target["time"], "catchment": target["catchment"]}
        flow = answer["riverflow"].sel(selection).transpose("time", "catchment").values
        self.target.values[rows] |= target.values
        self.mean.values[rows] = np.where(target.values, flow, self.mean.values[rows])
        if "riverflow_quantile" in answer:
            given = (
                answer["riverflow_quantile"]
                .sel(selection)
                .transpose("quantile", "time", "catchment")
                .sortby("quantile")
            )
            stored = self._quantiles_like(method, given["quantile"].values)
            stored.values[:, rows] = np.where(target.values, given.values, stored.values[:, rows])

    def _quantiles_like(self, method: str, levels: np.ndarray) -> xr.DataArray:
        """The kept quantiles, of the levels that the method gave first."""
        if self.quantiles is None:
            for level in INTERVAL_LEVELS:
                if not np.isclose(levels, level, atol=metrics.LEVEL_TOLERANCE).any():
                    raise InputError(f"{method}: no quantile {level} among its levels; give {INTERVAL_LEVELS}")
            empty = xr.full_like(self.mean, np.nan).expand_dims(quantile=levels, axis=0)
            self.quantiles = empty.copy(data=np.full(empty.shape, np.nan, dtype=np.float32))
        return self.quantiles

    def for_catchment(self, catchment: object) -> tuple[xr.DataArray, xr.DataArray | None]:
        """Mean and quantiles for one catchment."""
        selection = {"catchment": catchment}
        return self.mean.sel(selection), None if self.quantiles is None else self.quantiles.sel(selection)

    def scores(self, truth: xr.DataArray, thresholds: Thresholds | None) -> xr.Dataset:
        """Scores of each catchment over the targets that were answered."""
        target = truth.where(self.target)
        answered = self.target & self.mean.notnull()
        result = xr.Dataset(
            {
                "nse": metrics.nse(self.mean, target),
                "kge": metrics.kge(self.mean, target),
                "target_days": self.target.sum("time").astype(np.float64),
                "answered_days": answered.sum("time").astype(np.float64),
            }
        )
        days = self._days(target)
        if days is not None:
            result = result.assign(days.mean("time"))
        if thresholds is not None:
            levels = None if self.quantiles is None else self.quantiles["quantile"].values
            quantiles = None if self.quantiles is None else self.quantiles.values
            time = pd.DatetimeIndex(truth["time"].values)
            events = event_counts(
                time, truth.values, self.target.values, self.mean.values, levels, quantiles, thresholds
            )
            result = result.assign({name: ("catchment", count) for name, count in events.items()})
        if thresholds is not None and days is not None:
            flows = xr.Dataset({"observed": target, "predicted": self.mean})
            result = result.assign(by_decile(flows, days, thresholds.deciles))
        return result

    def _days(self, target: xr.DataArray) -> xr.Dataset | None:
        """Scores of each day's distribution, where there are any."""
        if self.quantiles is None:
            return None
        return xr.Dataset(
            {
                "crps": metrics.crps_of_days(self.quantiles, target),
                "coverage50": metrics.covered(self.quantiles, target, 0.5),
                "coverage90": metrics.covered(self.quantiles, target, 0.9),
            }
        )


def _score_table(table: Mapping[tuple[str, str], xr.Dataset], catchment: xr.DataArray) -> xr.Dataset:
    """Scores of all rows and methods side by side, NaN where a method was not asked."""
    rows = list(dict.fromkeys(row for row, _ in table))
    names = list(dict.fromkeys(name for _, name in table))
    coords = {"question": rows, "method": names, "catchment": catchment.values, "by": list(DECILE_BY)}
    coords["decile"] = list(range(1, DECILES + 1))
    dims = dict.fromkeys(SCORES, ("question", "method", "catchment"))
    dims |= dict.fromkeys(DECILE_SCORES, ("question", "method", "by", "decile"))
    values = {score: np.full([len(coords[dim]) for dim in dims[score]], np.nan) for score in dims}
    for (row, name), scores in table.items():
        for score in scores.data_vars:
            values[str(score)][rows.index(row), names.index(name)] = scores[score].values
    units = {"target_days": "days", "answered_days": "days", "decile_days": "days"}
    units |= {"crps": "mm day-1", "decile_crps": "mm day-1"}
    return xr.Dataset({s: (dims[s], array, {"units": units.get(s, "1")}) for s, array in values.items()}, coords=coords)


def _hydrographs(
    answers: Mapping[tuple[str, str], _MethodPredictions], table: Mapping[tuple[str, str], xr.Dataset]
) -> list[ExampleHydrograph]:
    """Answers of the first method of each row to a poor, a middling and a good catchment by NSE."""
    first: dict[str, str] = {}
    for row, name in answers:
        first.setdefault(row, name)
    return [
        ExampleHydrograph(*key, nse.sel({"catchment": catchment}), *answers[key].for_catchment(catchment))
        for key, nse in ((key, table[key]["nse"]) for key in first.items())
        for catchment in typical_catchments(nse)
    ]
