"""What the page shows, in a real browser: first view, units, address, thresholds, map, search, files, and other rivers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from playwright.sync_api import Browser, Page, expect

from browsing import opened, settled
from explored import long_country, serving
from hydromae.evaluate.return_levels import flow_thresholds
from hydromae.explore.opening import opening
from hydromae.explore.session import Session

GAP = "#river=39002&from=2030-01-01&to=2030-12-31&hide=2030-03-01_2030-04-09"


@pytest.fixture(scope="module")
def valley() -> Session:
    """Twelve stations over 36 years."""
    return long_country()


@pytest.fixture(scope="module")
def home(valley: Session) -> Iterator[str]:
    """Address of a server of the valley."""
    with serving(valley) as where:
        yield where


def parsed(text: str) -> dict[str, str]:
    """Parts of an address by name."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return {name: value for name, _, value in pairs}


def fragment(page: Page) -> dict[str, str]:
    """Parts of the address of a page."""
    return parsed(page.evaluate("location.hash.slice(1)"))


def reached(page: Page, **parts: str | None) -> None:
    """Wait until the address has these parts; None is absent."""
    for _ in range(150):
        found = fragment(page)
        if all(found.get(name) == value for name, value in parts.items()):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the address is {page.url}, without {parts}")


def drag(page: Page, selector: str, start: float, end: float) -> None:
    """Drag over a chart between two shares of its width."""
    over = page.locator(f"{selector} .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start * box["width"], box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + 35, steps=4)
    page.mouse.up()


def test_it_opens_on_hidden_flow_that_is_restored_with_intervals(browser: Browser, home: str, valley: Session) -> None:
    with opened(browser, home) as page:
        settled(page)
        expect(page.locator("#answer")).to_have_text(re.compile(r"Hidden: .* over 30 days"))
        drawn = page.evaluate(
            "[hydrograph.response.quantiles[0], hydrograph.response.mean].map((row) => row.filter((v) => v !== null).length)"
        )
        assert drawn == [30, 30]
        reached(page, river=opening(valley)["river"])
        assert fragment(page)["hide"].count("_") == 1


def test_units_and_axis_are_in_the_address(browser: Browser, home: str, valley: Session) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        page.locator("#units").select_option("m3s")
        page.locator("#axis").select_option("log")
        expect(page.locator("#hydrograph-axis")).to_have_text(re.compile(r"River flow \[m³/s\], logarithmic"))
        reached(page, units="m3s", axis="log")
        page.locator("#hydrograph").focus()
        page.keyboard.press("Home")
        said = re.search(r"observed ([\d.]+) m³/s", page.locator("#hydrograph-readout").inner_text())
        area = float(valley.record["catchment-area"][1])
        expected = float(valley.record["riverflow"].sel(time="2030-01-01")[1]) * area / 86.4
        assert said is not None and float(said[1]) == pytest.approx(expected, rel=0.006)
        assert "m³/s" in page.locator("#answer").inner_text() and "m³/s" in page.locator("#thresholds").inner_text()
        page.reload()
        settled(page)
        assert page.locator("#units").input_value() == "m3s" and page.locator("#axis").input_value() == "log"
        page.go_back()
        reached(page, units="m3s", axis=None)
        settled(page)
        expect(page.locator("#hydrograph-axis")).not_to_contain_text("logarithmic")
        page.go_forward()
        settled(page)
        expect(page.locator("#hydrograph-axis")).to_contain_text("logarithmic")


def test_a_river_without_area_stays_in_mm_a_day(browser: Browser, home: str) -> None:
    with opened(browser, f"{home}#river=39005&units=m3s") as page:
        settled(page)
        expect(page.locator("#hydrograph-axis")).to_contain_text("[mm/day]")
        assert page.locator("#units option").nth(1).is_disabled()


def test_back_forward_and_reload_keep_the_whole_state(browser: Browser, home: str) -> None:
    whole = f"{GAP}&issue=2030-05-05&weather=none&units=m3s&beside=donors&lines=off&also=39007,39009&curve=open"
    with opened(browser, f"{home}{whole}") as page:
        settled(page)
        expect(page.locator("#beside-rivers canvas")).to_have_count(2)
        before = fragment(page)
        assert before == parsed(whole[1:])
        expect(page.locator("#forecast-answer")).to_contain_text("Issued on 5 May 2030")
        drag(page, "#hydrograph", 0.7, 0.8)
        settled(page)
        assert fragment(page)["hide"].count("_") == 2
        page.evaluate("choose(5)")
        settled(page)
        reached(page, river="39006", hide=None)
        after = page.url
        page.go_back()
        reached(page, river="39002")
        settled(page)
        assert page.locator("#answer").inner_text().count(" to ") >= 2
        page.go_back()
        reached(page, **before)
        settled(page)
        page.reload()
        settled(page)
        assert fragment(page) == before
        assert page.locator("#beside").input_value() == "donors" and not page.locator("#lines").is_checked()
        assert (
            page.locator("#weather").input_value() == "none"
            and page.locator("#curve").get_attribute("open") is not None
        )
        page.go_forward()
        page.go_forward()
        reached(page, river="39006")
        settled(page)
        assert page.url == after


@pytest.mark.parametrize(
    "wrong",
    [
        "#river=77&units=feet",
        "#river=39002&from=2030-02-30&to=2030-03-05",
        "#river=39002&from=2030-03-05&to=2030-03-01",
        "#river=39002&hide=<script>_x",
        "#also=1,2&nothing=3",
    ],
)
def test_a_wrong_address_is_said_and_its_right_parts_are_shown(
    browser: Browser, home: str, valley: Session, wrong: str
) -> None:
    with opened(browser, f"{home}{wrong}") as page:
        settled(page)
        expect(page.locator("#fault")).to_contain_text("not valid and were left out")
        expect(page.locator("#river-title")).to_contain_text("39002" if "39002" in wrong else opening(valley)["river"])


def test_thresholds_and_the_chance_to_pass_them(browser: Browser, home: str, valley: Session) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        levels, years = flow_thresholds(valley.record[["riverflow"]].isel(catchment=[1]))
        rows = page.locator("#thresholds tbody tr")
        assert rows.count() == 4 and years == 35
        for row, level in enumerate(levels):
            cells = rows.nth(row).locator("td").all_inner_texts()
            assert float(cells[0]) == pytest.approx(level.flow, rel=0.006)
            assert re.fullmatch(r"below 1 %|\d+ % on \d+ \w+ 2030", cells[2]), cells
        words = page.locator("#thresholds-words").inner_text()
        assert "35 complete water years" in words and "generalised logistic" in words and "L-moments" in words
        assert page.evaluate("hydrograph.levels.map((level) => level.key)") == [
            "flood-2",
            "flood-10",
            "flood-100",
            "low-95",
        ]
        assert page.locator("#forecast-thresholds tbody tr").count() == 4
        page.locator("#lines").uncheck()
        assert page.evaluate("hydrograph.levels.length") == 0
        page.evaluate("choose(3)")
        settled(page)
        expect(page.locator("#thresholds")).to_contain_text(
            "not computed: the record has 10 of the 34 complete water years"
        )


def test_the_map_has_names_and_moves_by_wheel_and_drag(browser: Browser, address: str, country: Session) -> None:
    with opened(browser, address) as page:
        settled(page)
        dot = page.locator("#gauge-50")
        dot.hover(force=True)
        expect(page.locator("#tip")).to_be_visible()
        assert re.search(r"\d+.*NSE", page.locator("#tip").inner_text())
        box = page.locator("#map").bounding_box()
        assert box is not None
        place = (box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"])
        page.mouse.move(*place)
        under = "({x, y}) => map.place({clientX: x, clientY: y})"
        at = page.evaluate(under, {"x": place[0], "y": place[1]})
        page.mouse.wheel(0, -120)
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(300)
        assert page.evaluate("map.zoom") > 1.5
        np.testing.assert_allclose(page.evaluate(under, {"x": place[0], "y": place[1]}), at, atol=2)  # a pixel
        title = page.locator("#river-title").inner_text()
        before = page.evaluate("map.centre")
        page.mouse.down()
        page.mouse.move(place[0] - 60, place[1] - 40, steps=4)
        page.mouse.up()
        after = page.evaluate("map.centre")
        assert after[0] > before[0] and after[1] > before[1]
        assert page.locator("#river-title").inner_text() == title, "a drag selects nothing"
        page.wait_for_timeout(400)
        assert "frame" in fragment(page)
        page.reload()
        settled(page)
        np.testing.assert_allclose(page.evaluate("map.centre"), after, atol=0.1)
        page.locator("#whole-country").click()
        assert page.evaluate("map.zoom") == 1


def test_the_search_lists_all_matches(browser: Browser, home: str) -> None:
    with opened(browser, home) as page:
        settled(page)
        page.locator("#wanted").fill("brook")
        assert page.locator("#found li").all_inner_texts() == [
            f"3900{k}, Mill Brook at {place}" for k, place in enumerate("ABCD", 1)
        ]
        expect(page.locator("#found-count")).to_have_text("4 gauges match.")
        page.keyboard.press("Enter")
        assert page.locator("#found li").count() == 4, "several matches stay listed"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#river-title")).to_have_text("Mill Brook at B (39002)")
        expect(page.locator("#found")).to_be_hidden()
        page.locator("#wanted").fill("390")
        assert page.locator("#found li").count() == 12
        page.locator("#found li").nth(10).click()
        expect(page.locator("#river-title")).to_have_text("Avon at C (39011)")


def test_the_table_and_the_picture_are_those_of_the_chart(
    browser: Browser, home: str, valley: Session, tmp_path: Path
) -> None:
    with opened(browser, f"{home}{GAP}&units=m3s") as page:
        settled(page)
        with page.expect_download() as started:
            page.locator("#hydrograph-csv").click()
        assert started.value.suggested_filename == "39002_2030-01-01_2030-12-31.csv"
        started.value.save_as(tmp_path / "flow.csv")
        with page.expect_download() as started:
            page.locator("#hydrograph-png").click()
        assert started.value.suggested_filename.endswith(".png")
        started.value.save_as(tmp_path / "flow.png")
        with page.expect_download() as started:
            page.locator("#forecast-csv").click()
        assert "forecast_" in started.value.suggested_filename
    table = pd.read_csv(tmp_path / "flow.csv")
    column = {name: np.array(table[name].tolist(), dtype=float) for name in table.columns if "[" in name}
    flow = valley.record["riverflow"].isel(catchment=1).sel(time="2030").values
    factor = float(valley.record["catchment-area"][1]) / 86.4
    np.testing.assert_allclose(column["riverflow [m3 s-1]"], flow * factor, rtol=1e-3, atol=1e-4 * factor)
    is_hidden = np.array(table["hidden"].tolist()) == 1
    days = [day for day, one in zip(table["time"].tolist(), is_hidden, strict=True) if one]
    assert (days[0], days[-1], len(days)) == ("2030-03-01", "2030-04-09", 40)
    for name in ("predicted [m3 s-1]", "interpolation [m3 s-1]"):
        assert (np.isfinite(column[name]) == is_hidden).all()
    low, high = (column[f"predicted_q{level} [m3 s-1]"][is_hidden] for level in ("05", "95"))
    assert (low <= high).all()
    pixels = image.imread(BytesIO((tmp_path / "flow.png").read_bytes()))
    assert pixels.shape[1] > 500 and len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_a_station_has_its_attributes_and_its_page_at_the_archive(browser: Browser, home: str) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        link = page.locator("#facts a")
        assert link.get_attribute("href") == "https://nrfa.ceh.ac.uk/data/station/info/39002"
        assert "noopener" in (link.get_attribute("rel") or "")
        page.locator("#station summary").click()
        assert page.locator("#station tbody tr").count() == 11
        expect(page.locator("#station")).to_contain_text("catchment-area")


def test_the_model_stands_beside_baselines_and_few_days_have_no_nse(browser: Browser, home: str) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        names = page.locator("#methods tbody th").all_inner_texts()
        assert names == ["drawn", "Interpolation in log flow", "Weighted donors"]
        for row in page.locator("#methods tbody tr").all():
            assert re.fullmatch(r"−?\d+\.\d\d", row.locator("td").first.inner_text())
        assert page.evaluate("hydrograph.baseline().name") == "interpolation"
        page.locator("#beside").select_option("donors")
        assert page.evaluate("hydrograph.baseline().name") == "donors"
        page.evaluate("setHidden(state.hidden, state.hidden = [['2030-03-01', '2030-03-29']])")
        settled(page)
        expect(page.locator("#answer")).to_contain_text("over 29 days")
        expect(page.locator("#answer")).not_to_contain_text("NSE")
        expect(page.locator("#methods")).to_contain_text("fewer than 30 days")


def test_duration_curve(browser: Browser, home: str, valley: Session) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        page.locator("#curve summary").click()
        expect(page.locator("#duration canvas")).to_have_count(1)
        flow = valley.flow[:, 1]
        label = page.locator("#duration").get_attribute("aria-label") or ""
        half = re.search(r"on half: ([\d.]+)", label)
        assert half is not None and float(half[1]) == pytest.approx(np.median(flow), rel=0.006)
        shown = page.evaluate("duration.rows.map((row) => row[0])")
        assert shown[1] == pytest.approx(
            np.quantile(valley.record["riverflow"].isel(catchment=1).sel(time="2030"), 0.999), rel=1e-3
        )
        assert "frame" not in fragment(page)
        reached(page, curve="open")


def test_the_whole_record_is_shown_at_once_and_leads_to_its_days(browser: Browser, home: str, valley: Session) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        points, highest = page.evaluate(
            "[whole.plot.data[0].length, Math.max(...whole.plot.data[2].filter((v) => v !== null))]"
        )
        assert points <= 1200 and highest == pytest.approx(float(valley.flow[:, 1].max()), abs=1e-3)
        seconds = page.evaluate(
            "(() => { const t = performance.now(); whole.redraw(); return (performance.now() - t) / 1000; })()"
        )
        assert seconds < 0.5
        drag(page, "#whole", 0.2, 0.25)
        settled(page)
        assert "2007" < fragment(page)["from"] < fragment(page)["to"] < "2011" and "hide" not in fragment(page)
        drag(page, "#whole", 0.1, 0.9)
        settled(page)
        days = [date.fromisoformat(fragment(page)[name]) for name in ("from", "to")]
        for _ in range(50):
            if (days[1] - days[0]).days == 1099:
                break
            page.wait_for_timeout(100)
            days = [date.fromisoformat(fragment(page)[name]) for name in ("from", "to")]
        assert (days[1] - days[0]).days == 1099


def test_rivers_stand_side_by_side(browser: Browser, home: str) -> None:
    with opened(browser, f"{home}{GAP}") as page:
        settled(page)
        page.locator("#keep").click()
        page.evaluate("choose(6)")
        settled(page)
        expect(page.locator("#beside-rivers figure")).to_have_count(1)
        expect(page.locator("#beside-rivers figcaption")).to_contain_text("Mill Brook at B (39002)")
        page.locator("#near summary").click()
        page.locator("#near tbody tr").filter(has_not_text="39002").first.get_by_role("button", name="Compare").click()
        expect(page.locator("#beside-rivers canvas")).to_have_count(2)
        page.evaluate("hide('2030-06-01', '2030-07-10')")
        settled(page)
        expect(page.locator("#beside-rivers figure .note").first).to_have_text(
            re.compile("Hidden: 1 Jun 2030 to 10 Jul 2030")
        )
        page.locator("#beside-rivers").get_by_role("button", name="Remove").first.click()
        expect(page.locator("#beside-rivers figure")).to_have_count(1)


def luminance(rgb: np.ndarray) -> float:
    """Relative luminance of a colour (WCAG 2.2)."""
    parts = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(parts @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_intervals_are_seen(browser: Browser, home: str, scheme: str) -> None:
    with opened(browser, f"{home}{GAP}", color_scheme=scheme) as page:
        settled(page)
        names = ("--paper", "--hidden-ground", "--wide", "--narrow")
        texts = page.evaluate("(names) => names.map(colour)", names)
        values = [np.array([int(text[k : k + 2], 16) for k in range(1, len(text), 2)]) / 255 for text in texts]
        ground = values[0]
        steps = [luminance(ground)]
        for value in values[1:]:
            ground = value[:3] * value[3] + ground * (1 - value[3])
            steps.append(luminance(ground))
        for before, after in pairwise(steps[1:]):
            assert (max(before, after) + 0.05) / (min(before, after) + 0.05) > 1.3, steps


def test_a_phone_shows_the_hydrograph_first(browser: Browser, home: str) -> None:
    with opened(
        browser, f"{home}{GAP}", viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True
    ) as page:
        settled(page)
        boxes = [page.locator(name).bounding_box() for name in ("#hydrograph", "#map", "#forecast")]
        tops = [box["y"] for box in boxes if box is not None]
        assert tops == sorted(tops) and boxes[0] is not None and boxes[0]["y"] + boxes[0]["height"] <= 740
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_the_read_out_is_spoken_and_neighbours_have_one_count(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        settled(page)
        for name in ("#hydrograph-readout", "#forecast-readout"):
            assert page.locator(name).get_attribute("aria-live") == "polite"
        page.locator("#hydrograph").focus()
        page.keyboard.press("End")
        first = page.locator("#hydrograph-readout").inner_text()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#hydrograph-readout").inner_text() != first
        page.locator("#near summary").click()
        rows = page.locator("#near tbody tr").count()
        assert rows == 23 and page.locator("#links line").count() == 23
        for name in ("#answer", "#forecast-answer", "#near-words"):
            expect(page.locator(name)).to_contain_text("23 neighbours")
