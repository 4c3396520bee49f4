"""Names in data never become paths: whatever catchments, variables and groups are called, outputs stay in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bases import PERIOD, Bases

from hydromae.cli import main
from hydromae.config import Config
from hydromae.config.bounds import BOUNDS, _numbers_in

WICKED = ("../../escaped", "/tmp/hydromae-escaped", "a/b\\..\\c")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("names"))


def paths(folder: Path) -> set[str]:
    """Everything below a folder, but what lies inside `out`."""
    return {str(p) for p in folder.rglob("*") if "out" not in p.relative_to(folder).parts}


def test_catchments_named_as_paths_stay_names(bases: Bases, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "er"
    (place / "out").mkdir(parents=True)
    record = bases.record.assign_coords(catchment=list(WICKED)).assign_attrs(title="../../x")
    record = record.assign({"../../variable": ("catchment", np.ones(3))}).assign_coords(
        name=("catchment", list(WICKED))
    )
    file, csv, store = place / "record.csv", place / "table.csv", place / "out" / "store.zarr"
    record.drop_vars("name").to_dataframe().reset_index().to_csv(file, index=False)
    bases.attributes.assign(id=WICKED, name=WICKED).to_csv(csv, index=False)
    before = paths(tmp_path)
    assert main(["prepare", str(file), str(store), "--attributes", str(csv), *PERIOD, "--json"]) == 0
    for form in ("nc", "zarr", "csv", "parquet"):
        out = ["--out", str(place / "out" / f"answer.{form}"), "--device", "cpu", "--json"]
        assert main(["predict", str(store), "--model", str(bases.model), *out]) == 0
    out = ["--out", str(place / "out" / "forecast.nc"), "--device", "cpu", "--json"]
    assert main(["forecast", str(store), "--model", str(bases.model), "--days", "2", *out]) == 0
    assert main(["inspect", str(store), "--picture", str(place / "out" / "picture.png"), "--json"]) == 0
    score = [
        "evaluate",
        str(store),
        "--out",
        str(place / "out" / "scores"),
        "--model",
        str(bases.model),
        "--device",
        "cpu",
    ]
    period = ["--period", "2001-02-11", "2001-03-01", "--questions", "simulate", "--no-baselines", "--json"]
    assert main([*score, *period]) == 0
    report = ["report", str(place / "out" / "scores"), "--out", str(place / "out" / "page.html"), "--json"]
    assert main(report) == 0
    assert paths(tmp_path) == before
    assert not Path("/tmp/hydromae-escaped").exists()
    answer = xr.open_dataset(place / "out" / "answer.nc", engine="h5netcdf")
    assert answer["catchment"].values.tolist() == list(WICKED)
    assert set(pd.read_csv(place / "out" / "answer.csv")["catchment"]) == set(WICKED)


def test_what_a_page_shows_of_names_runs_nowhere(bases: Bases, tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "&lt;", '"><img src=x onerror=alert(1)>']
    record = bases.record.assign_coords(catchment=names)
    record.to_netcdf(tmp_path / "record.nc", engine="h5netcdf")
    store = tmp_path / "store.zarr"
    assert main(["prepare", str(tmp_path / "record.nc"), str(store), *PERIOD, "--json"]) == 0
    score = ["evaluate", str(store), "--out", str(tmp_path / "scores"), "--model", str(bases.model), "--device", "cpu"]
    period = ["--period", "2001-02-11", "2001-03-01", "--questions", "simulate", "--no-baselines", "--json"]
    assert main([*score, *period]) == 0
    assert (
        main(["report", str(tmp_path / "scores"), "--out", str(tmp_path / "page.html"), "--title", names[0], "--json"])
        == 0
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page


def test_every_number_of_the_configuration_has_bounds_that_hold_its_default() -> None:
    import dataclasses

    sections = dataclasses.asdict(Config())
    named = {f"{s}.{n}": _numbers_in(v) for s, fields in sections.items() for n, v in fields.items() if _numbers_in(v)}
    assert not set(named) - set(BOUNDS)
    for name, numbers in named.items():
        low, high = BOUNDS[name]
        assert all(low <= number <= high for number in numbers)
