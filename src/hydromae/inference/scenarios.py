"""Tasks as patterns of NaN, and forecasts by any method."""

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
from hydromae.variables import MODALITIES, SERIES_BESIDE_MAPS

WEATHER = tuple(variable.name for variable in MODALITIES["weather"].variables)
KNOWN_WEATHER = (*WEATHER, *(variable.name for variable in SERIES_BESIDE_MAPS.values()))
"""Weather of a record with maps or series, which may be known after an issue day."""
DAY = np.timedelta64(1, "D")
FutureWeather = Literal["observed", "none"]
"""Weather after an issue day: as in the record, or not used."""


@runtime_checkable
class Method(Protocol):
    """The model, a baseline, or any other object that predicts the NaN of `riverflow`."""

    @property
    def name(self) -> str:
        """Name in tables of scores."""
        ...

    def predict(self, dataset: xr.Dataset, /) -> xr.Dataset:
        """The dataset with every NaN of `riverflow` that the method can predict replaced by its prediction."""
        ...


@runtime_checkable
class LastDaysMethod(Method, Protocol):
    """A method that can predict the last days of a record without the others."""

    def predict_last_days(self, dataset: xr.Dataset, days: int, /) -> xr.Dataset:
        """As `predict`, for the last `days` days of the dataset; the answer has these days alone."""
        ...


def predict_last_days(method: Method, dataset: xr.Dataset, days: int) -> xr.Dataset:
    """Predictions for the last `days` days; also for the other days if the method cannot do less."""
    return method.predict_last_days(dataset, days) if isinstance(method, LastDaysMethod) else method.predict(dataset)


def gap_pattern(
    times: xr.DataArray, catchments: xr.DataArray, gap: int = 10, every: int = 20, start: int | np.ndarray = 0
) -> xr.DataArray:
    """Gaps of `gap` days whose first days are `every` days apart; only gaps inside the period.

    Args:
        times, catchments (DataArray (time), DataArray (catchment)): Coordinates of the pattern.
        gap, every: Length of a gap, and days between the first days of two gaps [days].
        start (int or array (C,)): First day of a gap, counted from the first time; one for all, or one for each catchment.

    Returns:
        DataArray (time, catchment): True where flow is hidden.

    Raises:
        InputError: A gap has no day, or there is no day between two gaps.
    """
    if not 0 < gap < every:
        raise InputError(f"gap of {gap} days every {every} days: a gap needs at least one day, and a day between gaps")
    first = np.broadcast_to(start, catchments.size)[None, :]
    day = np.arange(times.size)[:, None] - first
    opening = first + day - day % every
    is_complete = (opening >= 0) & (opening + gap < times.size)
    coords = {"time": times.values, "catchment": catchments.values}
    return xr.DataArray((day % every < gap) & is_complete, dims=("time", "catchment"), coords=coords)


def fill_gaps(dataset: xr.Dataset, hidden: xr.DataArray) -> xr.Dataset:
    """Task `gap`: flow is NaN where `hidden` (time, catchment) is True; other values do not change."""
    hidden_values = hidden.astype(np.float32).reindex(time=dataset["time"], catchment=dataset["catchment"])
    return dataset.assign(riverflow=dataset["riverflow"].where(hidden_values != 1))


def ungauged(dataset: xr.Dataset, catchments: Sequence | np.ndarray) -> xr.Dataset:
    """Task `ungauged`: the flow of `catchments` is NaN on every day.

    Raises:
        InputError: A catchment is not in the dataset.
    """
    unknown = np.setdiff1d(np.asarray(catchments), dataset["catchment"].values)
    if unknown.size:
        raise InputError(f"catchment {unknown[0]} is not in the record; choose among its {dataset.sizes['catchment']}")
    gauged = ~dataset["catchment"].isin(np.asarray(catchments))
    return dataset.assign(riverflow=dataset["riverflow"].where(gauged))


def simulate(dataset: xr.Dataset) -> xr.Dataset:
    """Task `simulate`: the flow of all catchments is NaN on every day."""
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
    """The last day with observed flow of any river.

    Raises:
        InputError: The record has no observed flow.
    """
    flow = (
        dataset["riverflow"] if "riverflow" in dataset else xr.DataArray(np.zeros((0, 0)), dims=("time", "catchment"))
    )
    days = flow.notnull().any("catchment").values
    if not days.any():
        raise InputError(
            "riverflow: no observed day; a forecast needs observed flow before the issue day, predict does not"
        )
    return pd.DatetimeIndex(dataset["time"].values[[np.flatnonzero(days)[-1]]])


def forecast_input(
    dataset: xr.Dataset,
    issue: pd.Timestamp,
    days: int,
    future_weather: FutureWeather = "observed",
    context_days: int = 365,
) -> xr.Dataset:
    """The record up to an issue day, with `days` days of NaN after it.

    Args:
        dataset: A water record.
        issue: Issue day, inside the record: the last day whose observations may be used.
        days: Forecast days; days after the end of the record are added.
        future_weather ({"observed", "none"}): Whether precipitation, temperature and potential evaporation after the issue
            day are kept, maps and series. Other variables of time are NaN after the issue day; those that cannot be NaN are
            removed.
        context_days: Days up to and including the issue day; fewer if the record starts later.

    Returns:
        Dataset: `context_days` + `days` days.

    Raises:
        InputError: The issue day is outside the record, or a number of days is below 1.
    """
    if days < 1 or context_days < 1:
        raise InputError(f"forecast of {days} days from {context_days} days of context: both must be at least 1")
    if future_weather not in get_args(FutureWeather):
        raise InputError(f"future_weather {future_weather!r} is neither observed nor none; choose one")
    first, last = pd.Timestamp(dataset["time"].values[0]), pd.Timestamp(dataset["time"].values[-1])
    if not first <= issue <= last:
        raise InputError(f"issue day {issue:%Y-%m-%d} is outside the record, {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    begin = max(first, issue - pd.Timedelta(days=context_days - 1))
    window = dataset.sel(time=slice(begin, issue + pd.Timedelta(days=days)))
    known_names = KNOWN_WEATHER if future_weather == "observed" else ()
    return _hide_future(window, issue, known_names).reindex(time=pd.date_range(begin, issue + pd.Timedelta(days=days)))


def _hide_future(window: xr.Dataset, issue: pd.Timestamp, known_names: tuple[str, ...]) -> xr.Dataset:
    """NaN after the issue day in every variable of time except `known_names`; variables that cannot be NaN are removed."""
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
    """Forecast every catchment on every issue day, without observations after it except weather, if `future_weather` allows.

    Args:
        method: Called once for each issue day.
        dataset: A water record; issue days inside it are a hindcast.
        issues: Issue days, e.g. of `hindcast_issues`.
        days: Forecast days.
        future_weather ({"observed", "none"}): Whether weather of the record after the issue day is used.
        context_days: Days up to and including the issue day that are used.
        progress: Called with the number of finished issue days and the number of all.

    Returns:
        Dataset: `riverflow(issue_time, lead, catchment)` [mm/day], lead in days from 1;
            `riverflow_quantile(quantile, issue_time, lead, catchment)` and
            `riverflow_origin(issue_time, lead, catchment)` and `outside_training(catchment)` if the method has them;
            coordinate `valid_time(issue_time, lead)`.

    Raises:
        InputError: There is no issue day, or one is outside the record.
    """
    if len(issues) == 0:
        raise InputError("no issue day; name at least one")
    answers, outside = [], []
    with warn_once():
        for done, issue in enumerate(issues):
            progress(done, len(issues))
            known = forecast_input(dataset, issue, days, future_weather, context_days)
            answer = predict_last_days(method, known, days)
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
