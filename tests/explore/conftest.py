"""Countries that the tests of the explorer share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from explored import gauged_country, mapped_country, serving, small_country
from hydromae.explore.session import Session


@pytest.fixture(scope="session")
def small() -> Session:
    """Six rivers over 200 days."""
    return small_country()


@pytest.fixture(scope="session")
def mapped() -> Session:
    """Eight rivers and three maps over 60 days."""
    return mapped_country()


@pytest.fixture(scope="session")
def country() -> Session:
    """An invented country with as many gauges as the real one."""
    return gauged_country()


@pytest.fixture(scope="session")
def address(country: Session) -> Iterator[str]:
    """Address of a server of the invented country."""
    with serving(country) as where:
        yield where
