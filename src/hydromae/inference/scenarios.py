"""Questions: every one is an arrangement of NaN, handed to a method that answers every NaN.

A method is anything with a `name` and `predict(dataset) -> dataset`: the model, a baseline, or a reader's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.names import OUTSIDE_TRAINING
from hydromae.io.parse import parse_period
from hydromae.io.value_ranges import PROCESSING
from hydromae.progress import warn_once
from hydromae.store.training_domain import merge_outside

WEATHER: tuple[str, ...] = ("precipitation", "temperature", "potential_evaporation")
DAY = np.timedelta64(1, "D")
FutureWeather = Literal["observed", "none"]
"""Weather after an issue day: as the record holds it, or not used."""


@runtime_checkable
class Method(Protocol):
    """Anything that answers questions: the dataset comes back with every NaN of `riverflow` answered."""

    @property
    def name(self) -> str:
        """Name in tables of scores."""
        ...

    def predict(self, dataset: xr.Dataset, /) -> xr.Dataset:
        """The same dataset, every NaN of `riverflow` answered where the method can."""
        ...


def gap_pattern(
    times: xr.DataArray, catchments: xr.DataArray, gap: int = 10, every: int = 20, start: int | np.ndarray = 0
) -> xr.DataArray:
    """Gaps of `gap` days that open every `every` days; a gap that the ends of the period would cut is left out.

    Args:
        times, catchments (DataArray (time), DataArray (catchment)): Coordinates of the pattern.
        gap, every: Length of a gap, and days from one opening to the next [days].
        start (int or array (C,)): A day on which a gap opens, counted from the first time; one for all, or one for each
            catchment.

    Returns:
        DataArray (time, catchment): True where flow is hidden.

    Raises:
        InputError: If gaps would touch each other or have no length.
    """
    if not 0 < gap < every:
        raise InputError(f"gap of {gap} days every {every} days: a gap needs at least one day and a day between gaps")
    first = np.broadcast_to(start, catchments.size)[None, :]
    day = np.arange(times.size)[:, None] - first
    opening = first + day - day % every
    is_complete = (opening >= 0) & (opening + gap < times.size)
    coords = {"time": times.values, "catchment": catchments.values}
    return xr.DataArray((day % every < gap) & is_complete, dims=("time", "catchment"), coords=coords)


def fill_gaps(dataset: xr.Dataset, hidden: xr.DataArray) -> xr.Dataset:
    """Ask for gaps: flow becomes NaN where `hidden` (time, catchment) is True; days it does not name stay as they are.

    Everything else stays: the other catchments, the days around, the weather.
    """
    hidden_values = hidden.astype(np.float32).reindex(time=dataset["time"], catchment=dataset["catchment"])
    return dataset.assign(riverflow=dataset["riverflow"].where(hidden_values != 1))


def ungauged(dataset: xr.Dataset, catchments: Sequence | np.ndarray) -> xr.Dataset:
    """Ask for rivers that nobody gauged: all flow of `catchments` becomes NaN, on every day.

    Raises:
        InputError: If a catchment is not in the dataset.
    """
    unknown = np.setdiff1d(np.asarray(catchments), dataset["catchment"].values)
    if unknown.size:
        raise InputError(f"catchment {unknown[0]} is not in the record; choose among its {dataset.sizes['catchment']}")
    gauged = ~dataset["catchment"].isin(np.asarray(catchments))
    return dataset.assign(riverflow=dataset["riverflow"].where(gauged))


def simulate(dataset: xr.Dataset) -> xr.Dataset:
    """Ask for flow from weather and traits alone: all flow of all catchments becomes NaN."""
    return dataset.assign(riverflow=xr.full_like(dataset["riverflow"], np.nan))


def hindcast_issues(period: tuple[str, str], interval: int = 1) -> pd.DatetimeIndex:
    """Issue days every `interval` days from the first to the last day of a period.

    Raises:
        InputError: The period is not two ordered dates, or the interval is less than a day.
    """
    first, last = parse_period(period)
    if interval < 1:
        raise InputError(f"issue interval of {interval} days: give 1 day or more")
    return pd.date_range(first.normalize(), last.normalize(), freq=f"{interval}D")


def last_flow_day(dataset: xr.Dataset) -> pd.DatetimeIndex:
    """The last day on which any river's flow was observed: the issue day of a real forecast.

    Raises:
        InputError: If no flow was ever observed.
    """
    flow = (
        dataset["riverflow"] if "riverflow" in dataset else xr.DataArray(np.zeros((0, 0)), dims=("time", "catchment"))
    )
    days = flow.notnull().any("catchment").values
    if not days.any():
        raise InputError("riverflow: no day of it was observed; a forecast needs a last known flow, or ask predict")
    return pd.DatetimeIndex(dataset["time"].values[[np.flatnonzero(days)[-1]]])


def forecast_input(
    dataset: xr.Dataset,
    issue: pd.Timestamp,
    days: int,
    future_weather: FutureWeather = "observed",
    context_days: int = 365,
) -> xr.Dataset:
    """The record as it was known on an issue day, with `days` days of NaN after it.

    Args:
        dataset: A water record.
        issue: Issue day: the last day whose observations may be used. It lies inside the record.
        days: Days asked for after it; days beyond the end of the record are added.
        future_weather ({"observed", "none"}): Whether precipitation, temperature and potential evaporation stay after the
            issue day.
            Any other variable of time is NaN after the issue day, or left out where it cannot hold NaN.
        context_days: Days kept up to and with the issue day (fewer where the record starts later).

    Returns:
        Dataset: `context_days` + `days` days.

    Raises:
        InputError: If the issue day lies outside the record, or no day is asked for.
    """
    if days < 1 or context_days < 1:
        raise InputError(f"forecast of {days} days from {context_days} days of context: both must be at least 1")
    if future_weather not in get_args(FutureWeather):
        raise InputError(f"future_weather {future_weather!r} is neither observed nor none; choose one")
    first, last = pd.Timestamp(dataset["time"].values[0]), pd.Timestamp(dataset["time"].values[-1])
    if not first <= issue <= last:
        raise InputError(f"issue day {issue:%Y-%m-%d} lies outside the record, {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    begin = max(first, issue - pd.Timedelta(days=context_days - 1))
    window = dataset.sel(time=slice(begin, issue + pd.Timedelta(days=days)))
    known_names = WEATHER if future_weather == "observed" else ()
    return _hide_future(window, issue, known_names).reindex(time=pd.date_range(begin, issue + pd.Timedelta(days=days)))


def _hide_future(window: xr.Dataset, issue: pd.Timestamp, known_names: tuple[str, ...]) -> xr.Dataset:
    """Every variable of time but the `given` ones becomes NaN after the issue day; those that hold no NaN go."""
    time_names = [
        name for name, variable in window.data_vars.items() if "time" in variable.dims and name not in known_names
    ]
    float_names = [name for name in time_names if np.issubdtype(window[name].dtype, np.floating)]
    known = window["time"] <= issue.to_datetime64()
    without_fixed = window.drop_vars([name for name in time_names if name not in float_names])
    return without_fixed.assign({name: window[name].where(known) for name in float_names})


def forecast(
    method: Method,
    dataset: xr.Dataset,
    issues: pd.DatetimeIndex,
    days: int,
    future_weather: FutureWeather = "observed",
    context_days: int = 365,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> xr.Dataset:
    """Forecast every catchment on every issue day; nothing observed after it is used but weather, where known.

    Args:
        method: Answers NaN; asked once an issue day.
        dataset: A water record. Issue days inside it make a hindcast; its last day makes a forecast.
        issues: Issue days, e.g. of `hindcast_issues`.
        days: Days ahead.
        future_weather ({"observed", "none"}): Whether weather after the issue day is given to the method, where the record
            holds it.
        context_days: Days up to the issue day that the method sees.
        progress: Called with how many issue days are answered, and of how many.

    Returns:
        Dataset: `riverflow(issue_time, lead, catchment)` [mm/day], lead in days from 1;
            `riverflow_quantile(quantile, issue_time, lead, catchment)` and
            `riverflow_origin(issue_time, lead, catchment)` where the method gives them;
            coordinate `valid_time(issue_time, lead)`; `outside_training(catchment)` where an answer has it.

    Raises:
        InputError: If no issue day is given, or one lies outside the record.
    """
    if len(issues) == 0:
        raise InputError("no issue day given; name at least one")
    answers, outside = [], []
    with warn_once():
        for done, issue in enumerate(issues):
            progress(done, len(issues))
            answer = method.predict(forecast_input(dataset, issue, days, future_weather, context_days))
            names = [n for n in ("riverflow", "riverflow_quantile", "riverflow_origin") if n in answer.data_vars]
            future = answer[names].isel(time=slice(-days, None)).drop_vars("time").rename(time="lead")
            answers.append(future)
            outside += [answer[OUTSIDE_TRAINING]] if OUTSIDE_TRAINING in answer else []
    result = xr.concat(answers, dim=pd.DatetimeIndex(issues, name="issue_time"))
    quantile_attributes = result["riverflow_quantile"].attrs if "riverflow_quantile" in result else {}
    if PROCESSING in quantile_attributes and len(issues) > 1:  # the first issue day has the shortest record
        quantile_attributes[PROCESSING] = f"first issue day: {quantile_attributes[PROCESSING]}"
    result = result.assign_coords(lead=("lead", np.arange(1, days + 1), {"units": "days", "long_name": "lead time"}))
    valid = issues.to_numpy()[:, None] + np.arange(1, days + 1) * DAY
    result = result.assign_coords(valid_time=(("issue_time", "lead"), valid))
    result = result.assign({OUTSIDE_TRAINING: merge_outside(outside)} if outside else {})
    order = ("quantile", "issue_time", "lead", "catchment")
    return result.transpose(*[dim for dim in order if dim in result.dims], ...)
