"""The base configuration of a command: a preset or a file."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hydromae.cli.convert import is_original
from hydromae.config import Config
from hydromae.config.effects import FIELD_RULES, refuse_idle_fields, reset_idle, value_of, with_values
from hydromae.config.presets import PRESETS
from hydromae.errors import InputError

Preset = Literal["tiny", "base", "fast", "rivers", "national"]
_base_settings: list[Config] = [PRESETS["rivers"]]


def base_config(arguments: Sequence[str]) -> None:
    """Read `--preset` or `--config` first: they set the defaults of all other options."""
    preset, _ = pop_option(arguments, "--preset")
    file, _ = pop_option(arguments, "--config")
    if preset is not None and preset not in PRESETS:
        raise InputError(f"--preset {preset}: does not exist; choose among {', '.join(PRESETS)}")
    _base_settings[0] = PRESETS[preset or "rivers"] if file is None else read_config(Path(file))


def base_settings() -> Config:
    """Return the configuration that `base_config` read."""
    return _base_settings[0]


def resolve_config(settings: Config) -> Config:
    """Return the configuration of the options.

    Unnamed task weights keep their values; fields that the options make ineffective return to their defaults.

    Raises:
        InputError: If an option has no effect.
    """
    base = base_settings()
    weights = base.train.weights | dict(settings.train.task_weights)
    changed = {
        name: value_of(settings, name) for name in FIELD_RULES if value_of(settings, name) != value_of(base, name)
    }
    changed.pop("train.task_weights", None)
    if weights != base.train.weights:
        changed["train.task_weights"] = tuple(weights.items())
    refuse_idle_fields(with_values(base, changed), base)
    return Config(**vars(reset_idle(with_values(base, changed), changed)))


def pop_option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Return the value of an option, and the arguments without it."""
    argv = list(arguments)
    for index, word in enumerate(argv):
        if word.startswith(f"{name}="):
            return word.split("=", 1)[1], argv[:index] + argv[index + 1 :]
        if word == name and index + 1 < len(argv):
            return argv[index + 1], argv[:index] + argv[index + 2 :]
    return None, argv


def read_config(file: Path) -> Config:
    """Read the `config` of a Python file, or a JSON file, such as that of a run.

    Raises:
        InputError: If the file does not exist, fails, or has no configuration.
    """
    if file.suffix == ".json" and file.is_file():
        try:
            return _effective(Config.from_json(file.read_text(encoding="utf-8"), str(file)), file)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read as text ({error}); name a config.json of a run") from None
    built_config = run_config_file(file).get("config")
    if not isinstance(built_config, Config):
        raise InputError(f"{file}: has no `config` of type hydromae.config.Config; assign one")
    return _effective(
        Config.from_json(built_config.to_json(), str(file)), file
    )  # checks fields that were set in Python


def _effective(config: Config, file: Path) -> Config:
    """Refuse a configuration from a file with fields that have no effect."""
    try:
        refuse_idle_fields(config)
    except InputError as error:
        raise InputError(f"{file}: {str(error).removeprefix('config: ')}") from None
    return config


def run_config_file(file: Path) -> dict[str, Any]:
    """Run a Python file of the user and return its names."""
    if not file.is_file():
        raise InputError(f"{file}: no such configuration; name a Python file like those in configs/")
    if is_original(file):
        raise InputError(
            f"{file}: is a configuration in the reference specification's style; convert it with "
            f"hydromae convert-config {file} --out mine.py, and give that"
        )
    try:
        return runpy.run_path(str(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{file}: fails with {type(error).__name__}: {error}; correct the file") from error
