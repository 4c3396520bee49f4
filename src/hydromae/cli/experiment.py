"""The training entry of a configuration file: `hydromae pretrain`, with the file's own store and output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydromae import cli
from hydromae.cli.configuration import built_by, option
from hydromae.errors import InputError


def main(arguments: Sequence[str], default: Path) -> int:
    """Train what `--config`, or the default file, describes; gives the exit code."""
    try:
        words = pretrain_words(arguments, default)
    except InputError as error:
        sys.stderr.write(f"train_mae: {error}\n")
        return 2
    return cli.main(words)


def pretrain_words(arguments: Sequence[str], default: Path) -> list[str]:
    """The command line of `hydromae pretrain` that is meant.

    The `--local_rank` that launchers of an older style add is left out: they set it in the environment, too.
    """
    given = [word for word in arguments if not word.startswith(("--local_rank=", "--local-rank="))]
    if {"--help", "-h"} & set(given):
        return ["pretrain", *given]
    file, rest = option(given, "--config")
    store, rest = option(rest, "--store")
    out, rest = option(rest, "--out")
    file = file or str(default)
    if Path(file).suffix == ".py":
        built = built_by(Path(file))
        store, out = store or _folder(built.get("store")), out or _folder(built.get("output"))
    for name, place in (("store", store), ("output", out)):
        if not isinstance(place, str):
            remedy = f"assign one there, or give --{'out' if name == 'output' else name}"
            raise InputError(f"{file}: names no `{name}`; {remedy}")
    return ["pretrain", str(store), "--out", str(out), "--config", file, *rest]


def _folder(place: object) -> object:
    """A path as the text that the command line has."""
    return str(place) if isinstance(place, Path) else place
