"""Summary and picture of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hydromae.errors import InputError
from hydromae.io.atomic import atomic_path
from hydromae.store.zarr_store import open_store, read_blocks, sources_of
from hydromae.variables import ATTRIBUTES, VARIABLES


def summary(path: str | Path) -> dict[str, Any]:
    """Return a summary of a store for tables and JSON.

    Returns:
        dict: `path`, `period` [first, last], `days`, `catchments`, `cells`, `training_period`, `sources`; `variables`, a list
            of `name`, `units`, `sites` ("catchment" or "cell"), `derived` (how, or None), `minimum`, `mean`, `maximum`,
            `observed` (share of all values) and `observed_by_decade` ({"1970s": share, …}); and `attributes`, a list of
            `name`, `units` and `known` (catchments).
    """
    record = open_store(path)
    days = pd.DatetimeIndex(record.indexes["time"])
    decade = np.asarray(days.year) // 10 * 10
    names = [name for name in VARIABLES if name in record.data_vars]
    return {
        "path": str(path),
        "period": [f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}"],
        "days": len(days),
        "catchments": record.sizes.get("catchment", 0),
        "cells": record.sizes.get("cell", 0),
        "training_period": record.attrs.get("training_period"),
        "variables": [_variable(record[name], decade, path) for name in names],
        "attributes": [
            {"name": a.name, "units": a.units, "known": int(np.isfinite(record[a.name].values).sum())}
            for a in ATTRIBUTES
            if a.name in record.data_vars
        ],
        "sources": sources_of(record),
    }


def _variable(values: xr.DataArray, decade: np.ndarray, path: str | Path) -> dict[str, Any]:
    share, total, count, low, high = [], 0.0, 0, np.inf, -np.inf
    for block in read_blocks(values, path):
        is_observed = np.isfinite(block)
        share.append(is_observed.mean(axis=1))
        count += int(is_observed.sum())
        total += float(np.sum(block, where=is_observed, dtype=np.float64))
        low, high = np.min(block, where=is_observed, initial=low), np.max(block, where=is_observed, initial=high)
    by_day = np.concatenate(share)
    return {
        "name": str(values.name),
        "units": values.attrs["units"],
        "sites": str(values.dims[1]),
        "derived": values.attrs.get("derived"),
        "minimum": round(float(low), 4) if count else None,
        "mean": round(total / count, 4) if count else None,
        "maximum": round(float(high), 4) if count else None,
        "observed": round(float(by_day.mean()), 4),
        "observed_by_decade": {f"{d}s": round(float(by_day[decade == d].mean()), 4) for d in np.unique(decade)},
    }


def picture(path: str | Path, out_png: str | Path) -> str:
    """Draw a store: a map of its catchments coloured by the share of observed days, and the share over time.

    The map shows river flow where the store has it, else its first series; the timeline shows every variable by month.
    """
    record = open_store(path)
    if "catchment" not in record.dims or "easting" not in record.coords:
        raise InputError(f"{path}: no catchments with positions to draw; prepare it with attributes")
    series = [name for name in VARIABLES if name in record.data_vars and "catchment" in record[name].dims]
    shown_variable = "riverflow" if "riverflow" in series else series[0]
    by_site = sum(np.isfinite(b).sum(axis=0) for b in read_blocks(record[shown_variable], path)) / record.sizes["time"]
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    _sites(left, record, np.asarray(by_site), shown_variable)
    _timeline(right, record, path)
    with atomic_path(Path(out_png)) as temporary:
        figure.savefig(temporary, dpi=130)
    return str(out_png)


def _sites(axes: Any, record: xr.Dataset, share: Float[np.ndarray, " C"], shown_variable: str) -> None:
    if "cell" in record.dims:
        axes.scatter(
            record["cell_easting"] / 1e3, record["cell_northing"] / 1e3, s=1, c="0.85", marker="s", linewidths=0
        )
    points = axes.scatter(
        record["easting"] / 1e3, record["northing"] / 1e3, c=share, s=14, cmap="viridis", vmin=0, vmax=1, linewidths=0
    )
    axes.set(aspect="equal", xlabel="easting [km]", ylabel="northing [km]")
    axes.set_title(f"{len(share)} catchments: share of days with {shown_variable}", fontsize=10)
    axes.figure.colorbar(points, ax=axes, label="share observed", shrink=0.6)


def _timeline(axes: Any, record: xr.Dataset, path: str | Path) -> None:
    days = record.indexes["time"]
    for name in (n for n in VARIABLES if n in record.data_vars):
        by_day = np.concatenate([np.isfinite(block).mean(axis=1) for block in read_blocks(record[name], path)])
        monthly = pd.Series(by_day, days).resample("MS").mean()
        style = "--" if "derived" in record[name].attrs else "-"
        label = f"{name} (derived)" if "derived" in record[name].attrs else name
        axes.plot(monthly.index, monthly.values, style, label=label, linewidth=1.4)
    axes.set(ylim=(0, 1.04), xlabel="month", ylabel="share of sites observed")
    axes.set_title("what was observed, when", fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
