"""The score of maps: hidden patches and a day ahead, of a model beside kriging, climatology and persistence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import maps
from hydromae.inference.predictor import Model
from hydromae.model.mae import HydroMAE
from samples import small
from synthetic import rivers, scaling_of

ROWS, COLUMNS = np.arange(100, 130), np.arange(60, 90)
CELLS = np.add.outer(ROWS * maps.GRID.columns, COLUMNS).ravel()
"""Three by three patches."""
DAYS = maps.CONTEXT_DAYS + 1


def record() -> xr.Dataset:
    """Rain that varies by day, with a little noise by cell, and two catchments on the maps."""
    generator = np.random.default_rng(0)
    rain = generator.gamma(0.5, 6.0, (DAYS, 1)) * generator.uniform(0.8, 1.2, (DAYS, len(CELLS)))
    gauges = rivers(2, DAYS)
    static = gauges[[n for n in gauges.data_vars if gauges[n].dims == ("catchment",)]]
    static["riverflow"] = gauges["riverflow"] * np.nan
    made = static.assign(precipitation=(("time", "cell"), rain.astype(np.float32), {"units": "mm day-1"}))
    made = made.assign_coords(time=pd.date_range("2001-01-01", periods=DAYS, unit="ns"), cell=CELLS)
    return made.assign_attrs(grid=json.dumps(vars(maps.GRID)))


def test_scores_of_three_cells_by_hand() -> None:
    found = maps.scores(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 3.0]))
    assert found == {"cells": 3.0, "rmse": pytest.approx((4 / 3) ** 0.5), "crps": pytest.approx(2 / 3)}
    levels = np.array(maps.LEVELS)[:, None]
    found = maps.scores(np.array([0.5, 0.2, 0.999]), np.full(3, 0.5), np.broadcast_to(levels, (len(levels), 3)))
    assert found["in50"] == pytest.approx(1 / 3) and found["in90"] == pytest.approx(2 / 3)


def test_exactly_the_share_of_the_patches_is_hidden_each_day() -> None:
    patch = maps.patches_of_cells(record())
    assert len(np.unique(patch)) == 9 and (patch >= 0).all()
    hidden = maps.draw_hidden(patch, 20, seed=1)
    assert set(hidden.sum(axis=1)) == {round(0.4 * 9) * 100} and len({row.tobytes() for row in hidden}) > 10
    for number in np.unique(patch):
        of_patch = hidden[:, patch == number]
        assert (of_patch.all(axis=1) | ~of_patch.any(axis=1)).all()


def test_kriging_reads_visible_cells_alone_and_keeps_a_constant() -> None:
    patch = maps.patches_of_cells(record())
    hidden = maps.draw_hidden(patch, 2, seed=0)
    rain = np.full(hidden.shape, 7.0)
    estimate = maps.kriged(np.where(hidden, 99.0, rain), hidden, patch, CELLS)
    assert np.isnan(estimate[~hidden]).all()
    np.testing.assert_allclose(estimate[hidden], 7.0, rtol=1e-6)


def test_a_model_is_scored_beside_the_others() -> None:
    rain = record()
    config = small("national").having(data={"sequence_length": 30, "warm_up_days": 0, "antecedent_days": 5})
    scaling = scaling_of(rivers(2, DAYS).merge(rain[["precipitation"]], compat="override"), config)
    model = Model(HydroMAE(config).set_scaling(scaling).eval(), config, scaling, maps.GRID, torch.device("cpu"))
    restored, ahead = maps.restore(model, rain, seed=0), maps.forecast(model, rain)
    assert set(restored) == {"hydromae", "kriging", "kriging of the ratio", "climatology"}
    assert set(ahead) == {"hydromae", "persistence", "climatology"}
    assert restored["kriging"]["rmse"] < restored["climatology"]["rmse"], "rain is nearly the same in every cell"
    assert restored["hydromae"]["cells"] == DAYS * 400 and ahead["hydromae"]["cells"] == 2 * 900
    for row in (restored["hydromae"], ahead["hydromae"]):
        assert 0 <= row["in50"] <= row["in90"] <= 1 and row["crps"] > 0
