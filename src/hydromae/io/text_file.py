"""Text of regular files."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the UTF-8 text of a regular file.

    Raises:
        OSError: Missing, unreadable, or a pipe or device, whose reading may block.
        UnicodeDecodeError: Not UTF-8 text.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return path.read_text(encoding="utf-8")
