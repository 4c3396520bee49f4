"""Knobs of the loop that have no test of their own elsewhere: how much a step reads, how often things happen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from hydromae.batching import windows as windows_module
from runs import RIVERS, STILL, run, watched


def test_batch_size_and_accumulation_set_the_windows_of_a_step(tmp_path):
    for name, size, batches in (("one", 3, 1), ("two", 2, 2)):
        config = STILL.having(train={"batch_size": size, "accumulation": batches, "epochs": 1})
        with watched() as seen:
            run(tmp_path / name, config)
        assert seen.learned == 4 * [batches * [size]]


def test_how_often_a_run_logs_validates_and_saves(tmp_path):
    often = {"steps_per_epoch": 4, "epochs": 3, "log_every": 3, "validate_every": 1, "checkpoint_every": 2}
    lines = run(tmp_path / "run", STILL.having(train=often))
    assert [line["step"] for line in lines] == [3, 4, 6, 8, 9, 12]
    assert [line["step"] for line in lines if line["validation_loss"] is not None] == [4, 8, 12]
    saved = sorted(folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved == ["step-0000008", "step-0000012"]  # every 2 epochs, and the last step


def test_the_journal_counts_batches_of_a_process_and_not_updates(tmp_path):
    """Every 4 batches, 3 in an update: batches 4, 8, 12 ... are in updates 2, 3, 4, 6, 7, 8, and 5 holds none of them."""
    often = {"batch_size": 1, "accumulation": 3, "steps_per_epoch": 8, "epochs": 1, "log_every": 4}
    lines = run(tmp_path / "run", STILL.having(train=often | {"validation_windows": 1}))
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize("steps_per_epoch", [None, 2])
def test_validation_reads_every_window_of_its_period_once(tmp_path, monkeypatch, steps_per_epoch):
    """40 days from 2001-10-28 on, windows of 30 days every 3 days: 4 starts, whatever an epoch of training is."""
    starts, cut = [], windows_module.cut_batch

    def seen(record, chosen, *rest):
        starts.extend(int(record.days[0]) + chosen)
        return cut(record, chosen, *rest)

    monkeypatch.setattr(windows_module, "cut_batch", seen)
    data = {
        "validation_period": ("2001-10-28", "2001-12-06"),
        "sequence_length": 30,
        "stride": 3,
        "catchments_per_window": None,
    }
    config = STILL.having(
        data=data, train={"epochs": 1, "validation_windows": None, "steps_per_epoch": steps_per_epoch}
    )
    with watched() as read:
        run(tmp_path / "run", config)
    first = (np.datetime64("2001-10-28") - np.datetime64("1970-01-01")).astype(int)
    assert sorted(starts[-read.checked :]) == [first, first + 3, first + 6, first + 9]


def test_validation_reads_so_many_windows(tmp_path):
    checked, losses = [], []
    for count in (2, 6):
        with watched() as seen:
            lines = run(tmp_path / f"{count}", STILL.having(train={"epochs": 1, "validation_windows": count}))
        checked.append(seen.checked)
        losses.append(lines[-1]["validation_loss"])
    assert checked == [2, 6]
    assert losses[0] != losses[1]


def test_a_run_predicts_with_the_average_of_its_weights(tmp_path):
    for decay in (0.0, 0.15):
        with watched() as seen:
            run(tmp_path / f"{decay}", STILL.having(train={"epochs": 1, "ema_decay": decay}))
        expected = seen.weights[0]
        for update, weights in enumerate(seen.weights[1:]):
            share = min(decay, (1 + update) / (10 + update))
            expected = share * expected + (1 - share) * weights
        saved = load_file(tmp_path / f"{decay}" / "last" / "model.safetensors").values()
        found = [w for w in saved if w.shape == expected.shape and torch.allclose(w, expected, rtol=1e-5, atol=1e-7)]
        assert len(found) == 1
        assert torch.equal(found[0], seen.weights[-1]) == (decay == 0)


def later(first: str, last: str) -> xr.Dataset:
    """The rivers, with twice the flow from one day to another."""
    inside = (RIVERS["time"] >= np.datetime64(first)) & (RIVERS["time"] <= np.datetime64(last))
    return RIVERS.assign(riverflow=RIVERS["riverflow"] * xr.where(inside, 2.0, 1.0))


@pytest.mark.parametrize(
    ("first", "last", "learns", "checks"),
    [
        ("2001-03-01", "2001-08-01", True, True),
        ("2001-11-01", "2001-12-15", False, True),
        ("2001-12-26", "2002-02-04", False, False),
    ],
    ids=["of training", "of validation", "after both"],
)
def test_each_period_is_read_for_its_own_purpose(tmp_path, first, last, learns, checks):
    """Other flow inside a period: other weights, another validation loss, or neither."""
    periods = {"training_period": ("2001-01-01", "2001-10-27"), "validation_period": ("2001-10-28", "2001-12-25")}
    config = STILL.having(data=periods, train={"epochs": 1})
    ended = []
    for name, dataset in (("plain", RIVERS), ("changed", later(first, last))):
        with watched() as seen:
            lines = run(tmp_path / name, config, dataset)
        ended.append((seen.weights[-1], lines[-1]["validation_loss"]))
    (weights, loss), (other_weights, other_loss) = ended
    assert torch.equal(weights, other_weights) is not learns
    assert (loss == other_loss) is not checks
