"""What a test starts ends with it, also what left its group and lost its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import LIMIT, begin, killed_at_the_end, program


def at_work(number: int) -> bool:
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are not shown")
def test_a_program_ends_with_all_that_it_has_started():
    script = "setsid sleep 1000 & echo $!; sleep 1000"
    with (
        pytest.raises(ZeroDivisionError),
        program(["bash", "-c", script], os.environ, stdout=subprocess.PIPE) as started,
    ):
        assert started.stdout is not None
        child = int(started.stdout.readline())
        while not Path(f"/proc/{child}/comm").read_text().startswith("sleep"):
            time.sleep(0.01)
        assert at_work(child) and at_work(started.pid)
        _ = 1 / 0  # a test that fails
    assert not at_work(child) and not at_work(started.pid)


def test_forked_processes_end_with_the_block(tmp_path):
    with pytest.raises(ZeroDivisionError), killed_at_the_end() as running:
        running.append(begin(lambda: time.sleep(LIMIT), tmp_path / "words"))
        _ = 1 / 0
    assert running[0].exitcode == -9
