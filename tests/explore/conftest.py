"""Countries that the tests of the explorer share."""

from __future__ import annotations

import pytest

from explored import mapped_country, small_country
from hydromae.explore.session import Session


@pytest.fixture(scope="session")
def small() -> Session:
    """Six rivers over 200 days."""
    return small_country()


@pytest.fixture(scope="session")
def mapped() -> Session:
    """Eight rivers and three maps over 60 days."""
    return mapped_country()
