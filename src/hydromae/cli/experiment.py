"""Training from a configuration file: `hydromae pretrain` with the store and output of the file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydromae import cli
from hydromae.cli.configuration import pop_option, run_config_file
from hydromae.errors import InputError


def run_experiment(arguments: Sequence[str], default: Path) -> int:
    """Train the configuration of `--config` or of the default file; return the exit code."""
    try:
        words = pretrain_words(arguments, default)
    except InputError as error:
        sys.stderr.write(f"train_mae: {error}\n")
        return 2
    return cli.main(words)


def pretrain_words(arguments: Sequence[str], default: Path) -> list[str]:
    """Return the arguments of `hydromae pretrain`; `--local_rank` of old launchers is removed."""
    words_given = [word for word in arguments if not word.startswith(("--local_rank=", "--local-rank="))]
    if {"--help", "-h"} & set(words_given):
        return ["pretrain", *words_given]
    file, rest = pop_option(words_given, "--config")
    store, rest = pop_option(rest, "--store")
    out, rest = pop_option(rest, "--out")
    file = file or str(default)
    if Path(file).suffix == ".py":
        built_config = run_config_file(Path(file))
        store, out = store or _folder(built_config.get("store")), out or _folder(built_config.get("output"))
    for name, location in (("store", store), ("output", out)):
        if not isinstance(location, str):
            remedy = f"assign one there, or give --{'out' if name == 'output' else name}"
            raise InputError(f"{file}: has no `{name}`; {remedy}")
    return ["pretrain", str(store), "--out", str(out), "--config", file, *rest]


def _folder(location: object) -> object:
    """Return a path as text."""
    return str(location) if isinstance(location, Path) else location
