"""Hidden parts of maps: pseudo-hidden patches give the weight of the model against kriging."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from jaxtyping import Float

import hydromae
from hydromae.grid import GridSpec
from hydromae.inference import own_maps
from hydromae.inference.own_maps import CHECK_DAYS, HIDDEN_SHARE, MIN_DAYS, PatchCells, adjust_to_own_maps
from hydromae.inference.single_pass import predict_once
from hydromae.inference.windows import no_progress
from hydromae.variables import PRECIPITATION, TEMPERATURE, Variable
from hydromae.virtual import virtual_catchments

GRID = GridSpec(rows=20, columns=24, patch=4)
"""5 × 6 patches."""
CELLS = np.arange(GRID.rows * GRID.columns)
HIDDEN_PATCH = 2 * 6 + 3


def smooth_maps(days: int, level: float = 20.0) -> Float[np.ndarray, "T N"]:
    """Maps that vary over hundreds of kilometres, so that kriging is nearly exact."""
    row, column = np.divmod(CELLS, GRID.columns)
    phase = np.random.default_rng(0).uniform(0, 6, size=(days, 2, 1))
    return (level + 5 * np.sin(row / 15 + phase[:, 0]) + 5 * np.cos(column / 20 + phase[:, 1])).astype(np.float32)


def record_of(values: Float[np.ndarray, "T N"], name: str = "precipitation") -> xr.Dataset:
    time = pd.date_range("2001-01-01", periods=len(values))
    return xr.Dataset({name: (("time", "cell"), values)}, {"time": time, "cell": CELLS})


def hidden_in(values: Float[np.ndarray, "T N"], days: slice = slice(None)) -> xr.Dataset:
    """A record in which a patch is hidden on some days."""
    hidden = values.copy()
    hidden[days, GRID.patch_of(CELLS)[0] == HIDDEN_PATCH] = np.nan
    return record_of(hidden)


def answered(
    record: xr.Dataset, truth: Float[np.ndarray, "T N"], error: float, name: str = "precipitation"
) -> xr.Dataset:
    """A prediction with this error of every NaN, and quantiles 1 below and above it."""
    first = int((record["time"].values[0] - np.datetime64("2001-01-01")) / np.timedelta64(1, "D"))
    values, truth = record[name].values, truth[first : first + len(record["time"])]
    mean = np.where(np.isfinite(values), values, truth + error)
    by_level = np.where(np.isfinite(values), values, mean + np.array([-1.0, 0.0, 1.0])[:, None, None])
    quantiles = xr.DataArray(by_level, dims=("quantile", "time", "cell"), coords={"quantile": [0.05, 0.5, 0.95]})
    return record.assign({name: (("time", "cell"), mean), f"{name}_quantile": quantiles})


def adjusted(record: xr.Dataset, truth: Float[np.ndarray, "T N"], error: float) -> xr.Dataset:
    return adjust_to_own_maps(answered(record, truth, error), record, GRID, lambda part: answered(part, truth, error))


@pytest.mark.parametrize(("variable", "error"), [(PRECIPITATION, 8.0), (TEMPERATURE, 8.0), (TEMPERATURE, -8.0)])
def test_a_poor_model_is_replaced_by_kriging(variable: Variable, error: float) -> None:
    truth = smooth_maps(40)
    record = hidden_in(truth).rename(precipitation=variable.name)
    name, hidden = variable.name, np.isnan(record[variable.name].values)

    def predict(part: xr.Dataset) -> xr.Dataset:
        return answered(part, truth, error, name)

    answer = adjust_to_own_maps(predict(record), record, GRID, predict)
    distance = np.abs(answer[name].values - truth)[hidden]
    assert distance.max() < 1.5, "the model is 8 away"
    quantiles, before = (a[f"{name}_quantile"].values[:, hidden] for a in (answer, predict(record)))
    moved = quantiles / before if variable.minimum == 0 else quantiles - before
    np.testing.assert_allclose(moved, np.broadcast_to(moved[1], moved.shape), rtol=1e-3)
    assert np.abs(quantiles[1] - truth[hidden]).max() < 2.0, "the median moves with the mean"
    np.testing.assert_array_equal(answer[name].values[~hidden], truth[~hidden])
    assert (answer[f"{name}_quantile"].values[:, ~hidden] == truth[~hidden]).all()
    assert "of the model, the rest kriging" in answer[f"{name}_quantile"].attrs["processing"]


def test_an_exact_model_is_kept() -> None:
    truth = smooth_maps(40) + np.random.default_rng(1).normal(0, 3, size=(40, len(CELLS))).astype(np.float32)
    record = hidden_in(truth)
    answer, before = adjusted(record, truth, 0.0), answered(record, truth, 0.0)
    xr.testing.assert_allclose(answer, before)


def test_the_weight_is_that_of_least_squares() -> None:
    """Errors of the model and of kriging are independent: its weight is the share of the squared error of kriging."""
    generator = np.random.default_rng(2)
    smooth = smooth_maps(60)
    noise = generator.normal(0, 2, size=smooth.shape).astype(np.float32)
    truth, model_error = smooth + noise, generator.normal(0, 2, size=smooth.shape).astype(np.float32)
    record, cells = hidden_in(truth), PatchCells(GRID, CELLS)

    def predict(part: xr.Dataset) -> xr.Dataset:
        first = int((part["time"].values[0] - np.datetime64("2001-01-01")) / np.timedelta64(1, "D"))
        return answered(part, truth, model_error[first : first + len(part["time"])])

    kriged = {"precipitation": cells.krige(record["precipitation"].values)}
    found = own_maps._weights(record, cells, kriged, predict)["precipitation"]
    assert 0.45 < found < 0.65, "the noise of a cell is unknown to kriging, and part of the visible values"


def test_what_cannot_be_checked_does_not_change() -> None:
    short, truth = slice(0, MIN_DAYS - 1), smooth_maps(40)
    few = hidden_in(truth[short])
    xr.testing.assert_identical(adjusted(few, truth, 8.0), answered(few, truth, 8.0))
    whole = record_of(np.where(np.arange(40)[:, None] >= 35, np.nan, truth))
    xr.testing.assert_identical(adjusted(whole, truth, 8.0), answered(whole, truth, 8.0)), "days without any value"
    observed = record_of(truth)
    xr.testing.assert_identical(adjusted(observed, truth, 8.0), answered(observed, truth, 8.0))
    no_grid = hidden_in(truth)
    before = answered(no_grid, truth, 8.0)
    assert adjust_to_own_maps(before, no_grid, None, lambda part: part) is before


def test_pseudo_hidden_patches_are_a_share_of_each_day_around_the_question() -> None:
    truth, asked_days = smooth_maps(100), []
    record = hidden_in(truth, slice(70, 80))

    def predict(part: xr.Dataset) -> xr.Dataset:
        asked_days.extend(pd.DatetimeIndex(part["time"].values))
        extra = np.isnan(part["precipitation"].values) & np.isfinite(truth[60:90])
        patches = [len(np.unique(GRID.patch_of(CELLS)[0][day])) for day in extra]
        assert set(patches) == {round(HIDDEN_SHARE * 30), round(HIDDEN_SHARE * 29) + 1}
        return answered(part, truth, 8.0)

    adjust_to_own_maps(answered(record, truth, 8.0), record, GRID, predict)
    assert len(asked_days) == CHECK_DAYS and asked_days[0] == pd.Timestamp("2001-03-02")


def test_cells_outside_land_patches_are_read_and_never_predicted() -> None:
    """A cell alone in its patch is on a coast: kriging reads it, and its own NaN stays."""
    patch = GRID.patch_of(CELLS)[0]
    cell = CELLS[(patch != 14) | (np.flatnonzero(patch == 14)[0] == CELLS)]
    cells, values = PatchCells(GRID, cell), np.full((1, len(cell)), np.nan, np.float32)
    alone = np.flatnonzero(GRID.patch_of(cell)[0] == 14)
    values[0, alone] = 7.0
    assert np.nanmax(np.abs(cells.krige(values) - 7.0)) < 1e-4 and np.isfinite(cells.krige(values)).any()
    values[0] = 3.0
    values[0, alone] = np.nan
    assert np.isnan(cells.krige(values)).all()


def test_days_are_kriged_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, cells = hidden_in(smooth_maps(20), slice(3, 18))["precipitation"].values, PatchCells(GRID, CELLS)
    whole = cells.krige(values)
    monkeypatch.setattr(own_maps, "BLOCK_DAYS", 4)
    np.testing.assert_allclose(cells.krige(values), whole, rtol=1e-4)
    assert np.isfinite(whole).any(axis=1).tolist() == [False] * 3 + [True] * 15 + [False] * 2


def test_the_shipped_model_weighs_hidden_patches_of_a_record() -> None:
    """The prediction API applies it: 30 days of smooth rain around ten gauges, one patch hidden."""
    model = hydromae.load("gb-national", "cpu")
    record = national_rain()
    answer = model.predict_record(record, [0.05, 0.5, 0.95])
    plain = predict_once(model, record, [0.05, 0.5, 0.95], no_progress)
    hidden = record["precipitation"].isnull() & plain["precipitation"].notnull()
    assert bool(hidden.any()) and bool((answer["precipitation"] != plain["precipitation"]).where(hidden).any())
    assert "kriging" in answer["precipitation_quantile"].attrs["processing"]
    np.testing.assert_array_equal(answer["riverflow"], plain["riverflow"])


def national_rain() -> xr.Dataset:
    """Smooth rain on 4 × 4 land patches of the 5 km grid, and two catchments."""
    grid, days = GridSpec(), 30
    row, column = np.meshgrid(np.arange(60, 100), np.arange(90, 130), indexing="ij")
    cell = (row * grid.columns + column).ravel()
    values = 6 + 4 * np.sin(row.ravel() / 12 + np.arange(days)[:, None]) + 0 * cell
    values[:, grid.patch_of(cell)[0] == grid.patch_of(cell)[0][15 * 40 + 15]] = np.nan
    catchments = virtual_catchments(days, catchments=2).drop_vars(["precipitation", "temperature"])
    rain = (("time", "cell"), values.astype(np.float32), {"units": "mm day-1"})
    return catchments.assign(precipitation=rain).assign_coords(cell=cell)
