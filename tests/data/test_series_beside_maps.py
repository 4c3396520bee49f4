"""A record with maps and series of one variable: the catchment's own value comes first, the maps above it second."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.footprints import footprint_mean
from hydromae.inference.predictor import Model
from hydromae.inference.scenarios import KNOWN_WEATHER, forecast_input
from hydromae.io.catchment_footprints import map_footprints
from hydromae.variables import MODALITIES, SERIES_BESIDE_MAPS, VARIABLES
from samples import built, small
from synthetic import GRID, country, scaling_of

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
