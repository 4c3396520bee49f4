"""Trackers: metrics on W&B or TensorBoard. A tracker that is absent or fails does not end a run."""

from __future__ import annotations

import json
import netrc
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from hydromae.config import Config
from hydromae.errors import InputError, first_line
from hydromae.io.atomic import write_text_atomic
from hydromae.progress import LOG

WANDB_ID, TENSORBOARD = "wandb-run-id", "tensorboard"
INIT_SECONDS, FINISH_SECONDS = 30.0, 60.0  # longest waits for the server of W&B


class Writer(Protocol):
    """Output of a tracker."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the metrics of a step."""
        ...

    def close(self, failed: bool) -> None:
        """Flush and close; `failed` is True if the run ended with an error."""
        ...


class Tracker:
    """Callback for lines of the metrics log, and a context that closes its writer.

    The writer is created at the first line. After an error it is disabled with one warning.

    Args:
        name: Name in messages.
        create_writer: Function of the first step; None disables the tracker.
    """

    def __init__(self, name: str, create_writer: Callable[[int], Writer] | None) -> None:
        self.name, self._create_writer = name, create_writer
        self._writer: Writer | None = None

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of a line, those of a modality as `mse/riverflow`."""
        if self._create_writer is None:
            return
        try:
            if self._writer is None:
                self._writer = self._create_writer(int(line["step"]))
            self._writer.write(int(line["step"]), flatten_metrics(line))
        except Exception as error:
            self._disable(error)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close(failed=kind is not None)
            except Exception as error:
                self._disable(error)

    def _disable(self, error: Exception) -> None:
        self._create_writer = self._writer = None
        LOG.warning("tracker %s: %s; training goes on, with journal.jsonl alone", self.name, first_line(error))


def flatten_metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a line of the metrics log under flat names, without the step, None and text."""
    metrics: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            metrics |= {f"{key}/{name}": float(part) for name, part in value.items() if part is not None}
        elif isinstance(value, int | float) and key != "step":
            metrics[key] = float(value)
    return metrics


def open_tracker(config: Config, out: Path, first: bool = True) -> Tracker:
    """The tracker of `train.tracker`, with files in the run's folder `out`.

    Args:
        first: Whether this is the main process; other processes have no tracker.

    Raises:
        InputError: The named tracker is not installed; `auto` uses the first that is installed, or none.
    """
    factories: dict[str, Callable[[int], Writer]] = {
        "wandb": lambda first: _WandB(config, out),
        "tensorboard": lambda first: _TensorBoard(out, first),
    }
    chosen = config.train.tracker
    if chosen == "none" or not first:
        return Tracker(chosen, None)
    installed = {"wandb": _has_wandb, "tensorboard": _has_tensorboard}
    if chosen == "auto":
        name = next((name for name, is_installed in installed.items() if is_installed()), None)
        return Tracker(name or chosen, factories[name] if name else None)
    if not installed[chosen]():
        raise InputError(
            f"train.tracker '{chosen}': is not installed; pip install 'hydromae[{chosen}]', or choose auto or none"
        )
    return Tracker(chosen, factories[chosen])


def _has_wandb() -> bool:
    try:
        from wandb import init  # noqa: F401, a folder `wandb` of offline runs can be imported, but has no init
    except ImportError:
        return False
    return True


def _has_tensorboard() -> bool:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401
    except ImportError:
        return False
    return True


class _TensorBoard:
    """Event files in `tensorboard/`; events at or after the first step are purged when read."""

    def __init__(self, out: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._events = SummaryWriter(str(out / TENSORBOARD), purge_step=first)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def close(self, failed: bool) -> None:
        self._events.close()


class _WandB:
    """A W&B run, the same one when training is resumed; offline, in the run's folder, without an account."""

    def __init__(self, config: Config, out: Path) -> None:
        import wandb

        self._run = wandb.init(
            project=config.train.wandb_project,
            entity=config.train.wandb_entity,
            dir=str(out),
            name=out.name,
            id=_run_id(out / WANDB_ID),
            resume="allow",
            mode=_mode(),
            config=json.loads(config.to_json()),
            settings=wandb.Settings(
                console="off", quiet=True, init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS
            ),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _run_id(file: Path) -> str:
    if not file.is_file():
        write_text_atomic(file, uuid.uuid4().hex[:8], "make room there, or train without a tracker")
    return file.read_text(encoding="utf-8").strip()


def _mode() -> Any:
    """WANDB_MODE; online only with an account, because W&B otherwise waits for input."""
    wanted = os.environ.get("WANDB_MODE") or "online"
    return "offline" if wanted == "online" and not _has_account() else wanted


def _has_account() -> bool:
    """Whether the environment or a netrc file has a key for W&B."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    netrc_path = os.environ.get("NETRC")
    files = [Path(netrc_path)] if netrc_path else [Path.home() / ".netrc", Path.home() / "_netrc"]
    file = next((file for file in files if file.is_file()), None)
    try:
        return file is not None and netrc.netrc(file).authenticators(host) is not None
    except (netrc.NetrcParseError, OSError):
        return False
