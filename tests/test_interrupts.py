"""Ctrl+C and SIGTERM: a checkpoint at the end of the update, in every process, and the resumed run is the undisturbed one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import hydromae.train.updates as under_way
from hydromae.cli import Sweep, main, pretraining
from hydromae.errors import InputError, Interrupted
from hydromae.model.serialization import latest_checkpoint
from hydromae.store.zarr_store import write_store
from hydromae.train.interrupts import SignalHandler, interruption_message
from hydromae.train.trainer import train
from hydromae.train.updates import StepProgress
from processes import together
from synthetic import SMALL, TRAINING, rivers, scaling_of
from test_distributed import same as same_of_two
from test_distributed import well
from test_resume import RIVERS, run, same

SHORT = SMALL.having(train={"epochs": 1, "checkpoint_every": 5})
"""Four updates, and no checkpoint before the last one."""


def at(step: int, *signals: int) -> Callable[[StepProgress], None]:
    """A watch that receives signals in an update."""

    def progress(progress: StepProgress) -> None:
        for number in signals if progress.step == step else ():
            signal.raise_signal(number)

    return progress


@pytest.mark.parametrize(
    ("signals", "name"),
    [((signal.SIGTERM,), "SIGTERM"), ((signal.SIGINT, signal.SIGTERM), "Ctrl+C")],
    ids=["SIGTERM", "Ctrl+C, and what the launcher adds"],
)
def test_a_signal_ends_a_run_with_a_checkpoint_from_which_it_goes_on(tmp_path, signals, name):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path / "broken", SHORT, progress=at(2, *signals))
    assert isinstance(caught.value, Interrupted)
    assert (caught.value.signal, caught.value.step) == (signals[0], 2)
    assert str(caught.value) == (
        f"stopped by {name}; {tmp_path / 'broken'} has a checkpoint of step 2, with --resume it goes on from there"
    )
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    run(tmp_path / "broken", SHORT, resume=True)
    run(tmp_path / "straight", SHORT)
    same(tmp_path / "straight", tmp_path / "broken")


def test_a_signal_in_the_last_update_says_that_the_run_is_complete(tmp_path):
    with pytest.raises(Interrupted, match=r"checkpoint of step 4, which was its last; the run is complete"):
        run(tmp_path / "run", SHORT, progress=at(4, signal.SIGTERM))
    assert (tmp_path / "run" / "last" / "model.safetensors").is_file()


def test_a_second_ctrl_c_ends_at_once_and_promises_nothing(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught:
        run(out, SHORT, progress=at(2, signal.SIGINT, signal.SIGINT))
    assert latest_checkpoint(out) is None
    assert (
        interruption_message(caught.value, out)
        == f"stopped by Ctrl+C; {out} has no checkpoint yet: --resume starts at step 1"
    )
    run(out, SHORT, stop_after=3, resume=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(out, SHORT, progress=at(4, signal.SIGINT, signal.SIGINT), resume=True)
    assert interruption_message(caught.value, out) == (
        f"stopped by Ctrl+C; with --resume {out} goes on from its last checkpoint, step-0000003"
    )


def test_before_the_first_update_a_signal_ends_at_once():
    with SignalHandler(), pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert (caught.value.signal, caught.value.step) == (signal.SIGTERM, None)
    with SignalHandler(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_signals_are_left_alone_in_another_thread_and_where_the_shell_ignores_them():
    before, inside = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with SignalHandler():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [before]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with SignalHandler():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_to_one_of_two_processes_ends_both_at_the_same_step(tmp_path):
    """The second process alone receives it, in the loss of its third update."""

    def attempt(disturbed: bool, out: Path) -> Callable[[], None]:
        def deed() -> None:
            taken, plain = iter(range(10**6)), under_way.loss

            def loss(*given: object) -> object:
                if next(taken) == 2 and os.environ["RANK"] == "1":
                    signal.raise_signal(signal.SIGTERM)
                return plain(*given)

            under_way.loss = loss if disturbed else plain
            try:
                train(
                    SHORT,
                    RIVERS,
                    scaling_of(RIVERS, SHORT),
                    out,
                    device="cpu",
                    engine="torch",
                    timeout=60,
                    resume=not disturbed,
                )
            except Interrupted as error:
                raise InputError(f"{error.signal} {error.step}") from None

        return deed

    told = together(2, attempt(True, tmp_path / "broken"), tmp_path / "words")
    assert told == [(2, "15 3"), (2, "15 3")]
    well(together(2, attempt(False, tmp_path / "broken"), tmp_path / "words"))
    well(together(2, attempt(False, tmp_path / "straight"), tmp_path / "words"))
    same_of_two(tmp_path / "straight", tmp_path / "broken")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_says_one_true_line_and_gives_the_code_of_the_signal(tmp_path, capsys, monkeypatch, number, code):
    record = rivers()
    write_store(record, tmp_path / "s.zarr", scaling=scaling_of(record, SMALL), sources=[], training_period=TRAINING)
    (tmp_path / "c.json").write_text(SHORT.to_json())
    monkeypatch.setattr(pretraining, "loss_progress", lambda: at(1, number))
    out = tmp_path / "run"
    capsys.readouterr()
    command = ["pretrain", str(tmp_path / "s.zarr"), "--out", str(out), "--config", str(tmp_path / "c.json")]
    assert main([*command, "--device", "cpu"]) == code
    name = "Ctrl+C" if number == signal.SIGINT else "SIGTERM"
    assert capsys.readouterr().err == (
        f"hydromae: stopped by {name}; {out} has a checkpoint of step 1, with --resume it goes on from there\n"
    )


def test_a_sweep_says_how_it_goes_on(capsys, monkeypatch):
    def interrupted(self: object, say: object) -> None:
        raise Interrupted(signal.SIGTERM, "trial", 3)

    monkeypatch.setattr(Sweep, "run", interrupted)
    assert main(["sweep", "s.zarr", "--out", "o"]) == 143
    assert capsys.readouterr().err == "hydromae: stopped by SIGTERM; the same command continues the current trial\n"
