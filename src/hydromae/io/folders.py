"""What lies in a folder that a command writes into: a run, a sweep, an evaluation, a model, an answer, or something else."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

IGNORED = (".lock", ".hydromae-*", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
"""Names that do not make a folder a full one: locks, unfinished files, and what operating systems leave."""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class FolderKind:
    """What a command keeps in a folder, and how such a folder is recognised.

    Attributes:
        name: With its article.
        marker, keys: A JSON file that lies in every such folder, and keys that its object has.
        marker_copies: Pattern of copies of `marker`, by which the folder is known where the file itself is gone or damaged.
        needs: What else lies in every such folder.
        allowed_before_start: Patterns of what a command writes there before `marker`.
        forbidden: Names that make it something else.
        owned: Names that are written; where none of them lies in a folder, it may hold anything else. Empty: it may not.
    """

    name: str
    marker: str
    keys: tuple[str, ...]
    marker_copies: str = ""
    needs: tuple[str, ...] = ()
    allowed_before_start: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()

    def fault(self, folder: Path) -> str | None:
        """Why nothing may be written into a folder; None where it is absent, empty, or of this kind."""
        if not path_exists(folder):
            return None
        if not folder.is_dir():
            return "is a file; name a folder"
        names = {name for name in os.listdir(folder) if not _matches(name, IGNORED)}  # noqa: PTH208
        forbidden_names = names & set(self.forbidden)
        if forbidden_names:
            return f"holds {min(forbidden_names)}, so it is not {self.name}; name another folder"
        has_no_owned = bool(self.owned) and not names & set(self.owned)
        if (
            has_no_owned
            or all(_matches(name, self.allowed_before_start) for name in names)
            or self._is_recognised(folder, names)
        ):
            return None
        return f"is not empty and not {self.name} (it holds {min(names)}); name an empty or a new folder"

    def _is_recognised(self, folder: Path, names: set[str]) -> bool:
        signs = [folder / self.marker, *(folder.glob(self.marker_copies) if self.marker_copies else ())]
        return set(self.needs) <= names and any(self.has_marker(file) for file in signs)

    def has_marker(self, file: Path) -> bool:
        """Whether a file is a JSON object with the keys of this kind."""
        if not file.is_file():  # a pipe would be waited for
            return False
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and set(self.keys) <= set(content)


_CONFIG = ("data", "masks", "model", "optimizer", "train")
WEIGHTS = "model.safetensors"
TIMESTAMPED_RUN = "????-??-??T??-??-??"
"""Runs of `--new-run`, each named with the time it began."""
RUN = FolderKind(
    "a run",
    "config.json",
    _CONFIG,
    marker_copies="checkpoints/step-*[0-9]/config.json",
    allowed_before_start=("scaling.json", "finetune.json", "wandb-run-id", "record-*", "*.partial", TIMESTAMPED_RUN),
    forbidden=(WEIGHTS, "zarr.json", "study.db"),
)
SWEEP = FolderKind(
    "a sweep",
    "sweep.json",
    ("config", "data", "search"),
    allowed_before_start=("scaling.json", "*.partial"),
    forbidden=(WEIGHTS, "zarr.json", "checkpoints"),
)
EVALUATION = FolderKind(
    "an evaluation",
    "settings.json",
    ("period", "questions"),
    needs=("scores.nc", "examples.nc"),
    forbidden=(WEIGHTS, "zarr.json", "checkpoints"),
)
MODEL = FolderKind(
    "a model",
    "config.json",
    _CONFIG,
    needs=(WEIGHTS, "scaling.json"),
    forbidden=("zarr.json", "state.json", "checkpoints", "journal.jsonl", "study.db"),
    owned=(WEIGHTS, "config.json", "scaling.json", "grid.json", "calibration.json", "checksums.json"),
)


PROVENANCE = FolderKind("the provenance of an answer", "", ("history", "hydromae", "values"))
SIDECAR = ".provenance.json"
"""What the name of an answer's file ends in for the file of its provenance."""


def path_exists(path: Path) -> bool:
    """Whether anything lies at a path, a link that leads nowhere included; raises where it never could."""
    is_present = False
    for one in (path.with_name(f"{path.name}.partial-00000000"), path) if path.name else (path,):
        try:
            one.lstat()
            is_present = True
        except FileNotFoundError:
            is_present = False
    return is_present


def is_answer(folder: Path) -> bool:
    """Whether a folder is a Zarr group that holds a prediction or a forecast, no store, and nothing else."""
    arrays = {entry.name for entry in folder.iterdir() if (entry / "zarr.json").is_file()}
    if {entry.name for entry in folder.iterdir()} != arrays | {"zarr.json"} or not (folder / "zarr.json").is_file():
        return False
    try:
        has_stamp = "hydromae_format" in json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return not has_stamp and ("riverflow_origin" in arrays or {"riverflow", "issue_time", "lead"} <= arrays)
