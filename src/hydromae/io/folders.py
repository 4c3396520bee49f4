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
class Kind:
    """What a command keeps in a folder, and how such a folder is recognised.

    Attributes:
        name: With its article.
        sign, keys: A JSON file that lies in every such folder, and keys that its object has.
        copies: Pattern of copies of `sign`, by which the folder is known where the file itself is gone or damaged.
        needs: What else lies in every such folder.
        early: Patterns of what a command writes there before `sign`.
        never: Names that make it something else.
        own: Names that are written; where none of them lies in a folder, it may hold anything else. Empty: it may not.
    """

    name: str
    sign: str
    keys: tuple[str, ...]
    copies: str = ""
    needs: tuple[str, ...] = ()
    early: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def fault(self, folder: Path) -> str | None:
        """Why nothing may be written into a folder; None where it is absent, empty, or of this kind."""
        if not is_there(folder):
            return None
        if not folder.is_dir():
            return "is a file; name a folder"
        names = {name for name in os.listdir(folder) if not _matches(name, IGNORED)}  # noqa: PTH208
        other = names & set(self.never)
        if other:
            return f"holds {min(other)}, so it is not {self.name}; name another folder"
        free = bool(self.own) and not names & set(self.own)
        if free or all(_matches(name, self.early) for name in names) or self._recognised(folder, names):
            return None
        return f"is not empty and not {self.name} (it holds {min(names)}); name an empty or a new folder"

    def _recognised(self, folder: Path, names: set[str]) -> bool:
        signs = [folder / self.sign, *(folder.glob(self.copies) if self.copies else ())]
        return set(self.needs) <= names and any(self.signed(file) for file in signs)

    def signed(self, file: Path) -> bool:
        """Whether a file is a JSON object with the keys of this kind."""
        if not file.is_file():  # a pipe would be waited for
            return False
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(held, dict) and set(self.keys) <= set(held)


_CONFIG = ("data", "masks", "model", "optimizer", "train")
WEIGHTS = "model.safetensors"
STAMPED = "????-??-??T??-??-??"
"""Runs of `--new-run`, each named with the time it began."""
RUN = Kind(
    "a run",
    "config.json",
    _CONFIG,
    copies="checkpoints/step-*[0-9]/config.json",
    early=("scaling.json", "finetune.json", "wandb-run-id", "record-*", "*.partial", STAMPED),
    never=(WEIGHTS, "zarr.json", "study.db"),
)
SWEEP = Kind(
    "a sweep",
    "sweep.json",
    ("config", "data", "search"),
    early=("scaling.json", "*.partial"),
    never=(WEIGHTS, "zarr.json", "checkpoints"),
)
EVALUATION = Kind(
    "an evaluation",
    "settings.json",
    ("period", "questions"),
    needs=("scores.nc", "examples.nc"),
    never=(WEIGHTS, "zarr.json", "checkpoints"),
)
MODEL = Kind(
    "a model",
    "config.json",
    _CONFIG,
    needs=(WEIGHTS, "scaling.json"),
    never=("zarr.json", "state.json", "checkpoints", "journal.jsonl", "study.db"),
    own=(WEIGHTS, "config.json", "scaling.json", "grid.json", "calibration.json", "seal.json"),
)


PROVENANCE = Kind("the provenance of an answer", "", ("history", "hydromae", "values"))
SIDECAR = ".provenance.json"
"""What the name of an answer's file ends in for the file of its provenance."""


def is_there(path: Path) -> bool:
    """Whether anything lies at a path, a link that leads nowhere included; raises where it never could."""
    found = False
    for one in (path.with_name(f"{path.name}.partial-00000000"), path) if path.name else (path,):
        try:
            one.lstat()
            found = True
        except FileNotFoundError:
            found = False
    return found


def is_answer(folder: Path) -> bool:
    """Whether a folder is a Zarr group that holds a prediction or a forecast, no store, and nothing else."""
    arrays = {place.name for place in folder.iterdir() if (place / "zarr.json").is_file()}
    if {place.name for place in folder.iterdir()} != arrays | {"zarr.json"} or not (folder / "zarr.json").is_file():
        return False
    try:
        stamped = "hydromae_format" in json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return not stamped and ("riverflow_origin" in arrays or {"riverflow", "issue_time", "lead"} <= arrays)
