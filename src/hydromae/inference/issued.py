"""Issued forecasts: a folder with one file for each issue day, which is never changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.inference.ensembles import join_issues
from hydromae.io.atomic import atomic_path, write_netcdf
from hydromae.io.conventions import open_netcdf
from hydromae.io.names import FLOW, QUANTILE
from hydromae.variables import VARIABLES

FILE_NAME = re.compile(r"forecast-(\d{4}-\d{2}-\d{2})\.nc", re.ASCII)
SHA256 = "model_sha256"
DIMENSIONS = ("issue_time", "lead", "catchment")


@dataclass(frozen=True)
class IssuedForecasts:
    """Issued forecasts in a folder.

    Attributes:
        folder: Folder of files `forecast-YYYY-MM-DD.nc` with flow in mm/day; other files are ignored.
    """

    folder: Path

    def days(self) -> pd.DatetimeIndex:
        """Issue days, ascending."""
        names = [match[1] for file in self.folder.glob("forecast-*.nc") if (match := FILE_NAME.fullmatch(file.name))]
        return pd.DatetimeIndex(sorted(names)).as_unit("ns")

    def path(self, issue: np.datetime64 | pd.Timestamp) -> Path:
        """Return the file of an issue day."""
        return self.folder / f"forecast-{str(issue)[:10]}.nc"

    def write(self, forecast: xr.Dataset, sha256: str | None) -> None:
        """Write each issue day of a forecast in mm/day to its own file, atomically.

        Raises:
            InputError: A file exists, or cannot be written.
        """
        for index, issue in enumerate(forecast["issue_time"].values):
            path = self.path(issue)
            if path.exists():
                raise InputError(f"{path}: this forecast was issued already; it is not replaced")
            self.folder.mkdir(parents=True, exist_ok=True)
            one = forecast.isel(issue_time=[index]).drop_encoding().assign_attrs({SHA256: sha256 or "unknown"})
            with atomic_path(path) as temporary:
                write_netcdf(one, temporary, {name: {"zlib": True} for name in (FLOW, QUANTILE)})

    def read(self, issue: np.datetime64 | pd.Timestamp) -> xr.Dataset:
        """Read the forecast of an issue day.

        Raises:
            InputError: The file is not an issued forecast of that day.
        """
        path = self.path(issue)
        dataset = open_netcdf(path)
        is_issued = {FLOW, QUANTILE} <= set(dataset.data_vars) and set(DIMENSIONS) <= set(dataset[FLOW].dims)
        units = dataset[FLOW].attrs.get("units") if is_issued else None
        if units != VARIABLES[FLOW].units or str(dataset["issue_time"].values[0])[:10] != str(issue)[:10]:
            raise InputError(f"{path}: is not a forecast that hydromae issued on that day; move it")
        lead = dataset["lead"].values
        if np.issubdtype(lead.dtype, np.timedelta64):
            days = (lead / np.timedelta64(1, "D")).astype(np.int64)
            dataset = dataset.assign_coords(lead=("lead", days, {"units": "days", "long_name": "lead time"}))
        return dataset.load()

    def read_all(self) -> list[xr.Dataset]:
        """Read all issued forecasts.

        Raises:
            InputError: There is none, or a file is not one.
        """
        days = self.days()
        if not len(days):
            raise InputError(f"{self.folder}: has no issued forecasts; write them with hydromae forecast --keep")
        return [self.read(day) for day in days]


def issue_new(
    issued: IssuedForecasts,
    wanted: pd.DatetimeIndex,
    days: int,
    catchments: np.ndarray,
    sha256: str | None,
    forecast: Callable[[pd.DatetimeIndex], xr.Dataset],
) -> tuple[xr.Dataset, pd.DatetimeIndex]:
    """Forecast the issue days that were not issued, keep them, and return the forecasts of all wanted days.

    Args:
        issued: Folder of issued forecasts.
        wanted: Issue days.
        days, catchments, sha256: Forecast days, rivers and weights, which must be those of earlier forecasts of these days.
        forecast: Computes the forecast of issue days, in mm/day.

    Returns:
        (Dataset, DatetimeIndex): The forecasts as they were issued; the issue days that are new.

    Raises:
        InputError: A day was issued for other days, rivers or with another model.
    """
    wanted = wanted.as_unit("ns")
    before = wanted[wanted.isin(issued.days())]
    new = wanted[~wanted.isin(before)]
    parts = {day: issued.read(day) for day in before}
    for day, one in parts.items():
        for what, is_equal in (
            ("days of lead", one.sizes["lead"] == days),
            ("rivers", np.array_equal(one["catchment"].values.astype(str), catchments.astype(str))),
            ("weights of the model", one.attrs.get(SHA256) == (sha256 or "unknown")),
        ):
            if not is_equal:
                raise InputError(f"{issued.path(day)}: was issued with other {what}; name another folder for --keep")
    if len(new):
        computed = forecast(new)
        issued.write(computed, sha256)
        parts |= {day: computed.isel(issue_time=[index]) for index, day in enumerate(new)}
    ordered = [parts[day] for day in wanted]
    return (ordered[0] if len(ordered) == 1 else join_issues(ordered)), new
