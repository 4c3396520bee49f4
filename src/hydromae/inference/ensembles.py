"""Forecasts from ensembles of weather: the mixture of the distributions of the members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets.ensemble import WEATHER, WeatherEnsemble
from hydromae.errors import InputError
from hydromae.inference.distribution import mixture_quantiles
from hydromae.io.names import FLOW, QUANTILE, shortened

if TYPE_CHECKING:
    from hydromae.inference.predictor import Model

FINE_LEVELS = (0.01, 0.025, *(round(0.05 * step, 2) for step in range(1, 20)), 0.975, 0.99, 0.995)
"""Levels of the quantiles of mixtures, of issued forecasts, and of probabilities of thresholds."""
MAX_AGE_DAYS = 30
"""Most days from the end of a record to the issue day of an ensemble."""


def forecast_ensembles(
    model: Model,
    record: xr.Dataset,
    ensembles: Sequence[WeatherEnsemble],
    days: int,
    levels: Sequence[float] = FINE_LEVELS,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> xr.Dataset:
    """Forecast every catchment with each member of each ensemble, and mix their distributions.

    Args:
        model: The model, which is called once for each member.
        record: A canonical record of catchments with flow and weather up to the issue days.
        ensembles: Weather after the issue days; the weather of the record after an issue day is not used.
        days: Forecast days.
        levels: Levels of the quantiles, ascending; the mixture is computed between them.
        progress: Called with the number of finished members and the number of all.

    Returns:
        Dataset: As `scenarios.forecast`. `riverflow` is the mean of the members' means, `riverflow_quantile` the quantiles of
            the mixture; the attribute `members` is their number.

    Raises:
        InputError: An ensemble has too few days, lacks a catchment, or does not follow the record.
    """
    count, done, answers = sum(len(one.members) for one in ensembles), 0, []
    for ensemble in ensembles:
        _check_fits(record, ensemble, days)
        parts = []
        for member in ensemble.members:
            progress(done, count)
            issue = pd.DatetimeIndex([ensemble.issue])
            question = with_member(record, member, ensemble.issue, days, model.config.data.sequence_length)
            parts.append(model.forecast_record(question, days, issue, "observed", levels))
            done += 1
        answers.append(mix(parts))
    return answers[0] if len(answers) == 1 else join_issues(answers)


def join_issues(forecasts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return forecasts of the same catchments along their issue days."""
    joined = xr.combine_nested(
        list(forecasts),
        "issue_time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    )
    assert isinstance(joined, xr.Dataset)
    return joined


def mix(forecasts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the mixture of forecasts of the same days and catchments (`distribution.mixture_quantiles`)."""
    first = forecasts[0]
    quantiles = np.stack([one[QUANTILE].transpose("quantile", ...).values for one in forecasts], axis=1)
    levels = first["quantile"].values.astype(float)
    mixed = mixture_quantiles(levels, quantiles).astype(np.float32)
    mean = np.mean([one[FLOW].values.astype(np.float64) for one in forecasts], axis=0).astype(np.float32)
    quantile = first[QUANTILE].transpose("quantile", ...)
    return first.assign({FLOW: first[FLOW].copy(data=mean), QUANTILE: quantile.copy(data=mixed)}).assign_attrs(
        members=len(forecasts)
    )


def with_member(
    record: xr.Dataset, member: xr.Dataset, issue: pd.Timestamp, days: int, context_days: int
) -> xr.Dataset:
    """The last days of a record up to an issue day, and the weather of a member after it."""
    first = max(pd.Timestamp(record["time"].values[0]), issue - pd.Timedelta(days=context_days - 1))
    times = pd.date_range(first, issue + pd.Timedelta(days=days))
    extended = record.sel(time=slice(first, issue)).reindex(time=times)
    shape = (len(times), record.sizes["catchment"])
    weather = {}
    for name in (name for name in WEATHER if name in member):
        future = member[name].reindex(time=times, catchment=record["catchment"].values).transpose("time", "catchment")
        past = extended[name].transpose("time", "catchment").values if name in extended else np.full(shape, np.nan)
        values = np.where((times > issue)[:, None], future.values, past).astype(np.float32)
        attributes = record[name].attrs if name in record else member[name].attrs
        weather[name] = (("time", "catchment"), values, attributes)
    return extended.assign(weather)


def _check_fits(record: xr.Dataset, ensemble: WeatherEnsemble, days: int) -> None:
    """Refuse an ensemble that does not fit the record."""
    issue, last = f"{ensemble.issue:%Y-%m-%d}", pd.Timestamp(record["time"].values[-1])
    if ensemble.days < days:
        raise InputError(f"ensemble after {issue}: has {ensemble.days} days; give --days {ensemble.days} or fewer")
    if "cell" in record.dims:
        raise InputError(
            "ensemble: belongs to a record of catchments; this record has maps, use their catchments alone"
        )
    absent = np.setdiff1d(record["catchment"].values.astype(str), ensemble.members[0]["catchment"].values.astype(str))
    if len(absent):
        raise InputError(f"ensemble after {issue}: has no weather of catchment {shortened(absent)}; add it")
    if ensemble.issue < pd.Timestamp(record["time"].values[0]):
        raise InputError(f"ensemble after {issue}: begins before the record; use one that follows its last day")
    if (ensemble.issue - last).days > MAX_AGE_DAYS:
        raise InputError(
            f"ensemble after {issue}: begins {(ensemble.issue - last).days} days after the record, which ends on "
            f"{last:%Y-%m-%d}; fetch newer flow first"
        )
