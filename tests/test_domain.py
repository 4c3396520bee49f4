"""A place or an attribute outside the training of a model, and a flow beyond any river: answered soberly, and said."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import hydromae
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.inference.assemble import largest_flow
from hydromae.inference.predictor import SHIPPED
from hydromae.inference.scenarios import forecast
from hydromae.inference.sliding_window import clip_to_quantiles
from hydromae.io.names import OUTSIDE_TRAINING
from hydromae.model.mixture import GaussianMixture
from hydromae.store.scaling import Scaling, VariableScaling
from hydromae.store.training_domain import ATTRIBUTE_NAMES, TrainingDomain, is_outside_range, merge_outside
from hydromae.virtual import virtual_catchments
from synthetic import SMALL, rivers, scaling_of

MODEL = hydromae.load("gb-rivers", "cpu", "fp32")
SOBER = 40.0
"""Flow [mm/day] that no mean of this record comes near."""


@pytest.fixture(scope="module")
def question() -> xr.Dataset:
    """Four British rivers for 80 days, ten of the second one hidden; it has all attributes."""
    record = virtual_catchments(80, 5, "2001-01-01", 4, missing=False)
    record = record[[n for n in record.data_vars if record[n].dims != ("catchment",) or n in ATTRIBUTE_NAMES]]
    record = record.drop_vars(
        [n for n in ("easting", "northing", "centroid_easting", "centroid_northing") if n in record]
    )
    record["riverflow"][40:50, 1] = np.nan
    return record


def at(question: xr.Dataset, latitude, longitude) -> xr.Dataset:
    """The same rivers at another place."""
    return question.assign(latitude=("catchment", np.asarray(latitude)), longitude=("catchment", np.asarray(longitude)))


STEP = 0.05 * np.arange(4)


@pytest.mark.parametrize("place", [(44.0, -122.0), (-27.0, 152.0), (-33.4, -70.6), (0.1, 34.7), (68.0, 20.0)])
def test_rivers_of_another_continent_are_answered_soberly_and_said(question, place, caplog):
    """Before, 13,415 mm/day at Brisbane. The model knows nothing of the place, so all places outside are one."""
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = MODEL.predict(at(question, place[0] + STEP, place[1] + STEP))
    truth = question["riverflow"].isel(catchment=1).mean().item()
    assert answer["riverflow"].values[40:50, 1] == pytest.approx(truth, abs=SOBER)
    assert answer[OUTSIDE_TRAINING].dims == ("catchment",)
    assert answer[OUTSIDE_TRAINING].values.tolist() == ["latitude, longitude" if abs(place[1]) > 3 else "latitude"] * 4
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("4 of 4 catchments are outside the training range of the model, such as ")
    assert (
        f"latitude {place[0]:g} (trained on 50.16 … 58.52), longitude {place[1]:g} (trained on -5.599 … 1.451)" in line
    )
    assert "swapped" not in line and "\n" not in line


def test_places_outside_are_answered_alike_wherever_they_are(question):
    """Only distances between the rivers count there."""
    one, other = (
        MODEL.predict(at(question, lat + 0 * STEP, lon + 0 * STEP)) for lat, lon in ((-27.0, 152.0), (44.0, -122.0))
    )
    np.testing.assert_allclose(one["riverflow"].values, other["riverflow"].values, rtol=1e-4)


def test_swapped_latitude_and_longitude_are_asked_about(question, caplog):
    swapped = at(question, question["longitude"].values, question["latitude"].values)
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = MODEL.predict(swapped)
    assert "are latitude and longitude swapped?" in caplog.text
    assert (
        float(answer["riverflow"][40:50, 1].max()) < SOBER and (answer[OUTSIDE_TRAINING] == "latitude, longitude").all()
    )


def test_a_clean_answer_is_as_it_was_and_nothing_is_said(question, caplog):
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = MODEL.predict(question)
        bare = replace(MODEL, scaling=Scaling(MODEL.scaling.variables)).predict(question)
    assert OUTSIDE_TRAINING not in answer and not caplog.records
    xr.testing.assert_identical(*(one.drop_attrs(deep=False) for one in (answer, bare)))  # their times may differ


def test_one_river_outside_is_named_alone_and_is_no_neighbour(question, caplog):
    """The three others are answered as without it, but for what distance leaves of its weight."""
    latitude, longitude = question["latitude"].values.copy(), question["longitude"].values.copy()
    latitude[3], longitude[3] = -27.0, 152.0
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = MODEL.predict(at(question, latitude, longitude))
    assert answer[OUTSIDE_TRAINING].values.tolist() == ["", "", "", "latitude, longitude"]
    assert (
        "1 of 4 catchments are outside" in caplog.text
        and f"such as {question['catchment'].values[3]} with" in caplog.text
    )
    inside = MODEL.predict(question.isel(catchment=[0, 1, 2]))["riverflow"].values[40:50, 1]
    np.testing.assert_allclose(answer["riverflow"].values[40:50, 1], inside, rtol=0.25)


SCALE = Scaling(
    {"propwet": VariableScaling("none", 0.45, 0.2), "catchment-area": VariableScaling("log", 5.0, 2.0)},
    {"propwet": (0.2, 0.8), "catchment-area": (10.0, 1000.0)},
)


@pytest.mark.parametrize(
    ("name", "value", "outside"),
    [
        ("propwet", 0.899, False),  # half of 0.2 above 0.8 is 0.9
        ("propwet", 0.901, True),
        ("propwet", 0.101, False),
        ("propwet", 0.099, True),
        ("propwet", np.nan, False),
        ("catchment-area", 2710.0, False),  # half of 2 above ln 1000.01: 1000.01 e − 0.01 = 2718.3
        ("catchment-area", 2720.0, True),
        ("catchment-area", 3.68, False),  # 10.01 / e − 0.01 = 3.672
        ("catchment-area", 3.66, True),
        ("dpsbar", 1e9, False),  # no range is known
    ],
)
def test_the_margin_is_half_a_standard_deviation_of_scaled_values(name, value, outside):
    assert is_outside_range(SCALE, name, np.array([value])).item() is outside


def test_an_attribute_outside_counts_as_unknown_of_its_river_alone(question, caplog):
    """An area of 60,000 km² (British ones end at 9,948) is as good as none; that of the others stays."""
    area = question["catchment-area"].values.copy()
    area[1] = 6e4
    far, unknown = (
        question.assign({"catchment-area": ("catchment", np.where(area > 5e4, a, area))}) for a in (6e4, np.nan)
    )
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = MODEL.predict(far)
    np.testing.assert_array_equal(answer["riverflow"].values, MODEL.predict(unknown)["riverflow"].values)
    assert answer[OUTSIDE_TRAINING].values.tolist() == ["", "catchment-area", "", ""]
    assert "with catchment-area 60000 (trained on 1.5 … 9948)" in caplog.text
    metadata = to_record_arrays(far, MODEL.config, MODEL.scaling).site_metadata["series"]
    lost = np.argwhere(~metadata.is_known[0, :, 0].numpy()).tolist()
    assert lost == [[1, ATTRIBUTE_NAMES.index("catchment-area")]] and metadata.is_located is None


def test_easting_and_northing_outside_are_found_beside_degrees_inside(question):
    """52 N, 1 W beside the metres of another country's grid."""
    record = question.assign_coords(easting=("catchment", np.full(4, 8e5)), northing=("catchment", np.full(4, 6.5e6)))
    domain = TrainingDomain.of(record, MODEL.scaling)
    assert domain.position.all() and not domain.attributes.any() and domain.outside_names(0) == ["easting", "northing"]


def test_a_model_without_ranges_loads_and_cannot_say(question, tmp_path: Path, caplog):
    folder = copytree(SHIPPED / "gb-rivers", tmp_path / "m")
    (folder / "checksums.json").unlink()
    entries = json.loads((folder / "scaling.json").read_text())
    bare = {name: {k: entry[k] for k in ("transform", "mean", "std")} for name, entry in entries.items()}
    (folder / "scaling.json").write_text(json.dumps(bare))
    model = hydromae.load(folder, "cpu", "fp32")
    scaling = model.scaling
    assert not scaling.ranges and scaling == MODEL.scaling
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        xr.testing.assert_equal(model.predict(question), MODEL.predict(question))
    assert not caplog.records
    assert not TrainingDomain.of(at(question, -27 + STEP, 152 + STEP), scaling).unknown.any()


def test_the_shipped_model_says_what_it_was_trained_on_and_its_rivers_are_inside():
    """From the NRFA catalogue of the 539; the extremes of three attributes by hand from it."""
    ranges = MODEL.scaling.ranges
    assert set(ranges) == set(ATTRIBUTE_NAMES)
    assert ranges["catchment-area"] == (1.5, 9948.0) and ranges["bfihost"] == (0.182, 0.968)
    assert ranges["propwet"] == (0.21, 0.85)


def test_ranges_are_those_of_the_training_catchments_there_and_back():
    record = rivers(6, 400)
    fitted = scaling_of(record.isel(catchment=[0, 1, 2]), SMALL)
    values = record["bfihost"].values[:3]
    assert fitted.ranges["bfihost"] == (values.min(), values.max()) and set(fitted.ranges) == set(ATTRIBUTE_NAMES)
    assert Scaling.from_json(fitted.to_json()).ranges == fitted.ranges
    wider = fitted.with_ranges(record)
    assert wider.ranges["bfihost"] == (record["bfihost"].values.min(), record["bfihost"].values.max())
    assert wider == fitted, "what a resumed run compares has no ranges in it"
    for text in (
        '"low": 2, "high": 1',
        '"low": NaN, "high": 1',
        '"low": 0, "high": Infinity',
        '"low": -1e308, "high": 1',
    ):
        with pytest.raises(InputError, match="bfihost has the range"):
            Scaling.from_json(f'{{"bfihost": {{"transform": "none", "mean": 0, "std": 1, {text}}}}}')
    with pytest.raises(InputError, match="not the JSON of a scaling"):
        Scaling.from_json('{"bfihost": {"transform": "none", "mean": 0, "std": 1, "low": 0}}')


# ---------------------------------------------------------------- no flow beyond any river


def test_the_envelope_of_floods_by_hand():
    """A = 10⁴ km²: 10⁶ × (10⁻⁴)^0.4 = 25,119 m³/s, × 86.4 / 10⁴ = 217.03 mm/day; A = 10³: 10⁴ m³/s, 864 mm/day;
    A = 100: 3,981 m³/s would be 3,440 mm/day."""
    area = xr.Dataset({"catchment-area": ("catchment", [1e4, 1e3, 100.0, np.nan])}, {"catchment": np.arange(4)})
    assert largest_flow(area).tolist() == pytest.approx([217.03, 864.0, 1000.0, 1000.0], rel=1e-4)
    assert largest_flow(area).dtype == np.float32
    assert largest_flow(area.drop_vars("catchment-area")).tolist() == [1000.0] * 4


def test_a_mean_beyond_its_own_distribution_is_cut_to_its_end():
    """Flow is the square of N(0, 0.1²) but for a weight of 10⁻⁴ of spread 100: the mean is 0.01 + 1, the 99.9 % quantile of
    the roots about 3.1 × 0.1 (0.9991 of 0.9999 lie below 3.12 spreads)."""
    wide = GaussianMixture(torch.tensor([[[0.9999, 0.0001]]]), torch.zeros(1, 1, 2), torch.tensor([[[0.1, 100.0]]]))
    mean, scale = np.array([[1.01]], np.float32), [VariableScaling("root", 0.0, 1.0)]
    (inside,), (cut,) = clip_to_quantiles(mean, wide, scale)
    assert cut.all() and inside[0] == pytest.approx(0.312**2, rel=0.02) and inside.dtype == np.float32
    narrow = GaussianMixture(torch.tensor([[[1.0]]]), torch.tensor([[[1.0]]]), torch.tensor([[[0.1]]]))
    same, uncut = clip_to_quantiles(mean, narrow, scale)
    assert same is mean and not uncut.any()
    dry = GaussianMixture(torch.tensor([[[1.0]]]), torch.tensor([[[-0.4]]]), torch.tensor([[[0.05]]]))
    same, uncut = clip_to_quantiles(np.array([[0.0025]], np.float32), dry, scale)
    assert same.item() == np.float32(0.0025) and not uncut.any(), "a nearly dry river: by less than 0.01 mm/day"


def test_what_no_river_carries_is_cut_and_said(question, caplog):
    """A model that answers in other units than it was trained in: thousands of mm/day, of which 1000 are left."""
    variables = MODEL.scaling.variables
    loud = replace(variables["riverflow"], std=80.0)
    wild = replace(MODEL, scaling=Scaling({**variables, "riverflow": loud}, MODEL.scaling.ranges))
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = wild.predict(question.assign(riverflow=question["riverflow"] * np.nan))
    limit = largest_flow(question)
    assert (answer["riverflow"].values <= limit).all() and (answer["riverflow_quantile"].values <= limit).all()
    assert (answer["riverflow"].values == limit).any()
    assert (
        "riverflow" in set(answer[OUTSIDE_TRAINING].values)
        and "is limited to the quantiles of its distribution" in caplog.text
    )


# ---------------------------------------------------------------- in every form of an answer


def test_tables_have_a_column_that_a_later_answer_replaces(question, caplog):
    latitude = question["latitude"].values.copy()
    latitude[3] = -27.0
    outside = at(question, latitude, question["longitude"].values)
    frame = outside.to_dataframe().reset_index()
    answer = MODEL.predict(frame)
    names = answer.groupby("catchment", sort=False)[OUTSIDE_TRAINING].unique()
    assert [one.tolist() for one in names] == [[""], [""], [""], ["latitude"]]
    assert list(answer.columns)[: len(frame.columns)] == list(frame.columns)
    inside = np.tile(question["latitude"].values, question.sizes["time"])
    again = MODEL.predict(answer.assign(latitude=inside))
    assert OUTSIDE_TRAINING not in again.columns
    wide = pd.DataFrame(outside["riverflow"].values, outside.indexes["time"], outside.indexes["catchment"])
    wide.attrs["units"] = "mm/day"
    traits = outside[["latitude", "longitude"]].to_dataframe()
    told = MODEL.predict(wide, attributes=traits)
    name = outside["catchment"].values[3]
    assert [c for c in told.columns if OUTSIDE_TRAINING in str(c)] == [f"{name}_{OUTSIDE_TRAINING}"]
    assert set(told[f"{name}_{OUTSIDE_TRAINING}"]) == {"latitude"}
    told.attrs["units"] = "mm/day"
    assert MODEL.predict(told, attributes=traits).columns.tolist() == told.columns.tolist()


def test_files_hold_it_and_the_command_line_says_one_line(question, tmp_path: Path, capsys):
    at(question, -27 + STEP, 152 + STEP).to_netcdf(tmp_path / "q.nc", engine="h5netcdf")
    for name in ("a.nc", "a.csv", "a.zarr", "a.parquet"):
        words = ["predict", str(tmp_path / "q.nc"), "--model", "gb-rivers", "--out", str(tmp_path / name), "--json"]
        assert main(words) == 0
        held = capsys.readouterr()
        assert held.err.count("4 of 4 catchments are outside the training range of the model") == 1
        assert OUTSIDE_TRAINING not in held.out and json.loads(held.out)["path"].endswith(name)
    answer = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    assert answer[OUTSIDE_TRAINING].values.tolist() == ["latitude, longitude"] * 4
    assert set(pd.read_csv(tmp_path / "a.csv")[OUTSIDE_TRAINING]) == {"latitude, longitude"}
    assert main(["predict", str(tmp_path / "a.nc"), "--model", "gb-rivers", "--out", str(tmp_path / "b.nc")]) == 0


def test_a_forecast_of_many_issue_days_says_it_once(question, caplog):
    outside = at(question, -27 + STEP, 152 + STEP)
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        answer = forecast(MODEL, outside, pd.DatetimeIndex(outside["time"].values[[30, 35, 60]]), 3)
    assert len(caplog.records) == 1 and answer[OUTSIDE_TRAINING].values.tolist() == ["latitude, longitude"] * 4
    assert answer["riverflow"].dims == ("issue_time", "lead", "catchment")


def test_what_several_answers_name_is_named_once():
    parts = [
        xr.DataArray(["", "latitude"], dims="catchment"),
        xr.DataArray(["riverflow", "latitude, riverflow"], dims="catchment"),
    ]
    assert merge_outside(parts).values.tolist() == ["riverflow", "latitude, riverflow"]
