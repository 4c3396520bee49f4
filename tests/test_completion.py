"""Completion in a shell: what bash offers after some words."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hydromae.cli import COMMANDS, main

ASK = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_tyro_hydromae hydromae "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "hydromae"
    with pytest.MonkeyPatch.context() as patched, file.open("w", encoding="utf-8") as out:
        patched.setattr("sys.stdout", out)
        assert main(["--tyro-print-completion", "bash"]) == 0
    return file


def offered(script: Path, *words: str) -> set[str]:
    asked = subprocess.run(["bash", "-c", ASK, "ask", script, *words], capture_output=True, text=True, check=True)
    return set(asked.stdout.split("\n")) - {""}


@needs_bash
def test_bash_offers_commands_options_and_choices(script: Path) -> None:
    assert offered(script, "hydromae", "") >= set(COMMANDS)
    assert offered(script, "hydromae", "pre") == {"prepare", "pretrain", "predict"}
    assert offered(script, "hydromae", "predict", "--mod") == {"--model"}
    assert "gb" in offered(script, "hydromae", "evaluate", "--protocol", "")


@needs_bash
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_bash_offers_nothing_but_options_after_two_dashes(script: Path, command: str) -> None:
    found = offered(script, "hydromae", command, "--")
    assert "--json" in found and all(word.startswith("--") and " " not in word for word in found), found


def test_a_reader_that_goes_away_is_no_error() -> None:
    asked = [sys.executable, "-m", "hydromae", "--tyro-print-completion", "bash"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        writer.stdout.close()
        assert (writer.wait(), writer.stderr.read()) == (0, "")
