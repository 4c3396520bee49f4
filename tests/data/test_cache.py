"""The kept scaling: read where nothing changed, made again and said where anything it was made from did."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.store import scaling_cache
from hydromae.store.scaling import Scaling
from hydromae.store.scaling_cache import scaling_for
from hydromae.store.zarr_store import open_store, write_store
from hydromae.variables import VARIABLES
from synthetic import SMALL, TRAINING, rivers

HELD = SMALL.having(data={"held_out": ("1002",)})
"""A configuration that the store's own scaling does not fit."""


def stored(folder: Path, record: xr.Dataset, sha256: str = "00") -> xr.Dataset:
    sources = [{"file": "rivers.nc", "sha256": sha256, "units": {}}]
    return open_store(
        write_store(record, folder, scaling=Scaling.fit(record, TRAINING), sources=sources, training_period=TRAINING)
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return stored(tmp_path_factory.mktemp("cache") / "rivers.zarr", rivers())


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The training periods of all fits."""
    calls, fit = [], Scaling.fit

    def counted(dataset: xr.Dataset, period: tuple[str, str]) -> Scaling:
        calls.append(period)
        return fit(dataset, period)

    monkeypatch.setattr(scaling_cache.Scaling, "fit", counted)
    return calls


def test_the_stores_own_scaling_is_used_where_it_was_made_from_just_that(record, fits, tmp_path):
    assert scaling_for(record, SMALL, tmp_path).to_json() == record.attrs["scaling"]
    assert fits == [] and list(tmp_path.iterdir()) == []


def test_a_fitted_scaling_is_kept_and_read_again_bit_for_bit(record, fits, tmp_path):
    said: list[str] = []
    first = scaling_for(record, HELD, tmp_path / "run", said.append)
    assert first == Scaling.fit(record.sel(catchment=record["catchment"] != 1002), TRAINING)
    fits.clear()
    assert scaling_for(record, HELD, tmp_path / "run", said.append) == first
    assert fits == [] and said == []
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["scaling.json"]


CHANGES: dict[str, tuple[dict[str, object], str]] = {
    "period": (
        {"training_period": ("2001-01-01", "2001-09-30")},
        "training_period was 2001-01-01/2001-10-27, is 2001-01-01/2001-09-30",
    ),
    "held out": ({"held_out": ("1002", "1003")}, "held_out was 1002, is 1002 1003"),
}


@pytest.mark.parametrize(("data", "why"), CHANGES.values(), ids=CHANGES.keys())
def test_another_period_or_held_out_catchment_makes_it_again_and_says_so(record, fits, tmp_path, data, why):
    said: list[str] = []
    scaling_for(record, HELD, tmp_path)
    changed = HELD.having(data=data)
    made = scaling_for(record, changed, tmp_path, said.append)
    assert said == [f"{tmp_path / 'scaling.json'}: fitting the scaling again: {why}"]
    assert len(fits) == 2 and made == scaling_for(record, changed, None)
    assert scaling_for(record, changed, tmp_path, said.append) == made and len(said) == 1 and len(fits) == 3


def longer(record: xr.Dataset) -> xr.Dataset:
    return rivers(days=410).assign_coords(catchment=record["catchment"])


OTHER: dict[str, tuple[object, str, str]] = {
    "another file": (lambda r: r, "11", r"again: data was \w{16}, is \w{16}$"),
    "other values from the same file": (lambda r: r.assign(riverflow=r["riverflow"] * 2), "00", r"again: data was"),
    "other days": (longer, "00", r"days was 2001-01-01/2002-02-04, is 2001-01-01/2002-02-14"),
    "fewer catchments": (
        lambda r: r.isel(catchment=slice(0, 5)),
        "00",
        r"catchments was 6 \(\w{16}\), is 1001 1002 1003 1004 1005",
    ),
    "fewer variables": (lambda r: r.drop_vars("temperature"), "00", r"variables was .*temperature.*, is (?!.*temp)"),
}


@pytest.mark.parametrize(("change", "sha256", "why"), OTHER.values(), ids=OTHER.keys())
def test_other_data_makes_it_again_and_says_so(record, fits, tmp_path, change, sha256, why):
    said: list[str] = []
    scaling_for(record, HELD, tmp_path)
    other = stored(tmp_path / "other.zarr", change(rivers()), sha256)
    fits.clear()
    made = scaling_for(other, HELD, tmp_path, said.append)
    assert len(said) == len(fits) == 1
    assert re.search(why, said[0])
    assert made == scaling_for(other, HELD, None)


def test_another_transform_makes_it_again_and_says_so(record, fits, tmp_path, monkeypatch):
    """Also where the period and the catchments are the store's own: its scaling has the old transform."""
    said: list[str] = []
    scaling_for(record, HELD, tmp_path)
    changed = dataclasses.replace(VARIABLES["riverflow"], transform="log")
    monkeypatch.setitem(VARIABLES, "riverflow", changed)
    fits.clear()
    for config in (HELD, SMALL):
        assert scaling_for(record, config, tmp_path, said.append)["riverflow"].transform == "log"
    assert len(fits) == 2
    assert "transforms was " in said[0] and "riverflow root" in said[0] and "riverflow log" in said[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"made_from": {}}', '{"made_from": {}, "scaling": {}}', b"\xff\xfe"])
def test_a_damaged_file_is_made_again_and_said(record, fits, tmp_path, text):
    said: list[str] = []
    whole = scaling_for(record, HELD, tmp_path)
    file = tmp_path / "scaling.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert scaling_for(record, HELD, tmp_path, said.append) == whole
    assert said == [f"{file}: is damaged; fitting the scaling again"]
    assert Scaling.from_json(json.dumps(json.loads(file.read_text())["scaling"])) == whole
    assert len(fits) == 2


def test_a_record_that_is_in_no_store_is_fitted_at_every_call(fits, tmp_path):
    for _ in range(2):
        scaling_for(rivers(), SMALL, tmp_path)
    assert len(fits) == 2 and list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"scaling\.json: the scaling cannot be written") as caught:
        scaling_for(record, HELD, tmp_path / "file")
    assert "\n" not in str(caught.value)
