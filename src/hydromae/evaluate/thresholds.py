"""Thresholds of flow for warnings: return periods of annual maxima, exceeded shares of days, and a user's own values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hydromae.errors import InputError
from hydromae.evaluate.answers import river_flow
from hydromae.io import units
from hydromae.io.attributes import numeric_column
from hydromae.io.csv_parquet import read_csv
from hydromae.io.names import split_units
from hydromae.io.table_keys import CATCHMENTS, key_column

MIN_DAYS_OF_YEAR, MIN_YEARS = 330, 10
MAX_EXTRAPOLATION = 3.0
"""Largest return period, as a multiple of the number of annual maxima: 34 years for the 100-year flood."""
RETURN_PERIOD = re.compile(r"(\d+(?:\.\d+)?)-year", re.ASCII)
EXCEEDED_SHARE = re.compile(r"q(\d{1,2})", re.ASCII)
Side = Literal["above", "below"]


@dataclass(frozen=True)
class FlowThreshold:
    """Threshold of each river.

    Attributes:
        name: Name, such as 2-year.
        side: Whether flow above or below it is the event.
        flow (Float[C]): Threshold [mm/day]; NaN for rivers without one.
    """

    name: str
    side: Side
    flow: Float[np.ndarray, " C"]


def month_number(time: pd.DatetimeIndex) -> Int[np.ndarray, " T"]:
    """Months since the year 0."""
    return np.asarray(time.year) * 12 + np.asarray(time.month) - 1


def period_starts(period: Int[np.ndarray, " T"]) -> Int[np.ndarray, " P"]:
    """Positions of the first day of each period."""
    return np.flatnonzero(np.diff(period, prepend=-1))


def annual_maxima(time: pd.DatetimeIndex, flow: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "Y C"]:
    """Largest daily flow of each water year from October; NaN for years with fewer than 330 days of flow."""
    first, has_flow = period_starts((month_number(time) + 3) // 12), np.isfinite(flow)
    largest = np.maximum.reduceat(np.where(has_flow, flow, -np.inf), first, axis=0)
    return np.where(np.add.reduceat(has_flow, first, axis=0) >= MIN_DAYS_OF_YEAR, largest, np.nan)


def years_needed(return_period: float) -> int:
    """Smallest number of annual maxima for a return period: 10, or a third of it."""
    return max(MIN_YEARS, int(np.ceil(return_period / MAX_EXTRAPOLATION)))


def return_flow(maxima: Float[np.ndarray, " Y"], return_period: float) -> float:
    """Flow with a return period [years], from the annual maxima of one river; NaN of them is ignored.

    Returns:
        float: The flow [mm/day] (`flood_level`); NaN with fewer maxima than `years_needed`.
    """
    known = maxima[np.isfinite(maxima)]
    return float(flood_level(known[None], return_period)[0]) if len(known) >= years_needed(return_period) else np.nan


def flood_level(maxima: Float[np.ndarray, "N Y"], return_period: float) -> Float[np.ndarray, " N"]:
    """Return the flood of a return period of each row of annual maxima.

    Generalised logistic distribution by L-moments, with the median of the maxima as the 2-year flood: median ×
    (1 + β (1 − (T − 1)^−k) / k) with k = −t₃ and β from k and t₂, where t₂ and t₃ are the L-CV and the L-skewness. The maxima
    are of daily means, and lower than instantaneous peaks.

    Args:
        maxima: Annual maxima without NaN [mm/day].
        return_period: Return period T [years], above 1.

    Returns:
        Float[N]: Level [mm/day]; NaN where the fitted median is not positive.

    Source:
        Robson and Reed 1999, Flood Estimation Handbook 3, chapter 15; Hosking and Wallis 1997, Regional Frequency Analysis,
        appendix A.7.
    """
    first, second, third = _l_moments(np.sort(maxima, axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        skewness = np.where(second > 1e-9 * first, third / second, 0.0)
        k = np.where(np.abs(skewness) < 1e-6, 1e-6, -skewness)
        scale = second * np.sin(np.pi * k) / (np.pi * k)
        fitted_median = first - scale * (1 / k - np.pi / np.sin(np.pi * k))
        growth = 1 + scale / fitted_median * (1 - (return_period - 1.0) ** -k) / k
    return np.where(fitted_median > 0, np.median(maxima, axis=1) * np.maximum(growth, 0.0), np.nan)


def _l_moments(ordered: Float[np.ndarray, "N Y"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first three sample L-moments of ascending rows (Hosking and Wallis 1997, section 2.7)."""
    count, rank = ordered.shape[1], np.arange(ordered.shape[1])
    b0 = ordered.mean(axis=1)
    b1 = (ordered * rank).mean(axis=1) / (count - 1)
    b2 = (ordered * rank * (rank - 1)).mean(axis=1) / ((count - 1) * (count - 2))
    return b0, 2 * b1 - b0, 6 * b2 - 6 * b1 + b0


def thresholds_of_record(record: xr.Dataset, names: Sequence[str]) -> list[FlowThreshold]:
    """Thresholds by name, from the flow of a record.

    Args:
        record: A water record, flow in mm/day.
        names: `N-year` (return period of annual maxima, event above), or `qN` (flow exceeded on N % of days; the event is
            below it from q50 on).

    Raises:
        InputError: An unknown name.
    """
    time, flow = pd.DatetimeIndex(record["time"].values), river_flow(record)
    maxima = annual_maxima(time, flow)
    thresholds = []
    for name in dict.fromkeys(name.strip().lower() for name in names):
        years, share = RETURN_PERIOD.fullmatch(name), EXCEEDED_SHARE.fullmatch(name)
        if years is not None and float(years[1]) > 1:
            values = [return_flow(column, float(years[1])) for column in maxima.T]
            thresholds.append(FlowThreshold(name, "above", np.array(values)))
        elif share is not None and int(share[1]) > 0:
            side: Side = "below" if int(share[1]) >= 50 else "above"
            thresholds.append(FlowThreshold(name, side, exceeded_flow(flow, int(share[1]) / 100)))
        else:
            raise InputError(
                f"threshold {name!r}: is not known; give 2-year, 10-year, q95, or a file with your own values"
            )
    return thresholds


def exceeded_flow(flow: Float[np.ndarray, "T C"], share: float) -> Float[np.ndarray, " C"]:
    """Flow exceeded on a share of the days; NaN with fewer days than ten years."""
    result = np.full(flow.shape[1], np.nan)
    enough = np.isfinite(flow).sum(axis=0) >= MIN_YEARS * MIN_DAYS_OF_YEAR
    if enough.any():
        result[enough] = np.nanquantile(flow[:, enough], 1 - share, axis=0)
    return result


def read_thresholds(path: Path, record: xr.Dataset) -> list[FlowThreshold]:
    """Read thresholds of a user: a CSV file with a column of catchments and a column for each threshold, with its units.

    Args:
        path: A file with a header such as `catchment,flood alert [m3/s],flood warning [m3/s]`. An empty cell is no threshold.
        record: A water record, for the catchments and their areas.

    Raises:
        InputError: A column without units, an unknown catchment or one that occurs twice, or text instead of a number.
    """
    table = read_csv(path)
    key = key_column(table, CATCHMENTS, str(path), "catchment column")
    names, known = [str(name) for name in table[key]], {str(name) for name in record["catchment"].values}
    for index, name in enumerate(names):
        if name not in known:
            raise InputError(f"{path}: catchment {name} is not in the record; remove its row")
        if name in names[:index]:
            raise InputError(f"{path}: catchment {name} occurs twice; keep one row")
    columns = [str(column) for column in table.columns if column != key]
    if not columns:
        raise InputError(f"{path}: has no thresholds; add a column such as 'flood alert [m3/s]'")
    return [_own_threshold(table, column, names, record, path) for column in columns]


def _is_rate(units_text: str) -> bool:
    """Return whether units are a flow; a depth without time, such as m, may be a level."""
    spelling = units.plain(units_text)
    return units.is_known(units_text, "riverflow") and (spelling in units.VOLUME_RATES or "-1" in spelling)


def _own_threshold(table: pd.DataFrame, column: str, names: list[str], record: xr.Dataset, path: Path) -> FlowThreshold:
    name, units_text = split_units(column)
    if units_text is None or not _is_rate(units_text):
        raise InputError(f"{path}: column {column!r} has no units of flow; name it such as '{name} [m3/s]'")
    by_name = dict(zip(names, numeric_column(table, column, path), strict=True))
    values = np.array([by_name.get(str(one), np.nan) for one in record["catchment"].values])
    if (values <= 0).any():
        raise InputError(f"{path}: a threshold of {column!r} is not above zero; correct it, or leave the cell empty")
    flow = xr.DataArray(values[None], dims=("time", "catchment"), coords={"catchment": record["catchment"].values})
    in_depth = units.convert(flow, "riverflow", units_text, str(path), record.get("catchment-area"))
    return FlowThreshold(name, "above", in_depth.values[0])
