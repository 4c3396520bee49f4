"""Countries and the browser that the tests of the explorer share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from browsing import ARGUMENTS, chromium
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


@pytest.fixture(scope="module")  # its event loop runs until it is closed, and other tests of the process need their own
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    found = chromium()
    if found is None:
        if os.environ.get("HYDROMAE_BROWSER") == "required":
            pytest.fail(
                "no Chromium on the path, and HYDROMAE_BROWSER is 'required'; install it or set HYDROMAE_CHROMIUM"
            )
        pytest.skip("no Chromium on the path; install it, or set HYDROMAE_CHROMIUM")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def country() -> Session:
    """An invented country with as many gauges as the real one."""
    return gauged_country()


@pytest.fixture(scope="session")
def address(country: Session) -> Iterator[str]:
    """Address of a server of the invented country."""
    with serving(country) as where:
        yield where
