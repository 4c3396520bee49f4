"""A record with maps and series of one variable: the catchment's own value comes first, the maps above it second."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.config import Config
from hydromae.evaluate.donors import mean_rain
from hydromae.evaluate.gr4j import GR4J
from hydromae.evaluate.hydrographs import ExampleHydrograph, example_table
from hydromae.footprints import footprint_mean
from hydromae.inference.predictor import Model
from hydromae.inference.scenarios import KNOWN_WEATHER, forecast_input
from hydromae.inference.single_pass import predict_once
from hydromae.inference.sliding_window import overlapping_windows
from hydromae.inference.windows import no_progress
from hydromae.io.catchment_footprints import map_footprints
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import Predictions
from hydromae.variables import MODALITIES, SERIES_BESIDE_MAPS, VARIABLES
from samples import built, small
from synthetic import GRID, SMALL_MAPS, country, rivers, scaling_of

CONFIG = small("national").having(
    data={
        "training_period": ("2001-01-01", "2001-01-10"),
        "sequence_length": 8,
        "warm_up_days": 0,
        "antecedent_days": 5,
    }
)


def both() -> xr.Dataset:
    """Maps of rain and temperature, and rain of the catchments with a missing day and a missing catchment."""
    record = country(4, 12).assign_attrs(grid=json.dumps(vars(GRID)))
    rain = np.arange(48.0, dtype=np.float32).reshape(12, 4) / 10
    rain[3, 0] = np.nan
    rain[:, 2] = np.nan
    record["precipitation_series"] = (("time", "catchment"), rain, {"units": "mm day-1"})
    return record


def model_of(record: xr.Dataset) -> Model:
    scaling = scaling_of(record, CONFIG)
    return Model(built(CONFIG).set_scaling(scaling), CONFIG, scaling, GRID, torch.device("cpu"))


def test_rain_and_temperature_may_stand_beside_their_maps() -> None:
    assert set(SERIES_BESIDE_MAPS) == {"precipitation", "temperature"}
    for name, variable in SERIES_BESIDE_MAPS.items():
        assert VARIABLES[variable.name] is variable and variable.units == VARIABLES[name].units
        assert variable.name in KNOWN_WEATHER


def test_weather_of_a_catchment_is_its_own_and_then_that_of_the_maps() -> None:
    record = both()
    scaling = scaling_of(record, CONFIG)
    arrays = to_record_arrays(record, CONFIG, scaling, GRID)
    footprints = map_footprints(record, MODALITIES["weather"])
    assert footprints is not None
    above = footprint_mean(footprints, record["precipitation"].values, 4)
    own = record["precipitation_series"].values
    expected = np.where(np.isfinite(own), own, above)
    assert np.isfinite(expected).all() and np.isnan(own[3, 0])
    np.testing.assert_allclose(arrays.values["weather"][:, :, 0], scaling.scale("precipitation", expected), atol=1e-5)
    warmth = footprint_mean(footprints, record["temperature"].values, 4)
    np.testing.assert_allclose(arrays.values["weather"][:, :, 1], scaling.scale("temperature", warmth), atol=1e-5)
    assert np.isfinite(arrays.values["precipitation"]).any(), "the maps are read as maps, too"


def test_a_prediction_fills_the_series_and_the_maps_by_their_own_names() -> None:
    record = both()
    record["precipitation"] = record["precipitation"].where(record["cell"] != int(record["cell"][0]))
    model = model_of(record)
    answer = model.predict(record, [0.1, 0.9])
    for name in ("precipitation", "precipitation_series"):
        observed = record[name].notnull()
        assert answer[name].dims == record[name].dims and answer[name].notnull().all()
        np.testing.assert_array_equal(answer[name].where(observed), record[name])
        np.testing.assert_array_equal(answer[f"{name}_origin"].values == 0, observed.values)
    quantiles = answer["precipitation_quantile"]
    assert quantiles.dims == ("quantile", "time", "cell") and quantiles.attrs["units"] == "mm day-1"
    assert (quantiles.isel(quantile=0) <= quantiles.isel(quantile=1)).all()
    hidden = record["precipitation"].isnull()
    assert (quantiles.isel(quantile=0) < quantiles.isel(quantile=1)).where(hidden, True).all()
    np.testing.assert_array_equal(quantiles.isel(quantile=0).where(~hidden), record["precipitation"].where(~hidden))
    again = model.predict(answer, [0.1, 0.9])
    for name in ("precipitation", "precipitation_series", "precipitation_quantile"):
        np.testing.assert_array_equal(again[name], answer[name], err_msg="a predicted value is not observed")


@pytest.mark.parametrize("config", [CONFIG, SMALL_MAPS], ids=["one catchment a token", "groups"])
def test_sea_and_padding_are_not_computed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    record = country(5, 12)
    record["riverflow"][4:6, 2] = np.nan
    record["temperature"][7, -1] = np.nan
    scaling, wanted = scaling_of(record, config), {}
    model = Model(built(config).set_scaling(scaling), config, scaling, GRID, torch.device("cpu"))
    forward = HydroMAE.forward

    def counted(network: HydroMAE, batch: Batch, hidden: Hidden, targets: Hidden, **options: bool) -> Predictions:
        for name, target in targets.items():
            wanted[name] = wanted.get(name, 0) + int(target.any(dim=0).sum())
        return forward(network, batch, hidden, targets, **options)

    monkeypatch.setattr(HydroMAE, "forward", counted)
    answer = predict_once(model, record, [0.1, 0.9], no_progress)
    assert answer["riverflow"].notnull().all() and answer["temperature"].notnull().all()
    windows = len(overlapping_windows(12, config.data.sequence_length, config.data.warm_up_days)[1])
    assert wanted["precipitation"] == wanted["soil_moisture"] == 0, "their only unknown cells are sea"
    assert 1 <= wanted["temperature"] <= windows and 2 <= wanted["riverflow"] <= 2 * windows
    model.predict(record)
    assert wanted["precipitation"] == wanted["soil_moisture"] == 0, "nor with pseudo-hidden patches of temperature"


def test_baselines_read_the_series_of_a_record_with_maps() -> None:
    alone = rivers(4, 800)
    maps = country(4, 800)
    beside = alone.rename(precipitation="precipitation_series", temperature="temperature_series").assign(
        {name: maps[name] for name in ("precipitation", "temperature")}
    )
    np.testing.assert_array_equal(mean_rain(beside), mean_rain(alone))
    assert np.isfinite(mean_rain(beside)).all() and np.isnan(mean_rain(maps)).all()
    flows = [
        GR4J.fit(record).predict(record.drop_vars("riverflow").assign(riverflow=alone["riverflow"] * np.nan))
        for record in (alone, beside)
    ]
    np.testing.assert_array_equal(flows[0]["riverflow"], flows[1]["riverflow"])
    assert flows[0]["riverflow"].notnull().all()
    flow = alone["riverflow"].isel(catchment=1)
    example = ExampleHydrograph("gap", "m", xr.DataArray(0.5, coords={"catchment": 1002}), flow, None)
    shown = example_table([example], beside)["precipitation"].values[0]
    np.testing.assert_array_equal(shown, alone["precipitation"].values[:, 1])


def test_a_forecast_with_known_weather_keeps_both() -> None:
    record = both()
    issue = pd.Timestamp(record["time"].values[5])
    known, blind = (forecast_input(record, issue, 3, weather, 6) for weather in ("observed", "none"))
    for name in ("precipitation", "precipitation_series"):
        assert known[name].isel(time=-1).notnull().any() and not blind[name].isel(time=-1).notnull().any()


@pytest.mark.parametrize("units", ["m s-1", "furlong"])
def test_units_of_the_series_are_checked(units: str) -> None:
    record = both()
    record["precipitation_series"].attrs["units"] = units
    model = model_of(both())
    with pytest.raises(ValueError, match="precipitation_series"):
        model.predict(record)
