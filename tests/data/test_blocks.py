"""From blocks to a store: in order, two at a time, and scaled by what went by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.store.scaling import Scaling
from hydromae.store.streaming import prefetch, write_streamed
from hydromae.store.zarr_store import SHARD_DAYS, iter_blocks, open_store, scaling_of
from synthetic import country, rivers

GRID = GridSpec(rows=8, columns=6, patch=2)


def test_one_block_is_made_ahead_and_no_more() -> None:
    made: list[int] = []

    def blocks() -> Iterator[xr.Dataset]:
        for number in range(5):
            made.append(number)
            yield xr.Dataset({"number": number})

    for taken, block in enumerate(prefetch(blocks())):
        assert int(block["number"]) == taken and len(made) <= taken + 2
    assert made == [0, 1, 2, 3, 4]


def test_what_fails_while_a_block_is_made_fails_the_store_and_leaves_nothing(tmp_path: Path) -> None:
    record = country(days=2 * SHARD_DAYS)

    def blocks() -> Iterator[xr.Dataset]:
        yield record.isel(time=slice(0, SHARD_DAYS))
        raise InputError("maps.h5: cut short")

    with pytest.raises(InputError, match=r"maps\.h5: cut short"):
        write_streamed(record, blocks(), tmp_path / "s.zarr", [], ("2001-01-01", "2001-12-31"), GRID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "period", [("2001-01-01", "2005-12-31"), ("2002-03-05", "2002-03-20"), ("2003-05-01", "2099-01-01")]
)
def test_a_store_is_scaled_by_what_went_by_as_if_it_were_read_again(tmp_path: Path, period: tuple[str, str]) -> None:
    record = country(days=1900)  # three blocks: a training period may begin or end in any
    record["riverflow"] = record["riverflow"].where(np.random.default_rng(0).random(record["riverflow"].shape) < 0.7)
    write_streamed(record, iter_blocks(record), tmp_path / "s.zarr", [], period, GRID)
    stored = open_store(tmp_path / "s.zarr")
    fitted, own = Scaling.fit(stored, period), scaling_of(stored)
    assert set(own.variables) == set(fitted.variables)
    for name, by in fitted.variables.items():
        assert (own[name].mean, own[name].std) == pytest.approx((by.mean, by.std), rel=1e-12)
        assert own[name].transform == by.transform
    if period[0] == "2001-01-01":
        assert own == fitted, "the same blocks, so to the last bit"


def test_a_training_period_without_observations_is_refused_after_the_blocks_went_by(tmp_path: Path) -> None:
    record = rivers(days=400)
    record["riverflow"] = record["riverflow"].where(record["time"] > np.datetime64("2001-06-01"))
    with pytest.raises(InputError, match="no riverflow was observed in it"):
        write_streamed(record, iter_blocks(record), tmp_path / "s.zarr", [], ("2001-01-01", "2001-05-31"), GRID)
    assert list(tmp_path.iterdir()) == []
