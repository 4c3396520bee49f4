"""Short records: how often intervals of flow hold where a record has few days or few rivers; factors that widen them.

    python benchmarks/short_records.py fit DATA --out FOLDER
    python benchmarks/short_records.py score DATA --period test

The folder holds `camels_gb_daily.nc` and the NRFA's attributes. A cell of the table has records of so many days and rivers,
drawn with the seed 0 until 8 records, 60 rivers and 300 days (`--target-days`) are scored; every second record has a river
and its nearest ones, the others have rivers from anywhere. `gap` hides 10-day gaps every 20 days, or the last third of
records below 30 days, of a third of the rivers (`gap-all`: of all of them at once); `simulate` hides all flow, `ungauged`
that of a third of the rivers, `forecast` that of the last days (a third of the record, 7 at most), `forecast-blind` their
weather, too. `fit` asks the model without its factors on records of 2 to 180 days of the years that choose, writes factors
by day of the record, and seals the folder; `score` prints each cell without and with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float
from rich.console import Console

from hydromae import metrics
from hydromae.datasets import reader
from hydromae.evaluate.protocol import PERIODS, Period
from hydromae.inference import scenarios
from hydromae.inference.predictor import Model, load
from hydromae.inference.widening import Widening, widening_files
from hydromae.io.conventions import catchment_positions
from hydromae.model.checksums import write_checksums

DAYS = (2, 5, 10, 30, 60, 180, 365, 730)
RIVERS = (1, 3, 10, 60)
QUESTIONS = ("gap", "gap-all", "simulate", "ungauged", "forecast", "forecast-blind")
GAP, EVERY, THIRD, AHEAD = 10, 20, 3, 7
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST_RECORDS, MIN_RIVERS, LEAST_DAYS = 8, 60, 300
"""Of a cell that is scored; the factors, fitted on many cells, need half of the days."""
SCORED = 30
"""Target days of a river from which its NSE counts."""
FITTED = {
    "gauged": ("gap",),
    "gauged_alone": ("gap-all", "forecast"),
    "ungauged": ("ungauged",),
    "ungauged_alone": ("simulate",),
}
"""Questions from which each kind of factor is fitted; one river is always alone."""
KNOTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Days of a record for which factors are fitted, each on days nearer to it than to the others (by their logarithm)."""


@dataclass(frozen=True)
class Cell:
    """A question about records of one size."""

    question: str
    days: int
    rivers: int


def record_of(
    record: xr.Dataset, period: Period, cell: Cell, away: Float[np.ndarray, " C"], generator: np.random.Generator
) -> xr.Dataset:
    """A record of the size of a cell that ends in the period: one river and others, by how far `away` they are or any."""
    first, last = (int(record.indexes["time"].get_indexer([pd.Timestamp(day)])[0]) for day in period)
    end = int(generator.integers(min(first + cell.days - 1, last), last + 1))
    others = away if generator.random() < 0.5 else np.where(away < 0, away, generator.random(len(away)))
    chosen = np.argsort(others, kind="stable")[: cell.rivers]
    return record.isel(time=slice(end - cell.days + 1, end + 1), catchment=chosen)


def hidden_of(part: xr.Dataset, question: str, generator: np.random.Generator) -> Bool[np.ndarray, "T C"]:
    """Which flow a question hides; the first river's is always among it."""
    days, rivers = part.sizes["time"], part.sizes["catchment"]
    share = np.arange(rivers) % THIRD == 0
    if question in ("gap-all", "simulate", "forecast", "forecast-blind"):
        share[:] = True
    if question in ("simulate", "ungauged"):
        return np.broadcast_to(share, (days, rivers))
    last = max(1, round(days / THIRD))
    if question.startswith("forecast") or days < GAP * THIRD:
        ahead = min(AHEAD, last) if question.startswith("forecast") else last
        return (np.arange(days) >= days - ahead)[:, None] & share
    start = generator.integers(0, EVERY, 1 if question == "gap-all" else rivers)
    pattern = scenarios.gap_pattern(part["time"], part["catchment"], GAP, EVERY, np.broadcast_to(start, rivers))
    return pattern.values & share


def asked(part: xr.Dataset, hidden: Bool[np.ndarray, "T C"], question: str) -> xr.Dataset:
    """The record without the hidden flow; of a blind forecast, without the weather of its days as well."""
    seen = xr.DataArray(~hidden, dims=("time", "catchment"))
    names = ("riverflow", *scenarios.WEATHER) if question == "forecast-blind" else ("riverflow",)
    return part.assign({name: part[name].where(seen) for name in names})


def answers(models: Sequence[Model], record: xr.Dataset, period: Period, cell: Cell, least: int) -> pd.DataFrame:
    """Hidden days of a cell, drawn until there are enough rivers and days, with their truth and each model's answer.

    Returns
    -------
    DataFrame
        A row a day: `river`, `day` of the record from 1, `truth` and, for model n, `mean-n` and `L-n` for each quantile
        level L [mm/day].
    """
    generator = np.random.default_rng([0, cell.days, cell.rivers, QUESTIONS.index(cell.question)])
    tables, rivers, days = list[pd.DataFrame](), set[object](), 0
    begin, positions = np.datetime64(period[0]), np.stack(catchment_positions(record))
    while len(tables) < LEAST_RECORDS or len(rivers) < MIN_RIVERS or days < least:
        place = generator.integers(record.sizes["catchment"])
        away = np.hypot(*(positions - positions[:, [place]]))
        away[place] = -1.0
        part = record_of(record, period, cell, away, generator)
        hidden = hidden_of(part, cell.question, generator)
        truth = part["riverflow"].values
        wanted = hidden & np.isfinite(truth) & (part["time"].values >= begin)[:, None]
        if not wanted.any():
            continue
        day, site = np.nonzero(wanted)
        table = {"river": part["catchment"].values[site], "day": day + 1, "truth": truth[wanted]}
        for n, model in enumerate(models):
            answer = model.predict(asked(part, hidden, cell.question), LEVELS)
            table[f"mean-{n}"] = answer["riverflow"].values[wanted]
            table |= {f"{q}-{n}": answer["riverflow_quantile"].sel(quantile=q).values[wanted] for q in LEVELS}
        tables.append(pd.DataFrame(table))
        rivers, days = rivers | set(table["river"]), days + len(day)
    return pd.concat(tables, ignore_index=True)


def needed(rows: pd.DataFrame, share: float) -> Float[np.ndarray, " N"]:
    """Factor by which a day's interval has to be widened about the median (of the root of flow) to reach the truth."""
    low, middle, high = (np.sqrt(rows[f"{q:g}-0"].to_numpy(float)) for q in ((1 - share) / 2, 0.5, (1 + share) / 2))
    truth = np.sqrt(rows["truth"].to_numpy(float))
    return np.abs(truth - middle) / np.maximum(np.where(truth >= middle, high - middle, middle - low), 1e-9)


def fit(model: Model, record: xr.Dataset, days: Sequence[int], console: Console) -> Widening:
    """Factors near each day of `KNOTS`: the mean of those with which the 90 % and the 50 % interval hold; none below 1."""
    plain, curves = replace(model, widening=None), {}
    edges = np.sqrt(np.array(KNOTS[1:]) * KNOTS[:-1])
    for kind, questions_of in FITTED.items():
        cells = [Cell(q, d, r) for q in questions_of for d in days for r in RIVERS if r > 1 or kind.endswith("alone")]
        tables = [answers([plain], record, PERIODS["validation"], cell, LEAST_DAYS // 2) for cell in cells]
        rows = pd.concat(tables, keys=range(len(tables)), names=["cell"]).reset_index("cell")
        rows["knot"] = np.searchsorted(edges, rows["day"])
        near = [rows.query(f"knot == {knot}") for knot in range(len(KNOTS))]
        found = [np.mean([_factor(part, share) for share in (0.5, 0.9)]) for part in near]
        falling = np.maximum.accumulate(np.array([*found, 1.0])[::-1])[:0:-1]
        curves[kind] = tuple(round(float(factor), 2) for factor in falling)
        console.print(f"{kind}: {curves[kind]}", markup=False)
    return Widening(tuple(map(float, KNOTS)), **curves)


def _factor(rows: pd.DataFrame, share: float) -> float:
    """The factor with which an interval holds its share of the days, where each cell has the same weight; 1 of no days."""
    if not len(rows):
        return 1.0
    cells, sizes = np.unique(rows["cell"].to_numpy(), return_counts=True)
    weight = 1.0 / sizes[np.searchsorted(cells, rows["cell"].to_numpy())]
    return float(np.quantile(needed(rows, share), share, weights=weight, method="inverted_cdf"))


def scored(rows: pd.DataFrame, n: int) -> dict[str, float]:
    """Coverage of the 50 % and 90 % interval, mean CRPS [mm/day], and the median NSE of rivers with enough days (or NaN)."""
    truth = xr.DataArray(rows["truth"].to_numpy(float), dims="time")
    cuts = xr.DataArray(
        rows[[f"{q}-{n}" for q in LEVELS]].to_numpy(float).T,
        dims=("quantile", "time"),
        coords={"quantile": list(LEVELS)},
    )
    many = [part for _, part in rows.groupby("river") if len(part) >= SCORED]
    each = [
        metrics.nse(*(xr.DataArray(p[c].to_numpy(float), dims="time") for c in (f"mean-{n}", "truth"))) for p in many
    ]
    return {
        "c50": float(metrics.coverage(cuts, truth, 0.5)),
        "c90": float(metrics.coverage(cuts, truth, 0.9)),
        "crps": float(metrics.crps(cuts, truth)),
        "nse": float(np.nanmedian(each)) if each else float("nan"),
    }


def score(
    model: Model, record: xr.Dataset, period: Period, cells: Sequence[Cell], console: Console, least: int = LEAST_DAYS
) -> None:
    """Print a line of Markdown for each cell: its size, coverage without and with the factors, CRPS likewise, NSE."""
    console.print(
        "| question | days | rivers | asked: rivers, days | 50 % / 90 % without | with | CRPS | NSE |", markup=False
    )
    console.print("|---|---|---|---|---|---|---|---|", markup=False)
    for cell in cells:
        rows = answers([replace(model, widening=None), model], record, period, cell, least)
        before, after = scored(rows, 0), scored(rows, 1)
        held = [f"{100 * one['c50']:.0f} / {100 * one['c90']:.0f} %" for one in (before, after)]
        nse = "–" if np.isnan(after["nse"]) else f"{after['nse']:.2f}"
        parts = [cell.question, cell.days, cell.rivers, f"{rows['river'].nunique()}, {len(rows)}", *held]
        line = [*map(str, parts), f"{before['crps']:.3f}, {after['crps']:.3f}", nse]
        console.print(f"| {' | '.join(line)} |", markup=False)


def main() -> None:
    """Fit or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "score"))
    parser.add_argument("data", type=Path, help="a folder with camels_gb_daily.nc and the NRFA's attributes")
    parser.add_argument("--model", default="gb-rivers", help="a shipped name or a folder")
    parser.add_argument(
        "--period", choices=("validation", "test"), default="validation", help="scored years; fit: validation"
    )
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=("gap",))
    parser.add_argument("--days", nargs="+", type=int, default=DAYS, help="days of a record")
    parser.add_argument("--rivers", nargs="+", type=int, default=RIVERS, help="rivers of a record; 599 are all")
    parser.add_argument("--target-days", type=int, default=LEAST_DAYS, help="score: scored days of a cell, at least")
    parser.add_argument("--out", type=Path, help="fit: folder of a model, whose factors are replaced")
    options, console = parser.parse_args(), Console(width=200)
    record = reader.open_record(
        options.data / "camels_gb_daily.nc",
        options.data / "Catchment_attributes_nrfa.csv",
        ("2009-01-01", PERIODS["test"][1]),
    ).load()
    model = load(options.model, "cpu")
    if options.what == "score":
        cells = [Cell(q, d, r) for q in options.questions for d in options.days for r in options.rivers]
        score(model, record, PERIODS[options.period], cells, console, options.target_days)
        return
    fitted = fit(model, record, [days for days in options.days if days < model.config.data.sequence_length], console)
    for name, text in widening_files(fitted).items():
        (options.out / name).write_text(text, encoding="utf-8")
    write_checksums(options.out)


if __name__ == "__main__":
    main()
