"""The page in a real browser: it loads at once with 599 gauges, works by mouse, finger and keys, and asks nobody else.

Chromium is `HYDROMAE_CHROMIUM`, or the one on the path. Without it these tests are skipped, unless `HYDROMAE_BROWSER` is
`required`.
"""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from browsing import chosen, opened, settled
from explored import GAUGES, mapped_country, serving
from hydromae.explore.export import export
from hydromae.explore.session import Session

MOST_SECONDS = 2.0
FIRST_FRAME = """async () => {
  while (!performance.getEntriesByName("drawn").length) await new Promise(requestAnimationFrame);
  return performance.getEntriesByName("drawn")[0].startTime;
}"""


def test_599_gauges_are_there_within_two_seconds(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        assert page.locator("#dots circle").count() == GAUGES
        assert page.locator("#dots circle.s6").count() > 10, "coloured by score"
        drawn = page.evaluate(FIRST_FRAME) / 1000
        assert drawn < MOST_SECONDS, "from the start of the navigation to the first frame with every gauge"


def test_a_click_shows_a_hydrograph_with_rain_forecast_and_neighbours(
    browser: Browser, address: str, country: Session
) -> None:
    with opened(browser, address) as page:
        chosen(page)
        expect(page.locator("#river-title")).to_contain_text(country.names[100])
        assert page.locator("#hydrograph canvas").count() == 1 and page.locator("#forecast canvas").count() == 1
        assert page.locator("#near tbody tr").count() == 23, "the model looks at 24, the river among them"
        assert page.locator("#links line").count() == 23
        page.locator("#hydrograph .u-over").hover()
        expect(page.locator("#hydrograph-readout")).to_have_text(re.compile(r"rain [\d.]+ mm, observed [\d.]+ mm/day"))
        page.locator("#near summary").click()
        page.locator("#near button").first.click()
        settled(page)
        nearest = country.names[int(country.nearest(100, 2)[1])]
        expect(page.locator("#river-title")).to_contain_text(nearest)


def test_dragging_hides_days_and_a_second_drag_hides_more(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        chosen(page)
        box = page.locator("#hydrograph .u-over").bounding_box()
        assert box is not None
        for start in (0.3, 0.6):
            page.mouse.move(box["x"] + start * box["width"], box["y"] + 50)
            page.mouse.down()
            page.mouse.move(box["x"] + (start + 0.08) * box["width"], box["y"] + 60, steps=4)
            page.mouse.up()
            settled(page)
        expect(page.locator("#answer")).to_have_text(
            re.compile(r"Hidden: .*2001 to .*, .* to .*NSE .* over (5|6)\d days", re.DOTALL)
        )
        assert 50 <= page.locator("#numbers tbody tr").count() < 70
        page.locator("#forget").click()
        expect(page.locator("#answer")).to_have_text("Nothing is hidden.")


def test_keys_alone_find_a_gauge_hide_days_and_get_an_answer(browser: Browser, address: str, country: Session) -> None:
    with opened(browser, address) as page:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.locator("#wanted")).to_be_focused()
        page.keyboard.type(country.names[7])
        page.keyboard.press("Enter")
        settled(page)
        expect(page.locator("#river-title")).to_contain_text(country.names[7])
        page.locator("#hide-from").focus()  # the dates are the same wherever the month stands first
        page.keyboard.type("06062001")
        page.keyboard.press("Tab")
        for _ in range(6):
            if page.evaluate("document.activeElement.id") == "hide-to":
                break
            page.keyboard.press("Tab")
        page.keyboard.type("07072001")
        page.keyboard.press("Enter")
        expect(page.locator("#answer")).to_have_text(
            re.compile(r"Hidden: 6 Jun 2001 to 7 Jul 2001.*NSE .* over 32 days")
        )
        page.locator("#hydrograph").focus()
        page.keyboard.press("Home")
        for _ in range(3):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#answer")).to_have_text(re.compile(r"Hidden: .* over 36 days"))


def test_arrow_keys_move_over_the_map(browser: Browser, address: str, country: Session) -> None:
    with opened(browser, address) as page:
        page.locator("#map").focus()
        page.keyboard.press("ArrowDown")
        first = page.locator("#map").get_attribute("aria-activedescendant")
        page.keyboard.press("ArrowRight")
        second = page.locator("#map").get_attribute("aria-activedescendant")
        assert first and second and first != second
        east = [country.positions[int(name.removeprefix("gauge-")), 0] for name in (first, second)]
        assert east[1] > east[0]
        page.keyboard.press("Enter")
        settled(page)
        assert page.locator(f"#{second}").get_attribute("aria-selected") == "true"


def test_the_issue_day_moves_and_weather_may_be_unknown(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        chosen(page)
        before = page.locator("#forecast-answer").inner_text()
        page.locator("#issue").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        moved = page.locator("#issue-day").inner_text()
        expect(page.locator("#forecast-answer")).to_contain_text(f"Issued on {moved}")
        known = page.locator("#forecast-answer").inner_text()
        assert known != before
        page.locator("#weather").select_option("none")
        expect(page.locator("#forecast-answer")).not_to_have_text(known)


def test_a_small_screen_has_no_sideways_scroll_and_a_finger_hides_days(browser: Browser, address: str) -> None:
    with opened(browser, address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
        page.locator("#wanted").fill("300")
        page.locator("#find button").tap()
        settled(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
        over = page.locator("#hydrograph .u-over")
        box = over.bounding_box()
        assert box is not None and box["width"] > 250
        for kind, share in (("pointerdown", 0.4), ("pointermove", 0.5), ("pointermove", 0.6), ("pointerup", 0.6)):
            where = {"clientX": box["x"] + share * box["width"], "clientY": box["y"] + 40}
            over.dispatch_event(kind, {"pointerType": "touch", "pointerId": 1, "bubbles": True, **where})
        settled(page)
        expect(page.locator("#answer")).to_contain_text("Hidden:")


def test_what_is_refused_is_said_and_the_page_goes_on(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        page.locator("#wanted").fill("no such river")
        page.keyboard.press("Enter")
        expect(page.locator("#fault")).to_contain_text("no such river")
        chosen(page)
        expect(page.locator("#fault")).to_be_hidden()


def test_dark_and_still_where_the_reader_wants_it(browser: Browser, address: str) -> None:
    with opened(browser, address, color_scheme="dark", reduced_motion="reduce") as page:
        chosen(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 24, 29)"


def test_the_file_works_without_a_server(browser: Browser, country: Session, tmp_path: Path) -> None:
    names = [country.names[4], country.names[9]]
    file = export(country, tmp_path / "page.html", names)
    with opened(browser, file.as_uri()) as page:
        settled(page)
        assert page.locator("#dots circle").count() == GAUGES and page.locator("#hide").is_hidden()
        page.locator("#gap").select_option(index=2)
        expect(page.locator("#answer")).to_have_text(re.compile(r"Hidden: .*NSE .* over 30 days"))
        first = page.locator("#issue-day").inner_text()
        page.locator("#issue").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#issue-day")).not_to_have_text(first)
        over = page.locator("#hydrograph .u-over")
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 10, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60, steps=4)
        page.mouse.up()
        expect(page.locator("#answer")).to_have_text(re.compile("over 90 days"))  # the hidden gap that is most like it
        page.locator("#wanted").fill(names[1])
        page.keyboard.press("Enter")
        expect(page.locator("#river-title")).to_contain_text(names[1])
        page.locator("#wanted").fill(country.names[20])
        page.keyboard.press("Enter")
        expect(page.locator("#fault")).to_contain_text("is not in this file")
    with opened(browser, file.as_uri(), viewport={"width": 360, "height": 740}) as page:
        settled(page)
        assert page.evaluate("scrollY") == 0, "a phone opens it at its head, and a choice moves to the river"
        page.locator("#map").focus()
        page.locator(f"#gauge-{country.names.index(names[1])}").click(force=True)
        expect(page.locator("#river-title")).to_contain_text(names[1])
        expect(page.locator("#river-title")).to_be_in_viewport()


def test_maps_of_a_day_are_hidden_and_restored(browser: Browser) -> None:
    with serving(mapped_country()) as address, opened(browser, address) as page:
        page.locator("#mapped button.main").click()
        expect(page.locator("#map-answer")).to_contain_text("Mean error there")
        assert page.locator("#pictures canvas").count() == 3
        said = page.locator("#map-answer").inner_text()
        page.locator("#redraw").click()
        expect(page.locator("#map-answer")).not_to_have_text(said)
        page.locator("#variable").select_option("soil_moisture")
        page.locator("#mapped button.main").click()
        expect(page.locator("#map-answer")).to_contain_text("soil moisture on")
        error = re.search(r"Mean error there (\S+) m³/m³", page.locator("#map-answer").inner_text())
        assert error and len(error[1].replace(".", "").lstrip("0")) >= 3, "three significant digits"
        assert "Rain" not in page.locator("#hydrograph-axis").inner_text(), "the record has no rain of catchments"
