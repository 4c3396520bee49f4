"""Files of a folder that `fetch` wrote, with the parameters of their requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydromae.errors import InputError
from hydromae.io.atomic import write_text_atomic
from hydromae.io.text_file import read_text

MANIFEST = "fetched.manifest"
REMEDY = "make room there"


@dataclass
class FetchedFiles:
    """Fetched files of a folder.

    Attributes:
        folder: The folder, which may contain other files.
        parameters: Parameters of the request of each file; None for a file whose write did not end.
    """

    folder: Path
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> FetchedFiles:
        """Read the manifest of a folder; without a readable one, no file is a fetched one."""
        try:
            parameters = json.loads(read_text(folder / MANIFEST))
        except (OSError, ValueError):
            parameters = None
        return cls(folder, parameters if isinstance(parameters, dict) else {})

    def check_not_of_the_user(self, names: Iterable[str]) -> None:
        """Raise InputError if a file exists that was not fetched."""
        for name in names:
            if name not in self.parameters and (self.folder / name).exists():
                raise InputError(
                    f"{self.folder / name}: exists and was not fetched by hydromae; move it, or name another folder"
                )

    def has(self, name: str, parameters: Any) -> bool:
        """Return whether a complete file of these parameters exists."""
        return self.parameters.get(name) == parameters and (self.folder / name).is_file()

    def write(self, name: str, text: str, parameters: Any) -> None:
        """Write a file atomically; the manifest lists it before the file exists, and as complete after it."""
        for recorded in (None, parameters):
            if recorded is not None:
                write_text_atomic(self.folder / name, text, REMEDY)
            self.parameters[name] = recorded
            write_text_atomic(self.folder / MANIFEST, json.dumps(self.parameters, indent=1), REMEDY)
