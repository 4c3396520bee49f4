"""What lies in the folder of a run: whether a run may begin there or go on, and with which configuration."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydromae.config import Config
from hydromae.config.effects import FIELDS, replaced, value_of, without_idle
from hydromae.distributed import launched
from hydromae.errors import InputError, first_line
from hydromae.io.atomic import write_whole
from hydromae.model.serialization import CHECKPOINTS, CONFIG, OLD
from hydromae.train.checkpoint import STATE


@dataclass(frozen=True)
class Past:
    """The run that lies in a folder.

    Attributes:
        config: None where there is no run.
        step: Of its last checkpoint; 0 without one.
        complete: Whether that was its last step.
    """

    config: Config | None
    step: int
    complete: bool = False

    def refused(self, out: Path, config: Config, resume: bool) -> str | None:
        """Why a run with this configuration cannot begin or go on here; None where it can."""
        if self.config is None:
            return None
        if not resume:
            return f"{out}: holds a run already; go on with --resume, name another folder, or pretrain with --new-run"
        wrong = [change for change in changes(self.config, config) if not self._allows(*change)]
        if not wrong:
            return None
        told = ", ".join(f"{name} is {_shown(before)} in the run, {_shown(now)} given" for name, before, now in wrong)
        longer = "; train.epochs may only grow" if any(name == "train.epochs" for name, *_ in wrong) else ""
        remedy = "give the run's own, or name a new folder"
        return f"{out / CONFIG}: differs from the configuration given: {told}{longer}; {remedy}"

    def going_on(self, config: Config) -> Config:
        """The configuration given; the run's own value where `auto` leaves it open, its own length where it is longer."""
        if self.config is None:
            return config
        own: dict[str, Any] = {"train.epochs": max(self.config.train.epochs, config.train.epochs)}
        for name, field in FIELDS.items():
            if field.on_resume == "auto" and value_of(config, name) == "auto":
                own[name] = value_of(self.config, name)
        return Config(**vars(replaced(config, own)))

    def _allows(self, name: str, before: Any, now: Any) -> bool:
        """Whether a field may change; a shorter run changes nothing where all its steps are done."""
        match FIELDS[name].on_resume:
            case "free":
                return True
            case "longer":
                return now >= before or self.complete
            case "auto":
                return now == "auto"
            case _:
                return False

    def said(self, out: Path, config: Config, last: int) -> list[str]:
        """What the user is told of a run that is to go on with `config`, up to the step `last`."""
        if not self.step:
            found = "" if self.config is None else " (the run there has no checkpoint)"
            return [f"{out}: nothing to resume{found}: starting at step 1"]
        lines = []
        for name, before, now in changes(self.config, config) if self.config is not None else []:
            lines.append(f"{out}: {name} was {_shown(before)}, is {_shown(now)} from step {self.step + 1}")
            if name == "train.epochs":
                lines.append(
                    f"{out}: from step {self.step + 1} the learning rate follows the cosine that ends at step {last}"
                )
        if self.step >= last:
            lines.append(f"{out}: complete, {self.step} of {last} steps; a larger --train.epochs makes it longer")
        return lines


def past(out: Path) -> Past:
    """Read what lies in a folder; nothing is changed.

    Raises:
        InputError: If there is a run whose configuration cannot be read.
    """
    last, written = last_checkpoint(out), out / CONFIG
    if not written.is_file() and last is not None:
        written = last / CONFIG
    if not written.is_file():
        return Past(None, 0)
    try:
        config = Config.from_json(written.read_text(encoding="utf-8"), str(written))
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{written}: cannot be read ({first_line(error)}); restore it, or start a new folder"
        ) from None
    config = Config(**vars(without_idle(config, ())))
    return Past(config, 0, False) if last is None else Past(config, _step(last), _complete(last))


def may_begin(out: Path, config: Config, resume: bool) -> bool:
    """Whether a run may begin or go on in a folder; where processes wait for each other, `train` refuses it in all of them.

    Raises:
        InputError: Where this process is alone and it may not.
    """
    fault: str | None = None
    try:
        fault = past(out).refused(out, config, resume)
    except InputError as error:
        fault = str(error)
    if fault is not None and not launched():
        raise InputError(fault)
    return fault is None


def last_checkpoint(out: Path) -> Path | None:
    """The last whole checkpoint of a run, or None; nothing is changed, so one that a crash left keeps its old name."""
    found = [path for path in (out / CHECKPOINTS).glob("step-*") if re.fullmatch(rf"step-\d+({OLD})?", path.name)]
    return max(found, key=lambda path: (_step(path), not path.name.endswith(OLD)), default=None)


def _complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is of the last step; one that cannot be read is refused when it is loaded."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        return bool(state["step"] >= state["steps"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def write_config(out: Path, config: Config, before: Past) -> None:
    """Write the configuration of a run, where it is new or has changed; the former one is kept under its last step."""
    file = out / CONFIG
    if file.is_file() and before.config == config:
        return
    if file.is_file() and before.step:
        former = out / f"config-step-{before.step:07d}.json"
        if not former.is_file():
            write_whole(former, file.read_text(encoding="utf-8"), "make room there, or name another folder")
    write_whole(file, config.to_json(), "make room there, or name another folder")


def changes(before: Config, now: Config) -> list[tuple[str, Any, Any]]:
    """Fields that differ, each with both values."""
    if before.train.weights == now.train.weights:
        now = Config(**vars(replaced(now, {"train.task_weights": before.train.task_weights})))
    pairs = ((name, value_of(before, name), value_of(now, name)) for name in FIELDS)
    return [(name, old, new) for name, old, new in pairs if old != new]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removesuffix(OLD).removeprefix("step-"))


def _shown(value: Any) -> str:
    """A value in a message; a long list is cut."""
    text = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
