"""Windows: the record at (day, site), deterministic, and never a catchment that is held out."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
import torch

from hydromae.batching.antecedent import antecedent_features
from hydromae.batching.batch import Batch
from hydromae.batching.record_arrays import RecordArrays, to_record_arrays
from hydromae.batching.windows import KM_PER_DEGREE, augment_batch, cut_batch, windows
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.store.scaling import exclude_catchments
from hydromae.variables import ATTRIBUTES
from records import FIRST, GRID, SCALING, catchments, config_of, national

PERIOD = (FIRST, "2000-01-30")


def rivers(**data: object) -> tuple[RecordArrays, Config]:
    config = config_of("rivers", **{"catchments_per_window": 3, **data})
    return to_record_arrays(exclude_catchments(catchments(8, 40), config.data.held_out), config, SCALING), config


def base(**data: object) -> tuple[RecordArrays, Config]:
    config = config_of("base", **{"vector_patch_size": 2, **data})
    return to_record_arrays(national(5, 40), config, SCALING, GRID), config


def generators(batch: Batch) -> list[np.random.Generator]:
    """One a window."""
    return [np.random.default_rng([0, window]) for window in range(batch.size)]


def everything(batch: Batch) -> list[torch.Tensor]:
    series = batch.site_metadata["series"]
    return [
        *batch.values.values(),
        *batch.observed.values(),
        *(batch.dropped or {}).values(),
        batch.days,
        series.position,
        series.static_attributes,
        series.is_known,
    ]


def test_values_of_a_batch_are_the_record_at_start_and_site() -> None:
    record, _ = rivers()
    sites = np.array([[4, 0], [7, 7]])
    batch = cut_batch(record, np.array([3, 20]), 5, sites)
    for window, start in enumerate((3, 20)):
        assert batch.days[window].tolist() == [10957 + start + day for day in range(5)]  # 2000-01-01 is day 10957
        for place, site in enumerate(sites[window]):
            expected = [1000.0 * site + start + day for day in range(5)]
            assert batch.values["riverflow"][window, :, place, 0].tolist() == expected
            assert batch.values["weather"][window, 2, place].tolist() == [expected[2] + o for o in (0.25, 0.5, 0.75)]
            assert batch.variance["riverflow"][window, place, 0] == record.variance["riverflow"][site, 0]
            assert batch.site_metadata["series"].position[window, place, 0, 0] == 1.5 + 3 * site
            assert batch.site_metadata["series"].static_attributes[window, place, 0, 1] == 10 + site
    assert all(seen.all() for seen in batch.observed.values())


def test_maps_come_with_every_window() -> None:
    record, _ = base()
    batch = cut_batch(record, np.array([2, 9]), 4)
    assert batch.values["temperature"].dtype == torch.float32 and batch.values["temperature"].shape == (2, 4, 5, 16)
    expected = torch.from_numpy(record.values["temperature"][9:13].astype(np.float32))
    seen = batch.observed["temperature"][1]
    assert torch.equal(batch.values["temperature"][1][seen], expected[seen])
    assert batch.site_metadata["map"].position.shape == (2, 5, 1, 2) and batch.cells is record.cells


def test_days_beyond_the_record_are_unobserved() -> None:
    record, _ = rivers()
    batch = cut_batch(record, np.array([-2, 37]), 5)
    assert batch.observed["riverflow"][0, :, 0, 0].tolist() == [False, False, True, True, True]
    assert batch.observed["riverflow"][1, :, 0, 0].tolist() == [True, True, True, False, False]
    assert (batch.values["riverflow"][~batch.observed["riverflow"]] == 0).all()
    assert batch.days[0].tolist() == list(range(10955, 10960))


def test_a_window_brings_the_weather_before_it() -> None:
    config = config_of("rivers", catchments_per_window=3, sequence_length=10).having(
        model={"lstm_width": 4}, data={"antecedent_days": 15}
    )
    record = to_record_arrays(catchments(8, 40), config, SCALING)
    sites, weather = np.array([[4, 0], [7, 7]]), record.values["weather"]
    batch = cut_batch(record, np.array([3, 20]), 5, sites, [15, 4])
    assert batch.antecedent is not None
    for window, (start, days) in enumerate(((3, 15), (20, 4))):
        expected = antecedent_features(weather, start, days, sites[window])
        assert torch.equal(batch.antecedent[window], torch.from_numpy(expected)) and expected.any()
    assert cut_batch(record, np.array([3]), 5).antecedent is None
    cut = windows(record, config, PERIOD, seed=0, augment=False, update=1)
    assert [cut._draw_antecedent_days(np.random.default_rng(number)) for number in range(50)] == [15] * 50
    shorter = [replace(cut, augment=True)._draw_antecedent_days(np.random.default_rng(number)) for number in range(400)]
    assert 150 < shorter.count(15) < 290 and min(shorter) >= 0 and len(set(shorter)) > 10


def test_gaps_and_views_have_the_lengths_that_were_drawn() -> None:
    config = config_of("rivers", catchments_per_window=3, sequence_length=30).having(data={"max_flow_gap": 4})
    record = to_record_arrays(catchments(8, 40), config, SCALING)
    cut = windows(record, config, PERIOD, seed=0, augment=True, update=1)
    hidden = cut(range(20)).flow_dropout
    assert hidden is not None and hidden.shape == (20, 30, 3)
    assert torch.equal(torch.cat([cut(range(n, n + 1)).flow_dropout for n in range(20)]), hidden), (
        "each window has its own"
    )
    assert replace(cut, augment=False)(range(2)).flow_dropout is None
    lengths = {True: set(), False: set()}
    for line in hidden.transpose(1, 2).flatten(0, 1).tolist():
        runs = [(gone, len(list(days))) for gone, days in groupby(line)][1:-1]  # those at the edges may be cut
        for gone in (True, False):
            whole = {days for kind, days in runs if kind is gone}
            assert len(whole) <= 1, "a site's views and gaps keep their lengths"
            lengths[gone] |= whole
    assert lengths == {True: {1, 2, 3, 4}, False: set(range(1, 9))}


def test_nan_is_unobserved_and_stands_as_zero() -> None:
    dataset = catchments(2, 10)
    dataset["riverflow"][4, 1] = np.nan
    batch = cut_batch(to_record_arrays(dataset, config_of("rivers"), SCALING), np.array([0]), 10)
    assert (~batch.observed["riverflow"]).nonzero().tolist() == [[0, 4, 1, 0]]
    assert batch.values["riverflow"][0, 4, 1, 0] == 0


@pytest.mark.parametrize("build", [rivers, base])
def test_a_window_depends_on_seed_and_number_alone(build) -> None:
    record, config = build(attribute_dropout=0.3, position_jitter=2.0, variable_dropout=0.5)

    def fresh(seed: int, augment: bool = True):
        return windows(record, config, PERIOD, seed=seed, augment=augment, update=2)

    one = fresh(1)
    late = everything(one(range(10, 12)))
    everything(one(range(4, 6)))
    assert all(torch.equal(a, b) for a, b in zip(late, everything(fresh(1)(range(10, 12))), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(late, everything(fresh(2)(range(10, 12))), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(late, everything(one(range(12, 14))), strict=True))
    longer = everything(one(range(8, 13)))
    assert all(torch.equal(a, b[2:4]) for a, b in zip(late, longer, strict=True)), "whichever windows are beside it"


def test_an_epoch_sees_every_window_once() -> None:
    record, config = base()
    learn = windows(record, config, PERIOD, seed=0, augment=False, update=1)
    assert learn.epoch == 7  # starts 0, 4, … 24: a window of 6 days fits 30 days until day 24
    for epoch in (0, 1):
        starts = [int(day) - 10957 for day in learn(range(epoch * 7, epoch * 7 + 7)).days[:, 0]]
        assert sorted(starts) == [0, 4, 8, 12, 16, 20, 24]
    assert learn(range(7)).days[:, 0].tolist() != learn(range(7, 14)).days[:, 0].tolist()


def test_an_epoch_of_so_many_updates_goes_through_the_windows_again() -> None:
    record, config = base()
    config = config.having(train={"steps_per_epoch": 5})
    learn = windows(record, config, PERIOD, seed=0, augment=False, update=3)
    assert learn.epoch == 15  # 5 updates of 3 windows, of which there are 7
    starts = [int(day) - 10957 for day in learn(range(15)).days[:, 0]]
    assert starts[:7] == starts[7:14] and starts[14] == starts[0] and len(set(starts)) == 7


@pytest.mark.parametrize("build", [rivers, base])
def test_windows_stay_inside_their_period(build) -> None:
    record, config = build()
    learn = windows(record, config, ("2000-01-05", "2000-01-20"), seed=0, augment=False, update=4)
    for step in range(12):
        days = learn(range(4 * step, 4 * step + 4)).days - 10957
        assert int(days.min()) >= 4 and int(days.max()) <= 19


def test_a_window_of_rivers_is_a_neighbourhood() -> None:
    record, config = rivers(catchments_per_window=4)
    learn = windows(record, config, PERIOD, seed=0, augment=False, update=4)
    for step in range(10):
        flow = learn(range(4 * step, 4 * step + 4)).values["riverflow"]
        sites = (flow[:, 0, :, 0] // 1000).long()
        assert sites.shape == (4, 4) and all(len(set(window.tolist())) == 4 for window in sites)
        assert int((sites - sites[:, :1]).abs().max()) <= 5, "the nearest 6 of a line, the centre first"


def test_held_out_rivers_are_in_no_window() -> None:
    record, config = rivers(held_out=("c0", "c3"))
    learn = windows(record, config, PERIOD, seed=0, augment=True, update=4)
    seen = {
        int(v)
        for step in range(30)
        for v in (learn(range(4 * step, 4 * step + 4)).values["riverflow"][..., 0] // 1000).flatten()
    }
    assert seen == {1, 2, 4, 5, 6, 7}


def test_held_out_catchments_leave_a_record_with_maps() -> None:
    """Neither value, trait, position nor footprint of a held-out catchment is left; the maps and the others stay."""
    config = config_of("base", vector_patch_size=2)
    whole = national(5, 40)
    record = to_record_arrays(exclude_catchments(whole, ("c0", "c4")), config, SCALING, GRID)
    assert record.catchments.tolist() == ["c1", "c2", "c3"] and record.cells is not None
    assert float(record.cells.weight.sum()) == pytest.approx(3)
    kept = to_record_arrays(whole.isel(catchment=[1, 2, 3]), config, SCALING, GRID)
    for one, two in zip(
        everything(cut_batch(record, np.array([3]), 6)), everything(cut_batch(kept, np.array([3]), 6)), strict=True
    ):
        assert torch.equal(one, two)


def test_unknown_held_out_catchment_is_refused() -> None:
    with pytest.raises(InputError, match="no catchment 'nowhere'"):
        exclude_catchments(catchments(3, 4), ("c1", "nowhere"))
    with pytest.raises(InputError, match="all 3 catchments"):
        exclude_catchments(catchments(3, 4), ("c0", "c1", "c2"))


@pytest.mark.parametrize("period", [("1990-01-01", "1991-01-01"), ("2020-01-01", "2021-01-01"), (FIRST, "2000-01-05")])
def test_a_period_without_a_window_is_refused(period: tuple[str, str]) -> None:
    record, config = rivers()
    with pytest.raises(InputError, match="fewer than sequence_length 6"):
        windows(record, config, period, seed=0, augment=False, update=1)


def test_attribute_dropout_keeps_latitude_longitude_and_area() -> None:
    record, config = rivers(attribute_dropout=0.4)
    batch = cut_batch(record, np.zeros(200, dtype=np.int64), 3)
    known = augment_batch(batch, config.data, (1.0, 1.0), generators(batch)).site_metadata["series"].is_known[:, :, 0]
    kept = torch.tensor([a.name in ("latitude", "longitude", "catchment-area") for a in ATTRIBUTES])
    assert known[..., kept].all()
    bare = ~known[..., ~kept].any(dim=-1)
    assert float(bare.float().mean()) == pytest.approx(0.4, abs=0.05)
    single = (~known[..., ~kept])[~bare].float().mean()
    assert float(single) == pytest.approx(0.2, abs=0.03), "of the others, half as many lose single traits"


def test_jitter_moves_position_and_degrees_together() -> None:
    record, config = rivers(position_jitter=3.0)
    batch = cut_batch(record, np.zeros(50, dtype=np.int64), 3)
    moved = augment_batch(batch, config.data, (2.0, 4.0), generators(batch))
    shift = (moved.site_metadata["series"].position - batch.site_metadata["series"].position)[:, :, 0]
    traits = (moved.site_metadata["series"].static_attributes - batch.site_metadata["series"].static_attributes)[
        :, :, 0
    ]
    assert 2.9 < float(shift.abs().max()) <= 3.0001
    assert torch.allclose(traits[..., 0] * 2.0 * KM_PER_DEGREE, shift[..., 1], atol=2e-2)
    assert torch.allclose(traits[..., 1] * 4.0 * KM_PER_DEGREE * 0.6, shift[..., 0], atol=2e-2)
    assert not traits[..., 2:].any() and torch.equal(batch.values["riverflow"], moved.values["riverflow"])


def test_variable_dropout_hides_one_variable_of_a_shared_modality() -> None:
    record, config = rivers(variable_dropout=0.5)
    batch = cut_batch(record, np.zeros(200, dtype=np.int64), 3)
    augmented = augment_batch(batch, config.data, (1.0, 1.0), generators(batch))
    assert all(torch.equal(augmented.observed[name], batch.observed[name]) for name in batch.values), "still observed"
    seen = {name: augmented.available(name) for name in batch.values}
    assert seen["riverflow"].all()
    lost = ~seen["weather"].flatten(1, 2).any(dim=1)
    assert torch.equal(~seen["weather"], lost[:, None, None].expand_as(seen["weather"])), "everywhere and always"
    assert set(lost.sum(dim=1).tolist()) == {0, 1}
    assert float(lost.any(dim=1).float().mean()) == pytest.approx(0.5, abs=0.12) and (lost.sum(dim=0) > 15).all()


def test_variable_dropout_leaves_groups_of_one_variable() -> None:
    record, config = base(variable_dropout=1.0)
    batch = cut_batch(record, np.zeros(20, dtype=np.int64), 3)
    augmented = augment_batch(batch, config.data, (1.0, 1.0), generators(batch))
    assert all(torch.equal(augmented.available(name), batch.observed[name]) for name in batch.values)


def test_nothing_drops_out_unless_asked() -> None:
    record, config = rivers()
    batch = cut_batch(record, np.zeros(4, dtype=np.int64), 3)
    same = augment_batch(batch, config.data, (1.0, 1.0), generators(batch))
    assert all(torch.equal(a, b) for a, b in zip(everything(batch), everything(same), strict=True))


def test_a_window_of_maps_has_the_nearest_patches() -> None:
    """Those around its centre, with their own values and positions; a window without a limit has all of them."""
    config = config_of("national", catchments_per_window=3, patches_per_window=2, antecedent_days=0)
    config = config.having(model={"lstm_width": 0, "lstm_ar_width": 0}, data={"max_flow_gap": 0})
    record = to_record_arrays(national(5, 40), config, SCALING, GRID)
    drawn = windows(record, config, PERIOD, seed=0, augment=False, update=1)
    centres = record.site_metadata["map"].position[0, :, 0]
    for number in range(6):
        batch = drawn(range(number, number + 1))
        place, first = batch.site_metadata["map"].position[0, :, 0], batch.site_metadata["series"].position[0, 0, 0]
        distance = (centres - first).square().sum(dim=-1)
        nearest = distance.argsort(stable=True)[:2]
        assert torch.equal(place, centres[nearest])
        day = int(batch.days[0, 0] - record.days[0])
        for name in ("precipitation", "soil_moisture", "temperature"):
            taken = torch.from_numpy(record.values[name][day : day + 6, nearest.numpy()]).float()
            assert torch.equal(batch.values[name][0], taken)
    whole = config.having(data={"catchments_per_window": None, "patches_per_window": None})
    everything_there = windows(record, whole, PERIOD, seed=0, augment=False, update=1)(range(1))
    assert everything_there.values["precipitation"].shape[2] == len(record.patches) == 5
