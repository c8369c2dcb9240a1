"""The report in a real browser: sorted and searched, by keys, by a screen reader, in the dark, on paper."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from selenium.webdriver.common.keys import Keys

from oltr_core.layout import Layout
from tests.core.stages import large_world as world
from tests.tasks import browser
from tests.tasks.browser import Page

pytestmark = pytest.mark.slow

CLASSES = 60
TABLE = "details table.sortable"
TEXT = "h1, h2, h3, h4, p, a, b, small, caption, th, td, summary, figcaption, dt, dd, code, .soft, label, svg text"


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("large"))
    world.make(layout, CLASSES)
    return layout


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Iterator[Page]:
    yield from browser.started(tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def page(seen, layout) -> Page:
    seen.driver.set_window_size(1280, 900)
    seen.driver.get(layout.work.report.as_uri())
    return seen


def opened(page: Page) -> Page:
    page.driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    return page


def column(page: Page, number: int) -> list[str]:
    script = (
        "return [...document.querySelector(arguments[0]).tBodies[0].rows].map(r => r.cells[arguments[1]].innerText)"
    )
    return page.driver.execute_script(script, TABLE, number)


def test_the_table_of_classes_is_sorted_by_keys_and_says_how(page):
    opened(page)
    heads = page.all(f"{TABLE} thead th")
    buttons = page.all(f"{TABLE} thead button")
    assert [head.get_attribute("aria-sort") for head in heads[:5]] == [None, None, "descending", None, None]
    assert len(column(page, 0)) == CLASSES
    buttons[0].send_keys(Keys.ENTER)
    assert column(page, 0) == sorted(column(page, 0))
    assert heads[0].get_attribute("aria-sort") == "ascending"
    buttons[0].send_keys(Keys.SPACE)
    assert column(page, 0)[0].startswith(f"{world.HOSTILE} 0059")
    buttons[4].send_keys(Keys.ENTER)
    accuracy = [float(value) for value in column(page, 4)]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] > accuracy[-1]
    buttons[4].send_keys(Keys.ENTER)
    assert [float(value) for value in column(page, 4)] == sorted(accuracy)
    assert [head.get_attribute("aria-sort") for head in heads[:5]] == [None, None, None, None, "ascending"]


def test_a_value_that_is_not_there_comes_last_in_both_orders(page):
    opened(page)
    page.driver.execute_script(
        "document.querySelector(arguments[0]).tBodies[0].rows[7].cells[4].innerText = '–'", TABLE
    )
    for _ in range(2):
        page.all(f"{TABLE} thead button")[4].click()
        assert column(page, 4)[-1] == "–"
        assert column(page, 4).count("–") == 1


def test_a_class_is_found_by_a_part_of_its_name_and_the_number_found_is_said(page):
    opened(page)
    field = page.one(".find input")
    assert field.accessible_name == "Search class:"
    field.send_keys("ONCLICK=ALERT(1)>& 001")
    shown = [element.text for element in page.all(f"{TABLE} tbody tr:not([hidden]) th")]
    assert [re.findall(r"\d{4}", text)[0] for text in shown] == [f"001{n}" for n in range(10)]
    assert page.one(".find output").text == "10 of 60"
    field.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    assert len(page.all(f"{TABLE} tbody tr:not([hidden])")) == CLASSES
    assert page.one(".find output").text == ""


def test_names_are_text_and_the_one_script_is_ours(page):
    ask = page.driver.execute_script
    assert ask("return document.scripts.length") == 1
    assert ask("return document.querySelectorAll('[onclick]').length") == 0
    assert page.all("figcaption b")[0].text.startswith(world.HOSTILE)
    assert world.UNKNOWN in page.texts("figcaption b")
    assert page.driver.get_log("browser") == [], "nothing was blocked, and nothing failed"


def test_headings_tables_and_pictures_have_what_a_screen_reader_says(page):
    opened(page)
    ask = page.driver.execute_script
    levels = ask("return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.one("html").get_attribute("lang") == "en"
    assert len(page.all("main")) == 1
    assert page.one("nav").accessible_name == "Contents"
    alts = ask("return [...document.images].map((i) => i.getAttribute('alt'))")
    assert len(alts) > 100
    assert all(alts)
    assert all(ask("return [...document.images].map((i) => i.complete && i.naturalWidth > 0)")), "all are drawn"
    assert all(ask("return [...document.querySelectorAll('table')].map((t) => t.caption?.innerText)"))
    assert all(ask("return [...document.querySelectorAll('th')].map((t) => t.scope && t.innerText)"))
    assert all(ask("return [...document.querySelectorAll('svg')].map((s) => s.querySelector('title')?.textContent)"))
    for element in page.all("button, a, input, summary"):
        assert element.accessible_name, element.get_attribute("outerHTML")[:200]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(page, scheme):
    opened(page)
    with page.coloured(scheme):
        found = page.contrasts(TEXT)
        assert len(found) > 1000
        assert min(found)[0] >= 4.5, min(found)
        assert page.all(".better"), "coloured figures are among them"
        assert page.all("tr.here > *")


def test_keys_reach_every_control_in_the_order_of_the_page(page):
    opened(page)
    ask = page.driver.execute_script
    wanted = "a, button, input, summary, [tabindex]"
    there = ask("return [...document.querySelectorAll(arguments[0])].length", wanted)
    reached = []
    for _ in range(there):
        page.press(Keys.TAB)
        place = ask("return [...document.querySelectorAll(arguments[0])].indexOf(document.activeElement)", wanted)
        reached.append(place)
    assert reached == list(range(there))
    style = ask("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]")
    assert style == ["solid", "3px"]
    link = page.all("nav a")[4]
    link.send_keys(Keys.ENTER)
    assert abs(ask("return document.querySelector(arguments[0]).getBoundingClientRect().top", f"#part-{5}")) < 2
    assert page.one("#part-5").text == link.text == "Wrong predictions"


def test_nothing_is_wider_than_a_narrow_window_and_what_is_wide_scrolls_by_keys(page):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        page.driver.refresh()
        opened(page)
        ask = page.driver.execute_script
        assert ask("return document.documentElement.scrollWidth <= innerWidth")
        wide = "return [...document.querySelectorAll('.wide')].filter((w) => w.scrollWidth > w.clientWidth)"
        scrolled = ask(f"{wide}.map((w) => [w.tabIndex, w.role, w.ariaLabel])")
        assert len(scrolled) > 3
        assert all(index == 0 and role == "region" and name for index, role, name in scrolled)
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_paper_it_is_dark_on_white_unfolded_and_no_table_is_cut_off(page):
    ask = page.driver.execute_script
    closed = ask("return document.querySelectorAll('details:not([open])').length")
    assert closed > 1
    ask(
        "addEventListener('beforeprint', () => {"
        " window.folded = document.querySelectorAll('details:not([open])').length })"
    )
    made = page.driver.execute_cdp_cmd(
        "Page.printToPDF", {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.7}
    )
    pdf = base64.b64decode(made["data"])
    assert pdf.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 10 < pages < 40
    assert ask("return window.folded") == 0
    assert ask("return document.querySelectorAll('details:not([open])').length") == closed, "folded again"
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    )  # A4 within Chromium's margins of 1 cm
    try:
        with page.coloured("dark", "print"):
            opened(page)
            assert ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert min(page.contrasts(TEXT))[0] >= 4.5
            assert not page.one("nav").is_displayed()
            assert not page.one(".find").is_displayed()
            widths = ask(
                "return [...document.querySelectorAll('table, svg, img')].map((e) => e.getBoundingClientRect().right)"
            )
            assert max(widths) <= 718
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
