"""Spot gaugings: held-out catchments with a few observed days, predicted as gaps, as ungauged, and scaled to these days.

    python benchmarks/spot_gaugings.py --store rivers.zarr --period validation

The observed days of each catchment are drawn with the seed 0 among the days of the period and of the year before it: single
days, or a block of successive ones. All other days of the period are scored. `reads them` is the prediction that reads the
few days, without further adjustment, `ungauged` the one without them, `scaled` what `Model.predict` returns.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from rich.console import Console

from hydromae import metrics
from hydromae.evaluate import protocol
from hydromae.inference.predictor import Model, load
from hydromae.inference.single_pass import predict_once
from hydromae.inference.windows import no_progress
from hydromae.store.zarr_store import load_store
from peers import paired

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]
METHODS = ("ungauged", "reads them", "scaled")


def draw_days(truth: Float[np.ndarray, "T C"], count: int, is_block: bool) -> Bool[np.ndarray, "T C"]:
    """True on the observed days that a method may read: `count` single ones of each catchment, or successive ones."""
    generator, drawn = np.random.default_rng(0), np.zeros(truth.shape, bool)
    for catchment in range(truth.shape[1]):
        observed = np.flatnonzero(np.isfinite(truth[:, catchment]))
        first = int(generator.integers(0, max(1, len(observed) - count + 1)))
        days = observed[first : first + count] if is_block else generator.permutation(observed)[:count]
        drawn[days, catchment] = True
    return drawn


def answers(model: Model, question: xr.Dataset) -> dict[str, xr.Dataset]:
    """The predictions with and without scaling."""
    return {
        "reads them": predict_once(model, question, LEVELS, no_progress),
        "scaled": model.predict_record(question, LEVELS),
    }


def score(
    model: Model, record: xr.Dataset, period: protocol.Period, cases: Sequence[tuple[int, bool]], console: Console
) -> None:
    """Print a line of Markdown for each case and method."""
    (question,) = protocol.ungauged_questions(record, period)
    (targets,) = question.targets.values()
    names = protocol.held_out(record["catchment"].values)
    truth = question.truth.sel(catchment=names).transpose("time", "catchment")
    scored_days = targets.sel(catchment=names).reindex(time=truth["time"], fill_value=False).transpose(*truth.dims)
    ungauged = predict_once(model, question.dataset, LEVELS, no_progress)
    console.print(
        "| days | method | NSE | CRPS | 50 / 90 % | NSE minus ungauged (95 % interval), better |", markup=False
    )
    console.print("|---|---|---|---|---|---|", markup=False)
    for count, is_block in cases:
        drawn = truth.copy(data=draw_days(truth.values.astype(float), count, is_block))
        flow = question.dataset["riverflow"].transpose("time", "catchment")
        filled = flow.fillna(truth.where(drawn).reindex(catchment=flow["catchment"]))
        found = {"ungauged": ungauged} | answers(
            model, question.dataset.assign(riverflow=filled.assign_attrs(flow.attrs))
        )
        wanted = truth.where(scored_days & ~drawn).astype(np.float64)
        reference = None
        for method in METHODS:
            answer = found[method].sel(catchment=names)
            nse = metrics.nse(answer["riverflow"].transpose(*truth.dims), wanted).values
            reference = nse if reference is None else reference
            quantiles = answer["riverflow_quantile"]
            crps = float(metrics.crps(quantiles, wanted).median())
            shares = [100 * float(metrics.coverage(quantiles, wanted, share).median()) for share in (0.5, 0.9)]
            difference = "–" if method == "ungauged" else paired(nse, reference)
            middle, low = np.median(nse), np.quantile(nse, 0.1)
            label = f"{count} in a row" if is_block else f"{count}"
            cells = [
                label,
                method,
                f"{middle:.3f} ({low:.2f})",
                f"{crps:.3f}",
                "{:.0f} / {:.0f}".format(*shares),
                difference,
            ]
            console.print(f"| {' | '.join(cells)} |", markup=False)


def main() -> None:
    """Score the shipped model, or another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", default="gb-rivers")
    parser.add_argument("--period", choices=tuple(protocol.PERIODS), default="validation")
    parser.add_argument("--days", nargs="+", type=int, default=(1, 4, 12, 30))
    parser.add_argument("--blocks", nargs="+", type=int, default=(10, 30), help="days in a row")
    options = parser.parse_args()
    cases = [*((days, False) for days in options.days), *((days, True) for days in options.blocks)]
    model, record = load(options.model, "cpu"), load_store(options.store).load()
    score(model, record, protocol.PERIODS[options.period], cases, Console(width=200))


if __name__ == "__main__":
    main()
