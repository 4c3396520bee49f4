"""The picture of a river in an answer: hydrograph with intervals, rain, and what was predicted; fans of forecasts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hydromae.errors import InputError
from hydromae.io.atomic import atomic_path
from hydromae.io.dataframe import FrameLayout
from hydromae.io.dataset import find_dimension
from hydromae.io.names import FLOW, ORIGIN, QUANTILE, parse_column_name, shortened, split_units
from hydromae.io.origin import Origin
from hydromae.io.table_keys import CATCHMENTS, DATES
from hydromae.report.plots import true_runs
from hydromae.variables import SERIES_BESIDE_MAPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, DPI = (9.0, 3.6), 130
OBSERVED, PREDICTED, RAIN = "#1a1a1a", "#1f6f9f", "#7aa6c2"
SHADES = {Origin.FILLED: "#e9a23b", Origin.FORECAST: "#5b8c5a", Origin.UNGAUGED: "#8a6fae"}
LABELS = {Origin.FILLED: "filled", Origin.FORECAST: "forecast", Origin.UNGAUGED: "ungauged"}
INTERVALS = ((0.05, 0.95, 0.18, "90 %"), (0.25, 0.75, 0.32, "50 %"))
RAIN_SHARE = 0.3
"""Height of the highest rain bar, as a share of the picture."""
MAX_ISSUES = 12
"""Forecasts in a picture; of more, evenly spaced ones are drawn."""
MM_PER_DAY, M3_PER_S = "mm day-1", "m3 s-1"
UNIT_LABELS = {MM_PER_DAY: "mm/day", M3_PER_S: "m³/s"}
HEADROOM = 1.15
"""Top of a linear axis, as a multiple of the highest value."""
FORECAST_KEYS = ("issue_time", "lead")
QUANTILE_COLUMN = re.compile(r"_q(\d+(?:\.\d+)?)$", re.ASCII)


def plot(
    answer: xr.Dataset | pd.DataFrame, river: object = None, *, units: str | None = None, log: bool = False
) -> Figure:
    """Draw a river of an answer of `Model.predict` or `Model.forecast`.

    Args:
        answer: Dataset or table, as `predict` and `forecast` return it.
        river: Name of the river; default the one with most predicted days.
        units ({"mm day-1", "m3 s-1"}, optional): Units of the picture; default those of the answer. Another one needs
            `catchment-area` in the answer.
        log: Logarithmic axis of flow.

    Returns:
        Figure: Observed flow in black, predicted flow with 50 % and 90 % intervals (where the answer has these quantiles),
            shades for filled, forecast and ungauged days, and rain from above where the answer has it. A forecast is a fan
            for each issue day, of at most 12.

    Raises:
        InputError: The answer has no such river or no flow, or the units cannot be computed.
    """
    dataset = answer if isinstance(answer, xr.Dataset) else _dataset_of(answer)
    site = find_dimension(dataset, CATCHMENTS)
    names = {parsed.variable: str(n) for n in reversed(list(dataset.data_vars)) if (parsed := parse_column_name(n))}
    if site is None or FLOW not in names:
        raise InputError("answer: has no river flow of catchments; give what predict or forecast returned")
    chosen = _select(dataset, site, river)
    flow, factor, unit = chosen[names[FLOW]], *_unit_factor(chosen, names[FLOW], units)
    quantiles = {}
    if QUANTILE in chosen:
        by_level = chosen[QUANTILE]
        quantiles = {float(q): by_level.sel(quantile=q).values * factor for q in by_level["quantile"].values}
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    if FORECAST_KEYS[0] in dataset.dims:
        _draw_forecasts(axis, chosen, flow * factor, quantiles)
    else:
        rain = names.get(SERIES_BESIDE_MAPS["precipitation"].name, names.get("precipitation"))
        _draw_days(axis, chosen, flow * factor, quantiles, rain)
    axis.set_title(str(chosen[site].values), loc="left")
    axis.set_ylabel(f"river flow [{UNIT_LABELS.get(unit, unit)}]")
    axis.xaxis.set_major_formatter(mdates.ConciseDateFormatter(axis.xaxis.get_major_locator()))
    if log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, axis.dataLim.y1 * HEADROOM)
    axis.legend(frameon=False, ncols=6, loc="upper right", bbox_to_anchor=(1.0, 1.14), fontsize="small", borderpad=0)
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture atomically; its suffix is its format."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format=path.suffix.removeprefix("."))


def _select(dataset: xr.Dataset, site: str, river: object) -> xr.Dataset:
    """Return one river, by its name or the one with most predicted values."""
    names = [str(name) for name in dataset[site].values]
    if river is None:
        origin = dataset.get(f"{FLOW}{ORIGIN}")
        counts = 0 if origin is None else origin.isin(list(SHADES)).sum([d for d in origin.dims if d != site]).values
        return dataset.isel({site: int(np.argmax(counts))})
    if str(river) not in names:
        raise InputError(f"river {river}: is not in the answer; choose one of {shortened(names)}")
    return dataset.isel({site: names.index(str(river))})


def _unit_factor(river: xr.Dataset, flow: str, units: str | None) -> tuple[float, str]:
    """Return the factor from the units of the answer to those of the picture, and these."""
    own = str(river[flow].attrs.get("units") or split_units(flow)[1] or MM_PER_DAY)
    parsed = parse_column_name(flow)
    if "units" not in river[flow].attrs and parsed is not None and parsed.units is not None:
        own = parsed.units
    if units is None or units == own:
        return 1.0, own
    if {units, own} != {MM_PER_DAY, M3_PER_S}:
        raise InputError(f"units {units}: the answer is in {own}; choose {MM_PER_DAY} or {M3_PER_S}, or leave it out")
    area = float(river["catchment-area"].values) if "catchment-area" in river else np.nan
    if not np.isfinite(area):
        raise InputError(f"units {units}: the answer has no catchment-area to compute it from {own}; leave it out")
    return (area / 86.4 if units == M3_PER_S else 86.4 / area), units


def _draw_days(
    axis: Axes, river: xr.Dataset, flow: xr.DataArray, quantiles: Mapping[float, np.ndarray], rain: str | None
) -> None:
    """Draw observed and predicted days, intervals, origins and rain."""
    time = find_dimension(river, ("time", *DATES))
    days, values = pd.DatetimeIndex(river[time].values), flow.values.astype(np.float64)
    origin = river.get(f"{FLOW}{ORIGIN}")
    kinds = np.full(len(days), Origin.OBSERVED) if origin is None else origin.values
    is_predicted = np.isin(kinds, list(SHADES))
    for kind, colour in SHADES.items():
        for number, (first, last) in enumerate(true_runs(kinds == kind)):
            begin, end = (float(mdates.date2num(days[k])) for k in (first, last - 1))
            axis.axvspan(
                begin - 0.5, end + 0.5, color=colour, alpha=0.13, lw=0, label=LABELS[kind] if not number else None
            )
    _draw_intervals(axis, days, quantiles, _widened(is_predicted), labelled=True)
    axis.plot(days, np.where(is_predicted, np.nan, values), color=OBSERVED, lw=1.1, label="observed")
    axis.plot(days, np.where(is_predicted, values, np.nan), color=PREDICTED, lw=1.4, label="predicted")
    if rain is not None and river[rain].dims == (time,) and bool(river[rain].notnull().any()):
        above = axis.twinx()
        depth = river[rain].values.astype(np.float64)
        above.bar(days, depth, width=1.0, color=RAIN, alpha=0.7, lw=0)
        above.set_ylim(max(float(np.nanmax(depth)), 1.0) / RAIN_SHARE, 0)
        above.set_yticks([])
        above.set_ylabel(f"rain, highest {np.nanmax(depth):.3g} mm/day", fontsize="small")


def _widened(flags: Bool[np.ndarray, " T"]) -> Bool[np.ndarray, " T"]:
    """Flags with the days beside them, so that an interval meets the observed line."""
    return flags | np.append(flags[1:], False) | np.append(False, flags[:-1])


def _draw_intervals(
    axis: Axes,
    days: pd.DatetimeIndex,
    quantiles: Mapping[float, Float[np.ndarray, " T"]],
    shown: Bool[np.ndarray, " T"],
    labelled: bool,
) -> None:
    for low, high, opacity, text in INTERVALS:
        if low in quantiles and high in quantiles:
            bottom, top = (np.where(shown, quantiles[level], np.nan) for level in (low, high))
            label = text if labelled else None
            axis.fill_between(days, bottom, top, color=PREDICTED, alpha=opacity, lw=0, label=label)


def _draw_forecasts(axis: Axes, river: xr.Dataset, flow: xr.DataArray, quantiles: Mapping[float, np.ndarray]) -> None:
    """Draw a fan for each issue day."""
    issues, leads = pd.DatetimeIndex(river["issue_time"].values), river["lead"].values
    count = min(len(issues), MAX_ISSUES)
    ordered = flow.transpose("issue_time", "lead").values
    for number, index in enumerate(np.unique(np.linspace(0, len(issues) - 1, count).astype(int))):
        days = issues[index] + pd.to_timedelta(leads, unit="D")
        fan = {level: values[index] for level, values in quantiles.items()}
        _draw_intervals(axis, days, fan, np.ones(len(leads), dtype=bool), labelled=not number)
        axis.plot(days, ordered[index], color=PREDICTED, lw=1.4, marker=".", label=None if number else "forecast")
        issue = float(mdates.date2num(issues[index]))
        axis.axvline(issue, color=OBSERVED, lw=0.6, ls=":", label=None if number else "issue day")


def _dataset_of(table: pd.DataFrame) -> xr.Dataset:
    """Return an answer in a table as a dataset with quantiles and origins."""
    flat = table.reset_index() if set(FORECAST_KEYS) & set(table.index.names) else table
    if set(FORECAST_KEYS) <= set(flat.columns):
        indexed = flat.set_index([*FORECAST_KEYS, "catchment"]).to_xarray()
        flow = next((str(n) for n in flat.columns if (p := parse_column_name(n)) and p.variable == FLOW), FLOW)
        columns = {level: indexed[f"{FLOW}{suffix}"] for level, suffix in _levels(flat, FLOW).items()}
        return _with_quantiles(indexed, columns, flow)
    layout = FrameLayout.of(table, "the answer")
    dataset, flows = layout.dataset(), [column for column in layout.columns if column.variable == FLOW]
    if not flows:
        raise InputError("answer: has no column of river flow; give what predict or forecast returned")
    day, _ = pd.factorize(layout.days, sort=True)

    def grid(suffix: str) -> xr.DataArray:
        values = np.full((dataset.sizes["time"], dataset.sizes["catchment"]), np.nan)
        for column in flows:
            label = column.derived_label(suffix) if suffix else column.label
            if label in layout.frame:
                values[day, column.site] = layout.frame[label].to_numpy(dtype=float, na_value=np.nan)
        return xr.DataArray(values, dims=("time", "catchment"))

    found = _levels(layout.frame, "")
    dataset[FLOW] = grid("").assign_attrs(units=flows[0].units)  # with predicted values, which a reader sets to NaN
    dataset[f"{FLOW}{ORIGIN}"] = grid(ORIGIN).fillna(Origin.OBSERVED)
    return _with_quantiles(dataset, {level: grid(suffix) for level, suffix in found.items()}, FLOW)


def _levels(frame: pd.DataFrame, start: str) -> dict[float, str]:
    """Return the levels of quantile columns, with their suffixes."""
    matches = [QUANTILE_COLUMN.search(split_units(label)[0]) for label in frame.columns if str(label).startswith(start)]
    return {float(match.group(1)) / 100: match.group(0) for match in matches if match}


def _with_quantiles(dataset: xr.Dataset, columns: Mapping[float, xr.DataArray], flow: str) -> xr.Dataset:
    levels = sorted(columns)
    if not levels:
        return dataset
    stacked = xr.concat([columns[level] for level in levels], pd.Index(levels, name="quantile"))
    return dataset.assign({QUANTILE: stacked.assign_attrs(dataset[flow].attrs)})
