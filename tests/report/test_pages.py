"""Report, warnings and verification in a browser: light and dark, wide and narrow, every line visible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from playwright.sync_api import Browser

from hydromae.evaluate.verification import verify
from hydromae.report.page import write_page, write_report
from hydromae.report.verification_page import verification_html
from hydromae.report.warnings_page import warnings_html
from test_issued import DAYS, ISSUES, parts, record

SIZES = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")]
INVISIBLE = """() => [...document.querySelectorAll(".chart path")]
    .filter((path) => [path.getAttribute("stroke"), getComputedStyle(path).stroke, getComputedStyle(path).fill]
        .every((colour) => colour === null || colour === "none"))
    .map((path) => path.getAttribute("class"))"""
"""Lines of charts without a colour."""


def report(evaluation: Any, file: Path) -> None:
    write_report(evaluation, None, file, title="Rivers", model_card={"name": "rivers"})


def verification(evaluation: Any, file: Path) -> None:
    write_page(verification_html(verify(parts(ISSUES), record()), ISSUES), file)


def warning(evaluation: Any, file: Path) -> None:
    days, sides = pd.date_range(DAYS[-1], periods=7), {"2-year": "above", "q95": "below"}
    rows = [
        {"issue_time": DAYS[-1], "lead": lead, "date": day, "catchment": river, "threshold": name, "side": side}
        for name, side in sides.items()
        for river in (11, 22)
        for lead, day in enumerate(days, 1)
    ]
    chances = np.linspace(0, 1, len(rows))
    table = pd.DataFrame(rows).assign(**{"flow [m3/s]": 12.0}, probability=chances, warning=chances >= 0.35)
    write_page(warnings_html(table, "2 rivers", 3, {"11": "Teme at Tenbury (11)", "22": "22"}), file)


@pytest.fixture(params=[report, verification, warning], ids=lambda write: write.__name__)
def page_file(request: pytest.FixtureRequest, evaluation: Any, tmp_path: Path) -> Path:
    """A page of one kind."""
    write: Callable[[xr.Dataset, Path], None] = request.param
    write(evaluation, tmp_path / "page.html")
    return tmp_path / "page.html"


def test_a_page_fits_and_its_lines_are_seen(browser: Browser, page_file: Path) -> None:
    for width, scheme in SIZES:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # pyright: ignore
        page, wrong, asked = context.new_page(), [], []
        page.on("console", lambda said, wrong=wrong: wrong.append(said.text))
        page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(page_file.as_uri())
        assert wrong == [] and asked == [page_file.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, (width, scheme)
        assert page.evaluate(INVISIBLE) == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")[:3]) < 150
        assert dark == (scheme == "dark"), background
        context.close()
