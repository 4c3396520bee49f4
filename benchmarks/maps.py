"""How well maps of rain are restored and forecast: a model beside kriging, climatology and persistence, on real HadUK-Grid.

    python benchmarks/maps.py --model gb-national --rain rainfall_hadukgrid_uk_5km_day_20210101-20210331.nc \
        --gauges Catchment_attributes_nrfa.csv

The model reads the maps alone: catchments have places and attributes, and the weather of visible maps. `hidden` hides 40 % of
the land patches of every day; kriging is ordinary kriging from the visible cells around a patch, of rain and of its ratio to
the mean of the cell. `ahead` hides the last day of 60, for every day. Errors are over all hidden cells and days [mm/day];
climatology is the mean of the cell over the other days.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table

from hydromae.datasets.chess import regrid_haduk
from hydromae.datasets.land import read_land_fraction
from hydromae.datasets.target_grid import TargetGrid
from hydromae.evaluate.answers import SCORED_LEVELS
from hydromae.grid import GridSpec
from hydromae.inference.predictor import Model, load
from hydromae.io.attributes import read_attribute_table
from hydromae.metrics import coverage, crps

GRID, RAIN = GridSpec(), "precipitation"
HIDDEN_SHARE = 0.4
CONTEXT_DAYS = 60
LEVELS = list(SCORED_LEVELS)
LENGTH, NUGGET = 150e3, 0.02
"""Covariance of kriging, as that of derived maps (`datasets.derived.BlockKriging`)."""
NEAR = 75e3
"""Distance around a hidden patch within which visible cells are used [m]."""


def rain_record(rain: Path, gauges: Path, period: tuple[str, str] | None) -> xr.Dataset:
    """Maps of rain on the 5 km grid, and catchments without series."""
    with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as land:
        maps = regrid_haduk(rain, TargetGrid(GRID, read_land_fraction(land)))
    maps = maps if period is None else maps.sel(time=slice(*period))
    table = read_attribute_table(gauges)
    names = [str(n) for n in table.data_vars]
    flow = np.full((maps.sizes["time"], table.sizes["catchment"]), np.nan, np.float32)
    static = table[names].assign(riverflow=(("time", "catchment"), flow, {"units": "mm day-1"}))
    return maps.merge(static).assign_attrs(grid=json.dumps(vars(GRID))).load()


def patches_of_cells(record: xr.Dataset) -> Int[np.ndarray, " N"]:
    """Flat number of the land patch of each cell, −1 outside."""
    cell = record["cell"].values
    patch, _ = GRID.patch_of(cell)
    return np.where(np.isin(patch, GRID.land_patches_of(cell)), patch, -1)


def draw_hidden(patch: Int[np.ndarray, " N"], days: int, seed: int) -> Bool[np.ndarray, "T N"]:
    """Cells of a share of the land patches of each day."""
    land, generator = np.unique(patch[patch >= 0]), np.random.default_rng(seed)
    count = round(HIDDEN_SHARE * len(land))
    chosen = [generator.choice(land, count, replace=False) for _ in range(days)]
    return np.stack([np.isin(patch, patches) for patches in chosen])


def kriged(rain: Float[np.ndarray, "T N"], hidden: Bool[np.ndarray, "T N"], patch: np.ndarray, cell: np.ndarray):
    """Ordinary kriging of hidden patches from the visible cells around them, every second cell in both directions."""
    east, north = GRID.cell_position(cell)
    row, column = np.divmod(cell, GRID.columns)
    is_thin = (row % 2 == 0) & (column % 2 == 0)
    estimate = np.full(rain.shape, np.nan)
    for number in np.unique(patch[hidden.any(axis=0)]):
        inside = np.flatnonzero(patch == number)
        (low, high), (south, up) = ((p[inside].min() - NEAR, p[inside].max() + NEAR) for p in (east, north))
        around = np.flatnonzero(is_thin & (east >= low) & (east <= high) & (north >= south) & (north <= up))
        for day in np.flatnonzero(hidden[:, inside[0]]):
            used = around[~hidden[day, around] & np.isfinite(rain[day, around])]
            if len(used):
                estimate[day, inside] = _krige(east, north, used, inside, rain[day, used])
    return estimate


def _krige(east: np.ndarray, north: np.ndarray, used: np.ndarray, inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    def covariance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        distance = np.hypot(east[rows, None] - east[columns], north[rows, None] - north[columns])
        return np.exp(-distance / LENGTH) + 100.0  # the large constant makes the mean unknown

    weights = np.linalg.solve(covariance(used, used) + NUGGET * np.eye(len(used)), covariance(used, inside))
    centre = values.mean()
    return np.maximum(centre + (values - centre) @ weights, 0.0)


def scores(truth: np.ndarray, mean: np.ndarray, quantiles: np.ndarray | None = None) -> dict[str, float]:
    """Root mean squared error, mean absolute error (of a distribution, CRPS) and the share inside 50 and 90 % intervals."""
    found = {"cells": float(len(truth)), "rmse": float(np.sqrt(np.mean((mean - truth) ** 2)))}
    found["crps"] = float(np.mean(np.abs(mean - truth)))
    if quantiles is not None:
        arrays = xr.DataArray(quantiles, dims=("quantile", "time"), coords={"quantile": LEVELS})
        observed = xr.DataArray(truth, dims="time")
        found["crps"] = float(crps(arrays, observed))
        found |= {f"in{share:.0%}"[:-1]: float(coverage(arrays, observed, share)) for share in (0.5, 0.9)}
    return found


def other_days_mean(rain: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
    """Mean of each cell over the other days."""
    count = np.isfinite(rain).sum(axis=0)
    return (np.nansum(rain, axis=0) - np.nan_to_num(rain)) / np.maximum(count - np.isfinite(rain), 1)


def restore(model: Model, record: xr.Dataset, seed: int) -> dict[str, dict[str, float]]:
    """Scores of hidden patches by method."""
    rain, patch = record[RAIN].values.astype(np.float64), patches_of_cells(record)
    hidden = draw_hidden(patch, len(rain), seed)
    masked = record.assign({RAIN: record[RAIN].where(~xr.DataArray(hidden, dims=("time", "cell")))})
    answer = model.predict(masked, LEVELS)
    scored = hidden & np.isfinite(rain)
    climatology = other_days_mean(rain)
    normal = np.maximum(np.nanmean(np.where(hidden, np.nan, rain), axis=0), 0.1)
    means = {
        "kriging": kriged(rain, hidden, patch, record["cell"].values),
        "kriging of the ratio": kriged(rain / normal, hidden, patch, record["cell"].values) * normal,
        "climatology": climatology,
    }
    found = {name: scores(rain[scored], mean[scored]) for name, mean in means.items()}
    quantiles = answer[f"{RAIN}_quantile"].values[:, scored].astype(np.float64)
    return {model.name: scores(rain[scored], answer[RAIN].values[scored], quantiles)} | found


def forecast(model: Model, record: xr.Dataset) -> dict[str, dict[str, float]]:
    """Scores of the last day of windows by method."""
    rain, inside = record[RAIN].values.astype(np.float64), patches_of_cells(record) >= 0
    parts: dict[str, list[np.ndarray]] = {
        "truth": [],
        "persistence": [],
        "climatology": [],
        "mean": [],
        "quantiles": [],
    }
    for last in range(CONTEXT_DAYS - 1, len(rain)):
        window = record.isel(time=slice(last - CONTEXT_DAYS + 1, last + 1))
        masked = window.assign({RAIN: window[RAIN].where(window["time"] < window["time"][-1])})
        answer = model.predict(masked, LEVELS).isel(time=-1)
        scored = inside & np.isfinite(rain[last])
        parts["truth"].append(rain[last, scored])
        parts["persistence"].append(rain[last - 1, scored])
        parts["climatology"].append(np.nanmean(rain[last - CONTEXT_DAYS + 1 : last, scored], axis=0))
        parts["mean"].append(answer[RAIN].values[scored])
        parts["quantiles"].append(answer[f"{RAIN}_quantile"].values[:, scored])
    joined = {name: np.concatenate(values, axis=-1).astype(np.float64) for name, values in parts.items()}
    truth = joined["truth"]
    found = {name: scores(truth, joined[name]) for name in ("persistence", "climatology")}
    return {model.name: scores(truth, joined["mean"], joined["quantiles"])} | found


def main() -> None:
    """Score both questions and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gb-national")
    parser.add_argument("--rain", type=Path, required=True, help="daily rain of HadUK-Grid")
    parser.add_argument("--gauges", type=Path, required=True, help="attributes of the NRFA")
    parser.add_argument("--period", nargs=2, metavar=("FIRST", "LAST"))
    parser.add_argument("--seed", type=int, default=0, help="of the hidden patches")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    model = load(options.model, "cpu")
    record = rain_record(options.rain, options.gauges, tuple(options.period) if options.period else None)
    found = {"hidden": restore(model, record, options.seed), "ahead": forecast(model, record)}
    table = Table("question", "method", "RMSE", "CRPS", "in 50 %", "in 90 %", "cells")
    for question, methods in found.items():
        for name, row in methods.items():
            inside = [f"{row[level]:.1%}" if level in row else "" for level in ("in50", "in90")]
            table.add_row(question, name, f"{row['rmse']:.3f}", f"{row['crps']:.3f}", *inside, f"{row['cells']:,.0f}")
    days = pd.DatetimeIndex(record["time"].values)[[0, -1]]
    Console().print(f"{options.rain.name}, {days[0]:%Y-%m-%d} to {days[1]:%Y-%m-%d}", table)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
