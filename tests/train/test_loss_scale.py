"""The loss scale against sequences worked out by hand, and against DeepSpeed's own class step by step."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from hydromae.train.loss_scale import LossScale


def after(scale: LossScale, overflows: str) -> list[float]:
    """Values after each update; `x` is an overflow, `.` is none."""
    values = []
    for sign in overflows:
        scale.update(sign == "x")
        values.append(scale.value)
    return values


def test_the_start_is_the_seeds() -> None:
    scale = LossScale()
    assert (scale.value, scale.window, scale.hysteresis, scale.minimum, scale.factor) == (65536.0, 1000, 2, 1.0, 2.0)


def test_the_first_overflow_is_forgiven_and_the_second_halves() -> None:
    assert after(LossScale(), "xxx") == [65536.0, 32768.0, 16384.0]
    assert after(LossScale(hysteresis=1), "xx") == [32768.0, 16384.0]
    assert after(LossScale(hysteresis=3), "xxxx") == [65536.0, 65536.0, 32768.0, 16384.0]


def test_good_updates_alone_do_not_restore_the_patience() -> None:
    """The overflows need not follow each other: the second one halves, however many updates lie between."""
    assert after(LossScale(), "x" + 500 * "." + "x")[-1] == 32768.0


def test_it_doubles_after_a_window_and_then_after_every_further_one() -> None:
    scale = LossScale()
    assert after(scale, 1000 * ".")[-1] == 65536.0
    assert after(scale, ".") == [131072.0]  # the 1001st
    assert after(scale, 999 * ".")[-1] == 131072.0
    assert after(scale, ".") == [262144.0]  # the 2001st


def test_an_overflow_starts_the_window_again() -> None:
    scale = LossScale()
    values = after(scale, 700 * "." + "x" + 1000 * ".")
    assert set(values) == {65536.0}
    assert after(scale, ".") == [131072.0]


def test_a_rise_restores_the_patience() -> None:
    scale = LossScale(window=3)
    assert after(scale, "x....") == [65536.0, 65536.0, 65536.0, 65536.0, 131072.0]
    assert after(scale, "xx") == [131072.0, 65536.0], "the first overflow after a rise is forgiven again"


def test_it_never_falls_below_the_minimum() -> None:
    scale = LossScale()
    assert after(scale, 17 * "x")[-1] == 1.0  # one forgiven, then 16 halvings
    assert after(scale, 5 * "x") == 5 * [1.0]
    assert after(LossScale(value=5.0, minimum=2.0), "xxx") == [5.0, 2.5, 2.0]
    assert after(scale, 1001 * ".")[-1] == 2.0, "it comes back"


def test_a_restored_scale_goes_on_as_if_nothing_had_happened() -> None:
    draw = random.Random(0)
    signs = "".join(draw.choices(".x", (20, 1), k=600))
    whole, first, second = (LossScale(window=7) for _ in range(3))
    expected = after(whole, signs)
    found = after(first, signs[:271])
    second.restore(json.loads(json.dumps(first.state())))
    assert found + after(second, signs[271:]) == expected
    assert len(set(expected)) > 5


def deepspeeds(monkeypatch: pytest.MonkeyPatch, scale: LossScale) -> Any:
    """DeepSpeed's scaler with the numbers of ours, as if not the first of its processes."""
    theirs = pytest.importorskip("deepspeed.runtime.fp16.loss_scaler", reason="deepspeed is not installed")
    monkeypatch.setattr(theirs.dist, "get_rank", lambda: 1)  # rank 0 writes a line at every overflow
    return theirs.DynamicLossScaler(
        init_scale=scale.value,
        scale_window=scale.window,
        min_scale=scale.minimum,
        delayed_shift=scale.hysteresis,
        consecutive_hysteresis=False,
        raise_error_at_min_scale=False,
    )


@pytest.mark.parametrize(("window", "hysteresis", "share"), [(1000, 2, 4e-4), (1000, 2, 0.02), (50, 3, 0.02)])
def test_it_equals_deepspeeds_over_20000_updates(
    monkeypatch: pytest.MonkeyPatch, window: int, hysteresis: int, share: float
) -> None:
    ours, draw = LossScale(window=window, hysteresis=hysteresis), random.Random(1)
    theirs, seen = deepspeeds(monkeypatch, ours), set()
    for _ in range(20_000):
        overflow = draw.random() < share
        ours.update(overflow)
        theirs.update_scale(overflow)
        assert ours.value == theirs.cur_scale and ours.patience == theirs.cur_hysteresis
        seen.add(ours.value)
    assert len(seen) > 5
