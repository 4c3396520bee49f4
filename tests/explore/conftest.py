"""Countries that the tests of the explorer share."""

from __future__ import annotations

import pytest

from explored import mapped_country, small_country
from hydromae.explore.session import Country


@pytest.fixture(scope="session")
def small() -> Country:
    """Six rivers over 200 days."""
    return small_country()


@pytest.fixture(scope="session")
def mapped() -> Country:
    """Eight rivers and three maps over 60 days."""
    return mapped_country()
