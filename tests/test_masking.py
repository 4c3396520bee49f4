"""Masks: which questions are asked, in exact numbers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from hydromae.batching import masking
from hydromae.batching.masking import MASKS, Hidden, draw, draw_each, targets, visible
from hydromae.config import Config, MaskConfig
from hydromae.errors import InputError
from samples import NAMES, NATIONAL, sample, small

SETTINGS = MaskConfig()
FLOW = MaskConfig(target_modalities=("riverflow",))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def runs(hidden: torch.Tensor) -> list[tuple[int, int]]:
    """First day and length of every run of True in Bool[T]."""
    edges = torch.diff(torch.cat([torch.zeros(1), hidden.float(), torch.zeros(1)]))
    first, last = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    return list(zip(first.tolist(), (last - first).tolist(), strict=True))


def suffix_start(hidden: torch.Tensor) -> int:
    """First hidden day of Bool[T], which must be hidden from there to its end and nowhere else."""
    start = int(hidden.float().argmax())
    assert hidden[start:].all() and not hidden[:start].any()
    return start


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("kind", MASKS)
def test_the_same_generator_state_gives_the_same_masks(preset: str, kind: str) -> None:
    batch, settings = sample(preset, size=9, days=40), replace(small(preset).masks, kind=kind, target_modalities=())
    one, same, other = (draw(batch, settings, generator(seed)) for seed in (3, 3, 4))
    assert set(one) == set(batch.values)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for name, hidden in one.items():
        assert hidden.dtype == torch.bool and hidden.shape == batch.values[name].shape[:3]


def test_visible_and_targets_of_one_token_by_hand() -> None:
    batch = sample("rivers", size=1, days=2, sites=1)
    batch = replace(
        batch, observed={"weather": torch.ones(1, 2, 1, 3).bool(), "riverflow": torch.ones(1, 2, 1, 1).bool()}
    )
    batch.observed["weather"][0, :, 0, 1] = False
    hidden = {"weather": torch.tensor([True, False]).view(1, 2, 1), "riverflow": torch.zeros(1, 2, 1).bool()}
    assert visible(batch, hidden)["weather"][0, :, 0].tolist() == [[False, False, False], [True, False, True]]
    assert targets(batch, hidden)["weather"][0, :, 0].tolist() == [[True, False, True], [False, False, False]]
    assert not targets(batch, hidden)["riverflow"].any() and visible(batch, hidden)["riverflow"].all()


@pytest.mark.parametrize("kind", ["random", "unified"])
def test_a_day_of_a_map_and_a_group_of_catchments_hide_exactly_their_ratio(kind: str) -> None:
    """The specification's numbers: 38 of the 94 land patches of every day, 12 of the 30 days of each of the 76 groups."""
    hidden = draw(sample("base", size=2, days=30, sites=76, patches=94), replace(SETTINGS, kind=kind), generator())
    for name in NATIONAL:
        axis, count = (2, 38) if name in NATIONAL[:3] else (1, 12)  # round(37.6) of [B, T, S], 0.4 x 30
        assert set(hidden[name].sum(dim=axis).flatten().tolist()) == {count}, name
        other = 3 - axis
        assert len(set(hidden[name].sum(dim=other).flatten().tolist())) > 3, "nothing is exact across days or sites"


@pytest.mark.parametrize(
    ("ratio", "patches", "days"), [(0.0, 0, 0), (0.25, 1, 2), (0.5, 2, 5), (0.95, 5, 10), (1.0, 5, 10)]
)
def test_a_count_is_the_rounded_share_of_the_patches_and_of_the_days(ratio: float, patches: int, days: int) -> None:
    settings = MaskConfig(map_ratio=ratio, series_ratio=ratio)
    hidden = draw(sample("base", size=3, days=10, sites=4, patches=5), settings, generator())
    assert set(hidden["temperature"].sum(dim=2).flatten().tolist()) == {patches}  # 0.5 x 5 rounds to 2: half to even
    assert set(hidden["riverflow"].sum(dim=1).flatten().tolist()) == {days}  # so does 0.25 x 10


def test_a_ratio_that_hides_no_day_of_a_window_is_refused() -> None:
    with pytest.raises(InputError, match=r"masks\.series_ratio 0\.01 of data\.sequence_length 30 hides no day"):
        Config().having(masks={"series_ratio": 0.01})
    Config().having(masks={"series_ratio": 0.01, "kind": "tube"})
    Config().having(masks={"series_ratio": 0.0})


def test_random_hides_exactly_the_ratio_in_every_window_and_differs_between_modalities() -> None:
    """Each kind has its own ratio; every modality, window, day and group is drawn by itself."""
    batch = sample("base", size=2, days=30, sites=8, patches=20)
    hidden = draw(batch, MaskConfig(map_ratio=0.4, series_ratio=0.3), generator())
    assert {int(count) for name in NATIONAL[:3] for count in hidden[name].sum(dim=2).flatten()} == {8}
    assert {int(count) for name in NATIONAL[3:] for count in hidden[name].sum(dim=1).flatten()} == {9}
    for one, other in itertools.combinations(NATIONAL[:3], 2):
        assert not torch.equal(hidden[one], hidden[other])
    assert not torch.equal(hidden["evaporation"], hidden["riverflow"])
    assert not torch.equal(hidden["riverflow"][0], hidden["riverflow"][1])
    assert len({tuple(day.tolist()) for day in hidden["temperature"][0]}) == 30
    assert len({tuple(days.tolist()) for days in hidden["riverflow"][0].T}) == 8


def test_every_patch_and_every_day_is_hidden_as_often_as_any_other() -> None:
    """Of 600 windows, each (day, patch) and (day, group) in 0.4, within four standard errors (0.08)."""
    hidden = draw(sample("base", size=600, days=5, sites=4, patches=5), SETTINGS, generator())
    for name in ("temperature", "riverflow"):
        assert float((hidden[name].float().mean(dim=0) - 0.4).abs().max()) < 0.08


def test_unified_is_the_same_across_a_kind() -> None:
    hidden = draw(sample("base", days=10), replace(SETTINGS, kind="unified"), generator())
    assert torch.equal(hidden["precipitation"], hidden["soil_moisture"])
    assert torch.equal(hidden["precipitation"], hidden["temperature"])
    assert torch.equal(hidden["evaporation"], hidden["riverflow"])
    assert not torch.equal(hidden["riverflow"][0], hidden["riverflow"][1])


def test_tube_hides_whole_windows_of_the_ratio_of_sites() -> None:
    hidden = draw(sample("base", days=7, sites=5, patches=10), replace(SETTINGS, kind="tube"), generator())
    for held, sites in ((hidden["temperature"], 4), (hidden["riverflow"], 2)):
        assert (held == held[:, :1]).all() and held[:, 0].sum(dim=1).tolist() == [sites, sites]


def test_gap_hides_runs_within_its_settings_of_the_target_modality_only() -> None:
    batch = sample("rivers", size=40, days=59, sites=6)  # shorter than 60 days: one run at most
    hidden = draw(batch, replace(FLOW, kind="gap", gap_days=(4, 9)), generator())
    assert not hidden["weather"].any()
    found = [run for window in hidden["riverflow"] for site in window.T for run in runs(site)]
    inner = [length for first, length in found if first > 0 and first + length < 59]
    assert min(inner) == 4 and max(inner) == 9 and all(length <= 9 for _, length in found)
    share = hidden["riverflow"].any(dim=1).float().mean(dim=1)
    full = share == 1
    assert 2 <= int(full.sum()) <= 16  # every site in a fifth of the 40 windows
    assert 0.2 < float(share[~full].mean()) < 0.47  # a third of the sites in the others


def test_an_outage_hides_the_same_runs_of_every_modality_of_a_kind() -> None:
    settings = replace(FLOW, kind="outage", gap_days=(4, 9))
    hidden = draw(sample("rivers", size=40, days=59, sites=6), settings, generator())
    assert torch.equal(hidden["weather"], hidden["riverflow"])
    assert torch.equal(
        hidden["riverflow"],
        draw(sample("rivers", size=40, days=59, sites=6), replace(settings, kind="gap"), generator())["riverflow"],
    )
    national = draw(sample("base", size=9, days=40), settings, generator())
    assert torch.equal(national["precipitation"], national["temperature"]) and national["precipitation"].any()
    assert torch.equal(national["evaporation"], national["riverflow"]) and national["riverflow"].any()


@pytest.mark.parametrize("kind", ["forecast", "forecast-blind"])
def test_forecast_and_forecast_blind_hide_what_comes_after_a_day(kind: str) -> None:
    batch = sample("rivers", size=200, days=40, sites=2)
    hidden = draw(batch, replace(FLOW, kind=kind, lead_days=5), generator())
    flow = hidden["riverflow"]
    assert (flow == flow[:, :, :1]).all()
    assert torch.equal(hidden["weather"], flow) if kind == "forecast-blind" else not hidden["weather"].any()
    starts = torch.tensor([suffix_start(window[:, 0]) for window in flow])
    assert int(starts.min()) >= 11 and int(starts.max()) == 39  # never before a quarter; at least one day hidden
    near = float((starts >= 35).float().mean())  # half of them, and 4 in 29 of the others
    assert 0.45 < near < 0.7


def test_lead_days_may_exceed_the_window() -> None:
    hidden = draw(sample("rivers", size=20, days=3), replace(FLOW, kind="forecast", lead_days=100), generator())
    assert all(suffix_start(window[:, 0]) in (1, 2) for window in hidden["riverflow"])


def test_ungauged_hides_whole_windows_of_the_target_modality_only() -> None:
    hidden = draw(sample("rivers", size=50, days=6, sites=40), replace(FLOW, kind="ungauged"), generator())
    assert not hidden["weather"].any()
    assert (hidden["riverflow"] == hidden["riverflow"][:, :1]).all()
    share = hidden["riverflow"][:, 0].float().mean(dim=1)
    assert 0.25 < float(share.mean()) < 0.35 and float(share.max()) < 0.8 and float(share.std()) > 0.08


def test_simulate_hides_one_target_modality_entirely() -> None:
    batch = sample("base", size=60)
    answered = ("evaporation", "riverflow")
    hidden = draw(batch, MaskConfig(kind="simulate", target_modalities=answered), generator())
    gone = torch.stack([hidden[name].flatten(1).all(dim=1) for name in NATIONAL])
    some = torch.stack([hidden[name].flatten(1).any(dim=1) for name in NATIONAL])
    assert torch.equal(gone, some) and not gone[:3].any() and (gone.sum(dim=0) == 1).all()
    assert 15 < int(gone[3].sum()) < 45


def test_without_target_modalities_every_modality_is_hidden() -> None:
    hidden = draw(sample("base", size=60), MaskConfig(kind="simulate"), generator())
    assert all(hidden[name].any() for name in NATIONAL)


def kind_of(hidden: Hidden, window: int) -> str:
    flow, weather = hidden["riverflow"][window], hidden["weather"][window]
    if weather.any():
        return "forecast-blind"
    return "simulate" if flow.all() else "ungauged" if (flow == flow[:1]).all() else "forecast"


def test_mixture_draws_for_every_window_by_weight() -> None:
    batch = sample("rivers", size=400, days=12, sites=8)
    mixture = (("simulate", 0.5), ("forecast-blind", 0.2), ("forecast", 0.3), ("ungauged", 0.0))
    hidden = draw(batch, replace(FLOW, kind="mixture", mixture=mixture), generator())
    drawn = [kind_of(hidden, window) for window in range(400)]
    share = {name: drawn.count(name) / 400 for name, _ in mixture}
    assert all(abs(share[name] - weight) < 0.07 for name, weight in mixture) and share["ungauged"] == 0
    following = sum(a == b for a, b in itertools.pairwise(drawn)) / 399
    assert abs(following - (0.5**2 + 0.2**2 + 0.3**2)) < 0.08  # as often as two independent draws agree


def test_a_window_of_a_mixture_is_whole() -> None:
    """Each window follows one mask, not a patchwork of several."""
    batch = sample("rivers", size=30, days=12, sites=5)
    settings = replace(FLOW, kind="mixture", mixture=(("forecast", 1.0), ("forecast-blind", 1.0)))
    hidden = draw(batch, settings, generator())
    for window in range(30):
        start = suffix_start(hidden["riverflow"][window, :, 0])
        if hidden["weather"][window].any():
            assert suffix_start(hidden["weather"][window, :, 0]) == start


@pytest.mark.parametrize("mixture", [(("mixture", 1.0),), (("hole", 1.0),), (("gap", -1.0),), (("gap", 0.0),), ()])
def test_a_mixture_that_cannot_be_drawn_is_refused(mixture: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(InputError, match=r"masks\.mixture"):
        Config().having(masks={"mixture": mixture})


def test_every_mask_is_a_kind_that_the_config_takes() -> None:
    for kind in MASKS:
        assert Config().having(masks={"kind": kind}).masks.kind == kind


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.4, 0.999, 1.0])
def test_a_share_is_that_of_the_lowest_draws_the_first_of_equal_ones(ratio: float, axis: int) -> None:
    """As sorting all of them would choose; draws repeat, since there are 2^24 of them."""
    shape = (3, 40, 2000) if axis == 2 else (3, 2000, 40)
    hidden = masking._share(shape, ratio, axis, torch.Generator().manual_seed(5))
    drawn = torch.rand(3, 40, 2000, generator=torch.Generator().manual_seed(5))
    order = drawn.argsort(dim=2, stable=True)[..., : round(ratio * 2000)]
    expected = torch.zeros(3, 40, 2000, dtype=torch.bool).scatter_(2, order, True)
    assert torch.equal(hidden, expected if axis == 2 else expected.transpose(1, 2))


def test_equal_draws_at_the_edge_of_a_share_are_taken_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.tensor([[[0.5, 0.1, 0.5, 0.5, 0.9, 0.5], [0.2] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]])
    monkeypatch.setattr(masking, "_uniform", lambda shape, generator: drawn)
    expected = [[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert masking._share((1, 3, 6), 0.5, 2, torch.Generator())[0].int().tolist() == expected
    assert masking._share((1, 6, 3), 0.5, 1, torch.Generator())[0].T.int().tolist() == expected


def test_the_mask_of_a_window_depends_on_its_own_seed_alone() -> None:
    batch = sample("base", size=3, days=10, patches=5)
    together = draw_each(batch, SETTINGS, [7, 8, 9])
    for window, seed in enumerate((7, 8, 9)):
        alone = draw_each(batch.window(window), SETTINGS, [seed])
        assert all(torch.equal(held[window], alone[name][0]) for name, held in together.items())


def test_runs_are_the_days_between_their_ends() -> None:
    """Day by day, as the definition says: day >= first and day < last, of any run; also beyond the window's edges."""
    first = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(1)) * 50 - 10
    first[0, 0, 0], last = 12.0, first + torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(2)) * 9
    last[0, 0, 0] = 15.0  # ends that are whole days
    day = torch.arange(30)[:, None]
    expected = ((day >= first[:, :, None]) & (day < last[:, :, None])).any(dim=1)
    assert torch.equal(masking._runs(first, last, 30), expected)


def test_an_unknown_modality_is_named_before_its_weight_is_sought() -> None:
    with pytest.raises(
        InputError, match=r"modality 'rain' is not in the table \(precipitation, .*\); name one of them"
    ):
        small("base", streams=("rain", "riverflow"))


def test_one_whole_modality_is_hidden_whichever_it_is() -> None:
    batch = sample("national", size=64)
    hidden = MASKS["modality"](batch, small("national").masks, generator())
    whole = torch.stack([part.flatten(1).all(dim=1) for part in hidden.values()])
    some = torch.stack([part.flatten(1).any(dim=1) for part in hidden.values()])
    assert torch.equal(whole, some) and (whole.sum(dim=0) == 1).all() and whole.any(dim=1).all()
