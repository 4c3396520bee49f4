"""Static attributes that nothing can have are refused wherever they come in, with the catchment, the value and a remedy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.datasets.reader import open_record
from hydromae.errors import InputError
from hydromae.io import attributes, table
from hydromae.io.attribute_ranges import check_attribute
from hydromae.io.memory import read_attributes
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import open_store, write_store
from synthetic import TRAINING, rivers

RIVERS = rivers(3, 30)
WRONG = [
    ("propwet", 35.0, r"outside 0 … 1; is it a percentage\? divide it by 100"),
    ("bfihost", 999.0, r"outside 0 … 1; is it a code for missing\? leave it empty"),
    ("bfihost", -9999.0, r"outside 0 … 1; is it a code for missing\? leave it empty"),
    ("bfihost", 1.01, "outside 0 … 1; is it a percentage"),
    ("bfihost", -0.2, "outside 0 … 1; correct it, or leave it empty"),
    ("latitude", 151.2, r"outside -90 … 90; are latitude and longitude swapped\?"),
    ("latitude", 180_000.0, "outside -90 … 90; is it in metres"),
    ("longitude", 358.5, r"outside -180 … 180; is it counted from 0 to 360\? subtract 360"),
    ("maximum-altitude", 14_000.0, r"outside -500 … 9000; is it in feet\? multiply it by 0.3048"),
    ("minimum-altitude", -9999.0, "outside -500 … 9000; is it a code for missing"),
    ("catchment-area", 1.4e8, r"outside 0.001 … 1e\+07; is it in m2\? divide it by 1e6"),
    ("catchment-area", 0.0, "outside 0.001 .*; correct it, or leave it empty"),
    ("dpsbar", -1.0, "outside 0 … 1000; correct it"),
]
"""An attribute, a value, and what the line says of it."""


def with_value(name: str, value: float) -> xr.Dataset:
    """Three rivers; the second one has the value."""
    values = RIVERS[name].values.copy()
    values[1] = value
    return RIVERS.assign({name: ("catchment", values)})


@pytest.mark.parametrize(("name", "value", "line"), WRONG)
def test_a_value_that_nothing_can_have_is_refused_by_every_reader(name, value, line, tmp_path: Path):
    wrong = with_value(name, value)
    said = f"{name} of catchment 1002 is {re.escape(f'{value:g}')}, {line}"
    traits = wrong[[n for n in wrong.data_vars if wrong[n].dims == ("catchment",)]].to_dataframe()
    traits.rename_axis("id").to_csv(tmp_path / "gauges.csv")
    series = RIVERS[["riverflow"]]
    with pytest.raises(InputError, match=rf"gauges\.csv: {said}"):
        attributes.read_attribute_table(tmp_path / "gauges.csv")
    with pytest.raises(InputError, match=f"the attributes: {said}"):
        read_attributes(traits)
    with pytest.raises(InputError, match=f"the dataset: its attributes: {said}"):
        table.from_dataset(series, traits.to_xarray())
    with pytest.raises(InputError, match=f"the dataset: {said}"):
        table.from_dataset(wrong)
    with pytest.raises(InputError, match=f"the table: {said}"):
        table.from_frame(wrong.to_dataframe().reset_index())
    wrong.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=rf"a\.nc: {said}"):
        open_record(tmp_path / "a.nc")
    write_store(wrong, tmp_path / "s.zarr", scaling=Scaling.fit(RIVERS, TRAINING), sources=[], training_period=TRAINING)
    with pytest.raises(InputError, match=rf"s\.zarr: {said}"):
        open_store(tmp_path / "s.zarr")


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys):
    with_value("propwet", 35.0).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for words in (
        ["prepare", str(tmp_path / "a.nc"), str(tmp_path / "s.zarr")],
        ["predict", str(tmp_path / "a.nc"), "--model", "gb-rivers", "--out", str(tmp_path / "b.nc")],
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.replace("\n", " ").strip().split("  ")
        assert "a.nc: propwet of catchment 1002 is 35, outside 0 … 1; is it a percentage? divide it by 100" in line
    assert not (tmp_path / "b.nc").exists() and not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("latitude", (-90.0, 90.0)),
        ("longitude", (-180.0, 180.0)),
        ("maximum-altitude", (-430.0, 8849.0)),
        ("catchment-area", (0.001, 6.1e6)),
        ("dpsbar", (0.0, 1000.0)),
        ("propwet", (0.0, 1.0)),
        ("bfihost", (0.0, 1.0)),
    ],
)
def test_the_ends_of_a_range_and_unknown_values_pass(name, values):
    check_attribute(name, np.array([*values, np.nan]), np.arange(3), "a.nc")


def test_codes_that_readers_know_stay_missing():
    record = table.from_dataset(with_value("bfihost", -99999.0))
    assert np.isnan(record["bfihost"].values).tolist() == [False, True, False]


def test_an_attribute_given_as_text_is_read_or_refused():
    traits = RIVERS[["latitude", "longitude"]].to_dataframe().assign(propwet=["0.3", "", "0.4"])
    assert attributes.attributes_from_frame(traits)["propwet"].values[[0, 2]].tolist() == [0.3, 0.4]
    with pytest.raises(InputError, match="propwet holds '35 %'; write a number, or leave it empty"):
        read_attributes(traits.assign(propwet=["35 %", "", "0.4"]))
    with pytest.raises(InputError, match="propwet has type"):
        table.from_dataset(RIVERS.assign(propwet=("catchment", ["0.3", "0.3", "0.4"])))
