"""A page of the explorer in a browser: Chromium, a page that is watched, and waiting for its answers.

Chromium is `HYDROMAE_CHROMIUM`, or the one on the path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, expect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
WAIT = 60_000  # ms that an answer may take: a limit for a page that hangs, not for a busy machine
expect.set_options(timeout=WAIT)


def chromium() -> str | None:
    """Path of Chromium, if there is one."""
    return os.environ.get("HYDROMAE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Watched:
    """What a page asked for, and what went wrong on it."""

    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, address: str, **options: object) -> Iterator[Page]:
    """A page of its own; at its end nothing has gone wrong on it, and it has asked nobody but the server."""
    seen = Watched()
    context = browser.new_context(**options)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("console", lambda said: seen.wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#dots circle")
    yield page
    context.close()
    home = address.split("#")[0]
    assert [url for url in seen.asked if not url.startswith((home, "data:"))] == []
    assert seen.wrong == []


def chosen(page: Page, place: int = 100) -> None:
    """Click the gauge at a place of the record; its answer and its forecast have come when this returns."""
    page.locator(f"#gauge-{place}").click(force=True)  # another dot may lie over a part of it
    settled(page)


def settled(page: Page) -> None:
    """Wait for the answers that are under way."""
    expect(page.locator("#forecast-answer")).to_contain_text("ean error", timeout=WAIT)
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=WAIT)
