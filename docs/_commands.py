"""The pages of the command line: what each command prints for `--help`, in one file for each."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from unittest import mock

from hydromae.cli import COMMANDS, main

FOLDER = Path(__file__).parent / "_commands"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def write_help() -> None:
    """Write `_commands/NAME.txt` for every command, 110 columns wide."""
    FOLDER.mkdir(exist_ok=True)
    for name in COMMANDS:
        said = io.StringIO()
        with (
            mock.patch.dict(os.environ, COLUMNS="110"),
            contextlib.redirect_stdout(said),
            contextlib.suppress(SystemExit),
        ):
            main([name, "--help"])
        (FOLDER / f"{name}.txt").write_text(COLOURS.sub("", said.getvalue()), encoding="utf-8")
