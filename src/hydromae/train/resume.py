"""Start or resumption of a run in a folder: checks, and the configuration."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydromae.config import Config
from hydromae.config.effects import FIELD_RULES, reset_idle, value_of, with_values
from hydromae.distributed import is_launched
from hydromae.errors import InputError, first_line
from hydromae.io.atomic import write_text_atomic
from hydromae.io.text_file import read_text
from hydromae.model.serialization import BACKUP_SUFFIX, CHECKPOINTS, CONFIG
from hydromae.train.checkpoint import STATE


@dataclass(frozen=True)
class PreviousRun:
    """The run in a folder.

    Attributes:
        config: Its configuration; None without a run.
        step: Step of its last checkpoint; 0 without one.
        complete: Whether that was its last step.
    """

    config: Config | None
    step: int
    complete: bool = False

    def check(self, out: Path, config: Config, resume: bool) -> None:
        """Refuse a configuration with which a run cannot start or resume here."""
        if self.config is None:
            return
        if not resume:
            raise InputError(
                f"{out}: contains a run; go on with --resume, name another folder, or pretrain with --new-run"
            )
        refused_changes = [change for change in config_changes(self.config, config) if not self._allows(*change)]
        if not refused_changes:
            return
        differences = ", ".join(
            f"{name} is {_format_value(previous)} in the run, {_format_value(current)} given"
            for name, previous, current in refused_changes
        )
        hint = "; train.epochs may only grow" if any(name == "train.epochs" for name, *_ in refused_changes) else ""
        remedy = "give the run's own, or name a new folder"
        raise InputError(f"{out / CONFIG}: differs from the configuration given: {differences}{hint}; {remedy}")

    def resumed_config(self, config: Config) -> Config:
        """The given configuration, with the run's value of fields given as `auto`, and the longer of both `train.epochs`."""
        if self.config is None:
            return config
        kept_values: dict[str, Any] = {"train.epochs": max(self.config.train.epochs, config.train.epochs)}
        for name, field in FIELD_RULES.items():
            if field.on_resume == "auto" and value_of(config, name) == "auto":
                kept_values[name] = value_of(self.config, name)
        return Config(**vars(with_values(config, kept_values)))

    def _allows(self, name: str, previous: Any, current: Any) -> bool:
        """Whether a field may change; a complete run may be given as shorter."""
        match FIELD_RULES[name].on_resume:
            case "free":
                return True
            case "longer":
                return current >= previous or self.complete
            case "auto":
                return current == "auto"
            case _:
                return False

    def resume_messages(self, out: Path, config: Config, last: int) -> list[str]:
        """Messages for a run that is resumed with `config`, up to the step `last`."""
        if not self.step:
            reason = "" if self.config is None else " (the run there has no checkpoint)"
            return [f"{out}: nothing to resume{reason}: starting at step 1"]
        lines = []
        for name, previous, current in config_changes(self.config, config) if self.config is not None else []:
            lines.append(
                f"{out}: {name} was {_format_value(previous)}, is {_format_value(current)} from step {self.step + 1}"
            )
            if name == "train.epochs":
                lines.append(
                    f"{out}: from step {self.step + 1} the learning rate follows the cosine that ends at step {last}"
                )
        if self.step >= last:
            lines.append(f"{out}: complete, {self.step} of {last} steps; a larger --train.epochs makes it longer")
        return lines


def read_previous_run(out: Path) -> PreviousRun:
    """Read the run in a folder, without changes.

    Raises:
        InputError: The configuration of the run cannot be read.
    """
    last, config_path = last_checkpoint(out), out / CONFIG
    if not config_path.is_file() and last is not None:
        config_path = last / CONFIG
    if not config_path.is_file():
        return PreviousRun(None, 0)
    try:
        config = Config.from_json(config_path.read_text(encoding="utf-8"), str(config_path))
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{config_path}: cannot be read ({first_line(error)}); restore it, or start a new folder"
        ) from None
    config = Config(**vars(reset_idle(config, ())))
    return PreviousRun(config, 0, False) if last is None else PreviousRun(config, _step(last), _complete(last))


def can_begin(out: Path, config: Config, resume: bool) -> bool:
    """Whether a run may start or resume in a folder; with several processes, `train` refuses it in all of them.

    Raises:
        InputError: It may not, and this is the only process.
    """
    try:
        read_previous_run(out).check(out, config, resume)
    except InputError:
        if not is_launched():
            raise
        return False
    return True


def last_checkpoint(out: Path) -> Path | None:
    """The last complete checkpoint of a run, or None; backups of a crash keep their names."""
    candidates = [
        path for path in (out / CHECKPOINTS).glob("step-*") if re.fullmatch(rf"step-\d+({BACKUP_SUFFIX})?", path.name)
    ]
    return max(candidates, key=lambda path: (_step(path), not path.name.endswith(BACKUP_SUFFIX)), default=None)


def _complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is of the last step; False if it cannot be read, which `load_checkpoint` refuses."""
    try:
        state = json.loads(read_text(checkpoint / STATE))
        return bool(state["step"] >= state["steps"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def write_config(out: Path, config: Config, previous: PreviousRun) -> None:
    """Write a new or changed configuration; the previous one is kept under the name of its last step."""
    file = out / CONFIG
    if file.is_file() and previous.config == config:
        return
    if file.is_file() and previous.step:
        former_path = out / f"config-step-{previous.step:07d}.json"
        if not former_path.is_file():
            write_text_atomic(former_path, file.read_text(encoding="utf-8"), "make room there, or name another folder")
    write_text_atomic(file, config.to_json(), "make room there, or name another folder")


def config_changes(previous: Config, current: Config) -> list[tuple[str, Any, Any]]:
    """Names of the fields that differ, with both values."""
    if previous.train.weights == current.train.weights:
        current = Config(**vars(with_values(current, {"train.task_weights": previous.train.task_weights})))
    pairs = ((name, value_of(previous, name), value_of(current, name)) for name in FIELD_RULES)
    return [(name, old, new) for name, old, new in pairs if old != new]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removesuffix(BACKUP_SUFFIX).removeprefix("step-"))


def _format_value(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
