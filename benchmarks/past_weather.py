"""Skill of forecasts without some weather of the past: all, rain alone, none; the weather after the issue day is known.

    python benchmarks/past_weather.py rivers.zarr

Validation period, issue days every 20 days, 120 catchments drawn with seed 1: median NSE by lead (10th percentile).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.protocol import PERIODS
from hydromae.inference.predictor import Model, load
from hydromae.metrics import nse
from hydromae.store.zarr_store import load_store

HIDDEN = {
    "all": (),
    "rain alone": ("temperature", "potential_evaporation"),
    "none": ("precipitation", "temperature", "potential_evaporation"),
}
"""Weather that is hidden up to the issue day."""
LEADS, RIVERS, EVERY, CONTEXT = (1, 3, 7), 120, 20, 500


def forecast_errors(model: Model, record: xr.Dataset, issues: pd.DatetimeIndex) -> pd.DataFrame:
    """NSE of each catchment by known weather and lead: columns `past`, `lead`, `catchment`, `nse`."""
    days = pd.to_timedelta(np.arange(1, max(LEADS) + 1), "D")
    flow = record["riverflow"].transpose("time", "catchment")
    truth = np.stack([flow.reindex(time=issue + days).values for issue in issues])
    rows = []
    for past, names in HIDDEN.items():
        predicted = np.stack([_forecast(model, record, issue, names) for issue in issues])
        for lead in LEADS:
            score = nse(*(_series(values[:, lead - 1]) for values in (predicted, truth))).values
            rows += [
                {"past": past, "lead": lead, "catchment": name, "nse": value}
                for name, value in zip(record["catchment"].values, score, strict=True)
            ]
    return pd.DataFrame(rows)


def _series(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("time", "catchment"))


def _forecast(model: Model, record: xr.Dataset, issue: pd.Timestamp, names: Sequence[str]) -> np.ndarray:
    """Forecast (lead, catchment) with some weather hidden up to the issue day."""
    window = record.sel(time=slice(issue - pd.Timedelta(days=CONTEXT), issue + pd.Timedelta(days=max(LEADS))))
    hidden = window.assign({name: window[name].where(window["time"] > issue) for name in names})
    answer = model.forecast_record(hidden, max(LEADS), pd.DatetimeIndex([issue]), levels=[0.5])
    return answer["riverflow"].isel(issue_time=0).transpose("lead", "catchment").values


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="gb-rivers")
    parser.add_argument("--rivers", type=int, default=RIVERS)
    parser.add_argument("--period", nargs=2, default=PERIODS["validation"], metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    first, last = (pd.Timestamp(day) for day in options.period)
    record = load_store(options.store).sel(time=slice(first - pd.Timedelta(days=CONTEXT), last))
    drawn = np.random.default_rng(1).permutation(record.sizes["catchment"])[: options.rivers]
    issues = pd.date_range(first, last - pd.Timedelta(days=max(LEADS)), freq=f"{EVERY}D")
    table = forecast_errors(load(options.model, "cpu"), record.isel(catchment=np.sort(drawn)).load(), issues)
    by_past = table.groupby(["past", "lead"], sort=False)["nse"]
    print(by_past.agg(median="median", p10=lambda scores: scores.quantile(0.1)).round(3).to_string())


if __name__ == "__main__":
    main()
