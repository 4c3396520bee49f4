"""How to add a variable, a mask, a reader: the pages' own edits are made to a copy of the package."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from docs_record import TINY, prepare_folder
from hydromae.cli import main
from hydromae.datasets.products import PRODUCTS
from hydromae.store.zarr_store import load_store
from hydromae.train.metrics_log import MetricsLog
from pages import ROOT, blocks, commands

EDIT = re.compile(r"# src/(hydromae/[\w/]+\.py), (?:in \w+, )?(above|below|replaces): ([^\n]*)\n(.*)", re.DOTALL)
"""An edit as a page shows it: the file, where, the text by which the place is known, and what comes there."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small record, and its store."""
    folder = prepare_folder(tmp_path_factory.mktemp("given"))
    words = ["--training-period", "2009-01-01", "2010-03-31"]
    assert main(["prepare", str(folder / "practice.nc"), str(folder / "small.zarr"), *words]) == 0
    with xr.open_dataset(folder / "practice.nc", engine="h5netcdf") as practice:
        melt = practice["precipitation"].where(practice["temperature"] < 5, 0.0).assign_attrs(units="mm day-1")
        snow = practice.assign(snowmelt=melt.where(practice["time"].dt.day != 1)).load()
    snow.to_netcdf(folder / "snow.nc", engine="h5netcdf")
    return folder


def edited(page: Path, folder: Path) -> int:
    """A copy of the package in a folder, with every edit of a page made; how many those were."""
    shutil.copytree(ROOT / "src" / "hydromae", folder / "hydromae", ignore=shutil.ignore_patterns("__pycache__"))
    found = [match for block in blocks(page) if (match := EDIT.fullmatch(block.text))]
    for file, where, known_by, text in (match.groups() for match in found):
        path = folder / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        places = [place for place, line in enumerate(lines) if known_by in line]
        assert len(places) == 1, f"{file}: {known_by} is in {len(places)} lines"
        if where == "replaces":
            lines[places[0]] = lines[places[0]].replace(known_by, text.strip())
        else:
            lines.insert(places[0] + (where == "below"), f"{text}\n\n" if where == "above" else text)
        path.write_text("".join(lines), encoding="utf-8")
    return len(found)


def run_edited(page: Path, here: Path) -> None:
    """The page's commands, by the edited copy, on smaller models."""
    more = TINY.removeprefix("--preset tiny ")
    small = [f"{command} {more}" if " pretrain " in command else command for command in commands(page)]
    words = [shlex.split(command)[1:] for command in small]
    code = f"import sys\nfrom hydromae.cli import main\nfor words in {words!r}:\n    assert main(words) == 0, words\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env={"PYTHONPATH": str(here), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_variable_is_added_as_the_page_says(given: Path, tmp_path: Path) -> None:
    page = Path("docs/extend/variable.md")
    shutil.copy(given / "snow.nc", tmp_path)
    assert edited(page, tmp_path) == 2
    run_edited(page, tmp_path)
    with xr.open_dataset(tmp_path / "snow-answered.nc", engine="h5netcdf") as answer:
        melt = answer["snowmelt"].load()
    asked = melt["time"].dt.day == 1
    assert melt.notnull().all() and melt.attrs["units"] == "mm day-1" and float(melt.min()) >= 0
    assert float(melt.sel(time=asked).std()) > 0


def test_a_mask_is_added_as_the_page_says(given: Path, tmp_path: Path) -> None:
    page = Path("docs/extend/mask.md")
    shutil.copytree(given / "small.zarr", tmp_path / "small.zarr")
    assert edited(page, tmp_path) == 3
    run_edited(page, tmp_path)
    for run in ("weekly", "mixed"):
        losses = [line["loss"] for line in MetricsLog(tmp_path / run / "journal.jsonl").read() if "loss" in line]
        assert losses and np.isfinite(losses).all()
    script = (
        "import torch\nfrom hydromae.batching.masking import draw\nfrom hydromae.config import MaskConfig\n"
        "from samples import sample\n"
        "settings = MaskConfig(kind='weekly', target_modalities=('riverflow',))\n"
        "hidden = draw(sample('tiny', days=15), settings, torch.Generator())\n"
        "seen = ~hidden['riverflow']\n"
        "assert not hidden['weather'].any() and seen[:, 7:14].sum(1).eq(1).all() and seen[:, :7].eq(seen[:, 7:14]).all()\n"
    )
    path = f"{tmp_path}:{ROOT / 'tests'}"
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": path, "PATH": ""}, check=True)


def test_the_product_of_the_page_is_prepared(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(given)
    names: dict[str, object] = {}
    code = next(block.text for block in blocks(Path("docs/extend/reader.md")) if "OURS" in block.text)
    exec(compile(code, "reader.md", "exec"), names)
    for module in ("hydromae.datasets.reader", "hydromae.preprocess.prepare"):
        monkeypatch.setattr(f"{module}.PRODUCTS", (*PRODUCTS, names["OURS"]))
    store = tmp_path / "ours.zarr"
    words = ["--attributes", "gauges.csv", "--training-period", "2009-01-01", "2010-03-31"]
    assert main(["prepare", "ours", str(store), *words]) == 0
    assert "uses riverflow (flow_m3s)" in capsys.readouterr().out
    record = load_store(store)
    first = record.isel(catchment=0)
    told = (given / "ours" / f"ours_{int(first['catchment'])}.csv").read_text().splitlines()[1].split(",")
    assert float(first["riverflow"][0]) == pytest.approx(
        float(told[1]) * 86.4 / float(first["catchment-area"]), rel=1e-5
    )
