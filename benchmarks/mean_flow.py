"""Mean flow of ungauged catchments from their attributes, and what it adds to the prediction of the model.

    python benchmarks/mean_flow.py --store rivers.zarr --period validation

A kernel ridge regression of ln(mean flow / mean rain) learns from the gauged catchments of the question: static attributes,
with more weight on the position, mean rain and mean potential evaporation. Its settings are those with the smallest error
in ten folds of these catchments. The prediction of the model is multiplied so that its mean moves towards the regression by
a share.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from rich.console import Console

from hydromae import metrics
from hydromae.evaluate import protocol
from hydromae.evaluate.answers import catchment_weather, river_flow
from hydromae.evaluate.donors import attribute_values
from hydromae.inference.predictor import Model, load
from hydromae.store.zarr_store import load_store
from hydromae.variables import ATTRIBUTES
from peers import paired

SHARES = (0.1, 0.3, 0.5, 1.0)
LENGTHS, RIDGES, POSITION_WEIGHTS, FOLDS = (1.5, 2.5, 4.0, 6.0), (0.01, 0.03, 0.1, 0.3), (1.0, 4.0, 16.0), 10
LOG_ATTRIBUTES = ("minimum-altitude", "maximum-altitude", "catchment-area", "dpsbar")
POSITION = ("latitude", "longitude")


def features(record: xr.Dataset) -> Float[np.ndarray, "C F"]:
    """Standardised attributes and mean weather of each catchment; 0 where unknown."""
    columns = []
    for attribute in ATTRIBUTES:
        values = attribute_values(record, attribute.name).astype(np.float64)
        is_log = attribute.name in LOG_ATTRIBUTES or attribute.name.endswith("percentile-altitude")
        columns.append(np.log1p(np.maximum(values, 0)) if is_log else values)
    columns.append(np.log(np.nanmean(catchment_weather(record, "precipitation"), axis=0)))
    columns.append(np.nanmean(catchment_weather(record, "potential_evaporation"), axis=0))
    table = np.stack(columns, axis=1)
    return np.nan_to_num((table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0))


def log_ratio(flow: Float[np.ndarray, "T C"], rain: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " C"]:
    """ln(mean flow / mean rain) over days with both; NaN without any."""
    both = np.isfinite(flow) & np.isfinite(rain)
    total = [np.where(both, values, 0.0).sum(axis=0) for values in (flow, rain)]
    return np.log(np.where(both.any(axis=0), total[0], np.nan)) - np.log(np.maximum(total[1], 1e-9))


def regress(
    table: Float[np.ndarray, "C F"],
    target: Float[np.ndarray, " C"],
    known: Int[np.ndarray, " K"],
    wanted: Int[np.ndarray, " W"],
    length: float,
    ridge: float,
) -> Float[np.ndarray, " W"]:
    """Kernel ridge regression with a Gaussian kernel, from known catchments to wanted ones."""

    def kernel(rows: Int[np.ndarray, " R"]) -> Float[np.ndarray, "R K"]:
        squared = ((table[rows][:, None] - table[known][None]) ** 2).sum(axis=-1)
        return np.exp(-squared / (2 * length**2))

    centre = np.median(target[known])
    weights = np.linalg.solve(kernel(known) + ridge * np.eye(len(known)), target[known] - centre)
    return centre + kernel(wanted) @ weights


def estimate(
    table: Float[np.ndarray, "C F"], target: Float[np.ndarray, " C"], wanted: Int[np.ndarray, " W"]
) -> Float[np.ndarray, " W"]:
    """The regression of wanted catchments from all others with a target, with the settings of the best ten folds."""
    known = np.setdiff1d(np.flatnonzero(np.isfinite(target)), wanted)
    folds = np.array_split(np.random.default_rng(0).permutation(known), FOLDS)
    is_position = np.isin([*(a.name for a in ATTRIBUTES), "rain", "evaporation"], POSITION)
    best: tuple[float, Float[np.ndarray, "C F"], float, float] | None = None
    for weight, length, ridge in product(POSITION_WEIGHTS, LENGTHS, RIDGES):
        weighted = table * np.sqrt(np.where(is_position, weight, 1.0))
        errors = [
            regress(weighted, target, np.setdiff1d(known, fold), fold, length, ridge) - target[fold] for fold in folds
        ]
        error = float(np.mean(np.concatenate(errors) ** 2))
        if best is None or error < best[0]:
            best = error, weighted, length, ridge
    assert best is not None
    return regress(best[1], target, known, wanted, *best[2:])


def score(model: Model, record: xr.Dataset, period: protocol.Period, console: Console) -> None:
    """Print the errors of mean flow, and the NSE for each share, as Markdown."""
    (question,) = protocol.ungauged_questions(record, period)
    (targets,) = question.targets.values()
    names = protocol.held_out(record["catchment"].values)
    wanted = np.flatnonzero(record["catchment"].isin(names).values)
    context = record.sel(time=question.dataset["time"])
    rain = catchment_weather(context, "precipitation")
    found = estimate(features(context), log_ratio(river_flow(question.dataset), rain), wanted)
    is_day = question.dataset["time"].isin(targets["time"]).values
    is_target = targets.transpose("time", "catchment").values[:, wanted]
    truth = np.where(is_target, river_flow(context)[is_day][:, wanted], np.nan)
    mean = river_flow(model.predict_record(question.dataset, [0.5]))[is_day][:, wanted]
    rain = rain[is_day][:, wanted]
    true_ratio, own_ratio = log_ratio(truth, rain), log_ratio(np.where(np.isfinite(truth), mean, np.nan), rain)
    errors = own_ratio - true_ratio, found - true_ratio
    spread = [f"{np.sqrt(np.nanmean(error**2)):.3f}" for error in errors]
    console.print(f"error of ln(mean flow): model {spread[0]}, regression {spread[1]}", markup=False)

    def nse(predicted: Float[np.ndarray, "T W"]) -> Float[np.ndarray, " W"]:
        return metrics.nse(*(xr.DataArray(one, dims=("time", "catchment")) for one in (predicted, truth))).values

    plain = nse(mean)
    console.print(
        "| share of the regression | NSE | minus the model (95 % interval), better |\n|---|---|---|", markup=False
    )
    for share in (0.0, *SHARES):
        moved = nse(mean * np.exp(share * (found - own_ratio)))
        cells = [f"{share:g}", f"{np.median(moved):.3f} ({np.quantile(moved, 0.1):.2f})", paired(moved, plain)]
        console.print(f"| {' | '.join(cells)} |", markup=False)


def main() -> None:
    """Score the shipped model, or another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", default="gb-rivers")
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    options = parser.parse_args()
    record = load_store(options.store).load()
    score(load(options.model, "cpu"), record, protocol.PERIODS[options.period], Console(width=200))


if __name__ == "__main__":
    main()
