"""The journal: a line a step, readable after a crash, without what a resumed run writes again."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from hydromae.errors import InputError
from hydromae.train.metrics_log import MetricsLog


@pytest.fixture
def journal(tmp_path: Path) -> MetricsLog:
    journal = MetricsLog(tmp_path / "journal.jsonl")
    for step in (1, 2, 3):
        journal.write(step=step, loss=1 / step, validation_loss=None, mse={"riverflow": 0.5})
    return journal


def test_every_line_comes_back_bit_for_bit(journal):
    assert [line["loss"] for line in journal.read()] == [1.0, 0.5, 1 / 3]
    assert journal.read()[0] == {"step": 1, "loss": 1.0, "validation_loss": None, "mse": {"riverflow": 0.5}}


def test_no_file_is_no_line(tmp_path):
    assert MetricsLog(tmp_path / "journal.jsonl").read() == []


def test_a_last_line_that_a_crash_cut_is_left_out(journal):
    whole = journal.path.read_text()
    journal.path.write_text(whole[:-9])
    assert [line["step"] for line in journal.read()] == [1, 2]
    journal.truncate_after(2)
    journal.write(step=3, loss=0.1)
    assert [line["step"] for line in journal.read()] == [1, 2, 3]


def test_truncate_removes_later_lines(journal):
    journal.truncate_after(2)
    assert [line["step"] for line in journal.read()] == [1, 2]
    journal.truncate_after(0)
    assert journal.read() == []
    assert [file.name for file in journal.path.parent.iterdir()] == ["journal.jsonl"]


def test_what_is_not_finite_is_null_because_json_has_no_nan(journal):
    journal.write(step=4, loss=float("nan"), gradient_norm=float("inf"), mse={"riverflow": float("nan")})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in journal.path.read_text().splitlines()]
    assert lines[-1] == {"step": 4, "loss": None, "gradient_norm": None, "mse": {"riverflow": None}}


def test_a_full_disk_is_one_line():
    """/dev/full takes no byte, as a full disk."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(InputError, match=r"^/dev/full: the journal cannot be written \(No space left") as caught:
        MetricsLog(full).write(step=1, loss=0.5)
    assert "\n" not in str(caught.value) and "--resume" in str(caught.value)


def test_a_disk_that_fills_while_the_journal_is_rewound_leaves_the_journal_whole(journal, monkeypatch):
    before = journal.path.read_text()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        journal.truncate_after(1)
    assert journal.path.read_text() == before


def test_the_callback_gets_every_line_after_it_is_written(tmp_path):
    heard = []
    journal = MetricsLog(tmp_path / "journal.jsonl", lambda line: heard.append((line, len(journal.read()))))
    journal.write(step=1, loss=0.5, mse={"riverflow": 0.25})
    journal.write(step=2, loss=0.4)
    assert heard == [({"step": 1, "loss": 0.5, "mse": {"riverflow": 0.25}}, 1), ({"step": 2, "loss": 0.4}, 2)]
