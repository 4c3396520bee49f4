"""Kinds of output folders (run, sweep, evaluation, model, answer) and how they are recognised."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from hydromae.io.text_file import read_text

IGNORED = (".lock", ".hydromae-*", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
"""Files that do not count: locks, unfinished files, and files of operating systems."""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class FolderKind:
    """Kind of an output folder.

    Attributes:
        name: Name with article, for messages.
        marker, keys: A JSON file of every such folder, and keys of its object.
        marker_copies: Pattern of copies of `marker`, which identify a folder with a damaged `marker`.
        needs: Other files of every such folder.
        allowed_before_start: Patterns of files that are written before `marker`.
        forbidden: Names that belong to other kinds.
        owned: Names that are written; a folder without them may contain other files. Empty: it must not.
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
        """Return why the folder must not be written; None if it is absent, empty, or of this kind."""
        if not path_exists(folder):
            return None
        if not folder.is_dir():
            return "is a file; name a folder"
        names = {name for name in os.listdir(folder) if not _matches(name, IGNORED)}  # noqa: PTH208
        forbidden_names = names & set(self.forbidden)
        if forbidden_names:
            return f"contains {min(forbidden_names)}, so it is not {self.name}; name another folder"
        has_no_owned = bool(self.owned) and not names & set(self.owned)
        if (
            has_no_owned
            or all(_matches(name, self.allowed_before_start) for name in names)
            or self._is_recognised(folder, names)
        ):
            return None
        return f"is not empty and not {self.name} (it contains {min(names)}); name an empty or a new folder"

    def _is_recognised(self, folder: Path, names: set[str]) -> bool:
        signs = [folder / self.marker, *(folder.glob(self.marker_copies) if self.marker_copies else ())]
        return set(self.needs) <= names and any(self.has_marker(file) for file in signs)

    def has_marker(self, file: Path) -> bool:
        """Return whether a file is a JSON object with the keys of this kind."""
        try:
            content = json.loads(read_text(file))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and set(self.keys) <= set(content)


_CONFIG = ("data", "masks", "model", "optimizer", "train")
WEIGHTS = "model.safetensors"
TIMESTAMPED_RUN = "????-??-??T??-??-??"
"""Runs of `--new-run`, named after their start."""
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
"""Suffix of the provenance file of an answer."""


def path_exists(path: Path) -> bool:
    """Return whether a path exists, including broken links; raise OSError for an impossible path."""
    is_present = False
    for one in (path.with_name(f"{path.name}.partial-00000000"), path) if path.name else (path,):
        try:
            one.lstat()
            is_present = True
        except FileNotFoundError:
            is_present = False
    return is_present


def is_answer(folder: Path) -> bool:
    """Return whether a folder is a Zarr group of a prediction or a forecast (not a store), without other files."""
    arrays = {entry.name for entry in folder.iterdir() if (entry / "zarr.json").is_file()}
    if {entry.name for entry in folder.iterdir()} != arrays | {"zarr.json"} or not (folder / "zarr.json").is_file():
        return False
    try:
        has_stamp = "hydromae_format" in json.loads(read_text(folder / "zarr.json"))["attributes"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return not has_stamp and ("riverflow_origin" in arrays or {"riverflow", "issue_time", "lead"} <= arrays)
