"""The tables of README and docs/results.md, from an evaluation: one method beside the best of the others, all methods,
events, distributions by decile of the flow.

python benchmarks/skill_table.py scores --method hydromae
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.score import Evaluation
from hydromae.evaluate.summary import summarise
from hydromae.report.labels import question_label
from hydromae.report.text import format_number


def rows(found: pd.DataFrame, method: str) -> list[str]:
    """A line of Markdown for each question; the best of the others is that of the highest median NSE."""
    lines = ["| question | this model | best baseline | 50 % / 90 % interval holds | CRPS: model, best baseline |"]
    lines.append("|---|---|---|---|---|")
    for name in dict.fromkeys(found.index.get_level_values("question")):
        asked = found.loc[name]
        own, others = asked.loc[method], asked.drop(index=method)
        cells = [f"`{name}`: {question_label(name).title.lower()}", nse(own), "–", "–", "–"]
        if len(others):
            best = others["nse_median"].idxmax()
            cells[2] = f"{nse(others.loc[best])} {best}"
        cells[3] = f"{own['coverage50']:.0%} / {own['coverage90']:.0%}"
        crps = others["crps"].dropna()
        cells[4] = f"{own['crps']:.3f}" + (f", {crps.min():.3f} {crps.idxmin()}" if len(crps) else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def events(found: pd.DataFrame, method: str) -> list[str]:
    """The same of floods and droughts, where a question met at least ten."""
    lines = [
        "| question | event | how many | this model: CSI, Brier | best baseline: CSI; Brier |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(found.index.get_level_values("question")):
        asked = found.loc[name]
        for kind in ("flood", "drought"):
            own, others = asked.loc[method], asked.drop(index=method)
            if own[f"{kind}_events"] < 10:
                continue
            cells = [f"`{name}`", kind, f"{own[f'{kind}_events']:.0f}"]
            cells.append(f"{own[f'{kind}_csi']:.3f}, {own[f'{kind}_brier']:.5f}")
            told = "–"
            if len(others):
                best, sure = others[f"{kind}_csi"].idxmax(), others[f"{kind}_brier"].idxmin()
                told = f"{others.loc[best, f'{kind}_csi']:.3f} {best}; {others.loc[sure, f'{kind}_brier']:.5f} {sure}"
            lines.append("| " + " | ".join([*cells, told]) + " |")
    return lines


def deciles(scores: xr.Dataset, method: str) -> list[str]:
    """What intervals hold, and CRPS over the lowest of the others' in that tenth of the flow; the lowest flows first."""
    lines = [
        "| question | 90 % holds, by what came | by what was said | 50 %, by what was said | CRPS / best baseline's |",
        "|---|---|---|---|---|",
    ]
    for name in scores["question"].values.tolist():
        asked = scores.sel({"question": name})
        own, best = asked.sel({"method": method}), asked["decile_crps"].where(asked["method"] != method).min("method")
        shares = [
            (own["decile_coverage90"], "observed"),
            (own["decile_coverage90"], "predicted"),
            (own["decile_coverage50"], "predicted"),
        ]
        cells = [" ".join(f"{100 * share:.0f}" for share in values.sel(by=by).values) for values, by in shares]
        ratio = (own["decile_crps"] / best).sel(by="observed").values
        told = " ".join(f"{part:.2f}" for part in ratio) if np.isfinite(ratio).any() else "–"
        lines.append(f"| `{name}` | " + " | ".join([*cells, told]) + " |")
    return lines


def methods(found: pd.DataFrame) -> list[str]:
    """A line for each question and method, the best median NSE of a question first."""
    lines = ["| question | method | NSE | 25th | KGE | CRPS [mm/day] | 50 % / 90 % |", "|---|---|---|---|---|---|---|"]
    for name in dict.fromkeys(found.index.get_level_values("question")):
        for method, row in found.loc[name].sort_values("nse_median", ascending=False).iterrows():
            sure = row["crps"] == row["crps"]
            told = [f"{row['crps']:.3f}", f"{row['coverage50']:.0%} / {row['coverage90']:.0%}"] if sure else ["–", "–"]
            cells = [
                f"`{name}`",
                str(method),
                nse(row),
                format_number(row["nse_p25"]),
                f"{row['kge_median']:.3f}",
                *told,
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def nse(row: pd.Series) -> str:
    """Median and 10th percentile."""
    return f"{format_number(row['nse_median'], 3)} ({format_number(row['nse_p10'])})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--method", default="hydromae")
    options = parser.parse_args()
    evaluation = Evaluation.load(options.evaluation)
    found, own = summarise(evaluation.scores), options.method
    parts = rows(found, own), methods(found), events(found, own), deciles(evaluation.scores, own)
    print("\n\n".join("\n".join(lines) for lines in parts))


if __name__ == "__main__":
    main()
