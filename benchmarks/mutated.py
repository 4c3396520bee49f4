"""Run tests in a copy of the repository: import the mutated module first, and record the outcome of every test."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

INVALID = re.compile(r"(ImportError|ModuleNotFoundError|SyntaxError|IndentationError|NameError)\b")
"""Errors of a mutation that is no program; they prove nothing about a test."""
PRELOADED = (
    "torch",
    "xarray",
    "zarr",
    "scipy",
    "pydantic",
    "h5netcdf",
    "hypothesis.strategies",
    "pyarrow.dataset",
    "optuna",
)
"""Packages that nearly every test imports; their import is most of its time."""


class Noting:
    """A plugin of pytest.

    Parameters
    ----------
    report : Path
        A line of JSON for each test, or with `fault` for what proves nothing, is appended to this file.
    modules : sequence of str
        Imported before the tests; each must come from the copy, which is the working folder.
    groups : sequence of sequences of str
        Tests; the session stops once one of every group has failed.
    """

    def __init__(self, report: Path, modules: Sequence[str], groups: Sequence[Sequence[str]]) -> None:
        self.report, self.modules, self.groups = report, modules, groups
        self.failed: set[str] = set()

    def note(self, **found: object) -> None:
        """Append a line to the report."""
        with self.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")

    def pytest_sessionstart(self) -> None:
        """The conftest has run: the shapes in signatures of all that is imported now are checked."""
        try:
            for name in ("hydromae", *self.modules):
                module = importlib.import_module(name)
                if Path.cwd() not in Path(str(module.__file__)).parents:
                    raise ImportError(f"{name} comes from {module.__file__}, not from the copy")
        except Exception as error:
            self.note(fault=f"the mutated module cannot be imported: {type(error).__name__}: {error}")
            pytest.exit("cannot be imported", returncode=3)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of tests that cannot be imported proves nothing."""
        if report.failed:
            self.note(fault=f"{report.nodeid} cannot be collected: {str(report.longrepr)[-300:]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Record the outcome of a test."""
        report: pytest.TestReport = yield
        if report.when != "call" and report.passed:
            return report
        error = "" if call.excinfo is None else call.excinfo.exconly().splitlines()[0]
        if report.failed and INVALID.match(error):
            self.note(fault=f"{report.nodeid}: {error}")
        test = item.nodeid.split("[")[0]
        self.note(test=test, id=item.nodeid, outcome=report.outcome, seconds=round(call.duration, 2), error=error[:200])
        if report.failed:
            self.failed.add(test)
            if all(self.failed & set(group) for group in self.groups):
                item.session.shouldstop = "every row is caught"
        return report


def run_tests(
    tree: Path, tests: Sequence[str], report: Path, modules: Sequence[str], groups: Sequence[Sequence[str]]
) -> None:
    """Run tests in the copy `tree`, in a session of processes of their own; their output is written next to the report."""
    os.setsid()
    with report.with_suffix(".txt").open("wb") as printed:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(printed.fileno(), stream.fileno())
    os.chdir(tree)
    paths = [str(tree / "src"), str(tree / "benchmarks")]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # of the processes that tests start
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins take longer to import than most tests to run
    arguments = [
        "-o",
        f"cache_dir={Path(__file__).parents[1] / '.pytest_cache' / 'mutations'}",  # holds DeepSpeed's extension, built once
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "--basetemp",
        report.parent / "tmp",
    ]
    pytest.main([*map(str, arguments), *tests], plugins=[Noting(report, modules, groups)])
    sys.stdout.flush()
    os._exit(0)  # no thread or process that a broken feature left is waited for
