"""The tables of docs/results.md as CSV files, from an evaluation.

    python benchmarks/skill_csv.py scores --prefix test_period --store rivers.zarr

Writes `{prefix}.csv` (the method beside the best baseline), `{prefix}_methods.csv`, `{prefix}_events.csv`,
`{prefix}_deciles.csv`, and with `--store` `{prefix}_groups.csv`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.score import Evaluation
from hydromae.evaluate.summary import summarise
from hydromae.store.zarr_store import open_store
from skill_picture import GROUPS

TARGETS: dict[str, tuple[float, float]] = {
    "gap": (0.96, 0.87),
    "ungauged": (0.91, 0.78),
    "ungauged-limited": (0.88, 0.70),
    "simulate": (0.89, np.nan),
    "forecast-1": (0.95, np.nan),
    "forecast-3": (0.925, np.nan),
    "forecast-7": (0.91, np.nan),
    "forecast-blind-1": (0.82, np.nan),
    "forecast-blind-3": (0.50, np.nan),
    "forecast-blind-7": (0.30, np.nan),
}
"""Targets of the project: median NSE over catchments, and its 10th percentile where there is one."""
GROUP_TASKS = ("gap", "ungauged", "simulate", "forecast-7", "forecast-blind-1")
EVENTS = ("flood", "drought")


def beside_best(found: pd.DataFrame, method: str) -> pd.DataFrame:
    """A row for each task: the method, the baseline of highest median NSE, that of lowest CRPS, and the target."""
    rows = []
    for task, (own, others) in _tasks(found, method).items():
        row = {"task": task, "nse_median": own["nse_median"], "nse_p10": own["nse_p10"]}
        best = others["nse_median"].idxmax() if len(others) else None
        sharpest = others["crps"].idxmin() if others["crps"].notna().any() else None
        row |= {"best_baseline": best} | {
            f"baseline_{name}": np.nan if best is None else others.loc[best, name] for name in ("nse_median", "nse_p10")
        }
        row |= {f"coverage{share}_percent": _percent(own[f"coverage{share}"]) for share in (50, 90)}
        row |= {"crps": own["crps"], "lowest_crps_baseline": sharpest}
        row["baseline_crps"] = np.nan if sharpest is None else others.loc[sharpest, "crps"]
        median, p10 = TARGETS[task]
        row |= {"target_nse_median": median, "target_nse_p10": p10, "outcome": outcome(row, median, p10)}
        rows.append(row)
    return _rounded(pd.DataFrame(rows))


def outcome(row: dict[str, float], median: float, p10: float) -> str:
    """Whether a row reaches its targets, and whether it is above the best baseline."""
    reached = "not reached"
    if round(row["nse_median"], 3) >= median:
        reached = "reached" if not round(row["nse_p10"], 2) < p10 else "median reached, 10th percentile not"
    difference = row["nse_median"] - row["baseline_nse_median"]
    return reached if np.isnan(difference) else f"{reached}, {'above' if difference > 0 else 'below'} the best baseline"


def all_methods(found: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and method, the highest median NSE of a task first."""
    table = found.reset_index(names=["task", "method"])
    order = {task: number for number, task in enumerate(dict.fromkeys(table["task"]))}
    table = table.sort_values(["nse_median"], ascending=False).sort_values(
        ["task"], key=lambda names: names.map(order), kind="stable"
    )
    for share in (50, 90):
        table[f"coverage{share}_percent"] = [_percent(value) for value in table[f"coverage{share}"]]
    columns = ["task", "method", "nse_median", "nse_p10", "nse_p25", "kge_median", "crps"]
    return _rounded(table[[*columns, "coverage50_percent", "coverage90_percent"]])


def events(found: pd.DataFrame, method: str) -> pd.DataFrame:
    """Critical success index and Brier score of floods and droughts, for tasks with at least ten events."""
    rows = []
    for task, (own, others) in _tasks(found, method).items():
        for event in EVENTS:
            if own[f"{event}_events"] >= 10:
                row = {"task": task, "event": event, "events": round(own[f"{event}_events"])}
                row |= {"csi": own[f"{event}_csi"], "brier": own[f"{event}_brier"]}
                for name, choose in (("csi", pd.Series.idxmax), ("brier", pd.Series.idxmin)):
                    values = others[f"{event}_{name}"].dropna()
                    best = choose(values) if len(values) else None
                    row[f"{'best' if name == 'csi' else 'lowest'}_{name}_baseline"] = best
                    row[f"baseline_{name}"] = np.nan if best is None else values[best]
                rows.append(row)
    return _rounded(pd.DataFrame(rows))


def deciles(scores: xr.Dataset, method: str) -> pd.DataFrame:
    """Coverage by decile of flow, and CRPS over the lowest of the baselines."""
    rows = []
    has_task = scores["nse"].sel({"method": method}).notnull().any("catchment").values
    for task in scores["question"].values[has_task].tolist():
        asked = scores.sel({"question": task})
        own, lowest = asked.sel({"method": method}), asked["decile_crps"].where(asked["method"] != method).min("method")
        ratio = own["decile_crps"] / lowest
        for decile in scores["decile"].values.tolist():
            row = {"task": task, "decile": decile}
            for share, by in ((90, "observed"), (90, "predicted"), (50, "predicted")):
                covered = float(own[f"decile_coverage{share}"].sel(by=by, decile=decile))
                row[f"coverage{share}_percent_by_{by}_flow"] = _percent(covered)
            row["crps_over_best_baseline"] = round(float(ratio.sel(by="observed", decile=decile)), 2)
            rows.append(row)
    return pd.DataFrame(rows)


def groups(scores: xr.Dataset, method: str, attributes: xr.Dataset) -> pd.DataFrame:
    """Median NSE of groups of catchments by baseflow index and area."""
    rows = []
    tasks = [task for task in GROUP_TASKS if task in _tasks(summarise(scores), method)]
    for name, edges in GROUPS.items():
        for low, high in pairwise(edges):
            for task in tasks:
                nse = scores["nse"].sel({"question": task, "method": method}).values
                chosen = nse[(attributes[name].values > low) & (attributes[name].values <= high) & np.isfinite(nse)]
                if len(chosen):
                    row = {"attribute": name, "above": low, "up_to": high if high < 1e6 else np.nan, "task": task}
                    row |= {"catchments": len(chosen), "nse_median": np.median(chosen)}
                    rows.append(row | {"nse_p10": np.percentile(chosen, 10)})
    return _rounded(pd.DataFrame(rows))


def _tasks(found: pd.DataFrame, method: str) -> dict[str, tuple[pd.Series, pd.DataFrame]]:
    """The row of the method and those of the others, for each task of the method."""
    names = dict.fromkeys(task for task, name in found.index if name == method)
    return {str(name): (found.loc[name].loc[method], found.loc[name].drop(index=method)) for name in names}


def _percent(share: float) -> str:
    """A share in whole percent; empty where there is none."""
    return f"{100 * share:.0f}" if np.isfinite(share) else ""


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round({name: _digits(name) for name in table.columns if table[name].dtype.kind == "f"})


def _digits(name: str) -> int:
    return 5 if "brier" in name else 2 if name.endswith(("p10", "p25", "over_best_baseline")) else 3


def written(table: pd.DataFrame) -> str:
    """A table as CSV, measured numbers with the decimals of their column, bounds and targets as short as they are."""
    out = table.copy()
    for name in (name for name in out.columns if out[name].dtype.kind == "f"):
        is_given = name in ("above", "up_to") or name.startswith("target_")
        form = "g" if is_given else f".{_digits(name)}f"
        out[name] = ["" if np.isnan(value) else format(value, form) for value in out[name]]
    return out.to_csv(index=False)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--prefix", required=True, help="start of the names of the files")
    parser.add_argument("--out", type=Path, default=Path("docs/tables"))
    parser.add_argument("--method", default="hydromae")
    parser.add_argument("--store", type=Path, help="for the attributes of the catchments")
    options = parser.parse_args()
    scores, method = Evaluation.load(options.evaluation).scores, options.method
    found = summarise(scores)
    tables = {"": beside_best(found, method), "_methods": all_methods(found), "_events": events(found, method)}
    tables["_deciles"] = deciles(scores, method)
    if options.store is not None:
        chosen = open_store(options.store)[list(GROUPS)].sel(catchment=scores["catchment"].values).load()
        tables["_groups"] = groups(scores, method, chosen)
    for name, table in tables.items():
        file = options.out / f"{options.prefix}{name}.csv"
        file.write_text(written(table), encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
