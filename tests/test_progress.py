"""How far work is: told where it is done, shown on stderr by the command line, never in the way of results."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from hydromae.cli import INTERRUPTED_CODE, display, main, scores
from hydromae.cli.display import Display, duration
from hydromae.config import Config
from hydromae.progress import finish_progress, progress_callback, report_progress, show_progress_with, track
from processes import LIMIT, program

CONTROL = re.compile(r"\x1b")


def test_nobody_hears_unless_somebody_listens() -> None:
    told: list[tuple[object, ...]] = []
    report_progress("days", 1, 2)
    with show_progress_with(lambda *words: told.append(words)):
        assert list(track("ab", "letters", 2)) == ["a", "b"]
        progress_callback("windows")(3, 4)
    report_progress("days", 2, 2)
    assert told == [
        ("letters", 0, 2, None),
        ("letters", 1, 2, None),
        ("letters", 2, 2, None),
        ("windows", 3, 4, None),
    ]


def test_a_part_that_stops_early_is_not_reported_as_done() -> None:
    told: list[float] = []
    with show_progress_with(lambda what, done, of, said: told.append(done)):
        for item in track(range(9), "items", 9):
            if item == 2:
                break
    assert told == [0, 1, 2]


def test_without_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 40.0, 41.0, 80.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    with Display("prepare") as shown, show_progress_with(shown.update):
        report_progress("days", 0, 400)
        report_progress("days", 100, 400)
        report_progress("days", 200, 400)  # 30 s after the start: said
        report_progress("windows", 1, 3)  # a part of a part is not
        report_progress("days", 300, 400, "loss 0.5")
    said = capsys.readouterr()
    assert said.out == "" and not CONTROL.search(said.err)
    assert said.err.splitlines() == [
        "hydromae prepare: days 200 of 400, 40 s left",
        "hydromae prepare: days 300 of 400, loss 0.5, 27 s left",
    ]


def test_after_all_work_nothing_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(display, "LINE_INTERVAL", 0.0)
    with Display("explore") as shown, show_progress_with(shown.update):
        finish_progress()
        report_progress("windows", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_quiet_display_writes_nothing(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(display, "LINE_INTERVAL", 0.0)
    with Display("prepare", quiet=True) as shown, show_progress_with(shown.update):
        report_progress("days", 1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "said"), [(8.4, "8 s"), (100.0, "2 min"), (7200.0, "2.0 h")])
def test_times_are_said_in_the_unit_a_reader_would_choose(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def on_a_terminal(arguments: list[str], stop_at: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and what a terminal of stderr shows; Ctrl+C is typed once `stop_at` is on it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    words = [sys.executable, "-m", "hydromae", *arguments]
    with program(words, environment, stdout=subprocess.PIPE, stderr=theirs) as run:
        os.close(theirs)
        seen, stopped, until = "", False, time.monotonic() + LIMIT
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    break
            if stop_at and stop_at in seen and not stopped:
                run.send_signal(signal.SIGINT)
                stopped = True
            if run.poll() is not None and not select.select([ours], [], [], 0)[0]:
                break
        out, _ = run.communicate(timeout=LIMIT)
    os.close(ours)
    return run.returncode, out, seen


def test_ctrl_c_takes_the_bars_away_is_one_line_and_130_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "long.nc"
    code, said, seen = on_a_terminal(["virtual", str(out), "--days", "9999"], stop_at="months simulated")
    assert code == INTERRUPTED_CODE and said == "" and "Traceback" not in seen
    assert re.search(r"months simulated.* of \d+ .*left", seen)
    assert seen.count("hydromae: stopped by Ctrl+C") == 1 and list(tmp_path.iterdir()) == []


def test_with_bars_stdout_is_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # counts as a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(display, "BAR_DELAY", 0.01)
    monkeypatch.setattr(display, "MIN_TASK_SECONDS", 0.0)
    assert main(["virtual", str(tmp_path / "short.nc"), "--days", "200", "--catchments", "5", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["days"] == 200 and "months simulated" in said.err


def test_ctrl_c_in_training_says_how_to_go_on(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    def interrupted(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hydromae.store.zarr_store.open_store", interrupted)
    out = tmp_path / "run"
    for last, said in (
        (None, f"{out} has no checkpoint yet: --resume starts at step 1"),
        ("step-0000007", f"with --resume {out} goes on from its last checkpoint, step-0000007"),
    ):
        if last is not None:
            (out / "checkpoints" / last).mkdir(parents=True)
            (out / "checkpoints" / last / "config.json").write_text(Config().to_json())
        assert main(["pretrain", str(tmp_path / "store.zarr"), "--out", str(out)]) == INTERRUPTED_CODE
        assert capsys.readouterr().err == f"hydromae: stopped by Ctrl+C; {said}\n"


def test_a_demo_that_is_stopped_leaves_no_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    def interrupted(*arguments: object) -> None:
        assert (tmp_path / "demo").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr("hydromae.virtual.virtual_catchments", interrupted)
    assert main(["demo", str(tmp_path / "demo")]) == INTERRUPTED_CODE
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().err == "hydromae: stopped by Ctrl+C\n"


def test_results_are_printed_above_the_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(display, "BAR_DELAY", 0.01)
    monkeypatch.setattr(display, "MIN_TASK_SECONDS", 0.0)
    with Display("inspect") as shown, show_progress_with(shown.update):
        time.sleep(0.2)
        report_progress("blocks", 1, 2)
        shown.print_line(Console(force_terminal=False), "a result")
        time.sleep(0.3)
        report_progress("blocks", 2, 2)
    said = capsys.readouterr()
    assert said.out == "a result\n" and "blocks" in said.err and "1 of 2" in said.err


def test_numbers_of_a_table_are_whole_on_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "question": "forecast-blind-7",
        "method": "lstm-corrected-ensemble",
        "catchments": 597,
        "unanswered": 543,
        "days": 1234,
        "few": True,
    }
    row |= {"nse_median": -1.234, "nse_p10": -12.345, "crps": 1.408, "coverage50": 0.5, "coverage90": 1.0}
    for kind in ("flood", "drought"):
        row |= {f"{kind}_events": 12345.0, f"{kind}_csi": 0.456, f"{kind}_brier": 0.01234}
    found = pd.DataFrame([row]).set_index(["question", "method"])
    console = Console(width=80)
    console.print(scores.scores_table(found))
    console.print(scores.events_table(found))
    said = capsys.readouterr().out
    assert "…" not in said
    for number in (
        "-1.234",
        "-12.345",
        "1.408",
        "50%",
        "100%",
        "597",
        "543",
        "1234",
        "-1.234*",
        "12345",
        "0.456",
        "0.01234",
    ):
        assert number in said, number
