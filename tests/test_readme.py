"""What the README says works: its Python block runs as it stands, its commands exist, its files lie there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hydromae.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Code blocks of a language."""
    return [
        text
        for named, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
        if named == language
    ]


def test_python_block_runs_on_what_the_demo_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--catchments", "20", "--epochs", "0.02", "--every", "700"]) == 0
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= 8
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    filled = names["filled"]
    assert filled["riverflow"].notna().all()  # pyright: ignore[reportIndexIssue]
    assert (filled["riverflow_origin"] == 3).sum() == 400  # pyright: ignore[reportIndexIssue]


def test_every_command_that_it_shows_exists() -> None:
    shown = set(re.findall(r"^hydromae +(\w+)", "\n".join(blocks("")), flags=re.MULTILINE))
    assert shown and shown <= set(COMMANDS)


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"\((docs/[\w./]+)\)|`((?:docs|configs)/[\w./]+)`", README):
        assert (ROOT / (name[0] or name[1])).is_file(), name


def test_make_targets_that_it_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
