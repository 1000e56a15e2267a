"""Every page, in both languages and both themes, held against axe-core's rules for WCAG 2.2 A and AA: nothing may break one.

All pages of a language and a theme are opened at once, in tabs of one context: what a page waits for, the others wait for too.
"""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser

from tests.browser.reader import a_page, broken, drawn, in_tabs
from tests.browser.sites import Site, Worked

PAGES = (
    "/",
    "/alerts",
    "/alerts/ep_9a41",
    "/documents",
    "/documents?q=brakes",
    "/rules",
    "/watchlists",
    "/endpoints",
    "/system",
    "/subjects/XTST:HLVN",
    "/start",
    "/login",
    "/nothing",
)
OPERATED = ("/", "/alerts?state=resolved", "/documents", "/rules", "/watchlists", "/endpoints", "/system")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_no_page_breaks_a_rule_of_access(site: Site, browser: Browser, axe: str, locale: str, scheme: Any) -> None:
    site.fill()
    found = {}
    # Some pages say that a part cannot be read, since no broker stands behind these: words of theirs, and a line in the console.
    with a_page(browser, allowed="Failed to load resource", locale=locale, color_scheme=scheme) as page:
        for address, tab in in_tabs(page, [site.address + path for path in PAGES]):
            found[address] = broken(tab, axe)
    assert {address: rules for address, rules in found.items() if rules} == {}


@pytest.fixture
def worked() -> Iterator[Worked]:
    one = Worked()
    yield one
    one.stop()


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "dark"), ("zh-CN", "light")])
def test_no_page_that_is_full_breaks_one(worked: Worked, browser: Browser, axe: str, locale: str, scheme: Any) -> None:
    found = {}
    with a_page(browser, allowed="Failed to load resource", locale=locale, color_scheme=scheme) as page:
        for address, tab in in_tabs(page, [worked.address + path for path in OPERATED]):
            found[address] = broken(tab, axe)
    assert {address: rules for address, rules in found.items() if rules} == {}


@pytest.mark.parametrize("width", [390, 1440])
def test_what_opens_on_the_overview_breaks_none_either(site: Site, browser: Browser, axe: str, width: int) -> None:
    with a_page(browser, color_scheme="dark", viewport={"width": width, "height": 900}) as page:
        page.goto(site.address)
        page.wait_for_selector("#first")
        assert broken(page, axe) == []
        site.fill()
        drawn(page)
        page.locator("#narrow").click()
        page.wait_for_function("() => document.querySelector('#filters [name=language]').options.length > 1")
        page.locator("#tab-resolved").click()
        assert broken(page, axe) == []
        page.locator("#open-preferences").click()
        assert broken(page, axe) == []
        page.locator("#open-keys").click()
        assert broken(page, axe) == []
