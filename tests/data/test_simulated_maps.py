"""Conditional simulation: fields that are 0 at the catchments and have the variation of the field between them."""

from __future__ import annotations

import numpy as np
import pytest

from hydromae.datasets.derived import BlockKriging
from hydromae.datasets.simulated_maps import ConditionalField
from hydromae.footprints import disc_footprints, footprint_mean
from hydromae.grid import GridSpec

WIDE = GridSpec(rows=40, columns=40, patch=10)
CELLS = np.arange(WIDE.rows * WIDE.columns)
LENGTH = 50e3


@pytest.fixture(scope="module")
def field() -> ConditionalField:
    east, north = WIDE.cell_position(CELLS)
    generator = np.random.default_rng(0)
    chosen = generator.choice(CELLS, 25, replace=False)
    footprints = disc_footprints(east, north, east[chosen], north[chosen], np.full(25, 25.0), WIDE.cell_size)
    kriging = BlockKriging.build(footprints, east, north, 25, LENGTH, noise=1e-4)
    return ConditionalField.build(kriging, footprints, CELLS, WIDE, seed=3)


def test_random_fields_have_the_covariance(field: ConditionalField) -> None:
    drawn = np.stack([field._field(day) for day in range(1500)]).reshape(-1, 40, 40)
    assert drawn.var() == pytest.approx(1.0, abs=0.05)
    for step in (2, 5, 10):
        expected = np.exp(-step * WIDE.cell_size / LENGTH)
        for pair in ((drawn[:, step:], drawn[:, :-step]), (drawn[:, :, step:], drawn[:, :, :-step])):
            assert (pair[0] * pair[1]).mean() == pytest.approx(expected, abs=0.05)


def test_residuals_vanish_at_catchments_and_depend_on_the_day(field: ConditionalField) -> None:
    days = np.array([7, 8, 7])
    residual = field.residuals(days)
    at_catchments = footprint_mean(field.footprints, residual, 25)
    assert np.abs(at_catchments).max() < 0.02
    assert np.array_equal(residual[0], residual[2]) and not np.array_equal(residual[0], residual[1])
    observed = np.isin(CELLS, field.footprints.cell)
    assert field.variance[observed].max() < 0.01 < 0.3 < np.median(field.variance[~observed])


def test_the_sill_is_the_variance_of_the_field(field: ConditionalField) -> None:
    drawn = np.stack([field._field(day) for day in range(400)])
    values = footprint_mean(field.footprints, drawn, 25)
    assert field.sill(values).mean() == pytest.approx(1.0, abs=0.1)
    assert field.sill(3.0 * values + 5.0).mean() == pytest.approx(9.0, abs=0.9), "whatever the mean of the day"


def test_rain_keeps_its_mean_and_dry_cells_dry(field: ConditionalField) -> None:
    share = np.stack([footprint_mean(field.footprints, np.exp(field._field(day))[None], 25)[0] for day in range(300)])
    rain = np.ones((300, len(CELLS)), np.float32)
    rain[:, 0] = 0.0
    made = field.rain(rain, share, np.arange(300))
    assert (made >= 0).all() and (made[:, 0] == 0).all()
    assert made[:, 1:].mean() == pytest.approx(1.0, abs=0.05)
    assert made[:, 1:].std() > 0.3
    calm = field.rain(rain, np.ones_like(share), np.arange(300))
    assert calm[:, 1:] == pytest.approx(1.0, abs=0.02), "a day of equal rain at all catchments has none between them"
    warm = field.temperature(np.full_like(rain, 9.0), np.zeros_like(share), np.arange(300))
    assert warm == pytest.approx(9.0, abs=0.02)
