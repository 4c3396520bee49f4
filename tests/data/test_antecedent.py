"""The weather before a window, against what one would work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hydromae.batching.antecedent import DECAY_DAYS, antecedent_features, antecedent_width

MEAN, SQUARE, SHARE = range(3)


def features(held: np.ndarray, start: int, antecedent_days: int, sites: np.ndarray | None = None) -> np.ndarray:
    """Site, memory, what, channel."""
    found = antecedent_features(held, start, antecedent_days, sites)
    assert found.shape[1] == antecedent_width(held.shape[2])
    return found.reshape(found.shape[0], len(DECAY_DAYS), 3, held.shape[2])


def test_a_constant_past_has_its_own_mean() -> None:
    found = features(np.full((9000, 2, 1), 3.0, dtype=np.float32), 9000, 9000)
    for index, memory in enumerate(DECAY_DAYS):
        more = (memory / DECAY_DAYS[0]) ** 0.5
        assert found[0, index, :, 0] == pytest.approx([3 * more, 9 * more, 1], rel=1e-4)


def test_days_are_weighed_by_their_age_and_what_is_unobserved_by_nothing() -> None:
    held = np.array([5.0, np.nan, 1.0, 77.0], dtype=np.float32)[:, None, None]
    found = features(held, 3, 3)[0, 0, :, 0]
    weight = np.exp(-np.array([3.0, 1.0]) / 20)
    assert found[MEAN] == pytest.approx((5 * weight[0] + weight[1]) / weight.sum(), rel=1e-5)
    assert found[SQUARE] == pytest.approx((25 * weight[0] + weight[1]) / weight.sum(), rel=1e-5)
    assert found[SHARE] == pytest.approx(weight.sum() * np.expm1(1 / 20), rel=1e-5)


def test_nothing_of_the_window_and_nothing_beyond_the_antecedent_days_is_read() -> None:
    held = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    other = held.copy()
    other[30:], other[:20] = -9.0, 9.0
    assert np.array_equal(features(held, 30, 10), features(other, 30, 10))
    assert not np.array_equal(features(held, 30, 11), features(other, 30, 11))


def test_sites_are_chosen_and_what_lies_outside_the_record_is_unobserved() -> None:
    held = np.random.default_rng(1).normal(size=(50, 4, 1)).astype(np.float32)
    assert np.allclose(features(held, 40, 40, np.array([2, 0])), features(held, 40, 40)[[2, 0]], atol=1e-5)
    assert not features(held, 0, 400).any() and not features(held, -7, 400).any()
    held[:40] = np.nan
    assert not features(held, 40, 400).any()
