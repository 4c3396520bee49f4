"""Estimates of maps against what one would work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hydromae.model.kriging import NUGGET, RANGE, PatchKriging, neighbour_patches, offsets, thinned_cells
from hydromae.model.map_estimators import MAP_ESTIMATORS, MapEstimators, cell_offsets
from samples import ALL, all_tokens, built, no_tokens, sample, small

KRIGING, STANDARDISED, TEMPORAL, CATCHMENTS = range(len(MAP_ESTIMATORS))
LINE = torch.tensor([[[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]]])
"""Three patches of 50 km from west to east."""


def asked(values: torch.Tensor, seen: torch.Tensor, position: torch.Tensor = LINE, weather=None):
    """Estimates of a map without training."""
    estimators = MapEstimators(values.shape[-1], has_weather=weather is not None)
    with torch.no_grad():
        return estimators(torch.where(seen, values, 0.0), seen, position, weather)


def test_neighbours_are_found_by_their_positions() -> None:
    around, width = neighbour_patches(LINE, 2)
    assert width.tolist() == [50.0]
    rows = around[0].unflatten(-1, (5, 5))
    assert rows[:, 2].tolist() == [[-1, -1, 0, 1, 2], [-1, 0, 1, 2, -1], [0, 1, 2, -1, -1]]
    assert (rows[:, [0, 1, 3, 4]] == -1).all(), "none in the north or south"
    alone, width = neighbour_patches(LINE[:, :1], 2)
    assert width.tolist() == [0.0] and alone[0].tolist() == [[-1] * 12 + [0] + [-1] * 12]


def test_cells_of_a_patch_lie_around_its_centre() -> None:
    offsets = (10.0 * cell_offsets(2, torch.device("cpu"))).tolist()
    assert offsets == [[-2.5, -2.5], [2.5, -2.5], [-2.5, 2.5], [2.5, 2.5]]


def test_a_hidden_patch_is_kriged_from_the_patches_beside_it() -> None:
    values = torch.tensor([2.0, 99.0, 5.0]).view(1, 1, 3, 1)
    seen = torch.tensor([True, False, True]).view(1, 1, 3, 1)
    value, exists, _ = asked(values, seen)
    assert value[0, 0, 1, 0, KRIGING] == pytest.approx(3.5), "both are one cell away"
    assert exists[0, 0, 1, 0].all(), "a cell that no day shows has the mean of its kriged values"
    assert not exists[0, 0, [0, 2], 0, KRIGING].any(), "a visible cell has no estimate of kriging"
    dark = asked(values, seen & False)
    assert not dark[1].any() and not dark[0].any(), "nothing is visible around"


def ordinary_kriging(places: np.ndarray, values: np.ndarray, wanted: np.ndarray, side: int) -> np.ndarray:
    """With a Lagrange multiplier, in double precision."""

    def covariance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.exp(-np.linalg.norm(first[:, None] - second, axis=-1) / (RANGE * side))

    count = len(places)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = covariance(places, places) + NUGGET * np.eye(count)
    system[count, count] = 0.0
    weights = np.linalg.solve(system, np.vstack([covariance(places, wanted), np.ones(len(wanted))]))[:count]
    return values @ weights


@pytest.mark.parametrize("reach", [1, 2])
def test_kriging_is_that_of_the_textbook(reach: int) -> None:
    """9 or 25 patches of 4 x 4 cells, the middle one hidden but for a cell, one beside it hidden."""
    side, around_it, generator = 4, offsets(reach), torch.Generator().manual_seed(0)
    middle = len(around_it) // 2
    position = 20.0 * torch.tensor([[float(column), float(row)] for row, column in around_it])[None]
    values = torch.randn(1, 2, len(around_it), side**2, generator=generator)
    seen = torch.ones(1, 2, len(around_it), side**2, dtype=torch.bool)
    seen[0, 1, middle], seen[0, 1, middle - 1] = False, False
    seen[0, 1, middle, 5] = True
    around, width = neighbour_patches(position, reach)
    kriging = PatchKriging(seen, around)
    estimate, exists = kriging(torch.where(seen, values, 0.0)), kriging.exists
    assert width.tolist() == [20.0]
    assert torch.equal(exists, ~seen)
    rows, columns = np.divmod(np.arange(side**2), side)
    place = np.stack([np.stack([rows + side * r, columns + side * c], axis=-1) for r, c in around_it])
    used = thinned_cells(side, reach) & seen[0, 1].numpy()
    by_hand = ordinary_kriging(place[used], values[0, 1].numpy()[used], place[middle], side)
    hidden = ~seen[0, 1, middle].numpy()
    assert estimate[0, 1, middle].numpy()[hidden] == pytest.approx(by_hand[hidden], abs=1e-4)


def test_kriging_uses_few_cells_and_all_sides() -> None:
    for side, reach, most in ((1, 1, 9), (2, 1, 36), (5, 1, 90), (10, 1, 100), (1, 2, 25), (10, 2, 120)):
        used = thinned_cells(side, reach)
        assert used.any(axis=1).all() and used.sum() <= most
    distance = ordinary_kriging(np.array([[0.0, 0.0]]), np.array([7.0]), np.array([[40.0, 0.0]]), 10)
    assert distance == pytest.approx([7.0]), "a single value is the mean"


def test_anomalies_are_added_to_the_mean_of_the_cell() -> None:
    days = 12
    values = torch.stack([torch.arange(days) % 2.0, 10 + torch.arange(days) % 2.0], dim=-1).view(1, days, 2, 1)
    seen = torch.ones(1, days, 2, 1, dtype=torch.bool)
    seen[0, -1, 1], seen[0, -2, 1] = False, False
    value, exists, _ = asked(values, seen, LINE[:, :2])
    assert value[0, -1, 1, 0, KRIGING] == pytest.approx(1.0), "the value of its neighbour"
    first = torch.tensor([*values[0, :-2, 1, 0].tolist(), 0.0, 1.0])  # visible days, and kriged values
    neighbour = values[0, :, 0, 0]
    standard = (neighbour - neighbour.mean()) / neighbour.std(correction=0)
    kriged = first.mean() + first.std(correction=0) * standard[-2:]
    second = torch.cat([first[:-2], kriged])
    expected = second.mean() + second.std(correction=0) * standard[-1]
    assert value[0, -1, 1, 0, STANDARDISED] == pytest.approx(float(expected), abs=1e-4), "two passes"
    # of the anomaly of the last visible day, exp(−1 / 3) is left two days later
    decay = torch.exp(torch.tensor(-1 / 3))
    left = second.mean() + (values[0, -3, 1, 0] - second.mean()) * decay
    assert value[0, -1, 1, 0, TEMPORAL] == pytest.approx(float(left), abs=1e-3)
    assert not exists[0, :-2, 1, 0, :TEMPORAL].any(), "kriging is for values that are not visible"


def test_catchments_give_their_weather_to_the_cells_around_them() -> None:
    values, seen = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    rain = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
    rain_seen = torch.tensor([[[True, True], [True, False]]])
    place = torch.tensor([[[50.0, 1000.0], [50.0, -1000.0]]])
    value, exists, _ = asked(values, seen, LINE, (rain, rain_seen, place))
    middle = value[0, :, 1, :, CATCHMENTS].mean(dim=-1)
    assert middle.tolist() == pytest.approx([2.0, 5.0], abs=1e-3), "two at one distance; on the second day one of them"
    assert exists[..., CATCHMENTS].all() and not exists[..., :CATCHMENTS].any()
    assert not asked(values, seen, LINE, (rain, rain_seen & False, place))[1].any()


def test_maps_have_distributions_where_they_are_wanted() -> None:
    batch, wanted = sample("national"), {"temperature"}
    for on in (True, False):
        model = built(small("national", map_distributions=on))
        with torch.no_grad():
            answer = model(batch, all_tokens(batch))
        assert wanted <= set(answer.mean)
        assert (wanted <= set(answer.gaussians)) == on
    mixture = built(small("national", components=2))(batch, all_tokens(batch)).gaussians["temperature"]
    assert mixture.spread.shape == (*batch.values["temperature"].shape, 2)
    assert (mixture.spread[0, 0, 0].std(dim=0) > 0).all(), "every cell has a width of its own"


def test_rivers_do_not_change_while_maps_are_absent_or_their_gate_is_closed() -> None:
    """Fused streams add to the rivers only in windows with visible maps, and through a gate."""
    batch = sample("national", days=45)
    hidden = no_tokens(batch)
    hidden["riverflow"][:, 20:30] = True
    absent = hidden | {n: torch.ones_like(hidden[n]) for n in ("precipitation", "soil_moisture", "temperature")}
    model = built(small("national"))

    def flow(masks: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return model(batch, masks).mean["riverflow"]

    with_maps, without_maps = flow(hidden), flow(absent)
    assert not torch.equal(with_maps, without_maps)
    assert model.fusion is not None and model.fusion.gates is not None
    river = next(index for index, names in enumerate(model.config.model.shared) if "riverflow" in names)
    with torch.no_grad():
        model.fusion.gates[river] = 0.0
    assert torch.equal(flow(hidden), without_maps) and torch.equal(flow(absent), without_maps)


def test_the_preset_has_every_modality() -> None:
    assert set(small("national").model.modalities) == set(ALL)
