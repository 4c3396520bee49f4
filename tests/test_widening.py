"""Intervals of short records are widened about their median by the factors of the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.inference.predictor import SHIPPED, Model, load
from hydromae.inference.sliding_window import WindowAverager
from hydromae.inference.widening import CALIBRATION_FILE, Widening, read_widening, widening_factors, widening_files
from hydromae.model.checksums import verify_checksums
from hydromae.model.mixture import GaussianMixture
from hydromae.store.scaling import Scaling, VariableScaling
from test_predict import MODEL, RIVERS, with_holes

LENGTH = MODEL.config.data.sequence_length
FACTORS = Widening((1.0, 4.0, 16.0), (3.0, 2.0, 1.0), (4.5, 3.0, 1.5), (6.0, 4.0, 2.0), (9.0, 6.0, 3.0))
WIDE, LEVELS = replace(MODEL, widening=FACTORS), [0.05, 0.5, 0.95]


def held(model: Model, record: xr.Dataset) -> np.ndarray:
    return model.predict(record, LEVELS)["riverflow_quantile"].values


def test_factors_by_hand() -> None:
    """River 0 has flow until day 19, river 1 none. By their logarithms day 2 lies halfway from 1 to 4, day 8 from 4 to 16."""
    record = RIVERS.isel(time=slice(0, 20), catchment=[0, 1])
    assert record["riverflow"].notnull().all()
    record["riverflow"][:, 1] = np.nan
    record["riverflow"][19, 0] = np.nan
    laid = to_record_arrays(record, MODEL.config, MODEL.scaling)
    factors = widening_factors(FACTORS, laid, LENGTH)
    assert factors is not None and factors.shape == (20, 2, 1)
    assert factors[[0, 1, 3, 7, 15, 19], 0, 0] == pytest.approx([3.0, 2.5, 2.0, 1.5, 1.0, 1.5])
    assert factors[[0, 1, 3, 7, 15, 19], 1, 0] == pytest.approx([6.0, 5.0, 4.0, 3.0, 2.0, 3.0])
    record["riverflow"][:] = np.nan
    factors = widening_factors(FACTORS, to_record_arrays(record, MODEL.config, MODEL.scaling), LENGTH)
    assert factors is not None and factors[[0, 1, 3, 15], 0, 0] == pytest.approx([9.0, 7.5, 6.0, 3.0])
    long = to_record_arrays(RIVERS.isel(time=slice(0, LENGTH)), MODEL.config, MODEL.scaling)
    assert widening_factors(FACTORS, long, LENGTH) is None and widening_factors(None, laid, LENGTH) is None


def test_quantiles_are_widened_about_the_median() -> None:
    """N(1, 0.5²) of the scaled root, root = 3 + 2 z, widened by 2: the root is N(5, (2 × 0.5 × 2)²) by its quantiles."""
    gaussians = GaussianMixture(torch.tensor([[[1.0]]]), torch.tensor([[[1.0]]]), torch.tensor([[[0.5]]]))
    asked, mean = torch.ones(1, 1, 1, dtype=torch.bool), torch.tensor([[1.0]])
    found = {}
    for factor in (None, 1.0, 2.0):
        widening = None if factor is None else np.full((1, 1, 1), factor)
        values = {"riverflow": np.full((1, 1, 1), np.nan, np.float32)}
        sums = WindowAverager(values, Scaling({"riverflow": VariableScaling("root", 3.0, 2.0)}), LEVELS, widening)
        sums.add({"riverflow": (asked, mean, gaussians)}, np.ones((1, 1)), np.array([0]))
        assert sums.quantile is not None
        found[factor] = (sums.quantile["riverflow"][:, 0, 0, 0], sums.mean["riverflow"][0, 0, 0])
    assert found[None][0] == pytest.approx(np.square([5 - 1.644854, 5, 5 + 1.644854]), rel=1e-4)
    assert found[2.0][0] == pytest.approx(np.square([5 - 3.289707, 5, 5 + 3.289707]), rel=1e-4)
    assert np.array_equal(found[1.0][0], found[None][0])
    assert {mean for _, mean in found.values()} == {np.float32(26.0)}, "5² + 1², whatever is widened"


def test_only_short_records_are_widened() -> None:
    question = with_holes(RIVERS)
    for days in (2, 10, LENGTH - 1):
        short = question.isel(time=slice(0, days))
        plain, wide = MODEL.predict(short, LEVELS), WIDE.predict(short, LEVELS)
        assert np.array_equal(plain["riverflow"], wide["riverflow"])
        low, median, high = plain["riverflow_quantile"].values
        wider_low, same, wider_high = wide["riverflow_quantile"].values
        assert np.array_equal(median, same)
        asked = np.isnan(short["riverflow"].values)
        assert (wider_low <= low).all() and (wider_high >= high).all() and (wider_high > high)[:4][asked[:4]].all()
    for days in (LENGTH, LENGTH + 5, RIVERS.sizes["time"]):
        xr.testing.assert_equal(
            MODEL.predict(question.isel(time=slice(0, days))), WIDE.predict(question.isel(time=slice(0, days)))
        )


def test_the_prediction_describes_its_widening() -> None:
    short = with_holes(RIVERS).isel(time=slice(0, 10))
    short["riverflow"][:] = np.nan
    told = WIDE.predict(short)["riverflow_quantile"].attrs["processing"]  # on day 10 by 6 − 3 log(10 / 4) / log(16 / 4)
    assert told == "record of 10 days: intervals are widened by 4.0 to 9.0, as measured on records below 40 days"
    plain = MODEL.predict(short)["riverflow_quantile"].attrs["processing"]
    assert plain == "record of 10 days: intervals are not calibrated below 40 days"
    observed = RIVERS.isel(time=slice(0, 10))
    assert observed["riverflow"].notnull().all()
    for model in (MODEL, WIDE):
        assert "processing" not in model.predict(observed)["riverflow_quantile"].attrs
        assert "processing" not in model.predict(with_holes(RIVERS))["riverflow_quantile"].attrs


def test_tables_and_the_command_line_describe_the_widening(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WIDE.save_pretrained(tmp_path / "m")
    short = with_holes(RIVERS).isel(time=slice(0, 10))
    short["riverflow"][:] = np.nan
    short.to_netcdf(tmp_path / "q.nc", engine="h5netcdf")
    frame = short.to_dataframe().reset_index().rename(columns={"time": "date"})
    line = "record of 10 days: intervals are widened by 4.0 to 9.0, as measured on records below 40 days"
    answer = WIDE.predict(pd.DataFrame(frame))
    assert answer.attrs["processing"] == line
    for out in ("a.nc", "a.csv"):
        assert (
            main(["predict", str(tmp_path / "q.nc"), "--model", str(tmp_path / "m"), "--out", str(tmp_path / out)]) == 0
        )
        assert " ".join(capsys.readouterr().out.split()).count(line) == 1
    words = ["--model", str(tmp_path / "m"), "--days", "3", "--out", str(tmp_path / "f.nc")]
    with_holes(RIVERS).isel(time=slice(0, 10)).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    issues = "--period", "2001-01-04", "2001-01-06"
    assert main(["forecast", str(tmp_path / "r.nc"), *words, *issues]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("first issue day: record of 7 days") == 1 and told.count("intervals are widened") == 1


def test_factors_are_saved_with_a_checksum_and_read(tmp_path: Path) -> None:
    question = with_holes(RIVERS).isel(time=slice(0, 10))
    WIDE.save_pretrained(tmp_path / "m")
    assert CALIBRATION_FILE in json.loads((tmp_path / "m" / "checksums.json").read_text())
    again = load(tmp_path / "m", "cpu")
    assert again.widening == FACTORS and np.array_equal(held(again, question), held(WIDE, question))
    (tmp_path / "m" / CALIBRATION_FILE).write_text("{}")
    with pytest.raises(InputError, match=rf"{CALIBRATION_FILE}: is not what was written here"):
        load(tmp_path / "m")
    MODEL.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m" / CALIBRATION_FILE).exists() and load(tmp_path / "m", "cpu").widening is None


@pytest.mark.parametrize(
    "change",
    [
        {"day": [4, 1, 16]},
        {"gauged": [3, 2, 0.5]},
        {"ungauged": [1, 1]},
        {"day": None},
        {"gauged": [2, float("nan"), 1]},
    ],
)
def test_damaged_factors_are_refused_in_one_line(change: dict, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(widening_files(FACTORS)[CALIBRATION_FILE])
    assert read_widening(tmp_path) == FACTORS
    text = json.loads((tmp_path / CALIBRATION_FILE).read_text())
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(text | change))
    with pytest.raises(InputError, match=CALIBRATION_FILE) as caught:
        read_widening(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_shipped_model_has_valid_factors_and_checksums() -> None:
    verify_checksums(SHIPPED / "gb-rivers")
    found = load("gb-rivers", "cpu").widening
    assert found is not None
    for by in (found.gauged, found.gauged_alone, found.ungauged, found.ungauged_alone):
        assert by[0] > 2 and list(by) == sorted(by, reverse=True) and by[-1] < 1.3
