"""The dtype that torch gives new tensors, which a user may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def default_float32() -> Iterator[None]:
    """New tensors are float32 inside, as weights are; the user's default (`torch.set_default_dtype`) holds again after it."""
    previous = torch.get_default_dtype()
    if previous == torch.float32:  # nothing is set where nothing differs: the default belongs to all threads
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)
