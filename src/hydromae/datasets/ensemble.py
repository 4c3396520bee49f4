"""Ensembles of weather forecasts: tables or datasets with members, read as one record of weather for each member."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.conventions import open_netcdf
from hydromae.io.csv_parquet import read_csv
from hydromae.io.names import shortened
from hydromae.io.table import read_dataset, read_frame
from hydromae.variables import MODALITIES

WEATHER = tuple(variable.name for variable in MODALITIES["weather"].variables)
MEMBERS = ("member", "number", "realization", "ensemble_member")
ISSUES = ("issue_time", "issue", "reference_time", "forecast_reference_time")
LEADS = ("lead", "lead_time", "step")
VALID = ("time", "date", "valid_time")
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class WeatherEnsemble:
    """Weather after an issue day.

    Attributes:
        issue: The day before the first day of the weather: the last day whose flow a forecast may use.
        members (tuple of Dataset (time, catchment)): Weather of each member on the same days, in canonical units.
        names: Names of the members.
    """

    issue: pd.Timestamp
    members: tuple[xr.Dataset, ...]
    names: tuple[str, ...]

    @property
    def days(self) -> int:
        """Number of days."""
        return self.members[0].sizes["time"]


def read_ensembles(path: Path) -> list[WeatherEnsemble]:
    """Read the ensembles of a file, one for each issue time.

    Args:
        path: A CSV file with columns `member`, `catchment`, `date` (or `lead` [days] and `issue_time`), and any of
            precipitation, temperature and potential_evaporation, as in a table of a record; or a NetCDF file with the
            dimensions `member`, `time` (or `lead`) and `catchment`, `units`, and a scalar or a dimension `issue_time`.

    Returns:
        list of WeatherEnsemble: By issue day, ascending.

    Raises:
        InputError: Missing keys or units, members with different days, catchments or variables, missing days, or an issue
            time that is neither the first day nor the day before it.
    """
    if path.suffix not in (".csv", ".nc"):
        raise InputError(f"{path}: an ensemble is read from .csv or .nc; convert it")
    parts = _parts_of_dataset(path) if path.suffix == ".nc" else _parts_of_table(path)
    groups: dict[str, dict[str, xr.Dataset]] = {}
    for issue, member, record in parts:
        if member in groups.setdefault(issue, {}):
            raise InputError(f"{path}: member {member} occurs twice; give each member its own name")
        groups[issue][member] = record
    ensembles = [_ensemble(issue, members, path) for issue, members in groups.items()]
    days = [one.issue for one in ensembles]
    if len(set(days)) < len(days):
        raise InputError(f"{path}: has two issue times of one day; keep one of them")
    return sorted(ensembles, key=lambda one: one.issue)


def _only(names: tuple[str, ...], available: list[Name]) -> Name | None:
    """Return the first of some names that is available, in any case."""
    by_name = {str(one).strip().lower(): one for one in available}
    return next((by_name[name] for name in names if name in by_name), None)


def _parts_of_table(path: Path) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Yield issue time, member and record of each member of a table."""
    frame = read_csv(path)
    columns = list(frame.columns)
    member, issue, lead, valid = (_only(names, columns) for names in (MEMBERS, ISSUES, LEADS, VALID))
    if member is None:
        raise InputError(f"{path}: has no column member; name each member (columns are {shortened(columns)})")
    if valid is None and (lead is None or issue is None):
        raise InputError(f"{path}: has no days; add a column date, or lead [days] and issue_time")
    no_member = frame[member].isna().to_numpy()
    if no_member.any():
        raise InputError(f"{path}: row {int(no_member.argmax()) + 2} has no member; name it")
    keys = [name for name in (member, issue, lead, valid) if name is not None]
    values = frame.drop(columns=keys)
    names = frame[member].astype(str).to_numpy()
    issues = frame[issue].astype(str).to_numpy() if issue is not None else np.full(len(frame), "")
    if valid is not None:
        values["date"] = frame[valid]
    else:
        values["date"] = _valid_days(issues, frame[lead].to_numpy(), path)
    for issue_text, name in sorted(set(zip(issues, names, strict=True))):
        rows = values.iloc[np.flatnonzero((issues == issue_text) & (names == name))].reset_index(drop=True)
        yield str(issue_text), str(name), read_frame(rows, None, f"{path}: member {name}")[0]


def _valid_days(issue: np.ndarray, lead: np.ndarray, path: Path) -> np.ndarray:
    """Return the days of leads [days] after issue times."""
    try:
        leads = lead.astype(np.float64)
        if (leads != np.round(leads)).any():  # also NaN
            raise ValueError(leads)
        return issue.astype("datetime64[D]") + leads.astype(np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: lead or issue_time is not a whole number of days or a date; correct it") from error


def _parts_of_dataset(path: Path) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Yield issue time, member and record of each member of a dataset."""
    dataset = open_netcdf(path)
    dimensions, every = list(dataset.dims), list(dataset.variables)
    member, lead = (_only(names, dimensions) for names in (MEMBERS, LEADS))
    issue = _only(ISSUES, every)
    if member is None:
        raise InputError(f"{path}: has no dimension member (dimensions are {shortened(map(str, dimensions))}); add it")
    if lead is not None and issue is None:
        raise InputError(f"{path}: has leads without issue_time; add it, or give days as the dimension time")
    names = dataset[member].values if member in dataset.variables else np.arange(dataset.sizes[member])
    for issue_index in range(dataset.sizes.get(issue, 1) if issue is not None else 1):
        one = dataset.isel({issue: issue_index}) if issue in dataset.dims else dataset
        issue_text = "" if issue is None else str(one[issue].values.astype("datetime64[D]"))
        one = one if lead is None else _with_valid_days(one, str(lead), issue_text, path)
        one = one.drop_vars([str(n) for n in (*ISSUES, *VALID[2:]) if n in one.variables and n not in one.dims])
        for index, name in enumerate(names):
            part = one.isel({member: index}).drop_vars(str(member), errors="ignore")
            yield issue_text, str(name), read_dataset(part, None, f"{path}: member {name}")[0]


def _with_valid_days(dataset: xr.Dataset, lead: str, issue: str, path: Path) -> xr.Dataset:
    """Return a dataset with days instead of leads; leads are durations, or numbers with units of days."""
    values = dataset[lead].values
    units_text = str(dataset[lead].attrs.get("units", "days")).strip().lower()
    is_duration = np.issubdtype(values.dtype, np.timedelta64)
    if not is_duration and units_text not in ("days", "day", "d"):
        raise InputError(f"{path}: {lead} is in {units_text[:20]!r}; give daily values with leads in days")
    leads = values / np.timedelta64(1, "D") if is_duration else values.astype(np.float64)
    if (leads != np.round(leads)).any():
        raise InputError(f"{path}: {lead} is not in whole days; give daily values")
    days = pd.DatetimeIndex(np.datetime64(issue, "D") + leads.astype(np.int64))
    stale = [name for name in VALID if name in dataset.variables]
    return dataset.drop_vars(stale).assign_coords({lead: days}).rename({lead: "time"})


def _ensemble(issue_text: str, members: dict[str, xr.Dataset], path: Path) -> WeatherEnsemble:
    """Return the ensemble of an issue time; refuse members that do not fit each other."""
    names, records = tuple(members), [record[_weather(record, path)] for record in members.values()]
    first = records[0]
    for name, record in zip(names, records, strict=True):
        for what, one, other in (
            ("days", record.indexes["time"], first.indexes["time"]),
            ("catchments", record.indexes["catchment"].sort_values(), first.indexes["catchment"].sort_values()),
            ("variables", pd.Index(sorted(map(str, record))), pd.Index(sorted(map(str, first)))),
        ):
            if not one.equals(other):
                raise InputError(f"{path}: member {name} has other {what} than member {names[0]}; make them equal")
        missing = [str(variable) for variable in record if record[variable].isnull().any()]
        if missing:
            raise InputError(f"{path}: member {name} has days without {missing[0]}; complete them, or leave it out")
    begin = first["time"].values[0].astype("datetime64[D]")
    issue = begin - np.timedelta64(1, "D")
    if issue_text and _issue_day(issue_text, path) not in (begin, issue):
        raise InputError(
            f"{path}: was issued on {issue_text[:10]} and begins on {begin}; it must begin on that day, or one day later"
        )
    return WeatherEnsemble(cast(pd.Timestamp, pd.Timestamp(issue)), tuple(records), names)


def _issue_day(text: str, path: Path) -> np.datetime64:
    try:
        return np.datetime64(text).astype("datetime64[D]")
    except ValueError as error:
        raise InputError(f"{path}: issue_time {text[:30]!r} is not a date; write it as YYYY-MM-DD") from error


def _weather(record: xr.Dataset, path: Path) -> list[str]:
    names = [name for name in WEATHER if name in record]
    if not names:
        raise InputError(f"{path}: has none of {', '.join(WEATHER)}; add one of them with its units")
    return names
