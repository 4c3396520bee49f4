"""Who takes which windows, and that a window and its masks depend on its number alone."""

from __future__ import annotations

import pytest
import torch

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.distributed import ProcessGroup, is_launched
from hydromae.train.sampler import DistributedWindowSampler, MaskedBatches
from synthetic import GRID, SMALL_MAPS, country, scaling_of


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_processes_of_an_update_take_each_of_its_windows_once(size: int) -> None:
    """8 windows in batches of at most 2, in update 3: the numbers 24 to 31, however many processes share them."""
    taken = []
    for rank in range(size):
        share = DistributedWindowSampler.of(8, ProcessGroup(rank, size, torch.device("cpu")), 2)
        assert (share.windows_per_batch, share.batches) == (2, 4 // size)
        taken += [
            number for place in range(share.batches) for number in share.window_numbers(3 * share.batches + place)
        ]
    assert taken == list(range(24, 32))


def test_a_launched_process_is_recognised_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
    assert is_launched()
    monkeypatch.delenv("RANK")
    assert not is_launched()


def test_a_window_and_its_masks_are_the_same_alone_and_beside_others() -> None:
    config = SMALL_MAPS
    record = to_record_arrays(country(), config, scaling_of(country(), config), GRID)
    learn = windows(record, config, config.data.training_period, seed=3, augment=True, update=4)
    masked = MaskedBatches(learn, DistributedWindowSampler(4, 0, 1, 1), config)
    batch, hidden = masked.masked_windows(range(4))
    for number in range(4):
        alone, own = masked.masked_windows(range(number, number + 1))
        for name in config.model.modalities:
            assert torch.equal(own[name][0], hidden[name][number])
            assert torch.equal(alone.values[name][0], batch.values[name][number])
    assert not torch.equal(hidden["riverflow"][0], hidden["riverflow"][1])
