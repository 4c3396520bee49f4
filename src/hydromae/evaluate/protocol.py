"""The evaluation protocol: periods, held-out catchments, and questions.

A question is a dataset in which observed flow was replaced by NaN, with the days that are scored; only observed days are
targets. Flow and weather of the year before a period are in the dataset as context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.batching.windows import ALWAYS_KNOWN_ATTRIBUTES, KM_PER_DEGREE
from hydromae.errors import InputError
from hydromae.evaluate import QuestionName
from hydromae.inference import scenarios
from hydromae.variables import ATTRIBUTES

Period = tuple[str, str]
TRAINING_END = "2010-12-31"
PERIODS: Mapping[str, Period] = {
    "validation": ("2011-01-01", "2012-09-30"),
    "test": ("2012-10-01", "2014-09-30"),
    "all": ("2011-01-01", "2014-09-30"),
}


@dataclass(frozen=True)
class ProtocolDefaults:
    """Defaults of a protocol of `hydromae evaluate`.

    Attributes:
        period: First and last scored day.
        questions: Tasks.
        issue_interval: Days between two issue days.
        has_lstms: Whether the LSTMs of the package were trained for it.
    """

    period: Period
    questions: tuple[str, ...]
    issue_interval: int
    has_lstms: bool


PROTOCOLS: Mapping[str, ProtocolDefaults] = {
    "gb": ProtocolDefaults(PERIODS["test"], get_args(QuestionName), 10, True),
    "france": ProtocolDefaults(("2015-01-01", "2018-12-31"), ("gap", "simulate"), 30, False),
}
"""Great Britain (CAMELS-GB), and 19 catchments of CAMELS-FR that no model of the package was trained on."""
CONTEXT_DAYS = 365
LEADS = (1, 3, 7)
QUESTION_NAMES: tuple[str, ...] = get_args(QuestionName)
FOLDS = 10
GAP_PASSES = 3
GAP_LENGTHS = (1, 3, 10, 30, 90)
"""Lengths of gaps that are scored on request [days]."""
GAP_SPACING_FACTOR = 5
SHIFT_KM = 5.0


@dataclass(frozen=True)
class Question:
    """A dataset to predict, and its targets.

    Attributes:
        name: Task: gap, ungauged, ungauged-limited, simulate, forecast or forecast-blind.
        dataset: Input of a method: a water record with NaN at the targets.
        truth (DataArray (time, catchment)): Observed flow of the same days [mm/day].
        targets (mapping of str to DataArray (time, catchment)): For each row of the table of scores (such as forecast-3),
            True where a prediction is scored; days that are not in its coordinate are not scored.
        last_days: All targets are among this many last days of the dataset; None: on any day.
    """

    name: str
    dataset: xr.Dataset
    truth: xr.DataArray
    targets: Mapping[str, xr.DataArray]
    last_days: int | None = None


def folds(catchments: np.ndarray, count: int = FOLDS) -> list[np.ndarray]:
    """Catchments in `count` parts of equal size, drawn with the seed 0, each in file order."""
    order = np.random.default_rng(0).permutation(len(catchments))
    return [catchments[np.sort(part)] for part in np.array_split(order, count)]


def held_out(catchments: np.ndarray) -> np.ndarray:
    """The held-out catchments: a tenth of all, in file order.

    Of the 599 catchments of Great Britain these are the 60 of `numpy.random.default_rng(0).permutation(599)[:60]`.
    """
    return folds(catchments)[0]


def training_record(record: xr.Dataset) -> xr.Dataset:
    """The days of the training period."""
    return record.sel(time=slice(None, TRAINING_END))


def outside_period(record: xr.Dataset, period: Period) -> xr.Dataset:
    """The days of a record outside a period, on which a baseline may be fitted."""
    start, end = (np.datetime64(day) for day in period)
    return record.isel(time=np.flatnonzero((record["time"].values < start) | (record["time"].values > end)))


def with_context(record: xr.Dataset, period: Period, context_days: int = CONTEXT_DAYS) -> xr.Dataset:
    """The days of a period and up to `context_days` days of the record before it.

    Raises:
        InputError: The record has no day of the period.
    """
    if record.sel(time=slice(*period)).sizes["time"] == 0:
        raise InputError(f"period {period[0]} to {period[1]} is outside the record; choose a period within its days")
    start = pd.Timestamp(period[0]) - pd.Timedelta(days=context_days)
    return record.sel(time=slice(start, period[1]))


def _make_question(
    name: str, question_input: xr.Dataset, context: xr.Dataset, scored_days: Mapping[str, xr.DataArray]
) -> Question:
    """A question whose targets are the days in `scored_days` that were observed and are NaN in its input."""
    truth = context["riverflow"].transpose("time", "catchment").sel(time=question_input["time"])
    removed = truth.notnull() & question_input["riverflow"].isnull()
    targets = {row: removed.sel(time=days["time"]) & days for row, days in scored_days.items()}
    return Question(name, question_input, truth, targets)


def _in_period(context: xr.Dataset, period: Period) -> xr.DataArray:
    """True on the days of the period, for every catchment."""
    start, end = (np.datetime64(day) for day in period)
    inside = (context["time"] >= start) & (context["time"] <= end)
    return inside.expand_dims(catchment=context["catchment"]).transpose("time", "catchment")


def gap_questions(record: xr.Dataset, period: Period, gap: int = 10, every: int = 20) -> Iterator[Question]:
    """Gaps of `gap` days, `every` days apart, in three questions with every third catchment each.

    Neighbours in file order are in different questions.
    """
    context = with_context(record, period)
    inside = context.sel(time=slice(*period))
    pattern = scenarios.gap_pattern(inside["time"], context["catchment"], gap, every)
    third_of_catchment = xr.DataArray(np.arange(context.sizes["catchment"]) % GAP_PASSES, dims="catchment")
    for third_number in range(GAP_PASSES):
        hidden = pattern & (third_of_catchment == third_number)
        yield _make_question("gap", scenarios.fill_gaps(context, hidden), context, {"gap": hidden})


def gap_length_questions(
    record: xr.Dataset, period: Period, gaps: Sequence[int] = GAP_LENGTHS, spacing: int | None = None
) -> Iterator[Question]:
    """Gaps of several lengths in all catchments, a question and a row `gap-G` for each length G that fits the period.

    Args:
        record: The water record.
        period: First and last scored day.
        gaps: Lengths of the gaps [days].
        spacing: Days between the first days of two gaps. None: five times the length, so that for every length a fifth of
            the days is hidden, and as many neighbours are visible.

    The first day is drawn for each catchment with the seed 0. With one first day for all, gaps of all catchments contain the
    same floods, and the median NSE of interpolation changes by about 0.1 with that day; with drawn days, by about 0.03. The
    reference table of the protocol does not state its first days: it has 0.69 / 0.43 / 0.22 for 3, 10 and 30 days, this
    pattern with a spacing of 100 days 0.68 / 0.43 / 0.19.
    """
    context = with_context(record, period)
    inside = context.sel(time=slice(*period))
    for gap in fitting_gap_lengths(record, period, gaps):
        every = spacing or GAP_SPACING_FACTOR * gap
        latest = min(every, inside.sizes["time"] - gap)  # one gap at least is inside the period
        start = np.random.default_rng(0).integers(0, latest, context.sizes["catchment"])
        hidden = scenarios.gap_pattern(inside["time"], context["catchment"], gap, every, start)
        yield _make_question("gap", scenarios.fill_gaps(context, hidden), context, {f"gap-{gap}": hidden})


def fitting_gap_lengths(record: xr.Dataset, period: Period, gaps: Sequence[int]) -> list[int]:
    """The lengths, ascending, of gaps that fit at least twice into the days of a period."""
    days = record.sel(time=slice(*period)).sizes["time"]
    return [gap for gap in sorted(set(gaps)) if 2 * gap < days]


def parse_gap_lengths(gaps: Sequence[int] | None, record: xr.Dataset, period: Period) -> list[int]:
    """The lengths of gaps that are scored: none for None; for an empty sequence, those of `GAP_LENGTHS` that fit.

    Raises:
        InputError: A length is below one day, or does not fit twice into the period.
    """
    fitting = fitting_gap_lengths(record, period, gaps or GAP_LENGTHS)
    unfit = sorted({gap for gap in gaps or () if gap < 1 or gap not in fitting})
    if unfit:
        raise InputError(f"gap length of {unfit[0]} days: give lengths of 1 day to less than half of the scored period")
    return [] if gaps is None else fitting


def ungauged_questions(record: xr.Dataset, period: Period, catchments: np.ndarray | None = None) -> Iterator[Question]:
    """All flow of some catchments is hidden, in the period and before it; by default of the held-out ones."""
    context = with_context(record, period)
    selected = held_out(context["catchment"].values) if catchments is None else catchments
    scored_days = _in_period(context, period) & context["catchment"].isin(selected)
    yield _make_question("ungauged", scenarios.ungauged(context, selected), context, {"ungauged": scored_days})


def ungauged_limited_questions(record: xr.Dataset, period: Period) -> Iterator[Question]:
    """As `ungauged`, with position and area as the only attributes, and the position shifted.

    Easting and northing are each shifted by up to 5 km, drawn with the seed 0; the centroid is unknown.
    """
    for question in ungauged_questions(record, period):
        limited = _limit_attributes(question.dataset, held_out(question.dataset["catchment"].values))
        yield replace(
            question,
            name="ungauged-limited",
            dataset=limited,
            targets={"ungauged-limited": question.targets["ungauged"]},
        )


def _limit_attributes(dataset: xr.Dataset, catchments: np.ndarray) -> xr.Dataset:
    """The dataset with only area and a shifted position as attributes of these catchments."""
    selected = dataset["catchment"].isin(catchments)
    shifts_km = np.random.default_rng(0).uniform(-SHIFT_KM, SHIFT_KM, (2, len(catchments)))
    shift = np.zeros((2, dataset.sizes["catchment"]))
    shift[:, selected.values] = shifts_km
    degrees = KM_PER_DEGREE * np.cos(np.deg2rad(dataset["latitude"].values)) if "latitude" in dataset.variables else 1.0
    offsets = {"easting": 1e3 * shift[0], "northing": 1e3 * shift[1]}
    offsets |= {"longitude": shift[0] / degrees, "latitude": shift[1] / KM_PER_DEGREE}
    removed_names = [a.name for a in ATTRIBUTES if a.name not in ALWAYS_KNOWN_ATTRIBUTES] + [
        "centroid_easting",
        "centroid_northing",
    ]
    changed = {name: dataset[name] + offsets[name] for name in offsets if name in dataset.variables}
    changed |= {name: dataset[name].where(~selected) for name in removed_names if name in dataset.variables}
    coordinate_names = {name for name in changed if name in dataset.coords}
    data = {name: value for name, value in changed.items() if name not in coordinate_names}
    return dataset.assign(data).assign_coords({name: changed[name] for name in coordinate_names})


def simulate_questions(record: xr.Dataset, period: Period) -> Iterator[Question]:
    """All flow of all catchments is hidden, in the period and before it."""
    context = with_context(record, period)
    yield _make_question("simulate", scenarios.simulate(context), context, {"simulate": _in_period(context, period)})


def forecast_questions(
    record: xr.Dataset,
    period: Period,
    future_weather: scenarios.FutureWeather = "observed",
    every: int = 5,
    leads: tuple[int, ...] = LEADS,
    context_days: int = CONTEXT_DAYS,
) -> Iterator[Question]:
    """A forecast every `every` days from the first day of the period, a row for each lead.

    The row of lead L is `forecast-L`, or `forecast-blind-L` if weather after the issue day is hidden too.
    """
    name = "forecast" if future_weather == "observed" else "forecast-blind"
    context = with_context(record, period, context_days)
    days = max(leads)
    for issue in issues(record, period, every, days):
        question_input = scenarios.forecast_input(context, issue, days, future_weather, context_days)
        is_missing = question_input["riverflow"].isel(time=slice(-days, None)).isnull()
        scored_days = {f"{name}-{lead}": is_missing.isel(time=[lead - 1]) for lead in leads}
        yield replace(_make_question(name, question_input, context, scored_days), last_days=days)


def issues(record: xr.Dataset, period: Period, every: int, days: int = max(LEADS)) -> pd.DatetimeIndex:
    """Issue days of a period: every `every` days from its first day, at least `days` days before its end."""
    last = pd.Timestamp(with_context(record, period, 0)["time"].values[-1]) - pd.Timedelta(days=days)
    return pd.date_range(period[0], last, freq=f"{every}D")


def questions(
    record: xr.Dataset, period: Period, names: Sequence[str] = QUESTION_NAMES, every: int = 5
) -> Iterator[Question]:
    """The questions of some tasks, with an issue day of forecasts every `every` days."""
    by_name = {
        "gap": gap_questions(record, period),
        "ungauged": ungauged_questions(record, period),
        "ungauged-limited": ungauged_limited_questions(record, period),
        "simulate": simulate_questions(record, period),
        "forecast": forecast_questions(record, period, "observed", every),
        "forecast-blind": forecast_questions(record, period, "none", every),
    }
    for name in names:
        yield from by_name[name]


def question_count(record: xr.Dataset, period: Period, names: Sequence[str], every: int) -> int:
    """Number of `questions`."""
    issue_days = len(issues(record, period, every))
    counts = {"gap": GAP_PASSES, "forecast": issue_days, "forecast-blind": issue_days}
    return sum(counts.get(name, 1) for name in names)
