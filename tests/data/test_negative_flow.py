"""Noise below zero is zero; negative flow is refused, or missing where the user says so; values are reported as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.options import use_reading_options
from hydromae.io.value_ranges import processing_notes
from hydromae.store.zarr_store import load_store

DAYS = pd.date_range("2001-01-01", periods=4)
REMEDY = r"--negative-flow missing \(negative_flow='missing' in Python\)"


def frame(**columns: float) -> pd.DataFrame:
    """Four days of a river of 86.4 km² (1 m³/s = 1 mm/day) at 2 in every column; the values given stand on the third."""
    place = {"latitude": 52.0, "longitude": -1.0, "catchment-area": 86.4}
    held = pd.DataFrame({"date": DAYS, "catchment": 7, **place, "riverflow": 2.0, "precipitation": 2.0})
    return held.assign(**{name: np.where(np.arange(4) == 2, value, 2.0) for name, value in columns.items()})


@pytest.mark.parametrize("value", [-2e-14, -1e-9, -1e-5])
@pytest.mark.parametrize("name", ["riverflow", "precipitation"])
def test_noise_below_zero_is_zero(name: str, value: float) -> None:
    assert table.from_frame(frame(**{name: value}))[name].values[:, 0].tolist() == [2, 2, 0, 2]


def test_noise_everywhere_is_zero_and_negative_evaporation_stays() -> None:
    record = table.from_frame(frame().assign(riverflow=-1e-9, potential_evaporation=-1e-9))
    assert (record["riverflow"].values == 0).all() and (record["potential_evaporation"].values < 0).all()


def test_what_is_really_negative_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"precipitation has the value -0.3, outside 0 … 600 mm day-1; check its units"
    ):
        table.from_frame(frame(precipitation=-0.3))
    with pytest.raises(InputError, match=rf"riverflow has the value -0.3, outside .*{REMEDY}.*on 2001-01-03"):
        table.from_frame(frame(riverflow=-0.3))
    with use_reading_options("missing"), pytest.raises(InputError, match=r"precipitation has the value -0.3"):
        table.from_frame(frame(precipitation=-0.3))
    with (
        pytest.raises(InputError, match="negative_flow 'zero': is neither refuse nor missing"),
        use_reading_options("zero"),
    ):
        pass


def test_negative_flow_is_missing_on_a_word_and_counted() -> None:
    with use_reading_options("missing"):
        record = table.from_frame(frame(riverflow=-0.3))
    np.testing.assert_array_equal(record["riverflow"].values[:, 0], [2, 2, np.nan, 2])
    assert processing_notes(record, "x.csv") == ["x.csv: riverflow: 1 negative values are missing"]
    with pytest.raises(InputError, match=REMEDY):  # the word holds for what was read under it
        table.from_frame(frame(riverflow=-0.3))


def test_prepare_says_how_many_negative_flows_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(riverflow=-0.3).to_csv(tmp_path / "tide.csv", index=False)
    command = ["prepare", str(tmp_path / "tide.csv"), str(tmp_path / "tide.zarr")]
    assert main(command) == 2
    assert "--negative-flow missing" in capsys.readouterr().err.replace("\n", " ")
    assert main([*command, "--negative-flow", "missing"]) == 0
    assert "riverflow: 1 negative values are missing" in capsys.readouterr().out.replace("\n", " ")
    np.testing.assert_array_equal(load_store(tmp_path / "tide.zarr")["riverflow"].values[:, 0], [2, 2, np.nan, 2])


@pytest.mark.parametrize(
    ("name", "units", "value", "told"),
    [
        ("riverflow", "m3/s", -9999.0, "has the value -9999 m3/s, which is -4999.5 mm day-1.*a code for missing"),
        ("temperature", "K", -9999.0, "has the value -9999 K, which is -10272.2 degC.*a code for missing"),
        ("soil_moisture", "%", -999.0, "has the value -999 %, which is -9.99 m3 m-3.*a code for missing"),
        ("precipitation", "m", -9999.0, r"has the value -9999 m, which is -9.999e\+06 mm day-1.*a code for missing"),
        (
            "riverflow",
            "mm/day",
            -999.0,
            "has the value -999, outside 0 … 1000 mm day-1; it looks like a code for missing",
        ),
    ],
)
def test_a_value_is_reported_in_the_unit_of_its_file(name: str, units: str, value: float, told: str) -> None:
    fine = 280.0 if units == "K" else 2.0
    values = np.array([[fine], [fine], [value], [fine]])
    held = {name: (("time", "catchment"), values, {"units": units}), "catchment-area": ("catchment", [172.8])}
    with pytest.raises(InputError, match=told):
        table.from_dataset(xr.Dataset(held, {"time": DAYS, "catchment": [7]}))
