"""The memories: runoff that sees no flow, and ahead that sees no flow of the days it answers."""

from __future__ import annotations

import torch

from hydromae.model.runoff import LONGEST_GAP, LONGEST_VIEW, Runoff, Told, gaps

SIZE, DAYS, SITES = 2, 40, 3


def told(runoff: Runoff, flow: torch.Tensor, seen: torch.Tensor, weather: torch.Tensor | None = None) -> list[Told]:
    draw = torch.Generator().manual_seed(1)
    rain = torch.randn(SIZE, DAYS, SITES, 3, generator=draw) if weather is None else weather
    sites, before = torch.randn(SIZE, SITES, 8, generator=draw), torch.randn(SIZE, SITES, 5, generator=draw)
    days = torch.arange(DAYS).expand(SIZE, DAYS)
    with torch.no_grad():
        return runoff(rain, torch.ones_like(rain, dtype=torch.bool), flow, seen, days, sites, before)


def made(ahead: int = 6) -> Runoff:
    torch.manual_seed(0)
    return Runoff(7, ahead, 8, 3, 5)


def flows() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    return torch.randn(SIZE, DAYS, SITES, generator=draw), torch.ones(SIZE, DAYS, SITES, dtype=torch.bool)


def test_runoff_sees_no_flow_and_no_later_weather() -> None:
    runoff, (flow, seen) = made(0).eval(), flows()
    first = told(runoff, flow, seen)[0]
    assert torch.equal(first.mean, told(runoff, -flow, ~seen)[0].mean)
    assert first.asked.all() and first.states.shape == (SIZE, DAYS, SITES, 7)
    weather = torch.randn(SIZE, DAYS, SITES, 3, generator=torch.Generator().manual_seed(3))
    other = weather.clone()
    other[:, 20:] += 1.0
    before, after = told(runoff, flow, seen, weather)[0].mean, told(runoff, flow, seen, other)[0].mean
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])


def test_ahead_sees_flow_up_to_the_day_and_only_where_it_is_shown() -> None:
    runoff, (flow, seen) = made().eval(), flows()
    seen[:, 25:] = False
    ahead = told(runoff, torch.where(seen, flow, 0.0), seen)[1]
    assert torch.equal(ahead.asked, ~seen)
    changed = torch.where(seen, flow, 0.0)
    changed[0, 24, 1] += 1.0
    other = told(runoff, changed, seen)[1].mean
    where = (other != ahead.mean).nonzero()
    assert set(where[:, 0].tolist()) == {0} and set(where[:, 2].tolist()) == {1}, "a memory keeps to its river"
    assert int(where[:, 1].min()) == 24 and int(where[:, 1].max()) >= 30


def test_in_training_ahead_is_asked_on_days_of_gaps_and_never_sees_them() -> None:
    runoff, (flow, seen) = made().train(), flows()
    torch.manual_seed(5)
    first = told(runoff, flow, seen)[1]
    assert 0.1 < float(first.asked.float().mean()) < 0.9
    torch.manual_seed(5)
    spoilt = told(runoff, torch.where(first.asked, 1e6, flow), seen)[1]
    assert torch.equal(first.asked, spoilt.asked) and torch.equal(first.mean, spoilt.mean)


def test_gaps_and_views_have_the_lengths_that_were_drawn() -> None:
    torch.manual_seed(0)
    hidden = gaps(torch.ones(40, 400, 5, dtype=torch.bool))
    change = (hidden[:, 1:] != hidden[:, :-1]).nonzero()
    for window, site in ((0, 0), (3, 4), (39, 2)):
        days = change[(change[:, 0] == window) & (change[:, 2] == site)][:, 1] + 1
        runs = {bool(hidden[window, day, site]): set() for day in days.tolist()}
        for first, last in zip(days[:-1].tolist(), days[1:].tolist(), strict=True):
            runs[bool(hidden[window, first, site])].add(last - first)
        assert len(runs[True]) == len(runs[False]) == 1, "a site's views and gaps keep their lengths"
        assert max(runs[True]) <= LONGEST_GAP and max(runs[False]) <= LONGEST_VIEW
    share = hidden.float().mean(dim=1)
    assert float(share.std()) > 0.1 and 0.2 < float(share.mean()) < 0.5
