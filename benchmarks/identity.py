"""Whether two commits compute the same to the last bit: the answers of the shipped model, and the losses of training.

    python benchmarks/identity.py --base main~5 answers rivers.zarr
    python benchmarks/identity.py --base main~5 losses

Both commits are checked out aside, and each runs this file with its own source. `answers` asks the shipped model twelve
questions in fp32 about 14 rivers of a store of CAMELS-GB and compares means and quantiles. `losses` trains `rivers`, `base`
and `fast`, narrowed, on Virtual GB through the command line, and compares the losses of all updates and the last weights. A
table of SHA-256 is printed; the exit code is 1 where they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console
from rich.table import Table

from compare import checked_out, git

RIVERS = 14
FIRST, LAST, GAP = "2012-09-01", "2014-09-30", slice("2013-11-01", "2013-11-20")
WEATHER = ("precipitation", "temperature", "potential_evaporation")
NARROW = {
    "rivers": "--data.sequence-length 120 --data.warm-up-days 30 --data.antecedent-days 200 --model.lstm-width 24 "
    "--model.lstm-ar-width 16 --model.recurrent-width 16 --model.decoder-dim 32",
    "base": "--data.sequence-length 8 --model.map-layers 2 --model.series-layers 2 --model.decoder-dim 16",
    "fast": "--data.sequence-length 8 --model.map-layers 2 --model.series-layers 2 --model.decoder-dim 16",
}
"""Options of each preset, beside those that all have."""
TRAINING = "--training-period 2003-01-01 2004-12-31"
COMMON = (
    "--model.d-model 32 --model.heads 4 --data.training-period 2003-01-01 2004-12-31 --data.validation-period 2005-01-01 "
    "2005-12-31 --train.batch-size 2 --train.epochs 1 --train.warmup-epochs 0.2 --train.validation-windows 1 "
    "--train.log-every 1 --train.precision fp32 --threads 1"
)


def digest(parts: Iterable[np.ndarray]) -> str:
    """SHA-256 of the raw floats, cut to 12 digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:12]


def answers(data: Path) -> dict[str, str]:
    """Digest of means and quantiles of every question."""
    import hydromae

    model = hydromae.load("gb-rivers", device="cpu", precision="fp32")
    whole = xr.open_zarr(data, consolidated=False, chunks=None).sel(time=slice(FIRST, LAST))
    record = whole.isel(catchment=np.linspace(0, whole.sizes["catchment"] - 1, RIVERS).astype(int)).load()
    return {name: _digest_of(ask(model, record)) for name, ask in questions().items()}


def _digest_of(answer: xr.Dataset | pd.DataFrame) -> str:
    if isinstance(answer, pd.DataFrame):
        return digest(answer[name].to_numpy() for name in answer if "riverflow" in str(name))
    return digest(answer[name].values for name in ("riverflow", "riverflow_quantile"))


def questions() -> dict[str, Callable]:
    """The twelve questions, by name; each takes a model and a record."""

    def hide(record: xr.Dataset, names: Iterable[str], days: slice | None = None, rivers: slice | None = None):
        hidden = record.copy(deep=True)
        place = {"time": days or slice(None), "catchment": record["catchment"][rivers or slice(None)]}
        for name in names:
            hidden[name].loc[place] = np.nan
        return hidden

    days = pd.date_range("2013-10-01", "2014-06-01", freq="60D")
    flow, some, most = ["riverflow"], slice(None, None, 3), [a for a in _ATTRIBUTES if "altitude" in a or a == "dpsbar"]
    return {
        "gap of a third": lambda m, r: m.predict(hide(r, flow, GAP, some)),
        "gap of all": lambda m, r: m.predict(hide(r, flow, GAP)),
        "ungauged": lambda m, r: m.predict(hide(r, flow, None, slice(0, 3))),
        "ungauged, few attributes": lambda m, r: m.predict(hide(r, flow, None, slice(0, 3)).drop_vars(most)),
        "simulate": lambda m, r: m.predict(hide(r, flow)),
        "forecast": lambda m, r: m.forecast(r, days=7, issues=days),
        "forecast without weather": lambda m, r: m.forecast(r, days=7, issues=days, future_weather="none"),
        "no rain": lambda m, r: m.predict(hide(r, flow, GAP).drop_vars("precipitation")),
        "no weather": lambda m, r: m.predict(hide(r, flow, GAP).drop_vars([n for n in WEATHER if n in r])),
        "one river": lambda m, r: m.predict(hide(r.isel(catchment=[5]), flow, GAP)),
        "60 days": lambda m, r: m.predict(hide(r.sel(time=slice("2013-10-01", "2013-11-29")), flow, GAP)),
        "a table": lambda m, r: m.predict(
            hide(r, flow, GAP)[["riverflow", "precipitation"]].to_dataframe().reset_index(), attributes=r[_ATTRIBUTES]
        ),
    }


_ATTRIBUTES = [
    *("latitude", "longitude", "minimum-altitude", "maximum-altitude", "50-percentile-altitude"),
    *("10-percentile-altitude", "90-percentile-altitude", "catchment-area", "dpsbar", "propwet", "bfihost"),
]


def losses(steps: int) -> dict[str, str]:
    """Digests of the losses and of the last weights of each preset."""
    from hydromae.model.serialization import load_model

    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in ("national", "catchments"):
            record = f"{folder}/{shape}-record.zarr"
            _hydromae(f"virtual {record} --shape {shape} --days 1096 --start 2003-01-01 --catchments 24")
            _hydromae(f"prepare {record} {folder}/{shape}.zarr --shape {shape} {TRAINING}")
        for preset, options in NARROW.items():
            run, store = folder / preset, "catchments" if preset == "rivers" else "national"
            words = f"--preset {preset} --train.steps-per-epoch {steps} {COMMON} {options}"
            _hydromae(f"pretrain {folder}/{store}.zarr --out {run} {words}")
            lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
            values = [line["loss"] for line in lines if "loss" in line]
            network = load_model(run / "last")[0]
            found[f"{preset}, losses of {len(values)} updates"] = digest([np.array(values)])
            weights = network.state_dict().values()
            found[f"{preset}, weights"] = digest(value.numpy() for value in weights)
    return found


def _hydromae(words: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "hydromae", *words.split()], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"hydromae {words}: {ended.stderr.strip()}")


def run_commit(tree: Path, words: list[str]) -> dict[str, str]:
    """The digests of one commit, computed in a process with its source."""
    path = os.pathsep.join([str(tree / "src"), str(Path(__file__).resolve().parent)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, __file__, *words], env=environment, capture_output=True, text=True, cwd=tree
    )
    if ended.returncode:
        sys.exit(f"{tree.name}: {ended.stderr.strip()}")
    return json.loads(ended.stdout)


def main() -> None:
    """Compare two commits, or, without `--base`, print the digests of the source in use as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the commit to compare with")
    parser.add_argument("--head", default="HEAD", help="the commit that is compared")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("answers").add_argument("data", type=Path, help="a store of rivers, 2012 to 2014")
    kinds.add_parser("losses").add_argument("--steps", type=int, default=50, help="updates of each preset")
    options = parser.parse_args()
    if options.base is None:
        print(json.dumps(answers(options.data) if options.kind == "answers" else losses(options.steps)))
        return
    words = [options.kind, str(options.data.resolve())] if options.kind == "answers" else ["losses"]
    words += ["--steps", str(options.steps)] if options.kind == "losses" else []
    commits = {side: git("rev-parse", "--short", f"{getattr(options, side)}^{{commit}}") for side in ("base", "head")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trees = {s: stack.enter_context(checked_out(c, Path(folder).resolve() / s)) for s, c in commits.items()}
        base, head = (run_commit(trees[side], words) for side in ("base", "head"))
    table = Table(options.kind, f"base {commits['base']}", f"head {commits['head']}", "")
    for name in {**base, **head}:
        pair = base.get(name, "–"), head.get(name, "–")
        table.add_row(name, *pair, "same" if pair[0] == pair[1] else "differ")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    sys.exit(base != head)


if __name__ == "__main__":
    main()
