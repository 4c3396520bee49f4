"""Mixtures of Gaussians against torch.distributions and values worked out by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, MixtureSameFamily, Normal

from hydromae.model.mixture import MIN_STD, GaussianMixture, mixture_around, scatter_mixture


def drawn(seed: int, count: int = 3) -> GaussianMixture:
    draw = torch.Generator().manual_seed(seed)
    weight, centre, spread = (torch.randn(5, 2, count, generator=draw, dtype=torch.float64) for _ in range(3))
    return GaussianMixture(weight.softmax(dim=-1), 2 * centre, spread.exp())


def reference(answer: GaussianMixture) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(answer.weight), Normal(answer.centre, answer.spread))


def one(centre: float, spread: float) -> GaussianMixture:
    return GaussianMixture(
        torch.ones(1, 1).double(), torch.full((1, 1), centre).double(), torch.full((1, 1), spread).double()
    )


def test_likelihood_and_cumulative_equal_torchs_mixture() -> None:
    answer = drawn(0)
    for level in (-3.0, 0.0, 0.7, 10.0):
        value = torch.full((5, 2), level, dtype=torch.float64)
        assert torch.allclose(answer.log_likelihood(value), reference(answer).log_prob(value), atol=1e-9)
        assert torch.allclose(answer.cumulative(value), reference(answer).cdf(value), atol=1e-9)


def test_a_single_gaussian_by_hand() -> None:
    answer, value = one(2.0, 0.5), torch.tensor([3.0], dtype=torch.float64)
    assert float(answer.log_likelihood(value)) == pytest.approx(-2.0 - math.log(0.5 * math.sqrt(2 * math.pi)))
    assert float(answer.cumulative(value)) == pytest.approx(0.9772498680518208)  # Φ(2)
    high, median = answer.quantiles((0.975, 0.5))
    assert float(high) == pytest.approx(2 + 0.5 * 1.959963984540054, abs=1e-6)
    assert float(median) == pytest.approx(2.0)


def test_median_of_two_equal_gaussians_is_between_them() -> None:
    answer = GaussianMixture(torch.tensor([0.5, 0.5]), torch.tensor([-1.0, 3.0]), torch.tensor([1.0, 1.0]))
    assert float(answer.quantiles([0.5])[0]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("gap", [1.0, 100.0, 1e4])
def test_quantiles_of_narrow_gaussians_far_apart(gap: float) -> None:
    """Φ(z) = 0.25 / 0.3 and Φ(z) = 0.2 / 0.7; between the two Gaussians there is no slope to follow."""
    spread = MIN_STD
    answer = GaussianMixture(
        torch.tensor([0.3, 0.7]).double(), torch.tensor([0.0, gap]).double(), torch.full((2,), spread).double()
    )
    low, middle, high = answer.quantiles([0.25, 0.3, 0.5], steps=50)
    assert float(low) == pytest.approx(0.9674215661 * spread, abs=1e-6)
    assert 3 * spread < float(middle) < gap - 3 * spread
    assert float(high) == pytest.approx(gap - 0.5659488219 * spread, abs=1e-6)


def test_quantiles_of_many_invert_the_cumulative() -> None:
    """20,000 mixtures of three, in several pieces, single precision in and double to check."""
    draw = torch.Generator().manual_seed(0)
    answer = mixture_around(torch.randn(5000, 4, generator=draw), 2 * torch.randn(5000, 4, 9, generator=draw))
    exact, levels = (
        GaussianMixture(answer.weight.double(), answer.centre.double(), answer.spread.double()),
        (0.05, 0.5, 0.95),
    )
    found = answer.quantiles(levels)
    assert found.shape == (3, 5000, 4) and found.dtype == torch.float32
    for level, value in zip(levels, found.double(), strict=True):
        assert float((exact.cumulative(value) - level).abs().max()) < 1e-4


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.001, 0.999), min_size=2, max_size=5, unique=True))
def test_quantiles_rise_with_the_level_and_invert_the_cumulative(seed: int, levels: list[float]) -> None:
    answer = drawn(seed)
    quantiles = answer.quantiles(sorted(levels), steps=50)
    assert all((low <= high).all() for low, high in itertools.pairwise(quantiles))
    for level, value in zip(sorted(levels), quantiles, strict=True):
        assert torch.allclose(answer.cumulative(value), torch.full_like(value, level), atol=1e-6)


def test_around_has_exactly_the_mean() -> None:
    draw = torch.Generator().manual_seed(0)
    mean, raw = 5 * torch.randn(200, generator=draw), 3 * torch.randn(200, 9, generator=draw)
    answer = mixture_around(mean, raw)
    assert torch.allclose((answer.weight * answer.centre).sum(dim=-1), mean, atol=1e-5)
    assert torch.allclose(answer.weight.sum(dim=-1), torch.ones(200)) and (answer.spread > MIN_STD).all()
    assert float((answer.centre.amax(dim=-1) - answer.centre.amin(dim=-1)).mean()) > 1, "not all components the same"


def test_scatter_mixture_fills_the_rest_with_a_valid_distribution() -> None:
    where = torch.tensor([[[False, True], [True, False]]])
    answer = mixture_around(torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1, 6))
    grid = scatter_mixture(answer, where, torch.Size((1, 2, 2, 1)))
    assert grid.centre.shape == (1, 2, 2, 1, 2)
    assert grid.centre[0, 0, 1, 0].tolist() == [1.0, 1.0] and grid.centre[0, 1, 0, 0].tolist() == [2.0, 2.0]
    assert grid.weight[0, 0, 0].sum() == 0 and grid.spread[0, 0, 0].tolist() == [[1.0, 1.0]]
    assert torch.isfinite(grid.log_likelihood(torch.zeros(1, 2, 2, 1))).all()
