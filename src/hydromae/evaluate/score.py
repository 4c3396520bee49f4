"""Scores of methods on the questions of the protocol, for each catchment."""

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
from hydromae.evaluate.probe_table import PROBE_COLUMNS, summarise_probes
from hydromae.evaluate.protocol import Period, Question
from hydromae.inference.scenarios import Method, predict_last_days
from hydromae.io.atomic import atomic_files, write_netcdf
from hydromae.io.folders import EVALUATION
from hydromae.io.outputs import output_folder, reserve_output
from hydromae.progress import track

EVENTS = tuple(f"{kind}_{name}" for kind in KINDS for name in COUNTS)
SCORES = ("nse", "kge", "target_days", "answered_days", "crps", "coverage50", "coverage90", *EVENTS)
INTERVAL_LEVELS = (0.05, 0.25, 0.75, 0.95)
FILES = ("scores.nc", "examples.nc", "settings.json")
"""Files of an evaluation, which is recognised by the last one."""
PROBE_FILES = ("probes.csv", "probes_by_river.csv")
"""Files of an evaluation with physical probes: their summary, and their values."""
PROBES_SETTING = "probes"
"""Setting of an evaluation that has these files."""


@dataclass(frozen=True)
class Evaluation:
    """Scores, example hydrographs and settings.

    Attributes:
        scores (Dataset (question, method, catchment)): `nse`, `kge`, `target_days`, `answered_days` (target days with a
            prediction, on which scores are computed), `crps` [mm/day], `coverage50`, `coverage90` (NaN without a
            distribution), counts of events (`evaluate.events`), coordinates `easting`, `northing` [m] and `name` of the
            rivers if the record has them; NaN where a method was not evaluated. `decile_days`, `decile_crps`,
            `decile_coverage50` and `decile_coverage90` (question, method, by, decile): scores by decile of flow
            (`evaluate.flow_deciles`).
        examples (Dataset (example, time)): Hydrographs: `truth`, `mean` and `quantile_value` (quantile, example, time) on
            target days, `precipitation`; coordinates `question`, `method`, `catchment`, `nse`.
        settings: Period, seed, split and command, of JSON types.
        probes: Physical probes by river (`probe_table.run_probes`); None without them.
    """

    scores: xr.Dataset
    examples: xr.Dataset
    settings: dict
    probes: pd.DataFrame | None = None

    def save(self, folder: str | Path) -> None:
        """Write `scores.nc`, `examples.nc` and `settings.json`; those of an earlier evaluation are replaced.

        Probes are written as `probes.csv` (summary) and `probes_by_river.csv`; without them, those of an earlier evaluation
        are removed.

        Raises:
            InputError: The folder is neither empty nor an evaluation, is not writable, or another process writes there.
        """
        folder = Path(folder)
        noted = {} if self.probes is None else {PROBES_SETTING: list(PROBE_FILES)}
        other_settings = {name: value for name, value in self.settings.items() if name != PROBES_SETTING}
        settings = json.dumps(other_settings | noted, indent=2) + "\n"
        owned = (*own_probe_files(folder, self.probes is not None), *FILES)
        with reserve_output(output_folder(folder, EVALUATION)), atomic_files(folder, owned, FILES[-1]) as aside:
            write_netcdf(self.scores, aside / FILES[0])
            write_netcdf(self.examples, aside / FILES[1])
            if self.probes is not None:
                summarise_probes(self.probes).to_csv(aside / PROBE_FILES[0], index=False)
                self.probes.to_csv(aside / PROBE_FILES[1], index=False)
            (aside / FILES[2]).write_text(settings, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read an evaluation.

        Raises:
            InputError: The folder does not contain an evaluation.
        """
        folder = Path(folder)
        for name in FILES:
            if not (folder / name).is_file():
                raise InputError(f"{folder}: no {name} in it; give a folder that hydromae evaluate wrote")
        scores = xr.load_dataset(folder / "scores.nc", engine="h5netcdf")
        examples = xr.load_dataset(folder / "examples.nc", engine="h5netcdf")
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        return cls(scores, examples, settings, _read_probes(folder) if PROBES_SETTING in settings else None)


def _read_probes(folder: Path) -> pd.DataFrame:
    file = folder / PROBE_FILES[1]
    try:
        return pd.read_csv(file, usecols=list(PROBE_COLUMNS))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as probes; run hydromae evaluate --probes again") from error


def own_probe_files(folder: Path, will_write: bool) -> tuple[str, ...]:
    """Names of the files of probes in a folder that may be replaced: those that an evaluation wrote.

    Raises:
        InputError: Probes will be written, and a file of that name is not from an evaluation.
    """
    try:
        if PROBES_SETTING in json.loads((folder / FILES[-1]).read_text(encoding="utf-8")):
            return PROBE_FILES
    except (OSError, ValueError, TypeError):
        pass
    for file in (folder / name for name in PROBE_FILES):
        if will_write and file.exists():
            raise InputError(f"{file}: was not written by hydromae evaluate --probes; move it, or name another folder")
    return ()


def evaluate(
    methods: Mapping[str, Sequence[Method]],
    record: xr.Dataset,
    questions: Iterable[Question],
    period: Period,
    settings: Mapping | None = None,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Score the predictions of methods for each catchment over all its target days of the period.

    Args:
        methods: Methods by the name of the task; the examples are hydrographs of the first one.
        record: The water record, with the truth.
        questions: Of `evaluate.protocol`; predictions of one row of scores are joined before they are scored.
        period (str, str): First and last day that is scored.
        settings: Further settings for the report (seed, split, command), of JSON types.
        thresholds: Thresholds of floods and droughts; without them events and deciles are not scored.

    Raises:
        InputError: The quantiles of a method lack the ends of the 50 % or 90 % interval.
        ValueError: A target is visible in its question.
    """
    days = record.sel(time=slice(*period))
    truth = days["riverflow"].transpose("time", "catchment").astype(np.float64)
    predictions: dict[tuple[str, str], _MethodPredictions] = {}
    for question in questions:
        _refuse_visible_targets(question)
        task_methods = methods.get(question.name, ())
        for method in track(task_methods, f"methods of {question.name}", len(task_methods)):
            answer = (
                method.predict(question.dataset)
                if question.last_days is None
                else predict_last_days(method, question.dataset, question.last_days)
            )
            for row, target in question.targets.items():
                predictions.setdefault((row, method.name), _MethodPredictions(truth)).add(method.name, answer, target)
    tracked = track(predictions.items(), "predictions scored", len(predictions))
    table = {key: part.scores(truth, thresholds) for key, part in tracked}
    coordinates = {name: days[name] for name in ("easting", "northing", "name") if name in days.variables}
    scores = _score_table(table, truth["catchment"]).assign_coords(coordinates)
    own_settings = {"period": list(period), "questions": list(scores["question"].values.tolist())}
    examples = example_table(_hydrographs(predictions, table), days)
    return Evaluation(scores, examples, {**own_settings, **(settings or {})})


def _refuse_visible_targets(question: Question) -> None:
    """Raise ValueError if a target is visible in the dataset of its question."""
    visible = question.dataset["riverflow"].notnull()
    for row, target in question.targets.items():
        if bool((target & visible.sel(time=target["time"])).any()):
            raise ValueError(f"question {row}: a target is visible in its dataset")


class _MethodPredictions:
    """Predictions of one method for one row of scores, over the days of the period."""

    def __init__(self, truth: xr.DataArray) -> None:
        self.target = xr.zeros_like(truth, dtype=bool)
        self.mean = xr.full_like(truth, np.nan, dtype=np.float32)
        self.quantiles: xr.DataArray | None = None

    def add(self, method: str, answer: xr.Dataset, target: xr.DataArray) -> None:
        """Add the predictions on target days."""
        rows = pd.Index(self.target["time"].values).get_indexer(pd.Index(target["time"].values))
        rows, target = rows[rows >= 0], target.isel(time=np.flatnonzero(rows >= 0))
        selection = {"time": target["time"], "catchment": target["catchment"]}
        flow = answer["riverflow"].sel(selection).transpose("time", "catchment").values
        self.target.values[rows] |= target.values
        self.mean.values[rows] = np.where(target.values, flow, self.mean.values[rows])
        if "riverflow_quantile" in answer:
            quantiles = (
                answer["riverflow_quantile"]
                .sel(selection)
                .transpose("quantile", "time", "catchment")
                .sortby("quantile")
            )
            stored = self._stored_quantiles(method, quantiles["quantile"].values)
            stored.values[:, rows] = np.where(target.values, quantiles.values, stored.values[:, rows])

    def _stored_quantiles(self, method: str, levels: np.ndarray) -> xr.DataArray:
        """The array of quantiles, with the levels of the first prediction."""
        if self.quantiles is None:
            for level in INTERVAL_LEVELS:
                if not np.isclose(levels, level, atol=metrics.LEVEL_TOLERANCE).any():
                    raise InputError(f"{method}: no quantile {level} among its levels; add {INTERVAL_LEVELS}")
            empty = xr.full_like(self.mean, np.nan).expand_dims(quantile=levels, axis=0)
            self.quantiles = empty.copy(data=np.full(empty.shape, np.nan, dtype=np.float32))
        return self.quantiles

    def for_catchment(self, catchment: object) -> tuple[xr.DataArray, xr.DataArray | None]:
        selection = {"catchment": catchment}
        return self.mean.sel(selection), None if self.quantiles is None else self.quantiles.sel(selection)

    def scores(self, truth: xr.DataArray, thresholds: Thresholds | None) -> xr.Dataset:
        """Scores of each catchment over the targets with a prediction."""
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
        """Scores of the distribution of each day; None without distributions."""
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
    """Scores of all rows and methods in one dataset; NaN where a method was not evaluated."""
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
    predictions: Mapping[tuple[str, str], _MethodPredictions], table: Mapping[tuple[str, str], xr.Dataset]
) -> list[ExampleHydrograph]:
    """Predictions of the first method of each row for catchments of low, median and high NSE.

    All leads of a forecast have the same catchments, those of its middle lead.
    """
    first: dict[str, str] = {}
    for row, name in predictions:
        first.setdefault(row, name)
    hydrographs = []
    for key in first.items():
        nse = table[key]["nse"]
        for catchment in typical_catchments(table[_chosen_by(key[0], first)]["nse"]):
            value = nse.sel({"catchment": catchment})
            hydrographs.append(ExampleHydrograph(*key, value, *predictions[key].for_catchment(catchment)))
    return hydrographs


def _chosen_by(row: str, methods: Mapping[str, str]) -> tuple[str, str]:
    """The row whose NSE chooses the catchments of a row, with its method: for a forecast, that of the middle lead."""
    task, _, lead = row.rpartition("-")
    leads = [name for name in methods if name.rpartition("-")[0] == task] if task.startswith("forecast") else []
    chosen = leads[len(leads) // 2] if lead.isdigit() and leads else row
    return chosen, methods[chosen]
