"""The memories: runoff that sees no flow, and ahead that sees no flow of the days it answers."""

from __future__ import annotations

import pytest
import torch

from hydromae.model.mae import HydroMAE
from hydromae.model.rainfall_runoff import LSTMPrediction, RainfallRunoff
from samples import small
from synthetic import rivers, scaling_of

SIZE, DAYS, SITES = 2, 40, 3


def told(
    runoff: RainfallRunoff,
    flow: torch.Tensor,
    seen: torch.Tensor,
    weather: torch.Tensor | None = None,
    gaps: torch.Tensor | None = None,
    observed: torch.Tensor | None = None,
    before: torch.Tensor | None = None,
) -> list[LSTMPrediction]:
    draw = torch.Generator().manual_seed(1)
    rain = torch.randn(SIZE, DAYS, SITES, 3, generator=draw) if weather is None else weather
    sites, drawn = torch.randn(SIZE, SITES, 8, generator=draw), torch.randn(SIZE, SITES, 5, generator=draw)
    before = drawn if before is None else before
    days = torch.arange(DAYS).expand(SIZE, DAYS)
    with torch.no_grad():
        known = torch.ones_like(rain, dtype=torch.bool) if observed is None else observed
        return runoff(rain, known, flow, seen, days, sites, before, gaps)


def made(ahead: int = 6, dropout: float = 0.0) -> RainfallRunoff:
    torch.manual_seed(0)
    return RainfallRunoff(7, ahead, 8, 3, 5, dropout)


def flows() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    return torch.randn(SIZE, DAYS, SITES, generator=draw), torch.ones(SIZE, DAYS, SITES, dtype=torch.bool)


def test_runoff_sees_no_flow_and_no_later_weather() -> None:
    runoff, (flow, seen) = made(0).eval(), flows()
    first = told(runoff, flow, seen)[0]
    assert torch.equal(first.mean, told(runoff, -flow, ~seen)[0].mean)
    assert first.is_target.all() and first.mean.shape == (SIZE, DAYS, SITES)
    weather = torch.randn(SIZE, DAYS, SITES, 3, generator=torch.Generator().manual_seed(3))
    other = weather.clone()
    other[:, 20:] += 1.0
    before, after = told(runoff, flow, seen, weather)[0].mean, told(runoff, flow, seen, other)[0].mean
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])


def test_the_autoregressive_lstm_uses_visible_flow_up_to_the_day() -> None:
    runoff, (flow, seen) = made().eval(), flows()
    seen[:, 25:] = False
    ahead = told(runoff, torch.where(seen, flow, 0.0), seen)[1]
    assert torch.equal(ahead.is_target, ~seen)
    changed = torch.where(seen, flow, 0.0)
    changed[0, 24, 1] += 1.0
    other = told(runoff, changed, seen)[1].mean
    where = (other != ahead.mean).nonzero()
    assert set(where[:, 0].tolist()) == {0} and set(where[:, 2].tolist()) == {1}, "a memory keeps to its river"
    assert int(where[:, 1].min()) == 24 and int(where[:, 1].max()) >= 30


def test_days_of_gaps_are_targets_of_the_autoregressive_lstm_and_no_inputs() -> None:
    runoff, (flow, seen) = made(), flows()
    gaps = torch.rand(flow.shape, generator=torch.Generator().manual_seed(4)) < 0.4
    seen[:, :9] = False
    first = told(runoff, torch.where(seen, flow, 0.0), seen, gaps=gaps)[1]
    assert torch.equal(first.is_target, ~seen | gaps)
    spoilt = told(runoff, torch.where(seen, torch.where(gaps, 1e6, flow), 0.0), seen, gaps=gaps)[1]
    assert torch.equal(first.mean, spoilt.mean)


def read_states(
    runoff: RainfallRunoff, flow: torch.Tensor, seen: torch.Tensor
) -> tuple[list[LSTMPrediction], list[torch.Tensor]]:
    """What is told, and the states of each memory that its mean is read off."""
    states: list[torch.Tensor] = []
    assert runoff.autoregressive is not None
    for memory in (runoff.simulation, runoff.autoregressive):
        memory.mean.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    return told(runoff, flow, seen), states


def test_dropout_is_of_the_states_in_training() -> None:
    plain, dropping, (flow, seen) = made(), made(dropout=0.5), flows()
    whole, whole_states = read_states(plain.train(), flow, seen)
    dropped, states = read_states(dropping.train(), flow, seen)
    assert len(states) == 2
    for memory, partly, left in zip(whole, dropped, states, strict=True):
        gone = (left == 0).float().mean()
        assert 0.4 < float(gone) < 0.6 and not torch.equal(partly.mean, memory.mean)
    kept = states[0]
    assert torch.allclose(kept[kept != 0], 2 * whole_states[0][kept != 0], atol=1e-6)
    for memory, same in zip(whole, told(dropping.eval(), flow, seen), strict=True):
        assert torch.equal(memory.mean, same.mean)


def test_members_are_averaged() -> None:
    """The simulation is the mean of the members, and the autoregressive LSTM corrects the mean."""
    torch.manual_seed(0)
    runoff, (flow, seen) = RainfallRunoff(7, 6, 8, 3, 5, members=3).eval(), flows()
    whole = told(runoff, flow, seen)
    alone = []
    for member in (runoff.simulation, *runoff.more_simulations):
        one = RainfallRunoff(7, 6, 8, 3, 5).eval()
        one.simulation, one.autoregressive = member, runoff.autoregressive
        alone.append(told(one, flow, seen)[0].mean)
    assert len(alone) == 3 and not torch.equal(alone[0], alone[1])
    torch.testing.assert_close(whole[0].mean, torch.stack(alone).mean(dim=0))
    assert not torch.equal(whole[1].mean, whole[0].mean)


def test_warmth_is_not_read_where_evaporation_is_known() -> None:
    """The limit is 0.5 in scaled units; evaporation is unknown from day 20 on."""
    torch.manual_seed(0)
    runoff, (flow, seen) = RainfallRunoff(7, 6, 8, 3, 36, has_limit=True).eval(), flows()
    before = torch.zeros(SIZE, SITES, 36)
    runoff.max_temperature.fill_(0.5)
    weather = torch.zeros(SIZE, DAYS, SITES, 3)
    weather[..., 1] = 0.6
    warmer, colder = weather.clone(), weather.clone()
    warmer[..., 1], colder[..., 1] = 2.0, 0.4
    known = torch.ones_like(weather, dtype=torch.bool)
    known[:, 20:, :, 2] = False
    plain, warm, cold = (told(runoff, flow, seen, part, None, known, before) for part in (weather, warmer, colder))
    for before, same, other in zip(plain, warm, cold, strict=True):
        assert torch.equal(before.mean[:, :20], same.mean[:, :20]) and not torch.equal(before.mean, other.mean)
        assert not torch.equal(before.mean[:, 20], same.mean[:, 20]), "without evaporation, temperature stands for it"


def test_antecedent_temperature_is_not_read_where_evaporation_is_known() -> None:
    """Two windows with all features 1; evaporation was never known before the second one."""
    torch.manual_seed(0)
    limited, plain = RainfallRunoff(7, 6, 8, 3, 36, has_limit=True).eval(), RainfallRunoff(7, 6, 8, 3, 36).eval()
    flow, seen = flows()
    antecedent = torch.ones(SIZE, SITES, 4, 3, 3)
    antecedent[1, :, :, 2, 2] = 0.0
    warmer, wetter = antecedent.clone(), antecedent.clone()
    warmer[..., :2, 1] += 1.0
    wetter[..., :2, 0] += 1.0
    for runoff, is_read in ((limited, [False, True]), (plain, [True, True])):
        first, warm, wet = (
            told(runoff, flow, seen, before=part.flatten(-3))[0].mean for part in (antecedent, warmer, wetter)
        )
        assert [not torch.equal(one, other) for one, other in zip(first, warm, strict=True)] == is_read
        assert not torch.equal(first[0], wet[0])
    assert float(antecedent.min()) == 0.0 and float(antecedent.max()) == 1.0, "the batch is not changed"


def test_the_limit_is_that_of_the_configuration_in_scaled_units() -> None:
    config = small("rivers", lstm_max_temperature=5.0)
    scaling = scaling_of(rivers(), config)
    model = HydroMAE(config).set_scaling(scaling)
    assert model.rainfall_runoff is not None
    limit = float(model.rainfall_runoff.max_temperature)
    assert limit * scaling["temperature"].std + scaling["temperature"].mean == pytest.approx(5.0, abs=1e-4)
    assert "rainfall_runoff.max_temperature" not in HydroMAE(small("rivers", lstm_max_temperature=None)).state_dict()
