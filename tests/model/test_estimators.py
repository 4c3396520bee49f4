"""Priors against what one would work out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hydromae.model.blocks import Context
from hydromae.model.estimators import ESTIMATORS, Estimators, interpolate
from hydromae.model.positional import SEPARATIONS, nearest_context
from samples import sample

OWN, DONORS, ALIKE, ALIKE_OWN = range(4)


def site(*values: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """One river's days, None where hidden (a wrong value stands there)."""
    seen = torch.tensor([value is not None for value in values]).view(1, -1, 1)
    return torch.tensor([77.0 if value is None else float(value) for value in values]).view(1, -1, 1), seen


def apart(sites: int, distance: float = 1.0) -> Context:
    """Sites on a line, alike in every trait, `distance` [50 km] apart."""
    separation = torch.zeros(1, sites, sites, SEPARATIONS)
    line = torch.arange(sites) * distance
    separation[0, :, :, 0] = (line[:, None] - line[None]).abs()
    return Context(separation=separation)


def asked(
    priors: Estimators,
    flow: torch.Tensor,
    seen: torch.Tensor,
    context: Context,
    rain: torch.Tensor | None = None,
    rain_seen: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rain = torch.ones_like(flow) if rain is None else rain
    rain_seen = torch.ones_like(seen) if rain_seen is None else rain_seen
    with torch.no_grad():
        return priors(flow, seen, rain, rain_seen, torch.zeros_like(flow), torch.ones_like(seen), context)


def test_carry_interpolates_by_inverse_distance() -> None:
    values, there, _ = interpolate(*site(2, None, None, 8), decay=None)
    assert values[0, :, 0].tolist() == pytest.approx([8, 4, 6, 2])  # day 1: (2 / 1 + 8 / 2) / (1 / 1 + 1 / 2) = 4
    assert there.all()


def test_interpolation_does_not_use_the_value_of_the_day() -> None:
    values, there, features = interpolate(*site(1, 5, 3), decay=None)
    assert values[0, :, 0].tolist() == [5, 2, 5]
    assert features[0, 1, 0].tolist() == [1, 1, 1, 3]  # 1 / distance to each side, and that times the value
    assert features[0, 0, 0].tolist() == [0, 1, 0, 5]
    alone, there, _ = interpolate(*site(None, 4, None), decay=None)
    assert there[0, :, 0].tolist() == [True, False, True] and alone[0, [0, 2], 0].tolist() == [4, 4]
    assert not interpolate(*site(None, None), decay=None)[1].any()


def test_carry_keeps_the_last_value_after_the_last_day_and_fades_with_decay() -> None:
    values, _, _ = interpolate(*site(6, None, None, None), decay=None)
    assert values[0, 1:, 0].tolist() == [6, 6, 6]
    faded, _, _ = interpolate(*site(6, None, None, None), decay=torch.tensor(2.0))
    expected = 6 * torch.exp(-torch.tensor([0.0, 1.0, 2.0]) / 2)
    assert torch.allclose(faded[0, 1:, 0], expected)


def test_carry_never_mixes_sites() -> None:
    values = torch.tensor([[[1.0, 100.0], [2.0, 200.0], [3.0, 300.0]]])
    assert interpolate(values, torch.ones(1, 3, 2).bool(), decay=None)[0][0, 1].tolist() == [2, 200]


def test_donors_of_equal_rain_are_weighted_by_distance() -> None:
    priors, flow = Estimators(SEPARATIONS), torch.tensor([[[0.0, 2.0, 4.0]]])
    seen = torch.tensor([[[False, True, True]]])
    values, there, _ = asked(priors, flow, seen, apart(3))
    slope = torch.nn.functional.softplus(torch.tensor(1.0))  # the slope of distance starts at softplus(1) per 50 km
    near, far = torch.exp(-slope), torch.exp(-2 * slope)
    assert float(values[0, 0, 0, DONORS]) == pytest.approx(float((2 * near + 4 * far) / (near + far)), rel=1e-5)
    assert there[0, 0, :, DONORS].tolist() == [True, True, True]
    assert float(values[0, 0, 1, DONORS]) == pytest.approx(4.0), "a river is not its own donor"


def test_donors_are_scaled_by_the_water_supply() -> None:
    """Four times the rain makes four times the flow: twice its root."""
    priors, flow = Estimators(SEPARATIONS), torch.tensor([[[0.0, 3.0]]])
    rain = torch.tensor([[[4.0, 2.0]]])  # roots: 16 and 4 mm/day
    seen = torch.tensor([[[False, True]]])
    assert float(asked(priors, flow, seen, apart(2), rain)[0][0, 0, 0, DONORS]) == pytest.approx(6.0)
    priors.constants.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0], [0.0, 1.0]]))  # flow scaled by mean 1, deviation 2
    scaled = asked(priors, flow, seen, apart(2), rain)[0][0, 0, 0, DONORS]
    assert float(scaled) == pytest.approx(((3 * 2 + 1) * 2 - 1) / 2)


def test_donors_are_not_scaled_without_rain() -> None:
    priors, flow = Estimators(SEPARATIONS), torch.tensor([[[0.0, 3.0]]])
    seen, rain = torch.tensor([[[False, True]]]), torch.tensor([[[4.0, 2.0]]])
    for known in ([True, False], [False, True], [False, False]):
        answer = asked(priors, flow, seen, apart(2), rain, torch.tensor([[known]]))[0]
        assert float(answer[0, 0, 0, DONORS]) == pytest.approx(3.0)


def linear_rivers(days: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """River 0 is 2 × river 1 + 1, river 2 is noise; the last quarter of river 0 is hidden."""
    draw = torch.Generator().manual_seed(0)
    theirs, other = torch.randn(1, days, generator=draw), torch.randn(1, days, generator=draw)
    flow = torch.stack([2 * theirs + 1, theirs, other], dim=-1)
    seen = torch.ones(1, days, 3, dtype=torch.bool)
    seen[:, -days // 4 :, 0] = False
    return flow, seen


def test_donor_regression_recovers_a_linear_relation() -> None:
    flow, seen = linear_rivers(4000)
    values, there, _ = asked(Estimators(SEPARATIONS), torch.where(seen, flow, -9.0), seen, apart(3, 0.0))
    gap = ~seen[0, :, 0]
    assert there[0, gap, 0, ALIKE].all()
    error = (values[0, gap, 0, ALIKE] - flow[0, gap, 0]).square().mean().sqrt() / flow[0, gap, 0].std()
    donors = (values[0, gap, 0, DONORS] - flow[0, gap, 0]).square().mean().sqrt() / flow[0, gap, 0].std()
    assert float(error) < 0.02 < 0.3 < float(donors)
    alike_own = values[0, gap, 0, ALIKE_OWN]
    assert torch.allclose(alike_own, values[0, gap, 0, ALIKE], atol=0.2)


def test_donor_regression_needs_twenty_common_days() -> None:
    for days, enough in ((19, False), (20, True)):
        flow, seen = linear_rivers(40)
        seen[:, days:, 0] = False
        seen[:, :days, 0] = True
        assert bool(asked(Estimators(SEPARATIONS), flow, seen, apart(3))[1][0, 30, 0, ALIKE]) is enough


def test_own_residual_is_carried_beside_the_gap() -> None:
    """River 0 runs 0.5 above what its neighbour says, just before the gap: the first hidden day keeps all of it."""
    flow, seen = linear_rivers()
    flow[0, 290:, 0] += 0.5
    values, _, _ = asked(Estimators(SEPARATIONS), torch.where(seen, flow, 0.0), seen, apart(3))
    residual = flow[0, 299, 0] - values[0, 299, 0, ALIKE]
    added = values[0, 300:, 0, ALIKE_OWN] - values[0, 300:, 0, ALIKE]
    assert float(added[0]) == pytest.approx(float(residual), abs=1e-4)
    assert float(added[5]) == pytest.approx(
        float(residual) * 2.718281828 ** (-5 / 5), abs=1e-4
    )  # memory starts at 5 days


def test_features_of_estimates_that_do_not_exist_are_zero() -> None:
    flow, seen = linear_rivers(40)
    seen[:, 5:, 0] = False  # five common days: own and donors exist, alike does not
    values, there, features = asked(Estimators(SEPARATIONS), flow, seen, apart(3))
    assert features.shape[-1] == Estimators(SEPARATIONS).features and there[0, 20, 0].tolist() == [
        True,
        True,
        False,
        False,
    ]
    own, donors = (float(values[0, 20, 0, i]) for i in (OWN, DONORS))
    assert features[0, 20, 0, : len(ESTIMATORS)].tolist() == pytest.approx([own, donors, 0, 0])
    assert features[0, 20, 0, len(ESTIMATORS) : 3 * len(ESTIMATORS)].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    nothing, nowhere, zero = asked(Estimators(SEPARATIONS), flow, torch.zeros_like(seen), apart(3))
    assert not nothing.any() and not nowhere.any() and not zero.any()


def test_near_and_dense_contexts_give_the_same_estimates() -> None:
    batch = sample("rivers", size=2, days=40, sites=5)
    metadata, flow, seen = (
        batch.site_metadata["series"],
        batch.values["riverflow"][..., 0],
        batch.observed["riverflow"][..., 0],
    )
    dense = nearest_context(metadata, 5)
    assert dense.separation is not None
    order = dense.separation[..., 0].argsort(dim=-1)
    near = Context(
        neighbours=order, separation=dense.separation.gather(2, order[..., None].expand_as(dense.separation))
    )
    for one, other in zip(
        asked(Estimators(SEPARATIONS), flow, seen, dense), asked(Estimators(SEPARATIONS), flow, seen, near), strict=True
    ):
        assert torch.allclose(one.float(), other.float(), atol=1e-4)


RUNOFF, RUNOFF_OWN, RUNOFF_DONORS, RUNOFF_ALIKE, RUNOFF_BOTH, AHEAD = range(4, 10)


def corrected(
    flow: torch.Tensor, seen: torch.Tensor, runoff: torch.Tensor, ahead: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and existence of all priors where memories say `runoff` and `ahead`."""
    rain, said = torch.ones_like(flow), [runoff] if ahead is None else [runoff, ahead]
    priors, every = Estimators(SEPARATIONS, True, ahead is not None), torch.ones_like(seen)
    with torch.no_grad():
        values, there, features = priors(
            flow, seen, rain, every, torch.zeros_like(flow), every, apart(flow.shape[2]), said
        )
    assert features.shape[-1] == priors.features and values.shape[-1] == len(priors.names)
    return values, there


def swinging(*heights: float) -> torch.Tensor:
    """Runoff of one river a height, which goes up and down by so much: its standard deviation."""
    return torch.tensor([[(-1.0) ** day * height for height in heights] for day in range(12)])[None]


def test_runoff_is_corrected_by_the_rivers_own_error_of_other_days() -> None:
    runoff = swinging(1.0)
    seen = torch.zeros_like(runoff).bool()
    seen[0, 3] = True
    values, there = corrected(runoff + 0.5, seen, runoff)
    assert torch.equal(values[..., RUNOFF], runoff) and there[..., RUNOFF].all()
    for day, distance in ((4, 1), (2, 1), (9, 6)):
        expected = float(runoff[0, day, 0]) + 0.5 * math.exp(-(distance - 1) / 10)
        assert float(values[0, day, 0, RUNOFF_OWN]) == pytest.approx(expected, rel=1e-5)
    assert not there[0, 3, 0, RUNOFF_OWN], "a seen day does not look at itself"
    assert not there[..., RUNOFF_DONORS].any() and not there[..., RUNOFF_BOTH].any()


def test_the_error_of_a_neighbour_is_in_units_of_each_rivers_std_and_shrunk() -> None:
    runoff = swinging(3.0, 0.5)
    seen = torch.zeros_like(runoff).bool()
    seen[..., 1] = True
    flow = runoff.clone()
    flow[..., 1] += 0.25  # half of its swing
    values, there = corrected(torch.where(seen, flow, 99.0), seen, runoff)
    near = math.exp(-math.log1p(math.e))  # one distance, whose slope starts at softplus(1)
    share = near / (near + math.log1p(math.exp(-1.0)))
    expected = runoff[0, :, 0] + 3.0 * 0.5 * share
    assert torch.allclose(values[0, :, 0, RUNOFF_DONORS], expected, atol=1e-5)
    assert there[0, :, 0].T[[RUNOFF_OWN, RUNOFF_DONORS, RUNOFF_BOTH]].any(dim=1).tolist() == [False, True, False]


def test_what_neighbours_leave_open_is_carried_on_beside_their_error() -> None:
    runoff = swinging(1.0, 1.0)
    seen = torch.ones_like(runoff).bool()
    seen[0, 6:, 0] = False
    flow = runoff.clone()
    flow[..., 1] += 0.5
    flow[..., 0] += 2.0
    near = math.exp(-math.log1p(math.e))
    theirs = 0.5 * near / (near + math.log1p(math.exp(-1.0)))
    strength = 6 * 0.5**2  # of six days on which both are seen
    slope = 6 * 0.5 * (2.0 - theirs) / (strength + 0.3 * (strength / 2 + 1))  # the mean of two, of which one is itself
    alike = theirs + 0.5 * slope
    values, _ = corrected(flow, seen, runoff)
    for day, faded in ((6, 1.0), (9, math.exp(-0.3))):
        assert float(values[0, day, 0, RUNOFF_ALIKE]) == pytest.approx(float(runoff[0, day, 0]) + alike, rel=1e-5)
        expected = float(runoff[0, day, 0]) + alike + (2.0 - alike) * faded
        assert float(values[0, day, 0, RUNOFF_BOTH]) == pytest.approx(expected, rel=1e-5)


def test_errors_that_go_together_are_regressed_on_each_other() -> None:
    """River 0 errs as twice river 1 does, not as river 2; river 3, hidden late in the gap, is guessed from the others."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 400, 2, generator=draw)
    runoff = torch.tensor([(-1.0) ** day for day in range(400)])[None, :, None].repeat(1, 1, 4)
    error = torch.stack([2 * noise[..., 0], noise[..., 0], noise[..., 1], noise[..., 0]], dim=-1)
    seen = torch.ones_like(error).bool()
    seen[:, 300:, 0] = seen[:, 350:, 3] = False
    values, there = corrected(torch.where(seen, runoff + error, 99.0), seen, runoff)
    truth = (runoff + error)[0, 300:, 0]
    wrong = {name: (values[0, 300:, 0, name] - truth).square().mean().sqrt() for name in (RUNOFF_DONORS, RUNOFF_ALIKE)}
    assert there[0, 300:, 0, RUNOFF_ALIKE].all() and wrong[RUNOFF_ALIKE] < 0.5 * wrong[RUNOFF_DONORS]
    alone = seen.clone()
    alone[..., 0] = False
    values, _ = corrected(torch.where(alone, runoff + error, 99.0), alone, runoff)
    assert torch.allclose(values[..., 0, RUNOFF_ALIKE], values[..., 0, RUNOFF_DONORS]), "nothing to regress"


def test_the_autoregressive_prediction_is_an_estimate() -> None:
    runoff, ahead = swinging(1.0), swinging(2.0)
    values, there = corrected(runoff, torch.zeros_like(runoff).bool(), runoff, ahead)
    assert torch.equal(values[..., AHEAD], ahead) and there[..., AHEAD].all()
