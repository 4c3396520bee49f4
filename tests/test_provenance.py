"""Every answer says what made it: model and weights, when, by which call, from what, and what of it was observed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explored import MODEL, small_country
from hydromae import __version__
from hydromae.cli import main
from hydromae.datasets import reader
from hydromae.errors import InputError
from hydromae.explore.export import export
from hydromae.inference.predictor import SHIPPED, load
from hydromae.io.locate import files_in
from hydromae.io.provenance import with_provenance
from hydromae.io.table import open_netcdf, open_zarr
from hydromae.io.write import write_answer
from hydromae.model.checksums import CHECKSUMS, checksum_of, write_checksums
from hydromae.virtual import virtual_catchments
from synthetic import rivers

WEIGHTS = hashlib.sha256((SHIPPED / "gb-rivers" / "model.safetensors").read_bytes()).hexdigest()
BY = f"gb-rivers (weights sha256 {WEIGHTS}), hydromae {__version__}"
SECOND_DAY = f"1970-01-02T00:00:00Z hydromae {__version__}: "
FLOW = {"observed": 980, "filled": 5, "forecast": 15, "ungauged": 200, "missing": 0}
"""Of 200 days of six rivers: a gap of 5 days, no last 3 days of five rivers, and one river without flow."""


SMALL = rivers(6, 200, seed=5)
VIRTUAL = virtual_catchments(200, 3, "2009-01-01", 6, missing=False).load()


@pytest.fixture(autouse=True)
def second_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")


def question(record: xr.Dataset = SMALL) -> xr.Dataset:
    record = record.copy(deep=True)
    record["riverflow"][100:105, 0] = np.nan
    record["riverflow"][-3:] = np.nan
    record["riverflow"][:, 5] = np.nan
    record["temperature"][3:7, 1] = np.nan
    record["bfihost"][2] = np.nan
    return record


def frame_of(record: xr.Dataset) -> pd.DataFrame:
    frame = record.to_dataframe().reset_index().rename(columns={"time": "date"})
    return frame.drop(columns=[name for name in ("easting", "northing") if name in frame])


def test_a_dataset_says_it_in_its_attributes() -> None:
    own = {"title": "Mine", "source": "Office of Rivers", "license": "CC-BY", "history": "2000 measured"}
    first = MODEL.predict(question().assign_attrs(own))
    told = json.loads(first.attrs["provenance"])
    assert told["values"]["riverflow"] == FLOW
    assert told["values"]["temperature"] == {**dict.fromkeys(FLOW, 0), "observed": 1196, "filled": 4}
    assert told["inputs"]["riverflow"] == 980 and told["inputs"]["soil_moisture"] == 0
    assert told["attributes"]["bfihost"] == 5 and told["attributes"]["catchment-area"] == 6
    assert (told["model"], told["sha256"], told["precision"]) == ("hydromae", None, "fp32")
    assert told["data"] == {"source": "Office of Rivers", "license": "CC-BY"}
    call = "Model.predict(quantiles=[0.05, 0.25, 0.5, 0.75, 0.95], negative_flow='refuse')"
    assert first.attrs["history"] == f"{SECOND_DAY}{call}\n2000 measured"
    by = f"hydromae (weights sha256 of no file), hydromae {__version__}"
    assert first.attrs["source"] == f"{by}; observed: Office of Rivers"
    assert (first.attrs["title"], first.attrs["license"]) == ("Mine", "CC-BY")

    again = MODEL.predict(first)
    assert again.attrs["history"].splitlines() == [f"{SECOND_DAY}{call}", f"{SECOND_DAY}{call}", "2000 measured"]
    assert again.attrs["source"] == first.attrs["source"], "what was observed is from where it was from"
    assert json.loads(again.attrs["provenance"])["values"] == told["values"]
    same = MODEL.predict(question().assign_attrs(own))
    xr.testing.assert_identical(first, same)
    ahead = MODEL.forecast(question(), days=2, quantiles=[0.5]).attrs
    line = "Model.forecast(days=2, future_weather='observed', quantiles=[0.5])"
    assert ahead["history"].splitlines() == [f"{SECOND_DAY}{line}"]
    assert json.loads(ahead["provenance"])["values"]["riverflow"]["forecast"] == 2 * 5


def test_a_table_says_it_in_a_dictionary_that_pandas_keeps(tmp_path: Path) -> None:
    frame = frame_of(question()).iloc[6:]  # without the first day of each river
    frame.attrs = {"source": "Office of Rivers", "units": "mm/day"}
    answer = MODEL.predict(frame)
    told = answer.attrs["provenance"]
    assert told["values"]["riverflow"] == FLOW | {"observed": 975, "ungauged": 199}, "cells that the table has"
    assert answer.attrs["source"] == "Office of Rivers" == told["data"]["source"] and len(told["history"]) == 1
    answer.to_parquet(tmp_path / "a.parquet")
    joined = pd.concat([answer, pd.read_parquet(tmp_path / "a.parquet")])
    assert joined.attrs["provenance"] == told and joined.groupby("catchment").first().attrs["provenance"] == told
    assert answer.merge(answer[["date", "catchment"]]).shape == answer.shape
    again = MODEL.predict(answer)
    assert again.attrs["provenance"]["history"] == [*told["history"], *told["history"]]
    wide = question()["riverflow"].to_pandas()
    assert isinstance(wide, pd.DataFrame)
    wide.attrs["units"] = "mm/day"
    traits = question()[["latitude", "longitude", "catchment-area"]].to_dataframe()
    assert MODEL.predict(wide, attributes=traits).attrs["provenance"]["values"] == {"riverflow": FLOW}


def written(file: Path) -> Path:
    """The question of the command line."""
    frame = question(VIRTUAL)[["riverflow", "precipitation", "temperature", "latitude", "longitude"]].to_dataframe()
    kept = frame[["riverflow", "precipitation", "temperature", "latitude", "longitude"]].reset_index()
    kept.rename(columns={"time": "date"}).to_csv(file, index=False)
    return file


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_table_has_a_file_of_it_beside_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "my.csv")
    out, beside = tmp_path / f"filled{kind}", tmp_path / f"filled{kind}.provenance.json"
    words = ["predict", str(tmp_path / "my.csv"), "--model", "gb-rivers", "--out", str(out), "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    told = json.loads(beside.read_text(encoding="utf-8"))
    assert told["answer"] == out.name
    assert told["answer_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert told["history"] == [f"{SECOND_DAY}hydromae {' '.join(words)}"] and told["source"] == BY
    assert told["sha256"] == WEIGHTS and told["values"]["riverflow"] == FLOW
    assert printed == {"path": str(out), **{name: FLOW[name] for name in FLOW if name != "missing"}}

    before = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == before, "its own file is replaced, with the same values"
    beside.write_text('{"history": "of a stranger"}')
    assert main(words) == 2
    assert "filled" in (said := capsys.readouterr().err) and "is not the provenance of an answer" in said
    assert beside.read_text() == '{"history": "of a stranger"}' and out.read_bytes() == before
    beside.unlink()
    beside.mkdir()
    assert main(words) == 2 and "is not the provenance of an answer" in capsys.readouterr().err


def test_files_and_folders_are_read_as_if_it_was_not_there(tmp_path: Path) -> None:
    written(tmp_path / "my.csv")
    (tmp_path / "out").mkdir()
    for out in ("a.csv", "b.nc", "c.zarr"):
        words = ["predict", str(tmp_path / "my.csv"), "--model", "gb-rivers", "--out", str(tmp_path / "out" / out)]
        assert main(words) == 0
    for opened in (open_netcdf(tmp_path / "out" / "b.nc"), open_zarr(tmp_path / "out" / "c.zarr")):
        assert opened.attrs["source"] == BY
        told = json.loads(opened.attrs["provenance"])
        assert told["values"]["riverflow"] == FLOW and opened.attrs["history"].startswith(
            f"{SECOND_DAY}hydromae predict "
        )
    names = sorted(file.name for file in (tmp_path / "out").iterdir() if file.is_file())
    assert names == ["a.csv", "a.csv.provenance.json", "b.nc"]
    (tmp_path / "out" / "b.nc").unlink()
    assert [file.name for file in files_in(tmp_path / "out")] == ["a.csv"]
    (tmp_path / "out" / "c.zarr").rename(tmp_path / "c.zarr")
    words = ["predict", str(tmp_path / "out"), "--model", "gb-rivers", "--out", str(tmp_path / "again.csv")]
    assert main(words) == 0, "the answer in a folder is a question again"
    told = json.loads((tmp_path / "again.csv.provenance.json").read_text(encoding="utf-8"))
    assert told["values"]["riverflow"] == FLOW
    again = ["predict", str(tmp_path / "my.csv"), "--model", "gb-rivers", "--out", str(tmp_path / "c.zarr")]
    assert main(again) == 0, "an answer in Zarr is still known as one, and replaced"
    assert reader.open_record(tmp_path / "c.zarr").sizes["catchment"] == 6


@pytest.mark.parametrize("kind", [".csv", ".nc"])
def test_a_forecast_says_it_too(kind: str, tmp_path: Path) -> None:
    written(tmp_path / "my.csv")
    out = tmp_path / f"ahead{kind}"
    words = ["forecast", str(tmp_path / "my.csv"), "--model", "gb-rivers", "--days", "2", "--out", str(out)]
    assert main(words) == 0
    if kind == ".csv":
        told = json.loads((tmp_path / "ahead.csv.provenance.json").read_text(encoding="utf-8"))
    else:
        told = json.loads(open_netcdf(out).attrs["provenance"])
    assert told["history"][0] == f"{SECOND_DAY}hydromae {' '.join(words)}" and told["source"] == BY
    # the last day with flow is the last but three: two days of it are known to the weather, not to flow
    assert told["values"] == {"riverflow": {**dict.fromkeys(FLOW, 0), "forecast": 10, "ungauged": 2}}
    assert told["inputs"]["riverflow"] == 980


def test_a_table_and_its_provenance_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    answer = with_provenance(pd.DataFrame({"a": [1.0]}), {"history": ["one"], "hydromae": "0", "values": {}})
    write_answer(answer, tmp_path / "a.csv")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"a.csv", "a.csv.provenance.json"}
    answer.attrs["provenance"]["values"] = object()  # which JSON cannot hold
    with pytest.raises(TypeError):
        write_answer(answer.assign(a=2.0), tmp_path / "a.csv")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    write_answer(pd.DataFrame({"a": [1.0]}), tmp_path / "b.csv")
    assert not (tmp_path / "b.csv.provenance.json").exists(), "a table without one has none"


def test_the_sum_of_the_weights_is_that_of_the_seal_or_of_the_file(tmp_path: Path) -> None:
    assert load("gb-rivers").identity == {
        "model": "gb-rivers",
        "sha256": WEIGHTS,
        "precision": load("gb-rivers").precision_used,
    }
    (tmp_path / "model.safetensors").write_bytes(b"abc")  # the example of FIPS 180-2
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum_of(tmp_path, "model.safetensors") == abc
    write_checksums(tmp_path)
    assert (
        json.loads((tmp_path / CHECKSUMS).read_text())["model.safetensors"]
        == abc
        == checksum_of(tmp_path, "model.safetensors")
    )
    MODEL.save_pretrained(tmp_path / "mine")
    sum_mine = hashlib.sha256((tmp_path / "mine" / "model.safetensors").read_bytes()).hexdigest()
    assert load(tmp_path / "mine", "cpu").identity == {"model": "mine", "sha256": sum_mine, "precision": "fp32"}


def test_the_explorer_and_its_file_say_it(tmp_path: Path) -> None:
    model = replace(MODEL, loaded_as="mine", sha256="12ab")
    country = replace(small_country(), model=model)
    by = f"mine (weights sha256 12ab), hydromae {__version__}, in fp32"
    assert country.overview()["predicted_by"] == by
    page = export(country, tmp_path / "page.html", ["1001"]).read_text(encoding="utf-8")
    assert f'"predicted_by":"{by}"' in page and '"written":"1970-01-02T00:00:00Z"' in page
    assert export(country, tmp_path / "same.html", ["1001"]).exists()


def test_a_moment_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match=r"SOURCE_DATE_EPOCH 'yesterday': is not a number of seconds"):
        MODEL.predict(question())
