"""Whose data a record, a store and a report say that they hold: by the source, by the product, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explored import small_country
from hydromae.cli import main
from hydromae.datasets import reader
from hydromae.evaluate.benchmark import run_protocol
from hydromae.io.credits import MAP_CREDITS, credit_line, list_credits
from hydromae.preprocess.prepare import prepare
from hydromae.report.page import write_report
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import describe_source, load_store, write_store
from hydromae.virtual import virtual_catchments
from hydromae.virtual.downloads import LAYOUTS
from synthetic import rivers

OWN = {"title": "Mine", "source": "Office of\n Rivers", "license": "CC-BY 4.0", "comment": "none", "references": 5}
INVENTED = "hydromae.virtual, seed 0; nothing here was measured"


@pytest.fixture(scope="module")
def virtual() -> xr.Dataset:
    return virtual_catchments(40, 0, "2001-01-01", 3)


def test_a_credit_is_what_the_attributes_say() -> None:
    assert credit_line(OWN) == "Office of Rivers; CC-BY 4.0"
    assert credit_line({"source": "a", "references": "a", "institution": " "}) == "a"
    assert credit_line({"title": "Mine", "source": 3}) == ""


@pytest.mark.parametrize(("own", "credit"), [(OWN, "Office of Rivers; CC-BY 4.0"), ({"title": "Mine"}, None)])
def test_a_report_credits_whoever_made_the_data_or_nobody(own: dict, credit: str | None, tmp_path: Path) -> None:
    rivers(3, 60, seed=5).assign_attrs(own).to_netcdf(tmp_path / "mine.nc", engine="h5netcdf")
    prepare(tmp_path / "mine.nc", tmp_path / "mine.zarr", training_period=("2001-01-01", "2001-01-31"))
    record = load_store(tmp_path / "mine.zarr")
    assert list_credits(record) == ([credit] if credit else [])
    assert small_country(record).overview()["sources"] == list_credits(record)
    found = run_protocol(None, record, ("2001-02-01", "2001-02-28"), ("simulate",), 30, True, {})
    page = write_report(found, None, tmp_path / "page.html", title="Mine", model_card={}).read_text(encoding="utf-8")
    assert "CAMELS" not in page and page.count("<dt>data</dt>") == (1 if credit else 0)
    assert credit is None or f"<dd>{credit}</dd>" in page


def test_a_table_says_it_by_its_attributes() -> None:
    frame = pd.DataFrame({"date": ["2001-01-01"], "catchment": [1], "riverflow": [1.0]})
    assert reader.open_record(frame).attrs == {}
    frame.attrs = {"source": "Office of Rivers", "units": "mm/day", "license": ["none"]}
    assert list_credits(reader.open_record(frame)) == ["Office of Rivers"]


@pytest.mark.parametrize(
    ("layout", "credit"),
    [
        ("camels-gb", "CAMELS-GB version 1: Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, "),
        ("caravan", "Caravan: Kratzert et al. 2023, doi:10.5281/zenodo.6522634, CC-BY 4.0"),
        ("nrfa", "NRFA: UK National River Flow Archive, https://nrfa.ceh.ac.uk, Open Government Licence v3"),
    ],
)
def test_files_of_a_product_are_its_own_unless_they_were_invented(
    layout: str, credit: str, virtual: xr.Dataset, tmp_path: Path
) -> None:
    LAYOUTS[layout](tmp_path / "files", virtual)
    assert reader.open_record(tmp_path / "files").attrs["source"].startswith(credit)
    assert main(["virtual", str(tmp_path / "v"), "--layout", layout, "--days", "40", "--catchments", "3"]) == 0
    product = credit.partition(":")[0]
    assert reader.open_record(tmp_path / "v").attrs["source"] == f"{product}: {INVENTED}"


def test_a_store_of_several_sources_names_each_once(virtual: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    sources = [
        describe_source(tmp_path / "a", credit=one) for one in (MAP_CREDITS["CHESS"], "", "Mine", MAP_CREDITS["CHESS"])
    ]
    record = virtual[["riverflow"]].astype(np.float32)
    write_store(record, tmp_path / "s.zarr", scaling=Scaling.fit(record, ("2001-01-01", "2001-01-31")), sources=sources)
    stored = load_store(tmp_path / "s.zarr")
    assert (
        list_credits(stored) == [MAP_CREDITS["CHESS"], "Mine"]
        and stored.attrs["source"] == f"{MAP_CREDITS['CHESS']}; Mine"
    )
