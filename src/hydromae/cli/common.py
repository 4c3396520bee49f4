"""What every command is: one frozen dataclass, whose docstrings are its help and whose `run` does the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from rich.console import RenderableType

Say = Callable[[RenderableType], None]
Result = Mapping[str, Any]


@runtime_checkable
class Command(Protocol):
    """What every command offers."""

    @property
    def json(self) -> bool:
        """Whether the result goes to stdout as JSON and nothing else does."""
        ...

    def run(self, say: Say) -> Result:
        """Do the work; `say` shows something to people, the result is for programs; `exit_code` in it is the command's."""
        ...


def speaks() -> bool:
    """Whether this process is the one that speaks to the user, where a launcher started several."""
    return os.environ.get("RANK", "0") == "0"
