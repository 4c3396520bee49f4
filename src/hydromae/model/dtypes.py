"""The default dtype of new tensors, which a user may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def default_float32() -> Iterator[None]:
    """Make float32 the default dtype inside the context."""
    previous = torch.get_default_dtype()
    if previous == torch.float32:  # the default is shared by all threads: do not set it needlessly
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)
