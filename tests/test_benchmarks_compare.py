"""The table of all benchmarks, and two commits as ratios."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import identity
import rows
import table
from compare import HELP, paired, shown
from rows import ROWS, RUNS, Row, Run, cased, first, percent, seconds
from workloads import workloads

ROOT = Path(__file__).parents[1]
STEP = {"step_s": 2.0, "batch": 1, "share_of_gemm": 0.8, "peak_above_start_bytes": 3 * 2**30, "data_bytes": 2.5 * 2**30}
FOUND = {
    "fast fp32": [STEP],
    "fast bf16": [STEP | {"share_of_gemm": 0.44}],
    "base fp32": [STEP | {"step_s": 7.0}],
    "ratio": [{"ratio": 0.27, "ratio_cpu": 0.28}],
    "loading": [{"case": "fast-1", "windows_per_s": 500.0, "step_ratio": 1.04, "record_bytes_45_years": 1e9}],
}


def judged(work: str) -> dict:
    """The row whose work begins so, on invented figures."""
    (row,) = (row for row in ROWS if row.work.startswith(work))
    return row.judged(FOUND, {"door": "door failed (why)"}, {"fast fp32": "python a", "ratio": "python b"})


def test_rows_judge_figures_by_hand():
    assert judged("training step, `fast`, fp32: share")["reached"] is True
    assert judged("training step, `fast`, bf16: share")["reached"] is False
    memory = judged("training step, `fast`, fp32: memory")
    assert (memory["figure"], memory["shown"], memory["target"]) == (0.5 * 2**30, "0.50 GiB", "≤ 1.00 GiB")
    third = judged("training step, `fast`, fp32: time over")
    assert (third["figure"], third["reached"], third["commands"]) == (0.27, True, ["python b"])
    recipe = judged("the seed's recipe")
    assert recipe["figure"] == 4000 * 2.0 and recipe["shown"] == "2.22 h" and recipe["reached"] is False
    assert judged("windows from the store to the model, a second (fast-1)")["reached"] is True
    assert judged("step with loader / without (fast-1)")["reached"] is False


def test_rows_without_figures_say_why():
    """A benchmark that failed, one that did not run, one that wrote no such figure: no row is ever guessed."""
    failed, unknown = judged("start: `hydromae --help`"), judged("step with loader / without (rivers-2)")
    assert failed["reached"] is None and failed["shown"] == "not measured: door failed (why)"
    assert unknown["reached"] is None and "wrote no 'rivers-2'" in unknown["shown"]
    assert judged("prepare the national record: memory")["shown"] == "not measured: prepare did not run"


def test_every_row_is_made_of_runs_that_exist():
    assert {name for row in ROWS for name in row.runs} == set(RUNS)
    assert len({row.work for row in ROWS}) == len(ROWS)
    assert [percent(0.754), seconds(12.34), seconds(240), seconds(7200)] == ["75 %", "12.3 s", "4 min", "2 h"]
    assert first("fast fp32", "peak_above_start_bytes", "-data_bytes")(FOUND) == 0.5 * 2**30
    assert cased("fast-1", "step_ratio")(FOUND) == 1.04


def test_table_runs_what_it_is_told(tmp_path, monkeypatch, capsys):
    """One benchmark that writes a figure, and one that breaks: both are in the table, and the code says so."""
    writes = "import sys\nassert '--quick' in sys.argv\nopen(sys.argv[-1], 'w').write('[{\"rate\": 0.25}]')"
    (tmp_path / "good.py").write_text(writes)
    (tmp_path / "bad.py").write_text("raise SystemExit('no disk')")
    runs = {"good": Run("good.py", (), ("--long",), ("raw", "--raw")), "bad": Run("bad.py")}
    listed = [Row(name, (name,), first(name, "rate"), "≥", 0.5, percent) for name in runs]
    monkeypatch.setattr(table, "HERE", tmp_path)
    for module in (table, rows):
        monkeypatch.setattr(module, "RUNS", runs)
        monkeypatch.setattr(module, "ROWS", listed)
    out, page = tmp_path / "bench.json", tmp_path / "bench.md"
    words = ["table.py", "--quick", "--out", str(out), "--markdown", str(page), "--raw", "folder"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        table.main()
    assert ended.value.code == 1
    good, bad = json.loads(out.read_text())["rows"]
    assert (good["figure"], good["reached"], good["target"]) == (0.25, False, "≥ 50 %")
    assert good["commands"] == ["python benchmarks/good.py --quick --raw folder"]
    assert bad["shown"] == "not measured: bad failed (no disk)"
    assert (
        "| good | ≥ 50 % | 25 % | no | `python benchmarks/good.py --quick --raw folder` |"
        in page.read_text().splitlines()
    )
    assert "no disk" in capsys.readouterr().out
    assert runs["good"].command(False, {"raw": None}) == ["benchmarks/good.py", "--long"]


class Told:
    """One side that takes as long as it was told."""

    def __init__(self, *times: float, lacks: str = "") -> None:
        self.times, self.lacks = list(times), lacks

    def ask(self, name: str) -> dict:
        if self.lacks:
            return {"lacks": self.lacks}
        time = self.times.pop(0)
        return {"seconds": time, "cpu": time, "answer": 1.0}


def test_ratios_are_those_of_pairs():
    """The first go warms up; then three pairs: 2/1, 3/2 and 4/4."""
    row = paired("work", Told(9, 1, 2, 4), Told(9, 2, 3, 4), 0.0)  # pyright: ignore[reportArgumentType]
    assert (row["pairs"], row["ratio"], row["lowest"], row["highest"]) == (3, 1.5, 1.0, 2.0)
    assert (row["base_s"], row["head_s"], row["same_answer"]) == (2, 3, True)
    lacking = paired("work", Told(lacks="no such name"), Told(1), 0.0)  # pyright: ignore[reportArgumentType]
    assert lacking == {"work": "work", "lacks": {"base": "no such name"}}
    console = Console(width=110, record=True)
    console.print(shown([row, lacking], "title"))
    text = console.export_text()
    assert "1.500" in text and "1.000–2.000" in text and "base cannot" in text


def test_two_commits_side_by_side(tmp_path):
    """A repository of two commits, of which the second knows no windows: the others are compared, that one says so."""
    repository = tmp_path / "repository"
    shutil.copytree(ROOT / "src", repository / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "benchmarks", repository / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(repository), *who, *words], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    (repository / "src" / "hydromae" / "batching" / "windows.py").write_text("")
    git("commit", "--quiet", "-am", "two")
    out = tmp_path / "found.json"
    command = [sys.executable, str(repository / "benchmarks" / "compare.py"), "--base", "HEAD~1", "--out", str(out)]
    command += ["--quick", "--seconds", "1", "--only", "8 windows of 30 days", "--only", HELP]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    windows, start = json.loads(out.read_text())["rows"]
    assert list(windows["lacks"]) == ["head"] and "cannot import name 'windows'" in windows["lacks"]["head"]
    assert start["pairs"] >= 3 and start["lowest"] <= start["ratio"] <= start["highest"]
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1, "both worktrees are gone"


def test_workloads_answer_the_same_twice():
    """An untrained model behind the door, and drawn windows: what two equal commits would be compared by."""
    made = workloads(quick=True)
    door, again = made["door, 60 rivers, a year"](), made["door, 60 rivers, a year"]()
    assert door() == door() == again() > 0
    assert made["8 windows of 30 days"]()() == made["8 windows of 30 days"]()() > 0
    assert made["rivers step"]()() == pytest.approx(made["rivers step"]()())


def test_make_calls_them():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^bench: .*\n\t.*benchmarks/table.py", makefile, re.MULTILINE)
    assert re.search(r"^bench-quick: .*\n\t.*benchmarks/compare.py", makefile, re.MULTILINE)


def test_identity_compares_the_digests_of_two_commits(monkeypatch, capsys):
    """One bit changes a digest; the exit code says whether any differs."""
    values = np.linspace(0.0, 1.0, 5, dtype=np.float32)
    changed = values.copy()
    changed[2] = np.nextafter(changed[2], 1, dtype=np.float32)
    assert identity.digest([values]) == identity.digest([values.copy()]) != identity.digest([changed])
    found = {"a": identity.digest([values]), "b": identity.digest([changed])}
    monkeypatch.setattr(sys, "argv", ["identity.py", "--base", "HEAD", "losses"])
    monkeypatch.setattr(identity, "checked_out", lambda commit, folder: nullcontext(folder))
    for other, code in ((found, 0), (found | {"b": "other"}, 1)):
        by_side = {"base": found, "head": other}
        monkeypatch.setattr(identity, "run_commit", lambda tree, words, by_side=by_side: by_side[tree.name])
        with pytest.raises(SystemExit) as ended:
            identity.main()
        assert ended.value.code == code
        assert ("differ" in capsys.readouterr().out) == bool(code)
